"""accounts/?get and ?update: the user's settings in the mail server's database."""

import datetime

import pytest

from support.mailserver_site import (
    BOB,
    LAST_LOGIN,
    NOT_ALLOWED,
    add_user,
    both_databases,
    get_modules,
    is_logged_in,
    log_in_browser,
    log_in_works,
    mailserver_row,
    prepared_transactions,
)
from support.site import Site

pytestmark = pytest.mark.slow

UNSET = {
    "quota": 1024,
    "forward": None,
    "autoReply": None,
    "autoReplyEnabled": 0,
    "autoReplyStart": None,
    "autoReplyEnd": None,
    "userStatus": 0,
}
REPLY = {"autoReply": "I am away.\nBob", "autoReplyEnabled": 1}
OWN = {"forward": "bob@else.example", **REPLY}


@pytest.fixture
def site(site_with_mailserver) -> Site:
    return site_with_mailserver


def settings(site, user="root", password="pw", name=BOB) -> dict:
    """Return the settings that a user sees of bob."""
    (account,) = site("accounts/?get", user=user, password=password, user_name=name)["accounts"]
    return {name: account[name] for name in UNSET}


def update(site, user="root", password="pw", check=200, user_name=BOB, **fields) -> str:
    return site("accounts/?update", user=user, password=password, check=check, user_name=user_name, **fields)[
        "status"
    ]


def test_they_are_shown_also_of_who_has_no_account_yet(site):
    assert settings(site) == UNSET
    account = site("accounts/?get", user=BOB, password="test", user_name=BOB)["accounts"][0]
    assert (account["quota"], account["idAccount"]) == (1024, 1) and [*account][-1] == "services"
    assert site("accounts/?get", user_name="nobody@atmail.com")["accounts"] == []
    assert site("accounts/?get", user_name=BOB.upper())["accounts"] == []
    assert "quota" not in site("accounts/?get")["accounts"][0]


def test_users_set_their_own_forward_and_reply(site):
    assert update(site, BOB, "test", **OWN) == "ok"
    assert settings(site, BOB, "test") == UNSET | OWN
    assert update(site, BOB, "test", forward=None, autoReplyEnabled=0) == "ok"
    assert settings(site) == UNSET | {"autoReply": REPLY["autoReply"]}


def test_who_acts_for_the_user_sets_quota_and_status_too(site):
    site.sql("INSERT INTO users (user_name) VALUES (?)", BOB)
    site.sql("INSERT INTO api_user_delegates VALUES ('dele', ?)", BOB)
    for user, quota in (("root", 2048), ("dele", 4096)):
        assert update(site, user, quota=quota, **OWN) == "ok"
        assert settings(site) == UNSET | OWN | {"quota": quota}
    before = both_databases(site)
    for user, password in ((BOB, "test"), ("ann", "pw")):
        for fields in ({"quota": 1}, {"userStatus": 1}, {"forward": "a@b.example", "quota": 1}):
            assert update(site, user, password, **fields) == NOT_ALLOWED
    assert update(site, "ann", forward="a@b.example") == NOT_ALLOWED
    assert update(site, "dele", Active=0) == NOT_ALLOWED
    assert both_databases(site) == before


def test_a_status_ends_the_users_sessions(site):
    browser = log_in_browser(site)
    assert update(site, userStatus=1) == "ok"
    assert not log_in_works(site, BOB, "test") and not is_logged_in(browser)
    assert update(site, userStatus=0) == "ok"
    assert log_in_works(site, BOB, "test") and not is_logged_in(browser)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"forward": "x"}, "forward must be one address."),
        ({"forward": "a@b, c@d"}, "forward must be one address."),
        ({"forward": "a@b@c"}, "forward must be one address."),
        ({"forward": "a@b\r\nTo: c"}, "forward must be one address."),
        ({"forward": "böb@else.example"}, "forward must be one address."),
        ({"forward": BOB}, "forward must not be an address of the user."),
        ({"forward": "BOB@atmail.com"}, "forward must not be an address of the user."),
        ({"forward": "sales@corp.org"}, "forward must not be an address of the user."),
        ({"autoReplyEnabled": 1}, "autoReply is not set."),
        (
            REPLY | {"autoReplyStart": "2026-08-02", "autoReplyEnd": "2026-08-02 00:00:00"},
            "autoReplyStart must be before autoReplyEnd.",
        ),
        ({}, "Active is not set."),
        ({"Active": 1, "quota": 5}, "Active cannot be changed together with other settings."),
    ],
)
def test_what_makes_no_sense_changes_nothing(site, fields, status):
    site.sql("INSERT INTO addresses VALUES ('%@corp.org', 10, 'store', ?)", BOB)
    before = both_databases(site)
    assert update(site, **fields) == status and both_databases(site) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"quota": -1},
        {"quota": 2**31},
        {"quota": None},
        {"quota": "much"},
        {"userStatus": 128},
        {"autoReplyEnabled": 2},
        {"autoReplyEnabled": ""},
        {"autoReply": "x" * 16385},
        {"autoReply": ["x"]},
        {"autoReplyStart": "tomorrow"},
        {"autoReplyStart": "2026-13-01"},
        {"autoReplyEnd": "2038-01-01"},
        {"autoReplyEnd": "1969-01-01"},
        {"autoReplyEnd": 5},
        {"forward": "x" * 1001},
    ],
)
def test_what_cannot_be_read_is_named(site, fields):
    before = both_databases(site)
    assert update(site, check=400, **fields) == f"Invalid value for {[*fields][0]}."
    assert both_databases(site) == before


