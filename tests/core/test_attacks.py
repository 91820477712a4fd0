"""Attacks that a review found. Each was possible once."""

import concurrent.futures
import json
import os
import sqlite3
import stat
import threading
import time

import pytest

import mailapi
from support.browsers import ask
from support.command_line import run_mailapi, run_on_terminal
from support.counting import calls
from support.site import MODULES, Site, authdata

pytestmark = pytest.mark.every_engine


def log_in_browser(site, user="root", password="pw", **environ):
    """Return a browser in which the user is logged in."""
    browser = site.browser(**environ)
    auth = {"auth": {"user_name": user, "password": password}}
    assert browser.post("/?login", json.dumps(auth)).json["login"] is True
    return browser


@pytest.mark.parametrize(
    "url, field",
    [
        ("addresses/?test", "address_expression"),
        ("addresses/?test", "sender"),
        ("addresses/?test", "recipient"),
        ("addresses/?add", "address_expression"),
        ("addresses/?add", "address_route"),
        ("delegates/?address_add", "api_expression"),
        ("smtpd/?add", "smtpd_route"),
    ],
)
def test_text_longer_than_any_address_is_refused(site, url, field):
    fields = {"address_expression": "a@b", "address_routing": "inrouter", field: "@" * 1001}
    assert site(url, check=400, **fields)["status"] == f"Invalid value for {field}."
    long = site("addresses/?get&test=" + "@" * 1001, check=400)
    assert long["status"] == "Invalid value for test."
    assert (
        site("addresses/?switch", check=400, address1={"address_expression": "@" * 1001, "address_order": 1})[
            "status"
        ]
        == "Invalid value for address1.address_expression."
    )


def test_a_route_with_many_placeholders_stays_bounded(site):
    site.sql(
        "INSERT INTO addresses (address_expression, address_router, address_route) VALUES (?, 'redirect', ?)",
        "%",
        "(to-local)" * 90,
    )
    decision = site("addresses/?test", address_routing="inrouter", address_expression="a" * 990 + "@b.org")[
        "decision"
    ]
    assert len(decision["queued"]["mail_envelopeto"]) == 90 * 990


def test_parallel_changes_of_ones_own_account_keep_the_session(site):
    browser = log_in_browser(site)
    cookie = "PHPSESSID=" + browser.cookies["PHPSESSID"]

    def save(url, **fields):
        return ask(site.browser(HTTP_COOKIE=cookie), url, user_name="root", **fields)

    for number in range(25):
        with concurrent.futures.ThreadPoolExecutor(3) as threads:
            jobs = [
                threads.submit(save, "users/?set_password", user_authdata=f"pw{number}"),
                threads.submit(save, "users/?update_alias", user_alias=""),
                threads.submit(save, "users/?update_permissions", user_permissions=["admin", f"p{number}"]),
            ]
            answers = [job.result() for job in jobs]
        assert [answer["status"] for answer in answers] == ["ok"] * 3, number


