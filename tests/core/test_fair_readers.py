"""Readers of the API and writers of the mail daemons: nobody waits for ever for the other (docs/wire.md section 7)."""

import contextlib
import sqlite3
import subprocess
import sys
import threading
import time

import peewee
import pytest

# A mail daemon's write, in a process of its own: threads of one process share SQLite's locks.
DAEMON = """
import sqlite3, sys
daemon = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
daemon.execute("BEGIN IMMEDIATE")
daemon.execute("UPDATE users SET user_alias = 'changed' WHERE user_name = 'ann'")
daemon.execute("COMMIT")
print("committed")
"""


@pytest.mark.sqlite
def test_a_daemon_can_write_while_requests_that_overlap_read(site):
    """Each of two threads reads until the other reads, too, so that there always is one that reads."""
    daemon = subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(site.file)], stdout=subprocess.PIPE, text=True
    )
    reading, over = [threading.Event(), threading.Event()], threading.Event()

    def read(own: int):
        while not over.is_set():
            with site.app.db.transaction("DEFERRED"):
                site.app.db.run("SELECT count(*) FROM users")
                reading[own].set()
                reading[1 - own].wait(0.5)  # a reader that is kept out must not keep this one here for ever
                reading[1 - own].clear()
            reading[own].clear()
        site.app.db.close()

    readers = [threading.Thread(target=read, args=(own,)) for own in (0, 1)]
    try:
        for reader in readers:
            reader.start()
        said = daemon.communicate(timeout=90)[0]
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert (said.strip(), daemon.returncode) == ("committed", 0)


@pytest.mark.sqlite
def test_a_reader_that_fails_does_not_keep_others_out(site):
    site.app.db.connect()
    with pytest.raises(sqlite3.Error), site.app.db.transaction("DEFERRED"):
        site.app.db.opened.connection.execute("SELECT nonsense")
    with contextlib.suppress(Exception), site.app.db.transaction("NO SUCH"):
        pass
    with site.app.db.transaction("DEFERRED"):
        assert site.app.db.run("SELECT count(*) FROM users").fetchone() == (5,)
    assert site.app.db.gates["DEFERRED"].readers == 0


@pytest.mark.sqlite
def test_a_reader_that_takes_long_does_not_keep_others_out(site):
    gate, answers = site.app.db.gates["DEFERRED"], []

    def ask():
        answers.append(site("users/?get", user="bob")["status"])

    with site.app.db.transaction("DEFERRED"):
        time.sleep(2 * gate.LONGEST_READING)
        others = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
        for other in others:
            other.start()
        for other in others:
            other.join(60)
        assert answers == ["ok"] * 3 and gate.readers == 1
    assert gate.readers == 0


@pytest.mark.sqlite
def test_a_transaction_within_a_slow_one_is_refused_and_keeps_nobody_out(site):
    """A module's mistake: the outer one has read for longer than new readers are let in beside it."""
    refusals = []

    def nest():
        with site.app.db.transaction("DEFERRED"):
            time.sleep(2 * site.app.db.gates["DEFERRED"].LONGEST_READING)
            try:
                site.app.db.transaction("DEFERRED").__enter__()
            except peewee.OperationalError as error:
                refusals.append(str(error))
        site.app.db.close()

    thread = threading.Thread(target=nest, daemon=True)
    thread.start()
    thread.join(60)
    assert refusals == ["cannot start a transaction within a transaction"]
    assert site("?get_modules", user="bob")["status"] == "ok"
