"""`mailapi check`: config.py, the state database, permissions and accounts."""

import contextlib
import json
import os
import shutil
import sqlite3

import pytest

from support.command_line import run_mailapi, write_config
from support.site import MODULES, Site

ACCOUNT = {"Account": "modules/accounts.py"}


########## config.py #############################################################################


SECRETS = [
    {"mailserver": "mysql://mailapi:s3cret@127.0.0.1/mailserver"},
    {"services": {"imap": {"url": "imap://127.0.0.1", "user": "master", "password": 'it\'s "s3cret"'}}},
]


@pytest.fixture
def in_public(public_folder):
    """A folder that everybody gets to, for a config."""
    folder = public_folder / f"check-{os.urandom(4).hex()}"
    folder.mkdir()
    folder.chmod(0o755)
    Site(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_config_with_passwords_that_others_can_read_fails(in_public, secret):
    write_config(in_public, **secret)
    said = "everybody on this machine can read it"
    (in_public / "config.py").chmod(0o644)
    assert f"FAIL  config: config.py has passwords in it, and {said}: chmod o-r" in run_mailapi(
        in_public, "check", check=1
    )
    assert "s3cret" not in run_mailapi(in_public, "check", check=1)
    (in_public / "config.py").chmod(0o640)
    assert said not in run_mailapi(in_public, "check")
    (in_public / "config.py").chmod(0o644)
    in_public.chmod(0o750)  # nobody else gets there
    assert said not in run_mailapi(in_public, "check")


def test_a_config_without_passwords_in_it_may_be_read(in_public):
    services = {"imap": "imap://127.0.0.1", "dav": {"url": "https://dav.example", "user_header": "X-User"}}
    write_config(in_public, services=services, mailserver="mysql://mailapi@127.0.0.1/mailserver")
    (in_public / "config.py").chmod(0o644)
    assert "FAIL" not in run_mailapi(in_public, "check")
    (in_public / "secret").write_text("s3cret")
    (in_public / "secret").chmod(0o600)
    with (in_public / "config.py").open("a") as config:
        config.write(
            "with open(__file__[:-9] + 'secret') as file:\n"
            "    mailserver = f'mysql://mailapi:{file.read()}@127.0.0.1/mailserver'\ndel file\n"
        )
    assert "FAIL" not in run_mailapi(in_public, "check")


def test_a_config_that_others_can_write_to_fails(in_public):
    write_config(in_public)
    (in_public / "config.py").chmod(0o666)
    said = run_mailapi(in_public, "check", check=1)
    assert (
        "FAIL  config: everybody on this machine can write to config.py, which the API runs: chmod o-w"
        in said
    )


########## What is printed ########################################################################


def test_quietly_only_what_is_wrong_is_printed(configured_site, tmp_path):
    configured_site.sql("INSERT INTO api_access VALUES ('ann', 'delegte')")  # a warning
    assert run_mailapi(tmp_path, "check", "--quiet") == ""
    configured_site.sql("INSERT INTO addresses (address_expression, address_router) VALUES ('b@x', 'bogus')")
    said = run_mailapi(tmp_path, "check", "--quiet", check=1)
    assert said.startswith("FAIL  Address: b@x has a router") and said.count("\n") == 1


def test_a_damaged_database_is_a_failure_and_no_traceback(configured_site, tmp_path):
    for i in range(400):
        configured_site.sql("INSERT INTO users (user_name) VALUES (?)", f"user{i}{'x' * 1000}")
    [page] = configured_site.sql("SELECT rootpage FROM sqlite_master WHERE name = 'users'")[0]
    size = configured_site.sql("PRAGMA page_size")[0][0]
    with configured_site.dbpath.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    said = run_mailapi(tmp_path, "check", check=1)
    assert "FAIL  integrity: " in said or "FAIL  database: " in said
    assert "ok    state: " in said, "what comes after it is checked, too"


########## The state database ####################################################################


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("CREATE TABEL greeting (x);", 'near "TABEL": syntax error'),
        ("CREATE TABLE greeting (x);", "table greeting already exists"),
        ("CREATE TABLE IF NOT EXISTS greeting (x)", "it does not end with a semicolon"),
        ("CREATE TABLE IF NOT EXISTS greeting (x", "incomplete input"),
        ("CREATE INDEX IF NOT EXISTS i ON nowhere (x);", "no such table: main.nowhere"),
    ],
)
def test_a_state_schema_that_sqlite_refuses_is_told_by_its_module(configured_site, tmp_path, schema, said):
    (tmp_path / "greeting.py").write_text(
        f"from mailapi import Module\nclass Greeting(Module):\n    state_schema = {schema!r}\n"
    )
    write_config(tmp_path, MODULES | {"Greeting": "greeting.py"})
    lines = run_mailapi(tmp_path, "check", check=1)
    assert f"FAIL  state: the state_schema of Greeting is refused, and nobody can log in: {said}" in lines
    assert lines.count("the state_schema of") == 1


@pytest.mark.parametrize(
    ("version", "said"), [(None, "NULL, which crashes the mail daemons"), ("7", "7, not 8 or 9")]
)
def test_a_schema_version_that_the_daemons_cannot_use_is_named(configured_site, tmp_path, version, said):
    configured_site.sql("UPDATE meta SET value = ? WHERE key = 'schema_version'", version)
    lines = run_mailapi(tmp_path, "check", check=1)
    assert f"is not the same. schema_version in its table meta is {said}\n" in lines


