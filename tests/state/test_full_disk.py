"""A disk that takes no more: nobody gets in uncounted, and a log-out says what it did (modules/state/)."""

import base64
import contextlib
import logging
import os
import re
import resource

import pytest

from support.browsers import (
    LOGGED_OUT,
    STATE_UNUSABLE,
    ask,
    browser_with_session,
    credentials,
    is_logged_in,
    log_in,
    post,
    session_of,
    spoil_state_database,
)
from support.failed_log_ins import attempt_log_in
from support.site import Site

ONLY_HERE = "Logged out in this browser only: the session could not be ended. "


@contextlib.contextmanager
def full_disk(site, room: int | None = None):
    """Limit the length of files to that of the state database's journal, or to `room` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = os.path.getsize(site.app.config.state + "-wal") if room is None else room
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_full_disk_right_and_wrong_passwords_are_refused_alike(site):
    browser = log_in(site)
    with full_disk(site):
        answers = [
            post(site.browser(), status=500, auth=credentials(password=given))
            for given in ("wrong", "pw") * 15
        ]
        assert is_logged_in(browser)  # who is in stays in
    assert len({answer.body for answer in answers}) == 1 and re.fullmatch(
        STATE_UNUSABLE, answers[0].json["status"]
    )
    assert not any("Set-Cookie" in answer.headers or "login" in answer.json for answer in answers)
    assert site.state("SELECT * FROM failure") == [] and attempt_log_in(site, "bob", "pw") == "in"


def test_on_a_full_disk_http_basic_cannot_be_used_to_guess(tmp_path):
    """From an address that is known a right password needs no row to be written, and yet must not get in."""
    site = Site(tmp_path, extra={"Service": "modules/services.py"}, services={"dav": "http://127.0.0.1:9/"})
    log_in(site)

    def dav(password):
        given = base64.b64encode(f"bob:{password}".encode()).decode()
        return site.browser(HTTP_AUTHORIZATION=f"Basic {given}").get("/dav/bob/", status="*")

    assert dav("pw").status_int not in (401, 500) and dav("wrong").status_int == 401
    with full_disk(site):
        answers = [dav(given) for given in ("wrong", "pw") * 15]
    assert len({answer.body for answer in answers}) == 1 and answers[0].status_int == 500
    assert re.fullmatch(STATE_UNUSABLE, answers[0].json["status"])
    assert site.state("SELECT failures FROM failure") == [(1,)]


def test_log_out_ends_the_session_if_the_journal_has_room(site):
    for _ in range(30):
        ask(log_in(site), "?logout")
    browser = log_in(site)
    copy = browser_with_session(site, session_of(browser))
    with full_disk(site):
        for password in ("wrong", "pw"):
            post(site.browser(), status=500, auth=credentials(password=password))
        answer = post(browser, "?logout")
    assert answer.json["status"] == LOGGED_OUT and "Max-Age=0" in answer.headers["Set-Cookie"]
    assert not is_logged_in(copy)


def test_log_out_on_a_full_disk_deletes_the_cookie_and_says_that_the_session_stays_valid(site, caplog):
    browser = log_in(site)
    copy = browser_with_session(site, session_of(browser))
    with full_disk(site, room=1):
        answer = post(browser, "?logout")
    status = answer.json["status"]
    assert status.startswith(ONLY_HERE) and re.fullmatch(STATE_UNUSABLE, status.removeprefix(ONLY_HERE))
    assert answer.json["login"] is False and "Max-Age=0" in answer.headers["Set-Cookie"]
    assert "PHPSESSID" not in browser.cookies and is_logged_in(copy)  # as it was told
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert any(message.startswith("a session could not be ended: ") for message in errors)
    assert ask(copy, "?logout")["status"] == LOGGED_OUT and not is_logged_in(copy)


@pytest.mark.parametrize("how", ["garbage", "a folder"])
def test_log_out_is_answered_when_the_state_database_is_damaged(site, how):
    browser = log_in(site)
    spoil_state_database(site.dbpath.with_name("master.db3.state"), how)
    answer = post(browser, "?logout")
    assert answer.json["status"].startswith(ONLY_HERE) and "Max-Age=0" in answer.headers["Set-Cookie"]
