"""dav/…: requests that try to reach other users' collections, other paths or other servers."""

import base64
import json

import pytest

from support.command_line import Server
from support.dav import DavClient, basic_credentials

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def at_root(dav_site):
    with Server(dav_site.dbpath.parent) as server:
        yield DavClient(server.url)


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic x",
        "Digest username=ann",
        "Bearer",
        "Bearer x",
        *(
            "Basic " + base64.b64encode(each).decode()
            for each in (b"ann", b":pw", b"ann:", b"\xff:\xff", b"a\0nn:pw")
        ),
    ],
)
def test_what_are_no_credentials(at_root, header):
    assert at_root("PROPFIND", "dav/", user=None, Authorization=header).status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/dav/bob/../ann/calendar/",
        "/dav/bob/%2e%2e/ann/calendar/",
        "/dav/bob%2f..%2fann/calendar/",
        "/dav/bob/%2E./ann/",
        "/dav/bob/..%2fann/",
        "/dav/./ann/",
        "/dav/bob/..\\ann/",
        "/dav/bob/%5c../ann",
        "/dav/ann%00/",
        "/dav/..",
        "/dav/../users/?get",
        "/dav/%0d%0aX-Remote-User:%20ann/",
        "/dav/bob/%c0%ae%c0%ae/ann/",
        "http://evil.example/dav/ann/calendar/",
        "//evil.example/dav/ann/",
        "/dav/http://evil.example/",
        "/dav/bob/;/../ann/",
        "/dav?x=/ann/",
        "/dav/%252e%252e/ann/",
    ],
)
def test_no_path_leads_to_others_or_elsewhere(at_root, path):
    status, said = at_root.raw(
        f"PROPFIND {path} HTTP/1.1",
        f"Host: {at_root.netloc}",
        "Depth: 1",
        "Authorization: " + basic_credentials("bob")["Authorization"],
    )
    said = said.replace(path.lstrip("/"), "")
    assert "ann/calendar" not in said and "evil" not in said.replace("evil.example/dav/ann.", "")
    assert status in (207, 400, 403, 404) and "<users>" not in said


@pytest.mark.parametrize(
    "headers",
    [
        ["X-Remote-User: ann"],
        ["X_Remote_User: ann"],
        ["x-remote-user: ann", "Connection: X-Remote-User"],
        ["Remote-User: ann"],
        ["X-Remote-User : ann"],
        ["X-Script-Name: /evil"],
        ["X-Forwarded-User: ann"],
        ["X-HTTP-Method-Override: DELETE"],
        ["Depth: 1\r\n X-Remote-User: ann"],
    ],
)
def test_who_asks_is_not_for_the_client_to_say(at_root, headers):
    status, said = at_root.raw(
        "PROPFIND /dav/ann/calendar/ HTTP/1.1",
        f"Host: {at_root.netloc}",
        "Authorization: " + basic_credentials("bob")["Authorization"],
        *headers,
    )
    assert status in (400, 403) and "/evil" not in said
    assert at_root("PROPFIND", "dav/ann/calendar/", Depth="0").status == 207


def test_a_request_cannot_be_smuggled_inside_another(at_root):
    inner = b"DELETE /ann/calendar/ HTTP/1.1\r\nHost: x\r\nX-Remote-User: ann\r\n\r\n"
    for framing in (
        ["Content-Length: 4", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 4"],
        ["Content-Length: 4", "Content-Length: 200"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding : chunked"],
        ["Content-Length: +4"],
        ["Content-Length: 4, 4"],
    ):
        at_root.raw(
            "PUT /dav/bob/calendar/s.ics HTTP/1.1",
            f"Host: {at_root.netloc}",
            *framing,
            "Authorization: " + basic_credentials("bob")["Authorization"],
            body=b"0\r\n\r\n" + inner,
        )
        assert at_root("PROPFIND", "dav/ann/calendar/", Depth="0").status == 207, framing
    at_root("DELETE", "dav/bob/calendar/s.ics", user="bob")


@pytest.mark.parametrize(
    "headers", [{"Sec_Fetch_Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}]
)
def test_another_sites_page_gets_nothing(at_root, headers):
    """Browsers send Basic credentials that they know along like cookies."""
    answer = at_root("DELETE", "dav/ann/calendar/", **headers)
    assert answer.status == 403 and json.loads(answer.body)["status"] == "Not allowed from another site."
    assert at_root("PROPFIND", "dav/ann/calendar/", Depth="0").status == 207
