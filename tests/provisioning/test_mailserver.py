"""`mailserver`: who logs in by the mail server's database; it and `users` are changed together or not at all."""

import base64
import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from mailapi_modules.provisioning import password_schemes as schemes

import mailapi
from support.command_line import on_terminal
from support.counting import ended
from support.mariadb import TEST
from support.site import OPTIONAL, ROOT, Site, authdata

pytestmark = pytest.mark.slow

ACCOUNT = {"Account": OPTIONAL["Account"]}
WRONG, NO = "Username or password is wrong.", "Not allowed."
AWAY = "The database of the mailserver cannot be reached. Try again."
BOB, CAROL = "bob@atmail.com", "carol@corp.org"
# What a test does in the middle of a change, when another module can: "prepared" in MariaDB, "committed" in SQLite.
CRASH = """
import os
from mailapi import Participant, Module

class Crash(Module):
    moment = os.environ.get("CRASH")

    def act(self):
        os.kill(os.getpid(), 9)

    def on_user_change(self, call, change, user_name, password):
        if self.moment == "prepared":
            self.act()
        if self.moment == "committed":
            call.participants.insert(0, self)

    def rollback(self): pass
    def commit(self): self.act()
"""


@pytest.fixture
def site(tmp_path, mailserver) -> Site:
    (tmp_path / "crash.py").write_text(CRASH)
    extra = ACCOUNT | {"Crash": str(tmp_path / "crash.py")}
    found = Site(tmp_path, extra=extra, mailserver=mailserver.url)
    found.mail = mailserver
    (tmp_path / "config.py").write_text(
        "\n".join(f"{key} = {value!r}" for key, value in found.config.items())
    )
    return found


def get_modules(site, user=BOB, password="test", **fields) -> dict:
    return site("?get_modules", user=user, password=password, **fields)


def works(site, user, password) -> bool:
    answer = get_modules(site, user, password)
    assert answer["status"] == ("ok" if answer["login"] else WRONG)
    return answer["login"]


def row(site, user=BOB) -> tuple | None:
    return next(iter(site.mail.sql("SELECT * FROM accounts WHERE BINARY username = %s", user)), None)


def everything(site) -> list:
    """Both databases, whole."""
    return [site.dump(), site.mail.sql("SELECT * FROM accounts ORDER BY accountId")]


def copy(site, user, status=0):
    """Another user of the mail server's, with bob's password."""
    site.mail.sql(
        "INSERT INTO accounts SELECT NULL, 1, %s, password, 1, dateModified, dateCreate, %s, '', NULL, NULL, NULL,"
        " NULL, NULL, 1, 0, 1, '', 1 FROM accounts WHERE accountId = 4",
        user,
        status,
    )


def browser_of(site, user=BOB, password="test"):
    browser = site.browser()
    assert browser.post_json("/", {"auth": {"user_name": user, "password": password}}).json["login"]
    return browser


def logged_in(browser) -> bool:
    return browser.post("/").json["login"]


def in_doubt(site) -> list:
    return site.mail.sql("XA RECOVER")


def add(site, user=CAROL, **fields) -> dict:
    return site("users/?add", user_name=user, **({"user_authdata": "pw"} | fields))


########## Logging in ##############################################################################


def test_who_exists_only_in_the_mail_server_logs_in(site):
    before = everything(site)
    assert works(site, BOB, "test") and not works(site, BOB, "Test") and not works(site, BOB, TEST)
    assert everything(site) == before
    (account,) = site("accounts/?get", user=BOB, password="test")["accounts"]
    assert (account["idUsers"], account["Name"]) == (4, BOB)  # its accountId


def test_the_numbers_of_the_original(site):
    """idAccount 3, idUsers 4, service accounts 8, 9 and 10, where two accounts and seven numbers were before."""
    works(site, "ann", "pw")
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
        assert works(site, user, "pw")
    assert site("accounts/?get")["accounts"] == []
    assert site("accounts/?provision", user_name="ann")["status"] == "There is no such user."


