"""`mailserver`: who logs in by the mail server's database, also while it is away."""

import base64
import hashlib

import pytest
from mailapi_modules.provisioning import password_schemes as schemes

import mailapi
from support.counting import ended
from support.mailserver_site import (
    ACCOUNT,
    BOB,
    CAROL,
    MAILSERVER_UNREACHABLE,
    WRONG_CREDENTIALS,
    add_user,
    both_databases,
    copy_bob,
    get_modules,
    is_logged_in,
    log_in_browser,
    log_in_works,
    prepared_transactions,
)
from support.mariadb import HASH_OF_TEST
from support.site import Site, authdata

pytestmark = pytest.mark.slow


@pytest.fixture
def site(site_with_mailserver) -> Site:
    return site_with_mailserver


########## Logging in ##############################################################################


def test_who_exists_only_in_the_mail_server_logs_in(site):
    before = both_databases(site)
    assert (
        log_in_works(site, BOB, "test")
        and not log_in_works(site, BOB, "Test")
        and not log_in_works(site, BOB, HASH_OF_TEST)
    )
    assert both_databases(site) == before
    (account,) = site("accounts/?get", user=BOB, password="test")["accounts"]
    assert (account["idUsers"], account["Name"]) == (4, BOB)  # its accountId


def test_the_numbers_of_the_original(site):
    """idAccount 3, idUsers 4, service accounts 8, 9 and 10, where two accounts and seven numbers were before."""
    log_in_works(site, "ann", "pw")
    with site.app.state.transaction():
        for statement in (
            "UPDATE Sequences SET last = 7 WHERE name = 'idServiceAccount'",
            "INSERT INTO Accounts (idAccount, idUsers, Name) VALUES (2, 3, 'before@atmail.com')",
        ):
            site.app.state.database.execute_sql(statement)
    (account,) = site("accounts/?get", user=BOB, password="test")["accounts"]
    del account["services"]
    assert account == {
        "idAccount": 3,
        "idUsers": 4,
        "Name": BOB,
        "IsPrimary": 1,
        "Active": 1,
        "idMailAccount": 8,
        "idContactAccount": 9,
        "idCalendarAccount": 10,
    }


def test_who_is_no_user_of_the_mail_server_has_no_account(site):
    for user in ("root", "ann"):
        assert log_in_works(site, user, "pw")
    assert site("accounts/?get")["accounts"] == []
    assert site("accounts/?provision", user_name="ann")["status"] == "There is no such user."


@pytest.mark.parametrize(("scheme", "digest"), [("SSHA512", "sha512"), ("SSHA", "sha1")])
def test_other_schemes(site, scheme, digest):
    made = hashlib.new(digest, b"pw" + b"saltsalt").digest() + b"saltsalt"
    site.mail.sql("UPDATE accounts SET password = %s", f"{{{scheme}}}{base64.b64encode(made).decode()}")
    assert log_in_works(site, BOB, "pw") and not log_in_works(site, BOB, "test")


@pytest.mark.parametrize("stored", ["{PLAIN-MD5}098f6bcd4621d373cade4e832627b4f6", "{PLAIN}test", "test", ""])
def test_refused_schemes(site, stored):
    site.mail.sql("UPDATE accounts SET password = %s", stored)
    assert not log_in_works(site, BOB, "test") and not log_in_works(site, BOB, stored or "x")


