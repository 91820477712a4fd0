"""`mailserver`: a crash between the two databases, and how what is in doubt is brought to an end."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from mailapi_modules.provisioning import password_schemes as schemes
from mailapi_modules.provisioning.two_phase import digest

import mailapi
from mailapi import BUSY
from support.mailserver_site import (
    BOB,
    CAROL,
    add_user,
    both_databases,
    get_modules,
    log_in_works,
    mailserver_row,
    prepared_transactions,
    run_check,
)
from support.site import ROOT, Site
from support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def site(site_with_mailserver) -> Site:
    return site_with_mailserver


CHANGES = {
    "add": ("new@corp.org", "pw", "new"),
    "delete": (CAROL, "pw", None),
    "set_password": (CAROL, "pw", "new"),
}


def in_step(site, user) -> str | None:
    """The password that a user has in both databases."""
    stored, there = (
        site.sql("SELECT user_authdata FROM users WHERE user_name = ?", user),
        mailserver_row(site, user),
    )
    assert bool(stored) == bool(there), "only in one of them"
    fitting = [word for word in ("pw", "new") if stored and mailapi.verify(word, stored[0][0])]
    assert fitting == [word for word in ("pw", "new") if there and schemes.verify(word, there[3])]
    return fitting[0] if fitting else None


def killed_at(site, moment: str, action: str, *fields: str):
    """An action of `mailapi call users` that is killed at that moment, and MariaDB has noticed it."""

    def connections() -> set:
        return set(site.mail.sql("SELECT id FROM information_schema.processlist WHERE user = 'mail'"))

    before = connections()
    done = subprocess.run(
        [sys.executable, str(ROOT / "mailapi.py"), "call", "users", action, *fields],
        cwd=site.dbpath.parent,
        env=os.environ | {"CRASH": moment},
    )
    assert done.returncode == -signal.SIGKILL
    wait_until(lambda: not connections() - before, "MariaDB keeps a killed client's connection")


def mend(site, how: str, user: str):
    """What is left is mended by the next log-in of the user, or by the command."""
    if how == "log-in":
        assert get_modules(site, user, "whatever")["login"] is False
    else:
        said = run_check(site, "--repair")
        assert "ok    Account: mailserver: 0 changes in doubt, 1 brought to an end" in said


@pytest.mark.parametrize("how", ["log-in", "check --repair"])
@pytest.mark.parametrize("action", CHANGES)
def test_the_server_killed_between_the_two(site, mariadb, action, how):
    """Prepared there, committed here, killed before it could commit: it does so when somebody comes by."""
    add_user(site)
    user, _, after = CHANGES[action]
    crash = site.app.modules["crash"]
    crash.moment, crash.act = "committed", mariadb.kill
    try:
        answer = site(f"users/?{action}", user_name=user, user_authdata="new")
        assert answer["status"] == "ok"
    finally:
        mariadb.start()
    crash.moment = None
    assert len(prepared_transactions(site)) == 1  # what is left
    mend(site, how, user)
    assert prepared_transactions(site) == [] and in_step(site, user) == after


@pytest.mark.parametrize("how", ["log-in", "check --repair"])
@pytest.mark.parametrize("moment", ["prepared", "committed"])
@pytest.mark.parametrize("action", CHANGES)
def test_the_api_killed_between_the_two(site, action, moment, how):
    """Before the master's commit the change is undone there, after it it is done."""
    add_user(site)
    user, before, after = CHANGES[action]
    before = None if action == "add" else before
    killed_at(site, moment, action, f"user_name={user}", *(["user_authdata=new"] if after else []))
    assert len(prepared_transactions(site)) == 1
    mend(site, how, user)
    assert prepared_transactions(site) == [] and in_step(site, user) == (
        before if moment == "prepared" else after
    )


@pytest.mark.parametrize("action", CHANGES)
def test_a_commit_that_fails_because_a_daemon_reads_undoes_it_there(site, action):
    """docs/wire.md F36: nothing changed, in either."""
    add_user(site)
    user = CHANGES[action][0]
    before = both_databases(site)
    site.app.db.connect()
    site.app.db.database.timeout = 0.2
    site.app.db.close()
    with contextlib.closing(sqlite3.connect(site.dbpath, isolation_level=None)) as daemon:
        daemon.execute("BEGIN")
        daemon.execute("SELECT * FROM users").fetchall()
        answer = site(f"users/?{action}", user_name=user, user_authdata="new", check=503)
        assert answer["status"] == "The database is busy. Try again."
    assert both_databases(site) == before and prepared_transactions(site) == []