@pytest.mark.parametrize(("scheme", "digest"), [("SSHA512", "sha512"), ("SSHA", "sha1")])
def test_other_schemes(site, scheme, digest):
    made = hashlib.new(digest, b"pw" + b"saltsalt").digest() + b"saltsalt"
    site.mail.sql("UPDATE accounts SET password = %s", f"{{{scheme}}}{base64.b64encode(made).decode()}")
    assert works(site, BOB, "pw") and not works(site, BOB, "test")


@pytest.mark.parametrize("stored", ["{PLAIN-MD5}098f6bcd4621d373cade4e832627b4f6", "{PLAIN}test", "test", ""])
def test_refused_schemes(site, stored):
    site.mail.sql("UPDATE accounts SET password = %s", stored)
    assert not works(site, BOB, "test") and not works(site, BOB, stored or "x")


@pytest.mark.parametrize("status", [1, 2, -1])
def test_a_status_other_than_0_is_like_a_wrong_password_and_ends_sessions_and_tokens(site, status):
    browser = browser_of(site)
    token = site("tokens/?add", user=BOB, password="test", token_name="t")["token"]
    bearer = site.browser(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert logged_in(browser) and logged_in(bearer)
    site.mail.sql("UPDATE accounts SET userStatus = %s", status)
    assert not works(site, BOB, "test") and not logged_in(browser) and not logged_in(bearer)
    site.mail.sql("UPDATE accounts SET userStatus = 0")
    assert works(site, BOB, "test") and logged_in(browser) and logged_in(bearer)


def test_a_password_changed_or_a_row_deleted_by_the_mail_server_ends_sessions_and_tokens(site):
    browser = browser_of(site)
    token = site("tokens/?add", user=BOB, password="test", token_name="t")["token"]
    bearer = site.browser(HTTP_AUTHORIZATION=f"Bearer {token}")
    site.mail.sql("UPDATE accounts SET password = %s", schemes.make("new"))
    assert not logged_in(browser) and not logged_in(bearer) and works(site, BOB, "new")
    browser = browser_of(site, password="new")
    site.mail.sql("DELETE FROM accounts")
    assert not logged_in(browser) and not works(site, BOB, "new")


def test_of_who_is_in_both_the_mail_servers_password_counts(site):
    """As everywhere else in the suite: a password changed there is no longer good here."""
    add(site)
    site.mail.sql("UPDATE accounts SET password = %s WHERE username = %s", schemes.make("theirs"), CAROL)
    assert works(site, CAROL, "theirs") and not works(site, CAROL, "pw")
    site.mail.sql("UPDATE accounts SET userStatus = 1 WHERE username = %s", CAROL)
    assert not works(site, CAROL, "theirs") and not works(site, CAROL, "pw")


def test_who_was_shut_out_before_there_was_a_mail_server_still_is(tmp_path, mailserver):
    site = Site(tmp_path, extra=ACCOUNT)
    assert works(site, "ann", "pw")
    site("accounts/?update", user_name="ann", Active=0)
    site.app = mailapi.create_app(site.config | {"mailserver": mailserver.url})
    assert not works(site, "ann", "pw") and works(site, "bob", "pw")


def test_an_address_that_only_the_master_knows_logs_in_by_it(site):
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES ('old@corp.org', ?)", authdata("pw"))
    assert works(site, "old@corp.org", "pw") and not works(site, "old@corp.org", "test")
    site.sql("INSERT INTO users (user_name) VALUES ('none@corp.org')")
    assert not works(site, "none@corp.org", "test")


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
    before = everything(site)
    for name in NOT_BOB:
        assert not works(site, name, "test")
        assert site("users/?get", username=name)["users"] == []
        site("users/?set_password", user_name=name, user_authdata="stolen")
        site("users/?delete", user_name=name)
    assert everything(site) == before and works(site, BOB, "test")


def test_letters_that_the_table_does_not_have_are_refused(site):
    site.mail.sql("ALTER TABLE accounts MODIFY username VARCHAR(255) COLLATE latin1_swedish_ci NOT NULL")
    before = everything(site)
    answer = add(site, "\U0001f600@atmail.com")
    assert (answer["status"], answer["user"]) == (
        "The database of the mailserver has no place for this. The log has the cause.",
        False,
    )
    assert everything(site) == before


def test_a_name_that_differs_in_case_only_cannot_be_added(site):
    before = everything(site)
    answer = add(site, "Bob@atmail.com")
    assert (answer["status"], answer["user"]) == ("The mailserver has a user bob@atmail.com already.", False)
    assert everything(site) == before


def test_their_own_password_by_session_keeps_that_session_only(site):
    mine, other = browser_of(site), browser_of(site)
    answer = mine.post_json("/users/?set_password", {"user_name": BOB, "user_authdata": "new"}).json
    assert answer["status"] == "ok" and logged_in(mine) and not logged_in(other)
    assert works(site, BOB, "new") and not works(site, BOB, "test")
    mine.post_json("/users/?set_password", {"user_name": BOB})
    assert not logged_in(mine) and not works(site, BOB, "new")


########## The same work for every failure (docs/wire.md F18) ##############################################


@pytest.mark.parametrize("scheme", ["{SSHA256}", "{CRYPT}"])
def test_unknown_wrong_and_disabled_cost_the_same(site, scheme, monkeypatch):
    """One password is verified, against a hash that the mail server's users have."""
    verify, verified = schemes.verify, []
    monkeypatch.setattr(
        schemes, "verify", lambda given, stored: verified.append(stored) or verify(given, stored)
    )
    stored = (
        TEST if scheme == "{SSHA256}" else scheme + schemes.crypt("test", "$6$rounds=60000$saltsaltsaltsalt")
    )
    site.mail.sql("UPDATE accounts SET password = %s", stored)
    copy(site, "u0@corp.org")
    copy(site, "u1@corp.org", status=1)
    copy(site, "u2@corp.org")
    kinds = {
        "wrong": BOB,
        "disabled": "u1@corp.org",
        "unknown": "nobody@corp.org",
        "no such domain": "x@nowhere.org",
    }
    for kind, user in kinds.items():
        del verified[:]
        assert not works(site, user, "wrong") and verified == [stored], kind


def test_every_failure_has_one_sentence(site):
    copy(site, "off@corp.org", status=1)
    get_modules(site)
    site("accounts/?update", user_name=BOB, Active=0)
    answers = [
        get_modules(site, user, "test") for user in (BOB, "off@corp.org", "nobody@corp.org", "x@y", "nobody")
    ]
    assert all(answer == answers[0] for answer in answers) and answers[0]["status"] == WRONG


########## Adding ##################################################################################


def test_add_writes_the_row_as_the_mail_server_has_it(site):
    assert add(site)["user"] is True
    number, creator, name, password, domain, modified, created, status, home, *rest = row(site, CAROL)
    assert (number, creator, name, domain, status) == (5, 1, CAROL, 1, 0)
    assert abs(created.timestamp() - time.time()) < 86400 and modified == created
    digits = hashlib.md5(CAROL.encode()).hexdigest()
    assert home == f"/var/atmail/users/{digits[0]}/{digits[1]}/{digits[2]}/{CAROL}"
    assert rest == [None, None, None, None, None, 1024, 0, 1, "Maildir", 1]
    assert schemes.verify("pw", password) and len(base64.b64decode(password.removeprefix("{SSHA256}"))) == 64
    assert works(site, CAROL, "pw")


def test_the_folder_of_the_example(site):
    site.mail.sql("DELETE FROM accounts")
    add(site, BOB)
    assert row(site)[8] == "/var/atmail/users/c/a/d/bob@atmail.com"


def test_without_a_password_nobody_can_log_in(site):
    assert add(site, user_authdata="")["user"] is True
    assert row(site, CAROL)[3].startswith("{SSHA256}")
    assert not works(site, CAROL, "x") and get_modules(site, CAROL, "")["login"] is False


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("carol@nowhere.org", "The mailserver has no domain nowhere.org."),
        ("carol@CORP.org", "The mailserver has no domain CORP.org."),
        ("carol@corp.org ", "Username is not allowed. "),
        ("carol@corp\xad.org", "Username is not allowed. "),
        ("ｃarol@corp.org", "With a mailserver a user name must be a mail address."),
        ("carol", "With a mailserver a user name must be a mail address."),
        ("@corp.org", "With a mailserver a user name must be a mail address."),
        ("a@b@corp.org", "With a mailserver a user name must be a mail address."),
        ("../../../etc@corp.org", "With a mailserver a user name must be a mail address."),
        ("..@corp.org", "With a mailserver a user name must be a mail address."),
        (".carol@corp.org", "With a mailserver a user name must be a mail address."),
        ("a/b@corp.org", "With a mailserver a user name must be a mail address."),
        ("carol@../corp.org", "With a mailserver a user name must be a mail address."),
        ("ca rol@corp.org", "With a mailserver a user name must be a mail address."),
        ("carol\n@corp.org", "Username is not allowed. "),
        ("x" * 247 + "@corp.org", "With a mailserver a user name must be a mail address."),
        (BOB, "The mailserver has a user bob@atmail.com already."),
    ],
)
def test_a_name_that_the_mail_server_cannot_have_is_added_nowhere(site, name, sentence):
    before = everything(site)
    answer = add(site, name)
    assert answer["status"] == sentence and answer.get("user") is not True
    assert everything(site) == before and in_doubt(site) == []