def test_a_state_folder_that_is_not_there_or_cannot_be_written_fails(configured_site, tmp_path):
    for state in (tmp_path / "nowhere/state.db3", "/proc/state.db3", tmp_path / "config.py/state.db3"):
        write_config(tmp_path, state=str(state))
        said = run_mailapi(tmp_path, "check", check=1)
        assert (
            f"FAIL  state: {os.path.dirname(state)} cannot be written to: " in said
            and "will be made" not in said
        )
    (tmp_path / "folder").mkdir()
    write_config(tmp_path, state="folder/state.db3")
    assert "will be made by the first log-in" in run_mailapi(tmp_path, "check")
    assert list((tmp_path / "folder").iterdir()) == []


########## Permissions and delegations ###########################################################


def warnings(folder) -> list[str]:
    """The warnings; they are no failure."""
    return [line for line in run_mailapi(folder, "check").splitlines() if line.startswith("warn")]


@pytest.mark.parametrize("generation", [9, 8])
def test_permissions_that_mean_nothing_are_told_and_are_no_failure(tmp_path, generation):
    site = Site(tmp_path, generation)
    word = {9: "permission", 8: "right"}[generation]
    modules = {"User": "modules/users.py", "Delegate": "modules/delegates.py"}
    write_config(tmp_path, modules)
    assert warnings(tmp_path) == []
    for user, permission in (
        ("ann", "delegte"),
        ("bob", "Admin"),
        ("ann", "special"),
        ("bob", "special"),
        ("root", "special"),
        ("dele", "special"),
        ("nologin", "special"),
    ):
        site.sql("INSERT INTO api_access VALUES (?, ?)", user, permission)
    assert warnings(tmp_path) == [
        f"warn  {word}s: 'Admin' means nothing here: bob",
        f"warn  {word}s: 'delegte' means nothing here: ann",
        f"warn  {word}s: 'special' means nothing here: ann, bob, dele and 2 more",
    ]
    (tmp_path / "special.py").write_text(
        "from mailapi import Module\nclass Special(Module):\n    permissions = ('special',)\n"
    )
    write_config(tmp_path, modules | {"Special": "special.py"})
    assert [line.split("'")[1] for line in warnings(tmp_path)] == ["Admin", "delegte"]


@pytest.mark.parametrize("generation", [9, 8])
def test_delegations_without_the_permission_to_use_them_are_told(tmp_path, generation):
    site = Site(tmp_path, generation)
    word = {9: "permission", 8: "right"}[generation]
    write_config(tmp_path, {"User": "modules/users.py"})
    for user, other in (("bob", "ann"), ("bob", "nologin"), ("root", "ann"), ("dele", "bob")):
        site.sql("INSERT INTO api_user_delegates VALUES (?, ?)", user, other)
    site.sql("INSERT INTO api_address_delegates VALUES ('ann', '%@one.org')")
    assert warnings(tmp_path) == [
        f"warn  delegations: bob has 2 users, and no {word} delegate to use that",
        f"warn  delegations: ann has 1 address expressions, and no {word} delegate to use that",
    ]


def test_nothing_in_a_name_can_forge_a_line(configured_site, tmp_path):
    configured_site.sql("INSERT INTO api_access VALUES ('ann', ?)", "x\nok    \x1b[2Jall is well")
    [line] = warnings(tmp_path)
    assert "\x1b" not in line and line.startswith("warn  permissions: ")


########## Accounts that were taken over #########################################################


def test_accounts_taken_over_whose_user_is_unknown_are_told_and_left_alone(configured_site, tmp_path):
    write_config(tmp_path, MODULES | ACCOUNT, apiserver="suite.db3")
    run_mailapi(tmp_path, "call", "accounts", "provision", "user_name=ann")
    with contextlib.closing(sqlite3.connect(tmp_path / "suite.db3")) as suite, suite:
        for number, name in enumerate(("carol@one.org", "dave@one.org", "erin@one.org", "frank@one.org")):
            suite.execute(
                "INSERT INTO Accounts (idUsers, Name, idMailAccount) VALUES (?, ?, ?)", (number, name, 50)
            )
    said = run_mailapi(tmp_path, "check")
    assert (
        "warn  Account: accounts that another program made, of nobody who is a user here, left alone: 4, such as "
        "carol@one.org, dave@one.org, erin@one.org"
    ) in said and "ok    Account: accounts: 5" in said
    run_mailapi(tmp_path, "check", "--repair")
    assert len(json.loads(run_mailapi(tmp_path, "call", "accounts", "get"))["accounts"]) == 5


def test_accounts_of_ours_whose_user_is_gone_still_fail_until_they_are_repaired(configured_site, tmp_path):
    write_config(tmp_path, MODULES | ACCOUNT)
    run_mailapi(tmp_path, "call", "accounts", "provision", "user_name=bob")
    configured_site.sql("DELETE FROM users WHERE user_name = 'bob'")
    assert "FAIL  Account: account of bob, who is no user" in run_mailapi(tmp_path, "check", check=1)
    assert "ok    Account: account of bob, who is no user any more: deleted" in run_mailapi(
        tmp_path, "check", "--repair"
    )
    assert "ok    Account: accounts: 0" in run_mailapi(tmp_path, "check")
