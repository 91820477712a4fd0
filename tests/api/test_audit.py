"""audit/: who logged in, changed something or was refused; and that no secret is among it."""

import json
import logging
import os
import pwd
import time

import pytest

import mailapi
from support.browsers import ask, credentials
from support.mails import deliver
from support.recorded import LISTED_COLUMNS, audit_rows
from support.site import MODULES, Site, authdata

pytestmark = pytest.mark.every_engine

WRONG, HERE = "Username or password is wrong.", "192.0.2.1"


########## What is recorded ########################################################################


def test_every_log_in_is_recorded_however_it_ends(tmp_path):
    site = Site(tmp_path, free_attempts=1)
    browser = site.browser(REMOTE_ADDR=HERE)
    for status, auth in ((200, credentials()), (200, credentials("ann", "")), (200, credentials("ann", "x"))):
        ask(browser, "users/?get", status=status, auth=auth)
    site.state("UPDATE failure SET failures = 9")
    wait = ask(browser, "users/?get", status=429, auth=credentials("ann"))["status"]
    bob, ann = ("bob", HERE, "password", "users", "get", ""), ("ann", HERE, "password", "users", "get", "")
    assert audit_rows(site) == [
        (*bob, "ok", 200),
        (*ann, "Password is not set!", 200),
        (*ann, WRONG, 200),
        (*ann, wait, 429),
    ]
    assert abs(site.state("SELECT audit_time FROM audit")[0][0] - time.time()) < 60


def test_what_was_done_in_a_session_can_be_told_from_others(site):
    one, two = site.browser(), site.browser(REMOTE_ADDR="192.0.2.7")
    for browser in (one, two):
        ask(browser, "?login", auth=credentials())
        ask(browser, "pop/?add", pop_user="bob")
    sessions = [row for (row,) in site.state("SELECT audit_session FROM audit ORDER BY audit_id")]
    assert sessions[0] == sessions[1] != sessions[2] == sessions[3] and all(len(s) == 12 for s in sessions)


def test_changes_and_refusals_are_recorded_and_successful_reads_are_not(either):
    browser = either.browser(REMOTE_ADDR=HERE)
    ask(browser, "?login", auth=credentials())
    assert audit_rows(either) == [("bob", HERE, "password", "", "", "", "ok", 200)]
    either.state("DELETE FROM audit")
    for url in (
        "?get_modules",
        "users/?get",
        "pop/?get",
        "addresses/?get",
        "tokens/?get",
        "?login",
        "?nothing",
    ):
        assert ask(browser, url)["status"] == "ok"
    assert audit_rows(either) == []
    who = ("bob", HERE, "session")
    for url, fields, row in [
        ("pop/?add", {"pop_user": "bob"}, ("pop", "add", "bob", "ok", 200)),
        (
            "pop/?add",
            {"pop_user": "bob"},
            ("pop", "add", "bob", "UNIQUE constraint failed: popd.pop_user", 200),
        ),
        ("pop/?delete", {"pop_user": "ann"}, ("pop", "delete", "ann", "Not allowed.", 200)),
        ("pop/?get", {"pop_user": "ann"}, ("pop", "get", "", "Not allowed.", 200)),
        ("audit/?get", {}, ("audit", "get", "", "Not allowed.", 200)),
        (
            "users/?add-permission",
            {"user_name": "bob", "user_permission": "admin"},
            ("users", "add_permission", "bob admin", None, 200),
        ),
        ("tokens/?add", {"token_name": "backup"}, ("tokens", "add", "backup", "ok", 200)),
        (
            "users/index.php?set_password",
            {"user_name": "bob", "user_authdata": "new"},
            ("users", "set_password", "bob", "ok", 200),
        ),
    ]:
        status = ask(browser, url, **fields)["status"]
        assert audit_rows(either)[-1] == (*who, *row[:3], row[3] or status, row[4])
    assert len(audit_rows(either)) == 8


