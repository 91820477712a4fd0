"""accounts/: what the first log-in makes and later ones add, what is logged, and the database that they are in."""

import json
import logging
import re
import subprocess
import sys

import pytest

import mailapi
from support.accounts import (
    ACCOUNT,
    ACCOUNT_COLUMNS,
    WRONG_CREDENTIALS,
    account_of,
    get_modules,
    provisioning_lines,
    reconfigure,
    service_numbers,
)
from support.instances import free_port
from support.site import MODULES, ROOT, Site, authdata

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path, extra=ACCOUNT)


########## The first log-in ########################################################################


def test_first_log_in_makes_the_account_and_its_service_accounts(site_with_accounts):
    get_modules(site_with_accounts)
    answer = site_with_accounts("accounts/?get", user="bob")
    assert list(answer)[-1] == "accounts"
    services = [
        {"kind": kind, "id": number, "state": "ok", "url": None, "error": None}
        for kind, number in (("mail", 1), ("contacts", 2), ("calendar", 3))
    ]
    assert answer["accounts"] == [
        dict(zip(ACCOUNT_COLUMNS, (1, 1, "bob", 1, 1, 1, 2, 3))) | {"services": services}
    ]
    assert list(answer["accounts"][0]) == [*ACCOUNT_COLUMNS, "services"]


def test_numbers_come_from_one_sequence_in_the_order_mail_contacts_calendar(site_with_accounts):
    for user in ("bob", "ann", "dele"):
        get_modules(site_with_accounts, user)
    assert service_numbers(account_of(site_with_accounts, "dele")) == [7, 8, 9]
    assert [account_of(site_with_accounts, user)["idAccount"] for user in ("bob", "ann", "dele")] == [1, 2, 3]


def test_later_log_ins_change_nothing(site_with_accounts):
    get_modules(site_with_accounts)
    before = account_of(site_with_accounts)
    for _ in range(3):
        get_modules(site_with_accounts)
    assert account_of(site_with_accounts) == before


def test_a_wrong_password_or_a_session_makes_nothing(site):
    assert site("?get_modules", user="bob", password="wrong")["status"] == WRONG_CREDENTIALS
    assert site("?get_modules", user="nobody")["status"] == WRONG_CREDENTIALS
    assert [row["Name"] for row in site("accounts/?get")["accounts"]] == ["root"]


@pytest.mark.parametrize("mask", range(8))
def test_every_mask_makes_what_its_bits_say(tmp_path, mask):
    site = Site(tmp_path, extra=ACCOUNT, PROVISION=mask)
    get_modules(site)
    counter = iter(range(1, 4))
    wanted = [next(counter) if mask & bit else None for bit in (1, 4, 2)]
    assert service_numbers(account_of(site)) == wanted
    kinds = [kind for kind, bit in (("mail", 1), ("contacts", 4), ("calendar", 2)) if mask & bit]
    assert [service["kind"] for service in account_of(site)["services"]] == kinds


@pytest.mark.parametrize("before", range(8))
def test_a_grown_mask_adds_at_the_next_log_in_and_a_smaller_one_removes_nothing(tmp_path, before):
    site = Site(tmp_path, extra=ACCOUNT, PROVISION=before)
    for after in (*range(8), before):
        get_modules(reconfigure(site, PROVISION=before))
        first = service_numbers(account_of(site))
        get_modules(reconfigure(site, PROVISION=after))
        second = service_numbers(account_of(site))
        assert [new for old, new in zip(first, second) if old is not None] == [
            n for n in first if n is not None
        ]
        assert [number is not None for number in second] == [
            bool((before | after) & bit) for bit in (1, 4, 2)
        ]
        assert site("accounts/?delete", user_name="bob")["status"] == "ok"


def test_the_environment_counts_before_the_config(tmp_path, monkeypatch):
    monkeypatch.setenv("PROVISION", "5")
    site = Site(tmp_path, extra=ACCOUNT, PROVISION=2)
    get_modules(site)
    assert service_numbers(account_of(site)) == [1, 2, None]


@pytest.mark.parametrize("value", ["8", "-1", "", "x", "7 ", "7\n", "07", "1.0", "٣"])
def test_a_mask_that_is_none_is_refused_at_start(tmp_path, monkeypatch, value):
    monkeypatch.setenv("PROVISION", value)
    with pytest.raises(mailapi.ConfigError, match="PROVISION must be a whole number from 0 to 7, not "):
        Site(tmp_path, extra=ACCOUNT)


@pytest.mark.parametrize("value", [8, -1, 1000, True, False, "7", 7.0, None])
def test_a_mask_in_the_config_that_is_none_is_refused_at_start(tmp_path, value):
    with pytest.raises(mailapi.ConfigError, match="PROVISION must be a whole number from 0"):
        Site(tmp_path, extra=ACCOUNT, PROVISION=value)