def test_who_exists_is_not_added_again(site):
    add(site)
    before = everything(site)
    answer = add(site, user_authdata="stolen", user_permissions=["admin"])
    assert (answer["status"], answer["user"]) == ("UNIQUE constraint failed: users.user_name", False)
    assert everything(site) == before


def test_what_fails_after_it_undoes_it_there_too(site):
    """An alias to nobody, a permission twice: the master refuses, and neither has the user."""
    before = everything(site)
    assert add(site, user_alias="nobody")["user"] is False
    assert add(site, user_permissions=["delegate", "delegate"])["user"] is False
    assert everything(site) == before and in_doubt(site) == []


def test_a_user_of_the_mail_server_becomes_one_here_without_a_password(site):
    """So that permissions can be given: the master's tables refer to its users."""
    refused = site("users/?add_permission", user_name=BOB, user_permission="admin")
    assert refused["status"] == "FOREIGN KEY constraint failed"
    before = row(site)
    assert site("users/?add", user_name=BOB, user_authdata="", user_permissions=["admin"])["user"] is True
    assert row(site) == before
    assert get_modules(site)["permissions"] == {"admin": True}


def test_a_delegate_cannot_take_over_a_user_of_the_mail_server(tmp_path, mailserver):
    site = Site(tmp_path, extra=ACCOUNT, mailserver=mailserver.url, delegates_add_users=True)
    site.mail = mailserver
    before = everything(site)
    for name in (BOB, "postmaster@atmail.com", "%@corp.org", "carol"):
        assert site("users/?add", user="dele", user_name=name, user_authdata="x")["status"] == "Not allowed"
    assert everything(site) == before
    site.sql("INSERT INTO api_address_delegates VALUES ('dele', '%@atmail.com')")
    before = everything(site)
    for fields in ({}, {"user_authdata": "stolen"}):
        answer = site("users/?add", user="dele", user_name=BOB, **fields)
        assert (answer["status"], answer["user"]) == (
            "The mailserver has a user bob@atmail.com already.",
            False,
        )
    assert everything(site) == before
    assert site("users/?add", user="dele", user_name=CAROL, user_authdata="pw")["user"] is True
    assert site("users/?set_password", user="dele", user_name=CAROL, user_authdata="x")["status"] == "ok"
    assert site("users/?set_password", user="dele", user_name=BOB, user_authdata="x")["status"] == NO
    assert works(site, CAROL, "x") and works(site, BOB, "test")


