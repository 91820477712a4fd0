"""Requests to a mount: a URL path below which a module answers all requests itself."""

import pytest

from support.second_wire import basic
from support.site import Site

UPLOADS = """
import bottle
from mailapi import Module


class Uploads(Module):
    mounts = ("uploads",)

    def mount(self, handler, path):
        handler.admit(self, read_only=False)
        return bottle.HTTPResponse(b"", 201)
"""


@pytest.mark.sqlite
def test_a_failure_of_the_database_is_no_success_for_clients_of_a_mount(tmp_path):
    """They look at the HTTP status only: after HTTP 200, they would take a file for stored that nobody has."""
    (tmp_path / "uploads.py").write_text(UPLOADS)
    site = Site(tmp_path, extra={"Uploads": str(tmp_path / "uploads.py")})
    browser, headers = site.browser(), basic("ann", "pw")
    assert browser.put("/uploads/x", b"content", headers=headers).status_int == 201
    site.sql("DROP TABLE api_access")
    answer = browser.put("/uploads/x", b"content", headers=headers, expect_errors=True)
    assert answer.status_int == 500 and answer.json["status"] == "no such table: api_access"