@pytest.mark.sqlite
def test_without_the_module_nothing_of_it_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("PROVISION", "nonsense")
    site = Site(tmp_path, mailserver="nonsense", apiserver="mysql://nonsense")
    assert get_modules(site)["login"] is True
    assert "Accounts" not in site.app.state.schema


def test_nothing_is_imported_without_the_module(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import mailapi; before = set(sys.modules);"
        "mailapi.create_app({'dbpath': 'x', 'modulelist': eval(sys.argv[2])});"
        "print(sorted(name for name in sys.modules if 'mysql' in name or 'playhouse' in name or name in"
        " ('mailapi_modules.provisioning.password_schemes', 'mailapi_modules.mariadb.url', 'mailapi_modules.provisioning.account_store')))"
    )
    for block in ("", "sys.modules['pymysql'] = None; "):  # whether or not the extra is installed
        code = code.replace("import mailapi;", block + "import mailapi;", 1)
        said = subprocess.run(
            [sys.executable, "-c", code, str(ROOT), repr(MODULES)], capture_output=True, text=True
        )
        imported = set(eval(said.stdout)) if not said.returncode else said.stderr
        assert {name for name in imported if "mysql" not in name} == set()
        # peewee itself looks for pymysql; we ask for nothing more.
        assert block == "" or {name for name in imported if name != "pymysql"} == set()


########## The log #################################################################################


def test_a_line_as_the_originals_but_without_the_password(site, caplog):
    caplog.set_level(logging.INFO)
    get_modules(site)
    (line,) = provisioning_lines(caplog)
    assert re.fullmatch(
        r'time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d" level=info msg="checkUserProvisioning: OK" AccountID=1 '
        r'ID=1 IdentityID=1 Name=bob "ServiceAccountID \(CALENDAR\)"=3 "ServiceAccountID \(CONTACTS\)"=2 '
        r'"ServiceAccountID \(MAIL\)"=1',
        line,
    )
    get_modules(site)
    assert len(provisioning_lines(caplog)) == 1  # nothing to tell


@pytest.mark.parametrize("name", ['a "b" c', "x\nlevel=error", "back\\slash", "=", "ü@x.org", "a\x1b[31m"])
def test_no_name_can_break_the_line(site, caplog, name):
    caplog.set_level(logging.INFO)
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", name, authdata("se cret"))
    get_modules(site, name, password="se cret")
    line = provisioning_lines(caplog)[-1]
    assert len(line.splitlines()) == 1 and line.isprintable() and "se cret" not in line
    assert "Name=" + json.dumps(name) in line


def test_no_secret_is_kept_or_logged(site_with_accounts, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    site_with_accounts("users/?add", user_name="carol", user_authdata="correct horse")
    get_modules(site_with_accounts, "carol", password="correct horse")
    assert account_of(site_with_accounts, "carol") and "correct horse" not in caplog.text
    for file in tmp_path.iterdir():
        assert b"correct horse" not in file.read_bytes()


########## The database of the accounts ############################################################


def test_apiserver_that_is_away_lets_nobody_in_and_says_so(tmp_path, caplog):
    site = Site(tmp_path, extra=ACCOUNT, apiserver=f"mysql://mail:se%2Fcret@127.0.0.1:{free_port()}/api")
    answer = site("?get_modules", check=503)
    assert (
        answer["status"] == "The database of the apiserver cannot be reached. Try again."
        and "login" not in answer
    )
    assert "se/cret" not in caplog.text and "se%2Fcret" not in caplog.text


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://", "apiserver must be mysql://USER:PASSWORD@HOST/DATABASE."),
        ("mysql://u:secret@h", "apiserver must be mysql://USER:PASSWORD@HOST/DATABASE."),
        ("mysql://u:secret@h:port/x", "apiserver must be mysql://"),
        ("mysql://u:secret@h/x?colour=red", "apiserver has unknown options: colour."),
    ],
)
def test_an_apiserver_that_is_none_is_refused_at_start(tmp_path, url, sentence):
    with pytest.raises(mailapi.ConfigError) as refused:
        Site(tmp_path, extra=ACCOUNT, apiserver=url)
    assert sentence in str(refused.value) and "secret" not in str(refused.value)


@pytest.mark.sqlite
def test_a_file_of_its_own_is_readable_by_its_owner_only(tmp_path):
    site = Site(tmp_path, extra=ACCOUNT, apiserver=str(tmp_path / "api.db3"))
    get_modules(site)
    assert (tmp_path / "api.db3").stat().st_mode & 0o777 == 0o600
    assert b"Accounts" not in (tmp_path / "master.db3.state").read_bytes()
