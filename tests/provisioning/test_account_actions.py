"""accounts/: who may do what, and what it does."""

import json

import pytest

from support.accounts import (
    ACCOUNT,
    ACCOUNT_NOT_FOUND,
    NOT_ALLOWED,
    WRONG_CREDENTIALS,
    account_of,
    get_modules,
    service_numbers,
)
from support.bearers import make_token, token_works
from support.browsers import log_in
from support.site import Site, authdata

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path, extra=ACCOUNT)


def test_everybody_sees_whom_they_may_act_for(site_with_accounts):
    for user in ("root", "dele", "ann", "bob"):
        get_modules(site_with_accounts, user)

    def seen(user, **fields):
        return [row["Name"] for row in site_with_accounts("accounts/?get", user=user, **fields)["accounts"]]

    assert seen("root") == ["ann", "bob", "dele", "root"]
    assert seen("dele") == ["ann", "dele"] and seen("ann") == ["ann"]
    assert seen("dele", user_name="ann") == ["ann"] and seen("root", user_name="nobody") == []
    refused = site_with_accounts("accounts/?get", user="ann", user_name="dele")
    assert refused["status"] == NOT_ALLOWED and "accounts" not in refused


@pytest.mark.parametrize("name", ["bob' OR '1'='1", "%", "b_b", "BOB", "bob ", "bob\t", 'bob" --', "böb"])
def test_a_name_is_that_name_only(site_with_accounts, name):
    get_modules(site_with_accounts)
    assert site_with_accounts("accounts/?get", user_name=name)["accounts"] == []
    assert site_with_accounts("accounts/?update", user_name=name, Active=0)["status"] == ACCOUNT_NOT_FOUND
    assert site_with_accounts("accounts/?delete", user_name=name)["status"] == ACCOUNT_NOT_FOUND
    site_with_accounts.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", name, authdata("pw"))
    assert get_modules(site_with_accounts, name)["auth_user"] == name
    assert account_of(site_with_accounts, name)["Name"] == name
    assert account_of(site_with_accounts)["idAccount"] != account_of(site_with_accounts, name)["idAccount"]


@pytest.mark.sqlite
def test_a_name_too_long_for_an_account_logs_in_without(site_with_accounts):
    name = "x" * 256
    site_with_accounts("users/?add", user_name=name, user_authdata="pw")
    assert get_modules(site_with_accounts, name)["login"] is True
    refused = site_with_accounts("accounts/?provision", user_name=name)
    assert refused["status"] == "A user name of more than 255 characters has no account."
    assert account_of(site_with_accounts, name) is None


def test_provision_makes_accounts_now(site_with_accounts):
    answer = site_with_accounts("accounts/?provision", user_name="bob", provision=5)
    assert service_numbers(answer["accounts"][0]) == [4, 5, None]  # root, who asks, was first
    answer = site_with_accounts("accounts/?provision", user_name="bob", provision="2")
    assert (
        service_numbers(answer["accounts"][0]) == service_numbers(account_of(site_with_accounts)) == [4, 5, 6]
    )
    assert site_with_accounts("accounts/?provision", user_name="nobody")["status"] == "There is no such user."
    assert account_of(site_with_accounts, "nobody") is None


@pytest.mark.parametrize("mask", [8, -1, "x", [], True, 1.5])
def test_provision_refuses_what_is_no_mask(site, mask):
    answer = site("accounts/?provision", user_name="bob", provision=mask, check=400)
    assert answer["status"] == "Invalid value for provision." and account_of(site) is None


def test_inactive_ends_log_ins_sessions_and_tokens_and_active_restores(site_with_accounts):
    browser, token = log_in(site_with_accounts), make_token(site_with_accounts)
    assert browser.post("/").json["login"] and token_works(site_with_accounts, token)
    assert site_with_accounts("accounts/?update", user_name="bob", Active=0)["status"] == "ok"
    assert account_of(site_with_accounts)["Active"] == 0
    assert browser.post("/").json["login"] is False
    assert not token_works(site_with_accounts, token)
    assert (
        get_modules(site_with_accounts)["status"] == WRONG_CREDENTIALS
        and get_modules(site_with_accounts, "ann")["login"] is True
    )
    assert site_with_accounts("accounts/?update", user_name="bob", Active=1)["status"] == "ok"
    assert browser.post("/").json["login"] is False  # that session is over
    assert get_modules(site_with_accounts)["login"] is True and token_works(site_with_accounts, token)


def test_inactive_counts_in_the_middle_of_a_session_whoever_set_it(site):
    browser = site.browser()
    browser.post_json("/", {"auth": {"user_name": "bob", "password": "pw"}})
    with site.app.state.transaction():
        site.app.state.run("UPDATE Accounts SET Active = 0 WHERE Name = 'bob'")
    assert browser.post("/pop/?add", json.dumps({"pop_user": "bob"})).json["login"] is False
    assert site.sql("SELECT * FROM popd") == []


@pytest.mark.parametrize(
    ("value", "status", "http"),
    [
        (None, "Active is not set.", 200),
        ("", "Invalid value for Active.", 400),
        (2, "Invalid value for Active.", 400),
        ("no", "Invalid value for Active.", 400),
        ([], "Invalid value for Active.", 400),
    ],
)
def test_active_is_0_or_1(site, value, status, http):
    get_modules(site)
    assert site("accounts/?update", user_name="bob", Active=value, check=http)["status"] == status
    assert account_of(site)["Active"] == 1