def test_another_change_waits_for_what_is_in_doubt_and_mends_it(site):
    """The next change of the same user is made over what the last one has left."""
    add_user(site)
    killed_at(site, "committed", "set_password", f"user_name={CAROL}", "user_authdata=new")
    assert len(prepared_transactions(site)) == 1
    assert site("users/?set_password", user_name=CAROL, user_authdata="pw")["status"] == "ok"
    assert prepared_transactions(site) == [] and in_step(site, CAROL) == "pw"


def test_a_change_that_mends_and_then_fails_leaves_what_was_mended(site):
    add_user(site)
    killed_at(site, "committed", "set_password", f"user_name={CAROL}", "user_authdata=new")
    crash = site.app.modules["crash"]
    crash.moment = "prepared"

    def fail():
        raise mailapi.ApiError("no")

    crash.act = fail
    assert site("users/?set_password", user_name=CAROL, user_authdata="pw")["status"] == "no"
    assert prepared_transactions(site) == [] and in_step(site, CAROL) == "new"


def test_what_is_under_way_is_not_taken_for_a_crash(site):
    """A change of a live process, seen prepared by a log-in in another: it ends as its own process says."""
    add_user(site)
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
    assert prepared_transactions(site) == [] and in_step(site, CAROL) == "new"


def test_a_change_with_the_identifier_of_another_waits_for_it(site, monkeypatch):
    """Of a suspended user: their row in `users` does not tell a change from the one before it."""
    import pymysql

    add_user(site)
    assert site("users/?suspend", user_name=CAROL)["status"] == "ok"
    other = pymysql.connect(
        unix_socket=str(site.mail.server.folder / "socket"), user="root", database=site.mail.name
    )
    two_phase = site.app.modules["accounts"].mailserver.two_phase
    row = digest(f"{CAROL} None")
    xid = f"'{two_phase.prefix}-{digest(CAROL)}', '{row}'"
    change = "UPDATE accounts SET homeDir = 'other' WHERE accountId = 4"
    with other.cursor() as cursor:
        for statement in (f"XA START {xid}", change, f"XA END {xid}", f"XA PREPARE {xid}"):
            cursor.execute(statement)
    answer = site("users/?set_password", check=503, user_name=CAROL, user_authdata="new")
    assert answer["status"] == BUSY and len(prepared_transactions(site)) == 1
    # It was not in doubt when this one began, and is now.
    monkeypatch.setattr(two_phase, "resolve_locked", other.close)
    answer = site("users/?set_password", check=503, user_name=CAROL, user_authdata="new")
    assert answer["status"] == BUSY and len(prepared_transactions(site)) == 1
    monkeypatch.undo()
    assert site("users/?set_password", user_name=CAROL, user_authdata="new")["status"] == "ok"
    assert prepared_transactions(site) == [] and mailserver_row(site)[8] == "other"


def test_what_is_prepared_for_too_long_is_in_doubt_and_not_lost(site, monkeypatch):
    """The server ends the connection of a process that says no more; here it goes on after all."""
    from mailapi_modules.mariadb import link

    monkeypatch.setattr(link, "LONGEST_PAUSE", 1)
    add_user(site)
    site.app.modules["accounts"].mailserver.store.pool.close_idle()
    crash = site.app.modules["crash"]
    crash.moment = "committed"
    connections = "SELECT id FROM information_schema.processlist WHERE user = 'mail' AND db = DATABASE()"
    crash.act = lambda: wait_until(lambda: not site.mail.sql(connections), "the connection lasts")
    assert site("users/?set_password", user_name=CAROL, user_authdata="new")["status"] == "ok"
    assert len(prepared_transactions(site)) == 1
    assert log_in_works(site, CAROL, "new")
    assert prepared_transactions(site) == [] and in_step(site, CAROL) == "new"


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
        assert log_in_works(site, BOB, "test")
        assert "0 changes in doubt" in run_check(site, "--repair")
        assert len(prepared_transactions(site)) == 2
    finally:
        for xid in others:
            site.mail.sql(f"XA ROLLBACK {xid}")
