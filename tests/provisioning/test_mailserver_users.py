"""`mailserver`: users/ adds, changes, deletes and lists users of the mail server, in both databases or not at all."""

import base64
import hashlib
import json
import threading
import time

import pytest
from mailapi_modules.provisioning import password_schemes as schemes

import mailapi
from support.mailserver_site import (
    ACCOUNT,
    BOB,
    CAROL,
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


@pytest.fixture
def site(site_with_mailserver) -> Site:
    return site_with_mailserver


########## Adding ##################################################################################


def test_add_writes_the_row_as_the_mail_server_has_it(site):
    assert add_user(site)["user"] is True
    number, creator, name, password, domain, modified, created, status, home, *rest = mailserver_row(
        site, CAROL
    )
    assert (number, creator, name, domain, status) == (5, 1, CAROL, 1, 0)
    assert abs(created.timestamp() - time.time()) < 86400 and modified == created
    digits = hashlib.md5(CAROL.encode()).hexdigest()
    assert home == f"/var/atmail/users/{digits[0]}/{digits[1]}/{digits[2]}/{CAROL}"
    assert rest == [None, None, None, None, None, 1024, 0, 1, "Maildir", 1]
    assert schemes.verify("pw", password) and len(base64.b64decode(password.removeprefix("{SSHA256}"))) == 64
    assert log_in_works(site, CAROL, "pw")


def test_the_folder_of_the_example(site):
    site.mail.sql("DELETE FROM accounts")
    add_user(site, BOB)
    assert mailserver_row(site)[8] == "/var/atmail/users/c/a/d/bob@atmail.com"


def test_without_a_password_nobody_can_log_in(site):
    assert add_user(site, user_authdata="")["user"] is True
    assert mailserver_row(site, CAROL)[3].startswith("{SSHA256}")
    assert not log_in_works(site, CAROL, "x") and get_modules(site, CAROL, "")["login"] is False


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
    before = both_databases(site)
    answer = add_user(site, name)
    assert answer["status"] == sentence and answer.get("user") is not True
    assert both_databases(site) == before and prepared_transactions(site) == []


def test_who_exists_is_not_added_again(site):
    add_user(site)
    before = both_databases(site)
    answer = add_user(site, user_authdata="stolen", user_permissions=["admin"])
    assert (answer["status"], answer["user"]) == ("UNIQUE constraint failed: users.user_name", False)
    assert both_databases(site) == before


def test_what_fails_after_it_undoes_it_there_too(site):
    """An alias to nobody, a permission twice: the master refuses, and neither has the user."""
    before = both_databases(site)
    assert add_user(site, user_alias="nobody")["user"] is False
    assert add_user(site, user_permissions=["delegate", "delegate"])["user"] is False
    assert both_databases(site) == before and prepared_transactions(site) == []


def test_a_user_of_the_mail_server_becomes_one_here_without_a_password(site):
    """So that permissions can be given: the master's tables refer to its users."""
    refused = site("users/?add_permission", user_name=BOB, user_permission="admin")
    assert refused["status"] == "FOREIGN KEY constraint failed"
    before = mailserver_row(site)
    assert site("users/?add", user_name=BOB, user_authdata="", user_permissions=["admin"])["user"] is True
    assert mailserver_row(site) == before
    assert get_modules(site)["permissions"] == {"admin": True}


def test_a_delegate_cannot_take_over_a_user_of_the_mail_server(tmp_path, mailserver):
    site = Site(tmp_path, extra=ACCOUNT, mailserver=mailserver.url, delegates_add_users=True)
    site.mail = mailserver
    before = both_databases(site)
    for name in (BOB, "postmaster@atmail.com", "%@corp.org", "carol"):
        assert site("users/?add", user="dele", user_name=name, user_authdata="x")["status"] == "Not allowed"
    assert both_databases(site) == before
    site.sql("INSERT INTO api_address_delegates VALUES ('dele', '%@atmail.com')")
    before = both_databases(site)
    for fields in ({}, {"user_authdata": "stolen"}):
        answer = site("users/?add", user="dele", user_name=BOB, **fields)
        assert (answer["status"], answer["user"]) == (
            "The mailserver has a user bob@atmail.com already.",
            False,
        )
    assert both_databases(site) == before
    assert site("users/?add", user="dele", user_name=CAROL, user_authdata="pw")["user"] is True
    assert site("users/?set_password", user="dele", user_name=CAROL, user_authdata="x")["status"] == "ok"
    assert site("users/?set_password", user="dele", user_name=BOB, user_authdata="x")["status"] == NOT_ALLOWED
    assert log_in_works(site, CAROL, "x") and log_in_works(site, BOB, "test")


########## Changing and deleting ###################################################################


def test_set_password_changes_both(site):
    add_user(site)
    before = mailserver_row(site, CAROL)
    site.mail.sql("UPDATE accounts SET dateModified = '2017-01-01' WHERE username = %s", CAROL)
    assert site("users/?set_password", user_name=CAROL, user_authdata="new")["status"] == "ok"
    after = mailserver_row(site, CAROL)
    assert schemes.verify("new", after[3]) and mailapi.verify(
        "new", *site.sql("SELECT user_authdata FROM users WHERE user_name = ?", CAROL)[0]
    )
    assert after[5].year > 2017 and after[:3] == before[:3] and after[6:] == before[6:]
    assert log_in_works(site, CAROL, "new") and not log_in_works(site, CAROL, "pw")
    site("users/?set_password", user_name=CAROL)
    assert not log_in_works(site, CAROL, "new") and not schemes.verify("new", mailserver_row(site, CAROL)[3])


def test_an_admin_changes_and_deletes_who_is_only_there(site):
    assert site("users/?set_password", user_name=BOB, user_authdata="new")["status"] == "ok"
    assert log_in_works(site, BOB, "new")
    assert site("users/?delete", user_name=BOB)["delete"] == "ok"
    assert (
        mailserver_row(site) is None
        and not log_in_works(site, BOB, "new")
        and site("accounts/?get")["accounts"] == []
    )


def test_delete_removes_both(site):
    add_user(site)
    browser = log_in_browser(site, CAROL, "pw")
    site("users/?delete", user_name=CAROL)
    assert (
        mailserver_row(site, CAROL) is None and mailserver_row(site) is not None and not is_logged_in(browser)
    )
    assert site.sql("SELECT * FROM users WHERE user_name = ?", CAROL) == []


def test_what_the_mail_server_refuses_is_refused(site):
    """Another table of the suite refers to the row."""
    site.mail.sql(
        "CREATE TABLE other (accountId INTEGER, FOREIGN KEY (accountId) REFERENCES accounts (accountId))"
    )
    add_user(site)
    site.mail.sql("INSERT INTO other SELECT accountId FROM accounts WHERE username = %s", CAROL)
    before = both_databases(site)
    answer = site("users/?delete", user_name=CAROL)
    assert "foreign key constraint fails" in answer["status"] and "delete" not in answer
    assert (
        both_databases(site) == before
        and prepared_transactions(site) == []
        and log_in_works(site, CAROL, "pw")
    )


def test_a_column_that_is_too_short_cuts_nothing_off(site, mariadb):
    mariadb.sql("SET GLOBAL sql_mode = ''")
    try:
        site.mail.sql("ALTER TABLE accounts MODIFY username VARCHAR(20) NOT NULL")
        before = both_databases(site)
        answer = add_user(site, "a-rather-long-name@corp.org")
        assert (answer["status"], answer["user"]) == (
            "The database of the mailserver has no place for this. The log has the cause.",
            False,
        )
        assert both_databases(site) == before and prepared_transactions(site) == []
    finally:
        mariadb.sql("SET GLOBAL sql_mode = DEFAULT")


def test_two_administrators_at_once_do_not_get_in_each_others_way(site):
    """Changes of the same and of different users, in ten threads: what is answered ok is so in both."""
    add_user(site)
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
    assert failed == [] and prepared_transactions(site) == []
    for number in range(0, 10, 2):
        assert log_in_works(site, f"user{number}@corp.org", f"pw{number}")
    stored = site.sql("SELECT user_authdata FROM users WHERE user_name = ?", CAROL)[0][0]
    (last,) = [f"pw{number}" for number in range(1, 10, 2) if mailapi.verify(f"pw{number}", stored)]
    assert log_in_works(site, CAROL, last)


########## users/?get ##############################################################################


def test_an_administrator_sees_who_is_only_there(site):
    site.mail.sql("UPDATE accounts SET userStatus = 1")
    add_user(site)
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


def test_the_mail_server_says_whether_its_users_can_log_in(site):
    add_user(site)
    add_user(site, BOB, user_authdata=None)
    site.sql("INSERT INTO api_user_delegates VALUES ('dele', ?)", BOB)
    site.sql("INSERT INTO api_user_delegates VALUES ('dele', ?)", CAROL)
    for status, shut_out in ((0, CAROL), (1, BOB)):
        site.mail.sql("UPDATE accounts SET userStatus = %s WHERE username = %s", status, BOB)
        site.mail.sql("UPDATE accounts SET userStatus = %s WHERE username = %s", 1 - status, CAROL)
        expected = {BOB: int(shut_out != BOB), CAROL: int(shut_out != CAROL)}
        assert log_in_works(site, BOB, "test") == expected[BOB]
        assert log_in_works(site, CAROL, "pw") == expected[CAROL]
        listed = {user["user_name"]: user["has_login"] for user in site("users/?get")["users"]}
        assert listed == {"root": 1, "ann": 1, "bob": 1, "dele": 1, "nologin": 0} | expected
        listed = {user["user_name"]: user["user_login"] for user in site("users/?get", user="dele")["users"]}
        assert listed == {"ann": 1, "dele": 1} | expected
        for name in (BOB, CAROL):
            assert site("users/?get", username=name)["users"][0]["user_login"] == expected[name]


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