def test_a_time_without_a_zone_is_the_databases_own(site):
    assert update(site, autoReplyStart="2026-08-01T09:00", autoReplyEnd="2026-08-08 17:30:15") == "ok"
    found = settings(site)
    assert (found["autoReplyStart"], found["autoReplyEnd"]) == ("2026-08-01 09:00:00", "2026-08-08 17:30:15")
    assert update(site, **{name: found[name] for name in found if name.startswith("autoReply")}) == "ok"
    assert settings(site) == found


@pytest.mark.parametrize(
    "given", ["2026-08-01T09:00:00+10:00", "2026-07-31T23:00:00Z", "2026-07-31 19:00-04:00"]
)
def test_a_time_with_a_zone_is_stored_as_the_databases_local_time(site, given):
    assert update(site, autoReplyStart=given) == "ok"
    epoch = int(datetime.datetime(2026, 7, 31, 23, tzinfo=datetime.UTC).timestamp())
    stored, local = site.mail.sql("SELECT autoReplyStart, FROM_UNIXTIME(%s) FROM accounts", epoch)[0]
    assert stored == local and settings(site)["autoReplyStart"] == str(local)


def test_the_end_is_compared_with_the_start_that_is_stored(site):
    update(site, autoReplyStart="2026-08-05 00:00:00")
    assert update(site, autoReplyEnd="2026-08-04 00:00:00") == "autoReplyStart must be before autoReplyEnd."
    assert update(site, autoReplyEnd="2026-08-06 00:00:00") == "ok"
    assert update(site, autoReplyStart="") == "ok" and settings(site)["autoReplyStart"] is None


def test_what_is_wrong_already_does_not_keep_other_settings_from_being_changed(site):
    site.mail.sql(
        "UPDATE accounts SET autoReplyEnabled = 1, autoReplyStart = NOW(), autoReplyEnd = '2000-01-01'"
    )
    assert update(site, quota=7) == "ok" and settings(site)["quota"] == 7


def test_who_is_not_in_the_mail_servers_database_has_none(site):
    for name in ("root", "nobody@atmail.com"):
        assert update(site, user_name=name, quota=1) == "The mail server does not know this user."
    assert "quota" not in str(site("accounts/?get", user_name="root")["accounts"])


def test_a_log_in_by_password_sets_last_login_once_a_minute(site):
    assert mailserver_row(site)[LAST_LOGIN] is None
    assert not log_in_works(site, BOB, "wrong") and mailserver_row(site)[LAST_LOGIN] is None
    browser = log_in_browser(site)
    first = mailserver_row(site)[LAST_LOGIN]
    now = site.mail.sql("SELECT NOW()")[0][0]
    assert datetime.timedelta(0) <= now - first < datetime.timedelta(minutes=5)
    site.mail.sql("UPDATE accounts SET lastLogin = '2020-01-01'")
    assert is_logged_in(browser) and mailserver_row(site)[LAST_LOGIN].year == 2020  # a session is no log-in
    get_modules(site)
    recent = mailserver_row(site)[LAST_LOGIN]
    assert recent >= first
    site.mail.sql("UPDATE accounts SET lastLogin = NOW() - INTERVAL 10 SECOND")
    shortly_before = mailserver_row(site)[LAST_LOGIN]
    get_modules(site)
    assert mailserver_row(site)[LAST_LOGIN] == shortly_before
    assert str(shortly_before) == site("accounts/?get", user_name=BOB)["accounts"][0]["lastLogin"]


def test_while_the_database_is_away_the_accounts_are_shown_with_a_warning(site, mariadb):
    get_modules(site)
    mariadb.kill()
    try:
        answer = site("accounts/?get", user_name="root")
        assert (answer["status"], answer["accounts"]) == ("warning", []) and "mailserver" in answer["warning"]
        assert "cannot be reached" in update(site, check=503, quota=5)
    finally:
        mariadb.start()
    assert settings(site) == UNSET and prepared_transactions(site) == []


def test_a_user_of_both_databases_keeps_their_password(site):
    add_user(site)
    assert update(site, user_name="carol@corp.org", quota=9, **REPLY) == "ok"
    assert log_in_works(site, "carol@corp.org", "pw")