########## Changing and deleting ###################################################################


def test_set_password_changes_both(site):
    add(site)
    before = row(site, CAROL)
    site.mail.sql("UPDATE accounts SET dateModified = '2017-01-01' WHERE username = %s", CAROL)
    assert site("users/?set_password", user_name=CAROL, user_authdata="new")["status"] == "ok"
    after = row(site, CAROL)
    assert schemes.verify("new", after[3]) and mailapi.verify(
        "new", *site.sql("SELECT user_authdata FROM users WHERE user_name = ?", CAROL)[0]
    )
    assert after[5].year > 2017 and after[:3] == before[:3] and after[6:] == before[6:]
    assert works(site, CAROL, "new") and not works(site, CAROL, "pw")
    site("users/?set_password", user_name=CAROL)
    assert not works(site, CAROL, "new") and not schemes.verify("new", row(site, CAROL)[3])


def test_an_admin_changes_and_deletes_who_is_only_there(site):
    assert site("users/?set_password", user_name=BOB, user_authdata="new")["status"] == "ok"
    assert works(site, BOB, "new")
    assert site("users/?delete", user_name=BOB)["delete"] == "ok"
    assert row(site) is None and not works(site, BOB, "new") and site("accounts/?get")["accounts"] == []


def test_delete_removes_both(site):
    add(site)
    browser = browser_of(site, CAROL, "pw")
    site("users/?delete", user_name=CAROL)
    assert row(site, CAROL) is None and row(site) is not None and not logged_in(browser)
    assert site.sql("SELECT * FROM users WHERE user_name = ?", CAROL) == []


