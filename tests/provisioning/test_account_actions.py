"""accounts/: who may do what, and what it does."""

import json

import pytest

from support.accounts import ACCOUNT, GONE, NO, WRONG, account, get_modules, numbers
from support.site import Site, authdata

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]


def test_everybody_sees_whom_they_may_act_for(anywhere):
    for user in ("root", "dele", "ann", "bob"):
        get_modules(anywhere, user)

    def seen(user, **fields):
        return [row["Name"] for row in anywhere("accounts/?get", user=user, **fields)["accounts"]]

    assert seen("root") == ["ann", "bob", "dele", "root"]
    assert seen("dele") == ["ann", "dele"] and seen("ann") == ["ann"]
    assert seen("dele", user_name="ann") == ["ann"] and seen("root", user_name="nobody") == []
    refused = anywhere("accounts/?get", user="ann", user_name="dele")
    assert refused["status"] == NO and "accounts" not in refused


@pytest.mark.parametrize("name", ["bob' OR '1'='1", "%", "b_b", "BOB", "bob ", "bob\t", 'bob" --', "böb"])
def test_a_name_is_that_name_only(anywhere, name):
    get_modules(anywhere)
    assert anywhere("accounts/?get", user_name=name)["accounts"] == []
    assert anywhere("accounts/?update", user_name=name, Active=0)["status"] == GONE
    assert anywhere("accounts/?delete", user_name=name)["status"] == GONE
    anywhere.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", name, authdata("pw"))
    assert get_modules(anywhere, name)["auth_user"] == name
    assert account(anywhere, name)["Name"] == name
    assert account(anywhere)["idAccount"] != account(anywhere, name)["idAccount"]


@pytest.mark.sqlite
def test_a_name_too_long_for_an_account_logs_in_without(anywhere):
    name = "x" * 256
    anywhere("users/?add", user_name=name, user_authdata="pw")
    assert get_modules(anywhere, name)["login"] is True
    refused = anywhere("accounts/?provision", user_name=name)
    assert refused["status"] == "A user name of more than 255 characters has no account."
    assert account(anywhere, name) is None


def test_provision_makes_accounts_now(anywhere):
    answer = anywhere("accounts/?provision", user_name="bob", provision=5)
    assert numbers(answer["accounts"][0]) == [4, 5, None]  # root, who asks, was first
    answer = anywhere("accounts/?provision", user_name="bob", provision="2")
    assert numbers(answer["accounts"][0]) == numbers(account(anywhere)) == [4, 5, 6]
    assert anywhere("accounts/?provision", user_name="nobody")["status"] == "There is no such user."
    assert account(anywhere, "nobody") is None


@pytest.mark.parametrize("mask", [8, -1, "x", [], True, 1.5])
def test_provision_refuses_what_is_no_mask(site, mask):
    answer = site("accounts/?provision", user_name="bob", provision=mask, check=400)
    assert answer["status"] == "Invalid value for provision." and account(site) is None


def test_inactive_ends_log_ins_sessions_and_tokens_and_active_restores(anywhere):
    browser = anywhere.browser()
    browser.post_json("/", {"auth": {"user_name": "bob", "password": "pw"}})
    token = anywhere("tokens/?add", user="bob", token_name="t")["token"]
    bearer = anywhere.browser(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert browser.post("/").json["login"] and bearer.post("/").json["login"]
    assert anywhere("accounts/?update", user_name="bob", Active=0)["status"] == "ok"
    assert account(anywhere)["Active"] == 0
    assert browser.post("/").json["login"] is False
    assert bearer.post("/").json["status"] == "Token is not valid."
    assert get_modules(anywhere)["status"] == WRONG and get_modules(anywhere, "ann")["login"] is True
    assert anywhere("accounts/?update", user_name="bob", Active=1)["status"] == "ok"
    assert browser.post("/").json["login"] is False  # that session is over
    assert get_modules(anywhere)["login"] is True and bearer.post("/").json["login"] is True


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
    assert account(site)["Active"] == 1


@pytest.mark.parametrize("value", [0, "0", False])
def test_active_may_be_written_as_it_comes(site, value):
    get_modules(site)
    assert site("accounts/?update", user_name="bob", Active=value)["status"] == "ok"
    assert account(site)["Active"] == 0


def test_delete_forgets_the_rows_and_the_next_log_in_makes_new_ones(anywhere):
    get_modules(anywhere)
    assert anywhere("accounts/?delete", user_name="bob")["status"] == "ok"
    assert account(anywhere) is None
    assert anywhere("accounts/?delete", user_name="bob")["status"] == GONE
    get_modules(anywhere)
    # Root, who deleted, has 4, 5 and 6: no number is given twice.
    assert (account(anywhere)["idAccount"], numbers(account(anywhere))) == (3, [7, 8, 9])


def test_a_deleted_users_account_does_not_fall_to_the_next_of_that_name(anywhere):
    get_modules(anywhere)
    anywhere("accounts/?update", user_name="bob", Active=0)
    assert anywhere("users/?delete", user_name="bob")["status"] == "ok"
    assert account(anywhere) is None
    anywhere("users/?add", user_name="bob", user_authdata="pw")
    assert get_modules(anywhere)["login"] is True and account(anywhere)["Active"] == 1


def test_an_account_that_another_program_made_is_taken_over(anywhere):
    """As `apiserver` of the original has them: rows without ours for the services."""
    ledger = anywhere.app.modules["accounts"].ledger
    with ledger.store.transaction():
        ledger.store.run(
            "INSERT INTO Accounts (idAccount, idUsers, Name, IsPrimary, Active, idMailAccount)"
            " VALUES (3, 4, 'bob', 1, 1, 8)"
        )
        ledger.store.run("UPDATE Sequences SET last = 8 WHERE name = 'idServiceAccount'")
    get_modules(anywhere)
    found = account(anywhere)
    assert (found["idAccount"], found["idUsers"], numbers(found)) == (3, 4, [8, 9, 10])
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
