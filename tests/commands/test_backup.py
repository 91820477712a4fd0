"""`mailapi backup` after something was killed: an earlier backup, or a program that wrote to the database."""

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from support.command_line import CONFIG, run_mailapi
from support.site import Site


@pytest.fixture
def installed(tmp_path):
    """A site with a config.py."""
    (tmp_path / "config.py").write_text(CONFIG)
    return Site(tmp_path)


KILLED_WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 2")  # changes reach the file before they are committed
connection.execute("BEGIN IMMEDIATE")
for number in range(2000):
    connection.execute("INSERT INTO users (user_name) VALUES (?)", (f"{number:0100}",))
os.kill(os.getpid(), 9)
"""


def users_in(database) -> int:
    connection = sqlite3.connect(database)
    try:
        return connection.execute("SELECT COUNT(*) FROM users").fetchone()[0]
    finally:
        connection.close()


def test_backup_after_a_killed_writer_has_what_was_committed(installed, tmp_path):
    before = users_in(installed.dbpath)
    done = subprocess.run([sys.executable, "-c", KILLED_WRITER, installed.dbpath], timeout=60)
    assert done.returncode == -signal.SIGKILL and os.path.exists(f"{installed.dbpath}-journal")
    run_mailapi(tmp_path, "backup", "copy.db3")
    assert users_in(tmp_path / "copy.db3") == before


def test_backup_reads_a_database_that_only_others_may_change(installed, tmp_path):
    os.chmod(installed.dbpath, 0o440)
    run_mailapi(tmp_path, "backup", "copy.db3")
    assert users_in(tmp_path / "copy.db3") == users_in(installed.dbpath)


def test_backup_replaces_what_a_killed_backup_left(installed, tmp_path):
    (tmp_path / "copy.db3.part").write_bytes(b"half of it")
    (tmp_path / "copy.db3.part").chmod(0o644)
    run_mailapi(tmp_path, "backup", "copy.db3")
    assert users_in(tmp_path / "copy.db3") == users_in(installed.dbpath)
    assert (tmp_path / "copy.db3").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "copy.db3.part").exists()


def test_backup_leaves_what_another_one_is_writing(installed, tmp_path):
    with open(tmp_path / "copy.db3.part", "x") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        said = run_mailapi(tmp_path, "backup", "copy.db3", check=1)
        assert said == "mailapi: copy.db3.part: another backup is writing it.\n"
        assert (tmp_path / "copy.db3.part").exists() and not (tmp_path / "copy.db3").exists()


def test_backup_follows_no_link_that_somebody_put_there(installed, tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "copy.db3.part").symlink_to("precious")
    assert "copy.db3.part: " in run_mailapi(tmp_path, "backup", "copy.db3", check=1)
    assert (tmp_path / "precious").read_text() == "precious" and not (tmp_path / "copy.db3").exists()