def test_reading_a_mail_writes_once_only(site):
    deliver(site)
    browser = site.browser(REMOTE_ADDR=HERE)
    ask(browser, "?login", auth=credentials())
    first = ask(browser, "mailbox/?read", mail_id=1)
    recorded, file = audit_rows(site), site.dbpath.read_bytes()
    assert recorded[-1][3:] == ("mailbox", "read", "1", "ok", 200)
    again = ask(browser, "mailbox/?read", mail_id=1)
    assert again["mail"] == first["mail"] | {"mail_read": 1}
    assert audit_rows(site) == recorded and site.dbpath.read_bytes() == file
    ask(browser, "mailbox/?unread", mail_id=1)
    assert ask(browser, "mailbox/?read", mail_id=1)["mail"]["mail_read"] == 0
    assert len(audit_rows(site)) == len(recorded) + 2


def test_token_is_recorded_by_its_name(site):
    token = site("tokens/?add", user="bob", token_name="back up")["token"]
    header = {"Authorization": f"Bearer {token}"}
    site.state("DELETE FROM audit")
    ask(site.browser(), "users/?get", headers=header)
    ask(site.browser(REMOTE_ADDR=HERE), "pop/?add", headers=header, pop_user="bob")
    ask(site.browser(REMOTE_ADDR=HERE), "tokens/?add", headers=header, token_name="x")
    ask(site.browser(REMOTE_ADDR=HERE), "pop/?add", headers={"Authorization": "Bearer x"}, pop_user="bob")
    who = ("bob", HERE, "token back up")
    assert audit_rows(site) == [
        (*who, "pop", "add", "bob", "ok", 200),
        (*who, "tokens", "add", "x", "A token cannot manage tokens.", 200),
        (None, HERE, "token", "pop", "add", "", "Token is not valid.", 200),
    ]


def test_noise_of_nobody_is_not_recorded(site):
    site("?get_modules")
    site.state("DELETE FROM audit")
    browser = site.browser(HTTP_COOKIE="PHPSESSID=unknown")
    for url, status in (("pop/?add", 200), ("?logout", 200), ("nothing/?get", 404), ("?get&limit=0", 400)):
        ask(browser, url, status=status, pop_user="bob")
    ask(browser, "pop/?add", auth=credentials("", "pw"))
    assert audit_rows(site) == []


def test_what_the_command_line_changes_is_recorded_as_local(tmp_path, monkeypatch, capsys):
    site = Site(tmp_path)
    (tmp_path / "config.py").write_text(f"dbpath = {site.place!r}\nmodulelist = {MODULES!r}\n")
    monkeypatch.setenv("LOGNAME", "somebody-else")  # anybody can set it
    operator = pwd.getpwuid(os.getuid()).pw_name
    call = ["call", "--config", str(tmp_path / "config.py")]
    assert mailapi.main([*call, "users", "set_password", "user_name=bob", "user_authdata=fresh"]) == 0
    assert mailapi.main([*call, "--as", "bob", "pop", "add", "pop_user=ann"]) == 1
    assert mailapi.main([*call, "users", "get"]) == 0
    assert audit_rows(site) == [
        (f"local:{operator}", "", "local", "users", "set_password", "bob", "ok", 200),
        ("bob", "", "local", "pop", "add", "ann", "Not allowed.", 200),
    ]


########## No secrets, no tricks ###################################################################


