"""A change in two databases, if the master's transaction ends in an odd way."""

import sqlite3
import threading

import pytest

import mailapi
from support.site import Site

FOLLOWER = """
from mailapi import Participant, Module

class Follower(Module):
    ended = []

    def on_user_change(self, call, change, user_name, password):
        held = Participant()
        for how in ("commit", "rollback", "leave"):
            setattr(held, how, lambda how=how: self.ended.append(how))
        return held
"""


class Signalled(BaseException):
    """An exception that a signal handler may raise anywhere, such as SystemExit."""


@pytest.fixture
def site(tmp_path) -> Site:
    (tmp_path / "follower.py").write_text(FOLLOWER)
    made = Site(tmp_path, extra={"Follower": str(tmp_path / "follower.py")})
    made.app.modules["follower"].ended.clear()
    return made


def test_a_participant_commits_with_the_master_and_is_not_involved_in_a_refusal(site):
    assert site("users/?add", user_name="new")["status"] == "ok"
    assert site("users/?add", user_name="new")["status"] == "UNIQUE constraint failed: users.user_name"
    assert site.app.modules["follower"].ended == ["commit"]  # the other was refused before it joined


def test_a_signal_during_the_commit_leaves_the_other_database_prepared(site, monkeypatch):
    """The master may have committed already: the next change or `check` finds out by its row."""
    run = site.app.db.run

    def signalled(sql, *rest):
        done = run(sql, *rest)
        if sql == "COMMIT" and site.sql("SELECT 1 FROM users WHERE user_name = 'new'"):
            raise Signalled
        return done

    monkeypatch.setattr(site.app.db, "run", signalled)
    with pytest.raises(Signalled):
        site("users/?add", user_name="new")
    assert site.app.modules["follower"].ended == ["leave"]


def test_a_commit_of_unknown_outcome_leaves_the_other_database_prepared(site, monkeypatch):
    """A server's connection may be lost while it commits (mariadb/errors.py)."""
    run = site.app.db.run

    def lose_connection(sql, *rest):
        cursor = run(sql, *rest)
        if sql == "COMMIT" and site.sql("SELECT 1 FROM users WHERE user_name = 'new'"):
            unknown = mailapi.CommitOutcomeUnknown("The connection was lost.", http=503)
            unknown.store_in_doubt = site.app.db
            raise unknown
        return cursor

    monkeypatch.setattr(site.app.db, "run", lose_connection)
    site("users/?add", check=503, user_name="new")
    assert site.app.modules["follower"].ended == ["leave"]


def test_a_commit_that_waits_in_vain_for_a_lock_rolls_back_the_other_database(site):
    site.app.db.database.timeout = 0.2
    site.app.db.close()
    reader = sqlite3.connect(site.dbpath, isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM users").fetchall()
    ending = threading.Timer(60, reader.close)
    ending.start()
    assert site("users/?add", check=503, user_name="new")["status"] == "The database is busy. Try again."
    assert ending.is_alive(), "it waits until the reader ends"
    ending.cancel()
    reader.close()
    assert site.app.modules["follower"].ended == ["rollback"]
    assert site.sql("SELECT * FROM users WHERE user_name = 'new'") == []