def test_what_the_mail_server_refuses_is_refused(site):
    """Another table of the suite refers to the row."""
    site.mail.sql(
        "CREATE TABLE other (accountId INTEGER, FOREIGN KEY (accountId) REFERENCES accounts (accountId))"
    )
    add(site)
    site.mail.sql("INSERT INTO other SELECT accountId FROM accounts WHERE username = %s", CAROL)
    before = everything(site)
    answer = site("users/?delete", user_name=CAROL)
    assert "foreign key constraint fails" in answer["status"] and "delete" not in answer
    assert everything(site) == before and in_doubt(site) == [] and works(site, CAROL, "pw")


def test_a_column_that_is_too_short_cuts_nothing_off(site, mariadb):
    mariadb.sql("SET GLOBAL sql_mode = ''")
    try:
        site.mail.sql("ALTER TABLE accounts MODIFY username VARCHAR(20) NOT NULL")
        before = everything(site)
        answer = add(site, "a-rather-long-name@corp.org")
        assert (answer["status"], answer["user"]) == (
            "The database of the mailserver has no place for this. The log has the cause.",
            False,
        )
        assert everything(site) == before and in_doubt(site) == []
    finally:
        mariadb.sql("SET GLOBAL sql_mode = DEFAULT")


def test_two_administrators_at_once_do_not_get_in_each_others_way(site):
    """Changes of the same and of different users, in ten threads: what is answered ok is so in both."""
    add(site)
    failed = []

    def change(number):
        user = CAROL if number % 2 else f"user{number}@corp.org"
        action = "set_password" if number % 2 else "add"
        answer = site.raw(
            f"users/?{action}",
            json.dumps(
                {
                    "user_name": user,
                    "user_authdata": f"pw{number}",
                    "auth": {"user_name": "root", "password": "pw"},
                }
            ).encode(),
            check="*",
        )
        if answer["status"] != "ok":
            failed.append(answer["status"])

    threads = [threading.Thread(target=change, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [] and in_doubt(site) == []
    for number in range(0, 10, 2):
        assert works(site, f"user{number}@corp.org", f"pw{number}")
    stored = site.sql("SELECT user_authdata FROM users WHERE user_name = ?", CAROL)[0][0]
    (last,) = [f"pw{number}" for number in range(1, 10, 2) if mailapi.verify(f"pw{number}", stored)]
    assert works(site, CAROL, last)


########## users/?get ##############################################################################


def test_an_administrator_sees_who_is_only_there(site):
    site.mail.sql("UPDATE accounts SET userStatus = 1")
    add(site)
    users = {user["user_name"]: user for user in site("users/?get")["users"]}
    assert list(users) == sorted(users) and len(users) == 7
    assert users[BOB] == {
        "user_name": BOB,
        "has_login": 0,
        "user_alias": None,
        "user_database": None,
        "link_count": None,
        "mails": 0,
        "modules": [],
    }
    assert list(users[BOB]) == list(users[CAROL])
    (one,) = site("users/?get", username=BOB)["users"]
    assert one == {
        "user_name": BOB,
        "user_login": 0,
        "user_alias": None,
        "modules": [],
        "user_permissions": [],
    }
    assert list(one) == list(site("users/?get", username=CAROL)["users"][0])
    assert [user["user_name"] for user in site("users/?get&limit=3")["users"]] == sorted(users)[:3]


def test_they_see_themselves_and_nobody_else(site):
    assert [user["user_name"] for user in site("users/?get", user=BOB, password="test")["users"]] == [BOB]
    for page, found in (
        ("limit=1", [BOB]),
        (f"after={BOB}", []),
        ("after=a", [BOB]),
        ("search=bob", [BOB]),
        ("search=x", []),
    ):
        assert [
            u["user_name"] for u in site(f"users/?get&{page}", user=BOB, password="test")["users"]
        ] == found
    refused = site("users/?get", user="ann", username=BOB)
    assert refused["users"] == [] and "(not the user)" in refused["status"]
    assert [user["user_name"] for user in site("users/?get", user="dele")["users"]] == ["ann", "dele"]


def test_generation_8_has_its_own_words(tmp_path, mailserver):
    site = Site(tmp_path, generation=8, extra=ACCOUNT, mailserver=mailserver.url)
    listed = site("users/?get")["users"]
    assert listed[2] == {"user_name": BOB, "user_login": 1, "user_alias": None, "modules": []}
    assert list(listed[0]) == list(listed[2])
    (one,) = site("users/?get", user=BOB, password="test")["users"]
    assert one == {"user_name": BOB, "user_login": 1, "user_alias": None, "modules": [], "user_rights": []}


########## A mail server's database that is away ###################################################


@pytest.fixture
def away(site, mariadb):
    """Killed, until the test is over."""
    add(site)
    get_modules(site)
    site.mail.server.kill()
    yield site
    if mariadb.process.poll() is not None:
        mariadb.start()


def test_while_it_is_away_its_users_are_told_so_and_administrators_get_in(away):
    assert away("?get_modules", user=BOB, password="test", check=503)["status"] == AWAY
    assert away("?get_modules", user="nobody@corp.org", check=503)["status"] == AWAY
    assert get_modules(away, "root", "pw")["login"] is True
    listed = away("users/?get")
    assert (listed["status"], listed["warning"]) == ("warning", AWAY) and len(listed["users"]) == 6


@pytest.mark.parametrize("action", ["add", "delete", "set_password"])
def test_while_it_is_away_nothing_is_changed(away, mariadb, action):
    before = away.dump()
    name = "new@corp.org" if action == "add" else CAROL
    answer = away(f"users/?{action}", user_name=name, user_authdata="new", check=503)
    assert answer["status"] == AWAY and away.dump() == before
    mariadb.start()
    assert works(away, CAROL, "pw") and not works(away, "new@corp.org", "new") and in_doubt(away) == []


def test_sessions_go_on_when_it_is_back(site, mariadb):
    browser = browser_of(site)
    mariadb.kill()
    assert browser.post("/", status=503).json["status"] == AWAY
    mariadb.start()
    assert logged_in(browser)


def test_one_that_hangs_is_away_within_seconds(tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mysql://u:secret@127.0.0.1:{silent.getsockname()[1]}/x"
        site = Site(tmp_path, extra=ACCOUNT, mailserver=url)
        assert ended(lambda: site("?get_modules", user=BOB, check=503))["status"] == AWAY


########## Between the two #########################################################################


CHANGES = {
    "add": ("new@corp.org", "pw", "new"),
    "delete": (CAROL, "pw", None),
    "set_password": (CAROL, "pw", "new"),
}


def in_step(site, user) -> str | None:
    """The password that a user has in both databases."""
    stored, there = site.sql("SELECT user_authdata FROM users WHERE user_name = ?", user), row(site, user)
    assert bool(stored) == bool(there), "only in one of them"
    fitting = [word for word in ("pw", "new") if stored and mailapi.verify(word, stored[0][0])]
    assert fitting == [word for word in ("pw", "new") if there and schemes.verify(word, there[3])]
    return fitting[0] if fitting else None


def killed_at(site, moment: str, action: str, *fields: str):
    """An action of `mailapi call users` that is killed at that moment, and MariaDB has noticed it."""

    def connections() -> set:
        return set(site.mail.sql("SELECT id FROM information_schema.processlist WHERE user = 'mail'"))

    before, until = connections(), time.monotonic() + 60
    done = subprocess.run(
        [sys.executable, str(ROOT / "mailapi.py"), "call", "users", action, *fields],
        cwd=site.dbpath.parent,
        env=os.environ | {"CRASH": moment},
    )
    assert done.returncode == -signal.SIGKILL
    while connections() - before:
        assert time.monotonic() < until, "MariaDB keeps a killed client's connection"
        time.sleep(0.01)


def mend(site, how: str, user: str):
    """What is left is mended by the next log-in of the user, or by the command."""
    if how == "log-in":
        assert get_modules(site, user, "whatever")["login"] is False
    else:
        said = check(site, "--repair")
        assert "ok    Account: mailserver: 0 changes in doubt, 1 brought to an end" in said


def check(site, *options, code=0) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "mailapi.py"), "check", *options],
        cwd=site.dbpath.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("how", ["log-in", "check --repair"])
@pytest.mark.parametrize("action", CHANGES)
def test_the_server_killed_between_the_two(site, mariadb, action, how):
    """Prepared there, committed here, killed before it could commit: it does so when somebody comes by."""
    add(site)
    user, _, after = CHANGES[action]
    crash = site.app.modules["crash"]
    crash.moment, crash.act = "committed", mariadb.kill
    try:
        answer = site(f"users/?{action}", user_name=user, user_authdata="new")
        assert answer["status"] == "ok"
    finally:
        mariadb.start()
    crash.moment = None
    assert len(in_doubt(site)) == 1  # what is left
    mend(site, how, user)
    assert in_doubt(site) == [] and in_step(site, user) == after


@pytest.mark.parametrize("how", ["log-in", "check --repair"])
@pytest.mark.parametrize("moment", ["prepared", "committed"])
@pytest.mark.parametrize("action", CHANGES)
def test_the_api_killed_between_the_two(site, action, moment, how):
    """Before the master's commit the change is undone there, after it it is done."""
    add(site)
    user, before, after = CHANGES[action]
    before = None if action == "add" else before
    killed_at(site, moment, action, f"user_name={user}", *(["user_authdata=new"] if after else []))
    assert len(in_doubt(site)) == 1
    mend(site, how, user)
    assert in_doubt(site) == [] and in_step(site, user) == (before if moment == "prepared" else after)


@pytest.mark.parametrize("action", CHANGES)
def test_a_commit_that_fails_because_a_daemon_reads_undoes_it_there(site, action):
    """docs/wire.md F36: nothing changed, in either."""
    add(site)
    user = CHANGES[action][0]
    before = everything(site)
    site.app.db.connect()
    site.app.db.database.timeout = 0.2
    site.app.db.close()
    with contextlib.closing(sqlite3.connect(site.dbpath, isolation_level=None)) as daemon:
        daemon.execute("BEGIN")
        daemon.execute("SELECT * FROM users").fetchall()
        answer = site(f"users/?{action}", user_name=user, user_authdata="new", check=503)
        assert answer["status"] == "The database is busy. Try again."
    assert everything(site) == before and in_doubt(site) == []


def test_another_change_waits_for_what_is_in_doubt_and_mends_it(site):
    """The next change of the same user is made over what the last one has left."""
    add(site)
    killed_at(site, "committed", "set_password", f"user_name={CAROL}", "user_authdata=new")
    assert len(in_doubt(site)) == 1
    assert site("users/?set_password", user_name=CAROL, user_authdata="pw")["status"] == "ok"
    assert in_doubt(site) == [] and in_step(site, CAROL) == "pw"


def test_a_change_that_mends_and_then_fails_leaves_what_was_mended(site):
    add(site)
    killed_at(site, "committed", "set_password", f"user_name={CAROL}", "user_authdata=new")
    crash = site.app.modules["crash"]
    crash.moment = "prepared"

    def fail():
        raise mailapi.ApiError("no")

    crash.act = fail
    assert site("users/?set_password", user_name=CAROL, user_authdata="pw")["status"] == "no"
    assert in_doubt(site) == [] and in_step(site, CAROL) == "new"


def test_what_is_under_way_is_not_taken_for_a_crash(site):
    """A change of a live process, seen prepared by a log-in in another: it ends as its own process says."""
    add(site)
    crash = site.app.modules["crash"]
    crash.moment = "committed"
    crash.act = lambda: said.append(
        subprocess.run(
            [sys.executable, str(ROOT / "mailapi.py"), "check", "--repair"],
            cwd=site.dbpath.parent,
            capture_output=True,
            text=True,
        ).stdout
    )
    said = []
    assert site("users/?set_password", user_name=CAROL, user_authdata="new")["status"] == "ok"
    assert "FAIL  Account: mailserver: 1 changes in doubt, 0 brought to an end" in said[0]
    assert in_doubt(site) == [] and in_step(site, CAROL) == "new"


def test_changes_of_others_are_left_alone(site):
    """Of another installation on the same server, and of another program."""
    others = ["'mailapi-000000000000-x','y'", "'program','z'"]
    import pymysql

    for number, xid in enumerate(others):
        connection = pymysql.connect(
            unix_socket=str(site.mail.server.folder / "socket"), user="root", database=site.mail.name
        )
        with connection.cursor() as cursor:
            change = f"UPDATE domains SET domainName = 'x{number}' WHERE domainId = {number + 1}"
            for statement in (f"XA START {xid}", change, f"XA END {xid}", f"XA PREPARE {xid}"):
                cursor.execute(statement)
        connection.close()
    try:
        assert works(site, BOB, "test")
        assert "0 changes in doubt" in check(site, "--repair")
        assert len(in_doubt(site)) == 2
    finally:
        for xid in others:
            site.mail.sql(f"XA ROLLBACK {xid}")


########## The command line ########################################################################


def test_check_tells_what_is_there_and_what_is_not_in_step(site):
    get_modules(site)
    lines = check(site).splitlines()
    assert lines[-3:] == [
        "ok    Account: accounts: 1",
        "ok    Account: mailserver: 0 changes in doubt",
        "ok    Account: mailserver: 1 users",
    ]
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES ('old@corp.org', ?)", authdata("pw"))
    site.mail.sql("DELETE FROM accounts")
    said = check(site, code=1)
    assert "FAIL  Account: account of bob@atmail.com, who is no user" in said
    assert "FAIL  Account: mailserver: 1 users are only in `users`, such as old@corp.org" in said
    assert "any more: deleted" in check(site, "--repair", code=1) and "accounts: 0" in check(site, code=1)


def test_check_says_what_is_wrong_with_the_database(site):
    site.mail.sql("ALTER TABLE accounts DROP COLUMN quota")
    assert "FAIL  Account: The database of the mailserver cannot be used." in check(site, code=1)


def call(site, *arguments) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "mailapi.py"), "call", *arguments],
        cwd=site.dbpath.parent,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_list_is_a_table_on_a_terminal(site):
    get_modules(site)
    said = on_terminal(site.dbpath.parent, "call", "accounts", "get").decode().splitlines()
    assert said[0].split() == [
        "idAccount",
        "idUsers",
        "Name",
        "IsPrimary",
        "Active",
        "idMailAccount",
        "idContactAccount",
        "idCalendarAccount",
        "services",
    ]
    assert said[1].split(maxsplit=8) == [
        "1",
        "4",
        BOB,
        "1",
        "1",
        "1",
        "2",
        "3",
        "mail 1 ok, contacts 2 ok, calendar 3 ok",
    ]
    assert len(said) == 2


def test_call_works_for_accounts_and_for_users_of_the_mail_server(site):
    get_modules(site)
    code, said = call(site, "accounts", "get")
    assert code == 0 and json.loads(said)["accounts"][0]["Name"] == BOB
    assert json.loads(call(site, "--as", BOB, "users", "get")[1])["users"][0]["user_name"] == BOB
    code, said = call(site, "--as", "nobody@atmail.com", "users", "get")
    assert code == 1 and said == "mailapi: There is no user nobody@atmail.com.\n"
    assert call(site, "users", "set_password", f"user_name={BOB}", "user_authdata=new")[0] == 0
    assert works(site, BOB, "new")
