"""`mailserver` from the command line: check and call."""

import json

import pytest

from support.command_line import run_on_terminal
from support.mailserver_site import BOB, get_modules, log_in_works, run_call, run_check
from support.site import Site, authdata

pytestmark = pytest.mark.slow


@pytest.fixture
def site(site_with_mailserver) -> Site:
    return site_with_mailserver


def test_check_tells_what_is_there_and_what_is_not_in_step(site):
    get_modules(site)
    lines = run_check(site).splitlines()
    assert lines[-3:] == [
        "ok    Account: accounts: 1",
        "ok    Account: mailserver: 0 changes in doubt",
        "ok    Account: mailserver: 1 users",
    ]
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES ('old@corp.org', ?)", authdata("pw"))
    site.mail.sql("DELETE FROM accounts")
    said = run_check(site, code=1)
    assert "FAIL  Account: account of bob@atmail.com, who is no user" in said
    assert "FAIL  Account: mailserver: 1 users are only in `users`, such as old@corp.org" in said
    assert "any more: deleted" in run_check(site, "--repair", code=1) and "accounts: 0" in run_check(
        site, code=1
    )


def test_check_says_what_is_wrong_with_the_database(site):
    site.mail.sql("ALTER TABLE accounts DROP COLUMN quota")
    assert "FAIL  Account: The database of the mailserver cannot be used." in run_check(site, code=1)


def test_a_list_is_a_table_on_a_terminal(site, monkeypatch):
    get_modules(site)
    monkeypatch.setenv("COLUMNS", "200")
    said = run_on_terminal(site.dbpath.parent, "call", "accounts", "get").decode().splitlines()
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
    code, said = run_call(site, "accounts", "get")
    assert code == 0 and json.loads(said)["accounts"][0]["Name"] == BOB
    assert json.loads(run_call(site, "--as", BOB, "users", "get")[1])["users"][0]["user_name"] == BOB
    code, said = run_call(site, "--as", "nobody@atmail.com", "users", "get")
    assert code == 1 and said == "mailapi: There is no user nobody@atmail.com.\n"
    assert run_call(site, "users", "set_password", f"user_name={BOB}", "user_authdata=new")[0] == 0
    assert log_in_works(site, BOB, "new")