def test_no_secret_is_recorded_logged_or_answered(site, caplog):
    caplog.set_level(logging.DEBUG)
    browser = site.browser()
    ask(browser, "?login", auth=credentials(password="guessed-wrong"))
    ask(browser, "?login", auth=credentials())
    ask(browser, "users/?set_password", user_name="bob", user_authdata="freshly-set")
    site("users/?add", user_name="carol", user_authdata="carols-first")
    token = ask(browser, "tokens/?add", token_name="backup")["token"]
    for bearer in (token, token + "x"):
        ask(site.browser(), "pop/?add", headers={"Authorization": f"Bearer {bearer}"}, pop_user="bob")
    answer = json.dumps(site("audit/?get"))
    stored = b"".join(file.read_bytes() for file in site.dbpath.parent.glob("master.db3.state*")).decode(
        "latin-1"
    )
    assert all("bob" in words and "backup" in words for words in (answer, stored, caplog.text))
    for secret in (
        "guessed-wrong",
        "freshly-set",
        "carols-first",
        browser.cookies["PHPSESSID"],
        token,
        token[8:],
        authdata("pw"),
    ):
        for where, words in (("answer", answer), ("state", stored), ("log", caplog.text)):
            assert secret not in words, where


@pytest.mark.parametrize(
    "name",
    [
        'bob\nuser="root"',
        "a\r\nb",
        'quote" status="ok',
        "\x1b[2J\x07",
        "\u2028\x85\x7f",
        "back\\",
        "tab\tstop",
        "ü€\U0001f600",
    ],
)
def test_log_has_one_line_of_key_and_value_for_each_entry(site, caplog, name):
    caplog.set_level(logging.INFO, "mailapi.audit")
    assert site("pop/?add", user=name, password="x", pop_user=name)["status"] == WRONG
    (line,) = caplog.messages
    assert line.isprintable() and line.isascii()
    decoded = (
        f'user={json.dumps(name)} address="" via="password" session="" module="pop" action="add" target="" '
    )
    assert line.split(" ", 1)[1] == decoded + f'status="{WRONG}" http=200'
    assert line.startswith("time=") and audit_rows(site)[0][0] == name


def test_whoever_is_not_logged_in_cannot_store_much(site):
    assert site("pop/?add", user="x" * 60_000, pop_user="x")["status"] == WRONG
    token = site("tokens/?add", user="bob", token_name="x" * 200)["token"]
    ask(site.browser(), "pop/?add", headers={"Authorization": f"Bearer {token}"}, pop_user="bob")
    assert [max(len(str(value)) for value in row) for row in audit_rows(site)] == [200, 200, 200]


########## Reading it ##############################################################################


def fill(site, number: int):
    now = int(time.time())
    rows = [
        f"(NULL, {now - number + i}, 'bob', '192.0.2.9', 'session', '', 'pop', '{'add' if i % 2 else 'delete'}', 'user{i}',"
        " 'ok', 200)"
        for i in range(number)
    ]
    site.state("INSERT INTO audit VALUES " + ", ".join(rows))


@pytest.fixture
def filled(either):
    """A site with ten entries of bob's, the newest a second old, and the browser of an admin."""
    browser = either.browser()
    ask(browser, "?login", auth=credentials("root"))
    either.state("DELETE FROM audit")
    fill(either, 10)
    return either, browser


def test_get_is_newest_first_and_filtered(filled):
    site, browser = filled
    rows = ask(browser, "audit/?get")["audit"]
    assert list(rows[0]) == LISTED_COLUMNS and [row["audit_target"] for row in rows] == [
        f"user{i}" for i in range(9, -1, -1)
    ]
    ask(site.browser(REMOTE_ADDR=HERE), "?login", auth=credentials("ann", "x"))
    for fields, number in [
        ({"audit_user": "bob"}, 10),
        ({"audit_user": "ann"}, 1),
        ({"audit_user": "b%"}, 0),
        ({"audit_user": ""}, 11),
        ({"audit_address": HERE}, 1),
        ({"audit_via": "password"}, 1),
        ({"audit_module": "pop"}, 10),
        ({"audit_action": "add"}, 5),
        ({"audit_action": "add", "audit_target": "user3"}, 1),
        ({"audit_target": 3}, 0),
        ({"audit_status": WRONG}, 1),
        ({"audit_status": "ok", "audit_user": "ann"}, 0),
        ({"since": rows[3]["audit_time"]}, 5),
        ({"until": rows[3]["audit_time"]}, 7),
        ({"since": str(rows[5]["audit_time"]), "until": rows[3]["audit_time"]}, 3),
    ]:
        assert len(ask(browser, "audit/?get", **fields)["audit"]) == number, fields


