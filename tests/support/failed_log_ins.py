"""Log-ins that fail, from addresses of their own, under a clock that a test moves."""

import json
import time

import pytest

ADDRESS, OTHER_ADDRESS = "192.0.2.1", "192.0.2.99"


class Clock:
    """A clock that stands still; a test sets `now`, in seconds since 1970."""

    now = 1_800_000_000


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """The clock of mailapi, which stands still until a test moves it."""
    clock = Clock()
    monkeypatch.setattr(time, "time", lambda: clock.now)
    return clock


def post_log_in(site, user="bob", password="wrong", address=ADDRESS, **environ):
    """Post a request with credentials from an address; return the response."""
    fields = {"pop_user": "ann", "auth": {"user_name": user, "password": password}}
    return site.browser(REMOTE_ADDR=address, **environ).post(
        "/pop/?get", json.dumps(fields).encode(), status="*"
    )


def attempt_log_in(site, *args, **environ):
    """Try to log in; return "in", "wrong", or the seconds that the client is told to wait."""
    answer = post_log_in(site, *args, **environ)
    if answer.status_int == 429:
        wait = int(answer.headers["Retry-After"])
        assert answer.json["status"] == f"Too many failed log-ins. Try again in {wait} seconds."
        assert "login" not in answer.json and "Set-Cookie" not in answer.headers
        return wait
    assert answer.status_int == 200
    assert answer.json["login"] is (answer.json["status"] != "Username or password is wrong.")
    return "in" if answer.json["login"] else "wrong"


def fail_log_ins(site, times=10, *args, **environ):
    """Check that so many wrong passwords are answered without a wait."""
    assert [attempt_log_in(site, *args, **environ) for _ in range(times)] == ["wrong"] * times