@pytest.mark.parametrize("value", [0, "0", False])
def test_active_may_be_written_as_it_comes(site, value):
    get_modules(site)
    assert site("accounts/?update", user_name="bob", Active=value)["status"] == "ok"
    assert account_of(site)["Active"] == 0


def test_delete_forgets_the_rows_and_the_next_log_in_makes_new_ones(site_with_accounts):
    get_modules(site_with_accounts)
    assert site_with_accounts("accounts/?delete", user_name="bob")["status"] == "ok"
    assert account_of(site_with_accounts) is None
    assert site_with_accounts("accounts/?delete", user_name="bob")["status"] == ACCOUNT_NOT_FOUND
    get_modules(site_with_accounts)
    # Root, who deleted, has 4, 5 and 6: no number is given twice.
    assert (account_of(site_with_accounts)["idAccount"], service_numbers(account_of(site_with_accounts))) == (
        3,
        [7, 8, 9],
    )


def test_a_deleted_users_account_does_not_fall_to_the_next_of_that_name(site_with_accounts):
    get_modules(site_with_accounts)
    site_with_accounts("accounts/?update", user_name="bob", Active=0)
    assert site_with_accounts("users/?delete", user_name="bob")["status"] == "ok"
    assert account_of(site_with_accounts) is None
    site_with_accounts("users/?add", user_name="bob", user_authdata="pw")
    assert get_modules(site_with_accounts)["login"] is True and account_of(site_with_accounts)["Active"] == 1


def test_an_account_that_another_program_made_is_taken_over(site_with_accounts):
    """As `apiserver` of the original has them: rows without ours for the services."""
    ledger = site_with_accounts.app.modules["accounts"].ledger
    with ledger.store.transaction():
        ledger.store.run(
            "INSERT INTO Accounts (idAccount, idUsers, Name, IsPrimary, Active, idMailAccount)"
            " VALUES (3, 4, 'bob', 1, 1, 8)"
        )
        ledger.store.run("UPDATE Sequences SET last = 8 WHERE name = 'idServiceAccount'")
    get_modules(site_with_accounts)
    found = account_of(site_with_accounts)
    assert (found["idAccount"], found["idUsers"], service_numbers(found)) == (3, 4, [8, 9, 10])
    assert [service["id"] for service in found["services"]] == [8, 9, 10]


def test_sequences_go_on_after_what_a_table_of_the_original_has(tmp_path, database):
    database.sql(
        "CREATE TABLE Accounts (idAccount INTEGER AUTO_INCREMENT PRIMARY KEY, idUsers INTEGER,"
        " Name VARCHAR(100), IsPrimary TINYINT, Active TINYINT, idMailAccount INTEGER,"
        " idContactAccount INTEGER, idCalendarAccount INTEGER)"
    )
    database.sql("INSERT INTO Accounts VALUES (2, 3, 'other@x.org', 1, 1, 5, 6, 7)")
    site = Site(tmp_path, extra=ACCOUNT, apiserver=database.url)
    get_modules(site)
    assert database.sql("SELECT * FROM Accounts WHERE Name = 'bob'") == [(3, 4, "bob", 1, 1, 8, 9, 10)]


def test_tables_are_completed_when_another_process_makes_them_or_has_died_at_it(tmp_path, database):
    """MariaDB ends an insert with error 1020 if another process inserts the row; counted by a table without undo."""
    database.sql("CREATE TABLE Sequences (name VARCHAR(255) PRIMARY KEY, last INTEGER NOT NULL)")
    database.sql("CREATE TABLE seen (name TEXT) ENGINE=MyISAM")
    database.sql(
        "CREATE TRIGGER conflict BEFORE INSERT ON Sequences FOR EACH ROW BEGIN INSERT INTO seen VALUES (NEW.name);"
        " IF (SELECT COUNT(*) FROM seen) <= 2 THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1020; END IF; END"
    )
    site = Site(tmp_path, extra=ACCOUNT, apiserver=database.url)
    get_modules(site)
    assert service_numbers(account_of(site)) == [1, 2, 3]
    assert len(database.sql("SELECT * FROM seen")) == 4 and len(database.sql("SELECT * FROM Sequences")) == 2


def test_pages_of_accounts(site_with_accounts):
    site = site_with_accounts
    names = ["alf", "ann", "bea", "bob", "ben"]
    for name in names:
        site.app.modules["accounts"].ledger.enter(name, 3, None)

    def page(query: str, user="root") -> list[str]:
        accounts = site(f"accounts/?get{query}", user=user)["accounts"]
        return [account["Name"] for account in accounts]

    assert page("") == page("&limit=9") == sorted([*names, "root"])
    assert page("&limit=2") == ["alf", "ann"] and page("&limit=2&after=ann") == ["bea", "ben"]
    assert page("&search=b") == ["bea", "ben", "bob"] and page("&search=b&limit=1&after=bea") == ["ben"]
    assert page("&search=%25") == page("&after=z") == []
    with_services = site("accounts/?get&search=bob")["accounts"]
    assert [service["kind"] for service in with_services[0]["services"]] == ["mail", "calendar"]
    assert page("", "dele") == ["ann", "dele"]
    assert page("&search=a", "dele") == page("&limit=1", "dele") == ["ann"]
    assert page("&after=ann", "dele") == ["dele"] and page("&search=b", "dele") == []