def test_pages_are_asked_for_by_limit_and_before(filled):
    site, browser = filled
    fill(site, 2500)
    seen, before = [], None
    while page := ask(browser, "audit/?get", before=before)["audit"]:
        seen += [row["audit_id"] for row in page]
        before = seen[-1]
    assert len(seen) == len(set(seen)) == 2510 and seen == sorted(seen, reverse=True)
    assert (
        len(ask(browser, "audit/?get")["audit"])
        == len(ask(browser, "audit/?get&limit=5000")["audit"])
        == 1000
    )
    two = ask(browser, "audit/?get&limit=2", before=seen[4])["audit"]
    assert [row["audit_id"] for row in two] == seen[5:7]


@pytest.mark.parametrize(
    ("field", "value"), [("before", "x"), ("since", "yesterday"), ("until", [1]), ("audit_user", {"a": 1})]
)
def test_filter_that_cannot_be_read_is_named(filled, field, value):
    assert (
        ask(filled[1], "audit/?get", status=400, **{field: value})["status"] == f"Invalid value for {field}."
    )


@pytest.mark.parametrize("user", ["bob", "dele", None])
def test_only_an_admin_reads_it(either, user):
    either("?login", user="ann")
    answer = either("audit/?get", user=user)
    assert answer["status"] == ("Not allowed." if user else "Username is not set!") and "audit" not in answer


########## Keeping it ##############################################################################


def test_entries_older_than_audit_lifetime_are_forgotten(tmp_path):
    site = Site(tmp_path, audit_lifetime=1000)
    for user in ("bob", "ann", "dele"):
        site("?login", user=user)
    site.state("UPDATE audit SET audit_time = audit_time - 1010 WHERE audit_user = 'bob'")
    site.state("UPDATE audit SET audit_time = audit_time - 980 WHERE audit_user = 'ann'")
    site.state("UPDATE audit SET audit_time = audit_time - 150 WHERE audit_user = 'dele'")
    site("?login", user="root")
    assert [row[0] for row in audit_rows(site)] == ["ann", "dele", "root"]


@pytest.mark.parametrize(
    "trouble",
    [
        "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END",
        "DROP TABLE audit",
    ],
)
def test_answers_do_not_depend_on_the_audit(site, caplog, trouble):
    browser = site.browser()
    ask(browser, "?login", auth=credentials())
    site.state(trouble)
    answer = ask(browser, "pop/?add", pop_user="bob")
    assert (answer["status"], answer["login"]) == ("ok", True) and site.sql("SELECT pop_user FROM popd") == [
        ("bob",)
    ]
    assert "the audit cannot be written: The state database cannot be used: " in caplog.text.replace(
        ". The log has the cause.", ": "
    )


def test_a_log_in_that_could_not_be_recorded_is_recorded_the_next_time(site):
    site("?login", user="root")
    site.state("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    site("?login", user="bob")
    site.state("DROP TRIGGER full")
    site("?login", user="bob")
    assert [row[0] for row in audit_rows(site)] == ["root", "bob"]


def test_spoiled_state_database_is_answered_in_json(site, caplog):
    """It cannot even be opened: a table of that name keeps the tables from being added."""
    site("?login", user="bob")
    for file in site.dbpath.parent.glob("master.db3.state*"):
        file.unlink()
    site.state("CREATE TABLE failure_last (x)")
    answer = site.browser().post_json("/?x", {"auth": credentials()}, status="*")
    assert (
        answer.status_int == 500 and answer.json["status"] and "the audit cannot be written: " in caplog.text
    )
