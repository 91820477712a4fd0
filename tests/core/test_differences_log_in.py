"""Deliberate differences from the original (docs/wire.md section 5): log-ins and the session cookie."""

import json
import sys
from collections import Counter

import pytest

from support.both_generations import (
    logged_in_user,
)
from support.browsers import ask, log_in
from support.site import authdata

pytestmark = pytest.mark.every_engine


WRONG = "Username or password is wrong."


def test_f18_a_failed_login_does_not_tell_who_exists(either):
    answers = [
        either("pop/?get", user=user, password="wrong") for user in ("ann", "nobody", "nologin", "ANN", "an_")
    ]
    assert all(answer == answers[0] for answer in answers)
    assert (answers[0]["status"], answers[0]["login"]) == (WRONG, False)
    assert not {"auth_user", "permissions", "rights", "pop"} & set(answers[0])


def test_f18_a_failed_login_takes_the_same_work(site):
    site.sql("UPDATE users SET user_authdata = 'broken' WHERE user_name = 'bob'")
    work = {user: Counter() for user in ("ann", "nobody", "nologin", "bob")}
    for user, calls in work.items():
        site("pop/?get", user=user, password="wrong")  # whatever happens only once has happened
        sys.setprofile(lambda frame, event, arg: event == "c_call" and calls.update([arg.__name__]))
        try:
            site("pop/?get", user=user, password="wrong")
        finally:
            sys.setprofile(None)
    names = ("openssl_sha256", "hexdigest", "compare_digest")
    hashing = [{name: calls[name] for name in names} for calls in work.values()]
    assert hashing[0]["openssl_sha256"] > 0
    assert all(done == hashing[0] for done in hashing)


def cookie_attributes(answer) -> tuple[str, dict]:
    """Return the value and the attributes of the session cookie."""
    first, *rest = answer.headers["Set-Cookie"].split("; ")
    assert first.startswith("PHPSESSID=")
    pairs = [pair.partition("=") for pair in rest]
    return first.removeprefix("PHPSESSID="), {key.lower(): value for key, _, value in pairs}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_f21_the_session_cookie_is_httponly_and_samesite(either, scheme):
    browser = either.browser(SCRIPT_NAME="/mail/api", **{"wsgi.url_scheme": scheme})
    answer = browser.post("/mail/api/?login", json.dumps({"auth": {"user_name": "ann", "password": "pw"}}))
    token, flags = cookie_attributes(answer)
    assert flags.pop("path").rstrip("/") == "/mail/api"
    assert flags == {"httponly": "", "samesite": "Lax"} | ({"secure": ""} if scheme == "https" else {})
    assert len(token) >= 22  # 128 bits


def test_f21_every_log_in_has_a_new_session_id_chosen_by_the_server(either):
    body = json.dumps({"auth": {"user_name": "ann", "password": "pw"}})
    tokens = ["chosen-by-the-attacker"]
    for _ in range(3):  # each with the cookie of the one before
        answer = either.browser().post("/?login", body, headers={"Cookie": f"PHPSESSID={tokens[-1]}"})
        tokens.append(cookie_attributes(answer)[0])
    assert len(set(tokens)) == 4
    alive = [
        either.browser().post("/", headers={"Cookie": f"PHPSESSID={token}"}).json["login"] for token in tokens
    ]
    assert alive == [False, False, False, True]  # a log-in ends the session whose cookie came along


def test_f30_credentials_count_more_than_a_valid_session(either):
    browser = log_in(either, "ann")
    for auth, status in [
        (("bob", "wrong"), WRONG),
        (("nobody", "pw"), WRONG),
        (("ann", "wrong"), WRONG),
        (("root", ""), "Password is not set!"),
    ]:
        before = either.dump()
        answer = browser.post(
            "/pop/?add", json.dumps({"pop_user": "ann", "auth": dict(zip(("user_name", "password"), auth))})
        )
        assert (answer.json["status"], answer.json["login"]) == (status, False)
        assert either.dump() == before and "Set-Cookie" not in answer.headers
        assert logged_in_user(browser) == "ann"
    for nobody in ({"user_name": "", "password": ""}, {"user_name": None, "password": "x"}, {}):
        assert ask(browser, "?login", auth=nobody)["auth_user"] == "ann"
    assert ask(browser, "?login", auth={"user_name": "bob", "password": "pw"})["auth_user"] == "bob"
    assert logged_in_user(browser) == "bob"


@pytest.mark.parametrize(
    "form", ["{0} ", "{0}\n", "{0}0", "{0}:", " {0}x", "{1}", "s:{0}", "{2}", "x{2}", "", ":"]
)
def test_f35_only_passwords_that_the_daemons_accept_log_in(either, form):
    good = authdata("pw")
    salt, digest = good.split(":")
    for stored_form, works in [(form.format(good, f"{salt}:{digest.upper()}", digest), False), (good, True)]:
        either.sql("UPDATE users SET user_authdata = ? WHERE user_name = 'bob'", stored_form)
        answer = either("pop/?get", user="bob")
        assert (answer["login"], answer["status"]) == ((True, "ok") if works else (False, WRONG))
