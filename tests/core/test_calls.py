"""The number of functions that a request calls, with Bottle's: a small request costs little else."""

import io
import json
import sys

import pytest

from support.browsers import log_in, session_of
from support.mails import deliver

AUTH = json.dumps({"auth": {"user_name": "root", "password": "pw"}}).encode()


def calls_of(app, url: str, body: bytes, cookie: str = "") -> int:
    """Return the Python functions that one request calls, once everything is prepared.

    The least of several requests counts: during one, finalizers of earlier tests may run.
    """
    counted, found = [0], []

    def count(frame, event, argument):
        counted[0] += event == "call"

    path, _, query = url.partition("?")
    for _ in range(5):
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/" + path,
            "QUERY_STRING": query,
            "HTTP_HOST": "localhost",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_COOKIE": cookie,
            "wsgi.input": io.BytesIO(body),
            "wsgi.url_scheme": "http",
        }
        counted[0], answers = 0, []
        sys.setprofile(count)
        try:
            answer = app(environ, lambda status, headers, exc_info=None: answers.append(status))
        finally:
            sys.setprofile(None)
        found.append(counted[0])
        assert answers == ["200 OK"] and json.loads(b"".join(answer))["login"] is True
    return min(found) - 1  # start_response is the server's


@pytest.mark.sqlite
@pytest.mark.parametrize("url", ["?get_modules", "pop/?get", "addresses/?get"])
def test_a_read_by_session_calls_110_functions_at_most(site, url):
    cookie = "PHPSESSID=" + session_of(log_in(site, "root"))
    assert calls_of(site.app, url, b"{}", cookie) <= 110


@pytest.mark.sqlite
def test_a_log_in_with_a_read_calls_160_functions_at_most(site):
    assert calls_of(site.app, "?get_modules", AUTH) <= 160


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "url, body, most", [("mailbox/?get", b"{}", 195), ("mailbox/?read", b'{"mail_id":1}', 205)]
)
def test_a_mailbox_of_one_mail_calls_few_functions(site, url, body, most):
    assert deliver(site, "root", b"Subject: x\r\nFrom: a@b\r\n\r\nhello") == 1
    assert calls_of(site.app, url, body, "PHPSESSID=" + session_of(log_in(site, "root"))) <= most


@pytest.mark.sqlite
def test_a_mail_in_a_list_calls_24_functions_at_most(site):
    raw, found = b"From: a@b\r\nTo: c@d\r\nSubject: x\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n\r\n", []
    cookie = "PHPSESSID=" + session_of(log_in(site, "root"))
    for mails in (1, 50):
        for _ in range(mails):
            deliver(site, "root", raw)
        found.append(calls_of(site.app, "mailbox/?get", b"{}", cookie))
    assert found[1] - found[0] <= 24 * 50
