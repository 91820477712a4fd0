"""`mailapi migrate`: generation 8 becomes 9, whole or not at all."""

import random
import shutil
import sqlite3
import subprocess
import time

import pytest

import mailapi
from support.command_line import MAILAPI, run_mailapi, run_on_terminal
from support.site import MODULES, ROOT, Site

pytestmark = pytest.mark.slow

CONFIG = f'dbpath = "master.db3"\nmodulelist = {MODULES!r}\n'


def populate(site: Site):
    """Users with every in and out router, and one without."""
    routers = [
        ("store", None, "any", None),
        ("forward", "f@else.example", "defined", None),
        ("handoff", "in.example", "handoff", "out.example"),
        ("drop", None, "drop", None),
        ("reject", "why", "reject", None),
    ]
    for number, (inrouter, inroute, outrouter, outroute) in enumerate(routers):
        name = f"u{number}"
        site.sql("INSERT INTO users (user_name) VALUES (?)", name)
        site.sql("INSERT INTO msa VALUES (?, ?, ?, ?, ?)", name, inrouter, inroute, outrouter, outroute)
        site.sql(
            "INSERT INTO addresses (address_expression, address_order, address_user) VALUES (?, ?, ?)",
            f"a{number}@x.org",
            10 * number + 10,
            name,
        )
    site.sql(
        "INSERT INTO addresses (address_expression, address_order, address_user) VALUES ('ann@x.org', 7, 'ann')"
    )
    site.sql(
        "INSERT INTO addresses (address_expression, address_order, address_user) VALUES ('gone', 900, 'ann')"
    )
    site.sql("DELETE FROM addresses WHERE address_order = 900")
    site.sql(
        "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_data) VALUES ('ann', 'a', 'b', 'c')"
    )


@pytest.fixture
def old(tmp_path):
    site = Site(tmp_path, generation=8)
    (tmp_path / "config.py").write_text(CONFIG)
    populate(site)
    return site


def test_every_row_becomes_what_it_means(old, tmp_path):
    kept = [
        row
        for row in old.dump()
        if row.split()[0] in ("users", "mailbox", "api_user_delegates", "api_address_delegates", "popd")
    ]
    said = run_mailapi(tmp_path, "migrate")
    assert old.sql("SELECT * FROM addresses ORDER BY address_order") == [
        ("ann@x.org", 7, "drop", None),
        ("a0@x.org", 10, "store", "u0"),
        ("a1@x.org", 20, "redirect", "f@else.example"),
        ("a2@x.org", 30, "handoff", "in.example"),
        ("a3@x.org", 40, "drop", None),
        ("a4@x.org", 50, "reject", "why"),
    ]
    assert old.sql("SELECT * FROM smtpd ORDER BY smtpd_user") == [
        ("u0", "any", None),
        ("u1", "defined", None),
        ("u2", "handoff", "out.example"),
        ("u3", "drop", None),
        ("u4", "reject", None),
    ]
    assert sorted(old.sql("SELECT api_user, api_permission FROM api_access")) == [
        ("dele", "delegate"),
        ("root", "admin"),
    ]
    assert old.sql("SELECT seq FROM sqlite_sequence WHERE name = 'addresses'") == [(900,)]
    assert [row for row in old.dump() if row in kept] == kept
    for line in (
        "2 addresses, now with the router drop",
        "1 addresses, now with the router redirect",
        "1 MSA rows became SMTPD rows with the router handoff",
        "1 rights became permissions: delegate",
        "note: 1 users without an MSA row have addresses, whose mail is dropped: ann",
    ):
        assert line in said


