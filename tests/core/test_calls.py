"""The number of functions that a request calls, with Bottle's: a small request costs little else."""

import io
import json
import sys

import pytest

from support.browsers import credentials, log_in, post, session_of
from support.mails import deliver

AUTH = json.dumps({"auth": {"user_name": "root", "password": "pw"}}).encode()


def calls_of(app, url: str, body: bytes, cookie: str = "", logged_in: bool = True) -> int:
    """Return the Python functions that one request calls, once everything is prepared.

    The least of several requests counts: during one, finalizers of earlier tests may run. In `body`, `#` is replaced
    by the number of the request.
    """
    counted, found = [0], []

    def count(frame, event, argument):
        counted[0] += event == "call"

    path, _, query = url.partition("?")
    for number in range(5):
        sent = body.replace(b"#", b"%d" % number)
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/" + path,
            "QUERY_STRING": query,
            "HTTP_HOST": "localhost",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(sent)),
            "HTTP_COOKIE": cookie,
            "wsgi.input": io.BytesIO(sent),
            "wsgi.url_scheme": "http",
        }
        counted[0], answers = 0, []
        sys.setprofile(count)
        try:
            answer = app(environ, lambda status, headers, exc_info=None: answers.append(status))
        finally:
            sys.setprofile(None)
        found.append(counted[0])
        assert answers == ["200 OK"] and json.loads(b"".join(answer))["login"] is logged_in
    return min(found) - 1  # start_response is the server's


def statements_of_each(site, work) -> dict[str, list[str]]:
    """Return the SQL that work() runs on the master and on the state database."""
    run: dict[str, list[str]] = {"master": [], "state": []}
    site.app.db.trace(run["master"].append)
    site.app.state.trace(run["state"].append)
    try:
        work()
    finally:
        site.app.db.trace(None)
        site.app.state.trace(None)
    return run


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


@pytest.mark.sqlite
def test_a_wrong_password_calls_161_functions_at_most(site):
    wrong = AUTH.replace(b"pw", b"wrong")
    assert calls_of(site.app, "?get_modules", wrong, logged_in=False) <= 161


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("url", "fields", "most"),
    [
        ("users/?set_password", {"user_name": "ann", "user_authdata": "new"}, 238),
        ("users/?add", {"user_name": "new#", "user_authdata": "new"}, 250),
    ],
)
def test_a_change_by_session_calls_few_functions(site, url, fields, most):
    cookie = "PHPSESSID=" + session_of(log_in(site, "root"))
    assert calls_of(site.app, url, json.dumps(fields).encode(), cookie) <= most


########## Statements ##############################################################################

WRONG = {"auth": credentials("bob", "wrong")}


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("url", "fields", "master", "state"),
    [
        ("?get_modules", {"auth": credentials("root")}, 4, 2),
        ("?get_modules", WRONG, 1, 10),
        ("users/?set_password", {"user_name": "ann", "user_authdata": "new"}, 5, 12),
        ("users/?add", {"user_name": "new#", "user_authdata": "new"}, 7, 9),
    ],
)
def test_log_ins_and_changes_run_few_statements(site, url, fields, master, state):
    """Those of the second request: the first one of a minute also deletes what is old."""
    for number in range(2):
        browser = site.browser() if "auth" in fields else log_in(site, "root")
        body = json.loads(json.dumps(fields).replace("#", str(number)))
        run = statements_of_each(site, lambda: post(browser, url, **body))
    assert len(run["master"]) <= master and len(run["state"]) <= state, run