@pytest.mark.parametrize("status", [1, 2, -1])
def test_a_status_other_than_0_is_like_a_wrong_password_and_ends_sessions_and_tokens(site, status):
    browser = log_in_browser(site)
    token = site("tokens/?add", user=BOB, password="test", token_name="t")["token"]
    bearer = site.browser(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert is_logged_in(browser) and is_logged_in(bearer)
    site.mail.sql("UPDATE accounts SET userStatus = %s", status)
    assert not log_in_works(site, BOB, "test") and not is_logged_in(browser) and not is_logged_in(bearer)
    site.mail.sql("UPDATE accounts SET userStatus = 0")
    assert log_in_works(site, BOB, "test") and is_logged_in(browser) and is_logged_in(bearer)


def test_a_password_changed_or_a_row_deleted_by_the_mail_server_ends_sessions_and_tokens(site):
    browser = log_in_browser(site)
    token = site("tokens/?add", user=BOB, password="test", token_name="t")["token"]
    bearer = site.browser(HTTP_AUTHORIZATION=f"Bearer {token}")
    site.mail.sql("UPDATE accounts SET password = %s", schemes.make("new"))
    assert not is_logged_in(browser) and not is_logged_in(bearer) and log_in_works(site, BOB, "new")
    browser = log_in_browser(site, password="new")
    site.mail.sql("DELETE FROM accounts")
    assert not is_logged_in(browser) and not log_in_works(site, BOB, "new")


def test_of_who_is_in_both_the_mail_servers_password_counts(site):
    """As everywhere else in the suite: a password changed there is no longer good here."""
    add_user(site)
    site.mail.sql("UPDATE accounts SET password = %s WHERE username = %s", schemes.make("theirs"), CAROL)
    assert log_in_works(site, CAROL, "theirs") and not log_in_works(site, CAROL, "pw")
    site.mail.sql("UPDATE accounts SET userStatus = 1 WHERE username = %s", CAROL)
    assert not log_in_works(site, CAROL, "theirs") and not log_in_works(site, CAROL, "pw")


def test_who_was_shut_out_before_there_was_a_mail_server_still_is(tmp_path, mailserver):
    site = Site(tmp_path, extra=ACCOUNT)
    assert log_in_works(site, "ann", "pw")
    site("accounts/?update", user_name="ann", Active=0)
    site.app = mailapi.create_app(site.config | {"mailserver": mailserver.url})
    assert not log_in_works(site, "ann", "pw") and log_in_works(site, "bob", "pw")


def test_an_address_that_only_the_master_knows_logs_in_by_it(site):
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES ('old@corp.org', ?)", authdata("pw"))
    assert log_in_works(site, "old@corp.org", "pw") and not log_in_works(site, "old@corp.org", "test")
    site.sql("INSERT INTO users (user_name) VALUES ('none@corp.org')")
    assert not log_in_works(site, "none@corp.org", "test")


NOT_BOB = [
    "Bob@atmail.com",
    "BOB@ATMAIL.COM",
    "bob@atmail.com ",
    "böb@atmail.com",
    "bob@atmail.com\t",
    "%@atmail.com",
    "bob@atmail.co_",
    "' OR username = 'bob@atmail.com",
    "\\",
    "@",
    "bob@atmail.com' -- ",
    "@" * 5000,
    "\U0001f600@atmail.com",
]


@pytest.mark.parametrize(
    "collation", ["utf8mb4_general_ci", "utf8mb3_unicode_ci", "latin1_swedish_ci", "utf8mb4_bin"]
)
def test_a_name_is_that_name_only_whatever_the_collation(site, collation):
    site.mail.sql(f"ALTER TABLE accounts MODIFY username VARCHAR(255) COLLATE {collation} NOT NULL")
    site.app.throttle.free = 1000
    before = both_databases(site)
    for name in NOT_BOB:
        assert not log_in_works(site, name, "test")
        assert site("users/?get", username=name)["users"] == []
        site("users/?set_password", user_name=name, user_authdata="stolen")
        site("users/?delete", user_name=name)
    assert both_databases(site) == before and log_in_works(site, BOB, "test")


def test_letters_that_the_table_does_not_have_are_refused(site):
    site.mail.sql("ALTER TABLE accounts MODIFY username VARCHAR(255) COLLATE latin1_swedish_ci NOT NULL")
    before = both_databases(site)
    answer = add_user(site, "\U0001f600@atmail.com")
    assert (answer["status"], answer["user"]) == (
        "The database of the mailserver has no place for this. The log has the cause.",
        False,
    )
    assert both_databases(site) == before


def test_a_name_that_differs_in_case_only_cannot_be_added(site):
    before = both_databases(site)
    answer = add_user(site, "Bob@atmail.com")
    assert (answer["status"], answer["user"]) == ("The mailserver has a user bob@atmail.com already.", False)
    assert both_databases(site) == before


def test_their_own_password_by_session_keeps_that_session_only(site):
    mine, other = log_in_browser(site), log_in_browser(site)
    answer = mine.post_json("/users/?set_password", {"user_name": BOB, "user_authdata": "new"}).json
    assert answer["status"] == "ok" and is_logged_in(mine) and not is_logged_in(other)
    assert log_in_works(site, BOB, "new") and not log_in_works(site, BOB, "test")
    mine.post_json("/users/?set_password", {"user_name": BOB})
    assert not is_logged_in(mine) and not log_in_works(site, BOB, "new")


########## The same work for every failure (docs/wire.md F18) ##############################################


@pytest.mark.parametrize("scheme", ["{SSHA256}", "{CRYPT}"])
def test_unknown_wrong_and_disabled_cost_the_same(site, scheme, monkeypatch):
    """One password is verified, against a hash that the mail server's users have."""
    verify, verified = schemes.verify, []
    monkeypatch.setattr(
        schemes, "verify", lambda given, stored: verified.append(stored) or verify(given, stored)
    )
    stored = (
        HASH_OF_TEST
        if scheme == "{SSHA256}"
        else scheme + schemes.crypt("test", "$6$rounds=60000$saltsaltsaltsalt")
    )
    site.mail.sql("UPDATE accounts SET password = %s", stored)
    copy_bob(site, "u0@corp.org")
    copy_bob(site, "u1@corp.org", status=1)
    copy_bob(site, "u2@corp.org")
    kinds = {
        "wrong": BOB,
        "disabled": "u1@corp.org",
        "unknown": "nobody@corp.org",
        "no such domain": "x@nowhere.org",
    }
    for kind, user in kinds.items():
        del verified[:]
        assert not log_in_works(site, user, "wrong") and verified == [stored], kind


def test_every_failure_has_one_sentence(site):
    copy_bob(site, "off@corp.org", status=1)
    get_modules(site)
    site("accounts/?update", user_name=BOB, Active=0)
    answers = [
        get_modules(site, user, "test") for user in (BOB, "off@corp.org", "nobody@corp.org", "x@y", "nobody")
    ]
    assert all(answer == answers[0] for answer in answers) and answers[0]["status"] == WRONG_CREDENTIALS


########## A mail server's database that is away ###################################################


@pytest.fixture
def away(site, mariadb):
    """Killed, until the test is over."""
    add_user(site)
    get_modules(site)
    site.mail.server.kill()
    yield site
    if mariadb.process.poll() is not None:
        mariadb.start()


def test_while_it_is_away_its_users_are_told_so_and_administrators_get_in(away):
    assert away("?get_modules", user=BOB, password="test", check=503)["status"] == MAILSERVER_UNREACHABLE
    assert away("?get_modules", user="nobody@corp.org", check=503)["status"] == MAILSERVER_UNREACHABLE
    assert get_modules(away, "root", "pw")["login"] is True
    listed = away("users/?get")
    assert (listed["status"], listed["warning"]) == ("warning", MAILSERVER_UNREACHABLE) and len(
        listed["users"]
    ) == 6


@pytest.mark.parametrize("action", ["add", "delete", "set_password"])
def test_while_it_is_away_nothing_is_changed(away, mariadb, action):
    before = away.dump()
    name = "new@corp.org" if action == "add" else CAROL
    answer = away(f"users/?{action}", user_name=name, user_authdata="new", check=503)
    assert answer["status"] == MAILSERVER_UNREACHABLE and away.dump() == before
    mariadb.start()
    assert (
        log_in_works(away, CAROL, "pw")
        and not log_in_works(away, "new@corp.org", "new")
        and prepared_transactions(away) == []
    )


def test_sessions_go_on_when_it_is_back(site, mariadb):
    browser = log_in_browser(site)
    mariadb.kill()
    assert browser.post("/", status=503).json["status"] == MAILSERVER_UNREACHABLE
    mariadb.start()
    assert is_logged_in(browser)


def test_one_that_hangs_is_away_within_seconds(tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mysql://u:secret@127.0.0.1:{silent.getsockname()[1]}/x"
        site = Site(tmp_path, extra=ACCOUNT, mailserver=url)
        assert ended(lambda: site("?get_modules", user=BOB, check=503))["status"] == MAILSERVER_UNREACHABLE