@pytest.mark.parametrize("by", ["password", "session"])
def test_a_request_with_the_old_password_does_nothing_once_it_has_changed(site, by):
    browser = log_in_browser(site, "bob")
    held = sqlite3.connect(site.dbpath, isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    answers = []

    def attack():
        fields = {"user_name": "bob", "user_authdata": "evil"}
        answers.append(
            ask(browser, "users/?set_password", **fields)
            if by == "session"
            else site("users/?set_password", user="bob", **fields)
        )

    thread = threading.Thread(target=attack)
    thread.start()
    time.sleep(0.5)
    held.execute("UPDATE users SET user_authdata = ? WHERE user_name = 'bob'", [authdata("new")])
    held.execute("COMMIT")
    held.close()
    thread.join()
    assert answers[0]["login"] is False
    assert site("?login", user="bob", password="new")["login"] is True


@pytest.mark.sqlite
def test_no_session_outlives_its_user(site, tmp_path):
    (tmp_path / "config.py").write_text(f'dbpath = "master.db3"\nmodulelist = {MODULES!r}\n')
    own = log_in_browser(site)
    assert ask(own, "users/?delete", user_name="root")["status"] == "ok"
    run_mailapi(tmp_path, "call", "users", "add", "user_name=root", "user_permissions=admin")
    assert ask(own, "?login")["login"] is False
    bob = log_in_browser(site, "bob")
    assert ask(bob, "users/?set_password", user_name="bob")["status"] == "ok"  # no log-in any more
    assert ask(bob, "?login")["login"] is False
    ann = log_in_browser(site, "ann")
    run_mailapi(tmp_path, "call", "users", "delete", "user_name=ann")
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES ('ann', ?)", authdata("pw"))
    assert ask(ann, "?login")["login"] is False


def test_addresses_test_shows_no_row_that_the_caller_may_not_see(site):
    site.sql("INSERT INTO addresses VALUES ('x@%', 1, 'store', 'root'), ('x@corp.org', 2, 'drop', NULL)")
    site.sql("INSERT INTO smtpd VALUES ('root', 'handoff', 'secret-relay:25')")
    answer = site(
        "addresses/?test", user="dele", address_expression="x@corp.org", address_routing="outrouter"
    )
    assert "secret" not in json.dumps(answer) and answer["decision"]["accepted"] is False


def test_unknown_name_and_wrong_password_are_the_same_work(monkeypatch):
    """As many bytes are hashed."""
    sha256, hashed = mailapi.sha256, []
    monkeypatch.setattr(mailapi, "sha256", lambda data: hashed.append(len(data)) or sha256(data))
    for password in ("x", "\U0001f600" + "x" * 300_000):
        authdata = mailapi.make_authdata("other")
        del hashed[:]
        assert not mailapi.verify(password, authdata) and not mailapi.verify(password, None)
        known, unknown = hashed
        assert known == unknown > len(password)


def test_many_delegated_expressions_do_not_fall_off_a_cliff(site):
    """More of them than the module re keeps patterns for."""
    expressions, addresses = 1000, 40
    connection = sqlite3.connect(site.dbpath)
    with connection:
        connection.executemany(
            "INSERT INTO api_address_delegates VALUES ('dele', ?)", [[f"a{n}@%"] for n in range(expressions)]
        )
        connection.executemany(
            "INSERT INTO addresses (address_expression) VALUES (?)", [[f"b{n}@x"] for n in range(addresses)]
        )
    connection.close()
    site("addresses/?get", user="dele")
    assert calls(lambda: site("addresses/?get", user="dele")) < 10 * expressions * addresses


def test_migrate_never_shows_the_copy_to_others(site8, tmp_path):
    (tmp_path / "config.py").write_text(f'dbpath = "master.db3"\nmodulelist = {MODULES!r}\n')
    os.chmod(site8.dbpath, 0o600)
    seen, over = set(), threading.Event()

    def watch():
        while not over.is_set():
            for file in tmp_path.glob("master.db3*"):
                try:
                    seen.add(stat.S_IMODE(file.stat().st_mode))
                except FileNotFoundError:
                    pass
            time.sleep(0.0005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    run_mailapi(tmp_path, "migrate")
    over.set()
    watcher.join()
    assert seen == {0o600}


def test_lists_of_too_many_entries_are_refused(site):
    answer = site("users/?update_permissions", check=400, user_name="ann", user_permissions=["x"] * 1001)
    assert answer["status"] == "Invalid value for user_permissions."


def test_a_limit_of_many_digits_is_refused_without_an_error(site):
    zeros = "0" * 4300
    assert len(site.browser().get(f"/users/?get&limit={zeros}1").json) > 0
    site.browser().get(f"/users/?get&limit={'9' * 4400}", status=400)


def test_no_control_character_reaches_a_terminal(site, tmp_path):
    (tmp_path / "config.py").write_text(f'dbpath = "master.db3"\nmodulelist = {MODULES!r}\n')
    site.sql(
        "INSERT INTO addresses (address_expression, address_router) VALUES (?, 'store')",
        "\x1b]0;x\x07\x9b31m",
    )
    site.sql(
        "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_data) VALUES "
        "('bob', 'a', 'b', ?)",
        "Subject: \x9b31m\u202e\r\n\r\n\x1b[2J",
    )
    for command in (
        ["check"],
        ["call", "addresses", "get"],
        ["call", "--as", "bob", "mailbox", "read", "mail_id=1"],
    ):
        shown = run_on_terminal(tmp_path, *command).decode()
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown), command


@pytest.mark.parametrize(
    "mount, path", [("/a@b", "/a@b/"), ("/gr\xc3\xbcn", "/gr%C3%BCn/"), ("/a;b", "/a%3Bb/")]
)
def test_cookie_path_is_what_the_browser_calls_the_mount(site, mount, path):
    browser = site.browser(SCRIPT_NAME=mount)
    answer = browser.post("/?login", json.dumps({"auth": {"user_name": "bob", "password": "pw"}}))
    assert f"Path={path};" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("origin", ["null", "file://localhost", "http://[", "https://evil.example", ""])
def test_a_page_of_another_origin_neither_uses_nor_gets_a_cookie(site, origin):
    browser = log_in_browser(site)
    foreign = {"Origin": origin}
    assert browser.post("/?login", "", headers=foreign).json["login"] is False
    auth = json.dumps({"auth": {"user_name": "root", "password": "pw"}})
    answer = site.browser().post("/?login", auth, headers=foreign)
    assert answer.json["login"] is True and "Set-Cookie" not in answer.headers


def test_a_path_that_is_no_utf8_is_unknown(site):
    answer = site.browser().get("/us%FFers/?get", status=404)
    assert answer.json["status"] == "Unknown module us\ufffders."


def test_a_change_is_made_whole_or_not_at_all(site, site8_folder):
    assert site("users/?add", user_name="x", user_alias="x")["status"] == "Cannot alias to the same user."
    old = Site(site8_folder, generation=8)
    old("msa/?update", msa_user="ann", msa_inrouter="store", msa_inroute="/x.db3", msa_outrouter="any")
    assert old.sql("SELECT user_database FROM users WHERE user_name = 'ann'") == [(None,)]


@pytest.fixture
def site8_folder(tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    return folder


def test_a_delegate_cannot_add_the_user_whose_mail_waits(tmp_path):
    site = Site(tmp_path, delegates_add_users=True)
    site.sql(
        "INSERT INTO addresses (address_expression, address_router, address_route) VALUES "
        "('boss@one.org', 'store', 'boss'), ('clerk@corp.org', 'store', 'clerk')"
    )
    assert site("users/?add", user="dele", user_name="boss")["status"] == "Not allowed"
    assert site("users/?add", user="dele", user_name="clerk")["user"] is True


@pytest.mark.parametrize(
    "arguments",
    [
        ["init", "--admin", "main"],
        ["init", "--admin", ""],
        ["init", "--dbpath", "/proc/none/x"],
        ["call", "users", "update_permissions", "user_name=ann", "user_permissions=[a"],
        ["import-config", "deep.php"],
        ["import-config", "odd.php"],
        ["backup", "/proc/none/x"],
    ],
)
def test_the_command_line_answers_with_a_sentence(site, tmp_path, arguments):
    (tmp_path / "config.py").write_text(f'dbpath = "master.db3"\nmodulelist = {MODULES!r}\n')
    (tmp_path / "deep.php").write_text("<?php $dbpath = " + "[" * 5000)
    (tmp_path / "odd.php").write_text("<?php $dbpath = [[1] => 2];")
    assert "mailapi: " in run_mailapi(tmp_path, *arguments, check=1)


def test_import_config_keeps_every_character(tmp_path):
    (tmp_path / "config.php").write_text("<?php $dbpath = '/d/\U0001f600.db3'; $modulelist = ['User'];")
    names: dict = {}
    exec(run_mailapi(tmp_path, "import-config", "config.php"), names)
    assert names["dbpath"] == "/d/\U0001f600.db3"