def test_schema_is_that_of_a_new_database(old, tmp_path):
    run_mailapi(tmp_path, "migrate")
    with sqlite3.connect(":memory:") as new:
        new.executescript((ROOT / "tests/conformance/schema9.sql").read_text())
        wanted = sorted(map(str, new.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")))
    new.close()
    assert sorted(map(str, old.sql("SELECT type, name, tbl_name, sql FROM sqlite_master"))) == wanted
    assert old.sql("PRAGMA integrity_check") == [("ok",)] and old.sql("PRAGMA foreign_key_check") == []


def test_the_file_as_it_was_is_kept_and_a_second_run_does_nothing(old, tmp_path):
    before = old.dump()
    run_mailapi(tmp_path, "migrate")
    (copy,) = tmp_path.glob("master.db3.generation8-*")
    shutil.copy(copy, tmp_path / "was.db3")
    after = old.dump()
    assert "Nothing to do" in run_mailapi(tmp_path, "migrate")
    assert old.dump() == after
    shutil.copy(tmp_path / "was.db3", old.dbpath)
    assert old.dump() == before
    assert not list(tmp_path.glob("*.part"))


def test_dry_run_says_the_same_and_changes_nothing(old, tmp_path):
    before = old.dbpath.read_bytes()
    said = run_mailapi(tmp_path, "migrate", "--dry-run")
    assert old.dbpath.read_bytes() == before
    assert not list(tmp_path.glob("*generation8*")) and "Dry run: nothing was changed." in said
    told = [
        line
        for line in run_mailapi(tmp_path, "migrate").splitlines()
        if " became " in line or " now with " in line
    ]
    assert told and all(line in said for line in told)


def test_the_api_lists_the_same_before_and_after(old, tmp_path):
    names = [user["user_name"] for user in old("users/?get")["users"]]
    modules = {user["user_name"]: set(user["modules"]) - {"Address"} for user in old("users/?get")["users"]}
    expressions = [
        (row["address_expression"], row["address_order"]) for row in old("addresses/?get")["addresses"]
    ]
    routing = [
        old("addresses/?test", address_expression=e, address_routing="inrouter", sender="s@x")["decision"]
        for e, _ in expressions
        if e != "ann@x.org"
    ]  # ignored before for want of an MSA row, dropped now
    mail = old("mailbox/?get", user="ann")["mails"]
    run_mailapi(tmp_path, "migrate")
    assert [user["user_name"] for user in old("users/?get")["users"]] == names
    assert {u["user_name"]: set(u["modules"]) - {"Address"} for u in old("users/?get")["users"]} == modules
    assert [
        (r["address_expression"], r["address_order"]) for r in old("addresses/?get")["addresses"]
    ] == expressions
    assert [
        old("addresses/?test", address_expression=e, address_routing="inrouter", sender="s@x")["decision"]
        for e, _ in expressions
        if e != "ann@x.org"
    ] == routing
    assert old("mailbox/?get", user="ann")["mails"] == mail


@pytest.mark.parametrize(
    "statement, sentence",
    [
        ("ALTER TABLE addresses ADD COLUMN comment TEXT", "the columns of addresses are"),
        ("CREATE INDEX mine ON addresses (address_user)", "the index mine is not generation 8's"),
        ("CREATE TRIGGER t AFTER DELETE ON msa BEGIN SELECT 1; END", "the trigger t is not generation 8's"),
        ("CREATE TABLE smtpd (x)", "there is a smtpd already"),
        ("CREATE VIEW v AS SELECT msa_user FROM msa", "nothing was changed: no such table"),
        ("INSERT INTO popd VALUES ('nobody', 0)", "1 rows refer to nothing, the first in popd"),
    ],
)
def test_what_would_be_lost_or_broken_is_refused(old, tmp_path, statement, sentence):
    old.sql(statement)
    before = old.dump()
    assert sentence in run_mailapi(tmp_path, "migrate", check=1)
    assert old.dump() == before and old.sql("SELECT value FROM meta") == [("8",)]


def test_too_little_space_is_told_before_anything_happens(old, monkeypatch, capsys):
    monkeypatch.chdir(old.dbpath.parent)
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)  # filling the disk would hit everybody else
    assert mailapi.main(["migrate"]) == 1
    assert "1,000 are free" in capsys.readouterr().err
    assert old.sql("SELECT value FROM meta") == [("8",)]


def test_a_database_in_use_is_told(old, tmp_path):
    daemon = sqlite3.connect(old.dbpath, isolation_level=None)
    daemon.execute("BEGIN IMMEDIATE")
    assert "nothing was changed: database is locked" in run_mailapi(tmp_path, "migrate", check=1)
    daemon.close()


def many(site: Site, users: int):
    connection = sqlite3.connect(site.dbpath)
    with connection:
        for table, columns in (
            ("users", "user_name"),
            ("msa", "msa_user, msa_inrouter, msa_outrouter"),
            ("addresses", "address_expression, address_user"),
        ):
            rows = (
                [f"many{n}", "store", "any"]
                if table == "msa"
                else [f"many{n}@x.org", f"many{n}"]
                if table == "addresses"
                else [f"many{n}"]
                for n in range(users)
            )
            connection.executemany(
                f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(columns.split(',')))})", rows
            )
    connection.close()


def test_many_users_migrate(old, tmp_path):
    many(old, 30_000)
    assert "30,001 addresses, now with the router store" in run_mailapi(tmp_path, "migrate")
    assert old.sql("SELECT COUNT(*) FROM smtpd") == [(30_005,)]


def test_killed_at_any_moment_the_file_is_the_old_one_or_the_new_one(old, tmp_path):
    many(old, 15_000)
    before = old.dump()
    shutil.copy(old.dbpath, tmp_path / "saved")
    started = time.monotonic()
    run_mailapi(tmp_path, "migrate")
    took = time.monotonic() - started
    after, outcomes = old.dump(), {"old": 0, "new": 0}
    assert before != after
    chance = random.Random(8)
    for turn in range(60):
        if turn >= 15 and all(outcomes.values()):
            break
        shutil.copy(tmp_path / "saved", old.dbpath)
        process = subprocess.Popen([*MAILAPI, "migrate"], cwd=tmp_path, stdout=subprocess.DEVNULL)
        time.sleep(chance.uniform(took / 4, took * 1.2))
        process.kill()
        process.wait()
        found = old.dump()  # opening it rolls back what the journal left
        assert found in (before, after)
        outcomes["old" if found == before else "new"] += 1
    assert outcomes["old"] and outcomes["new"], outcomes


def test_progress_is_shown_on_a_terminal(old, tmp_path):
    said = run_on_terminal(tmp_path, "migrate")
    assert b"copying: " in said and b"tables, api_access: 3 of 3" in said
