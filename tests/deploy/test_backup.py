"""docs/how-to/backup.md: its commands, run as they stand, save what was there and bring it back."""

import contextlib
import os
import sqlite3
import subprocess

import pytest

from support.deployment import ENVIRON, recipe
from support.instances import require_program

pytestmark = pytest.mark.slow


def run(machine, commands: str) -> str:
    """Run commands as one would paste them; return what they print. Each must succeed."""
    done = subprocess.run(
        [require_program("bash"), "-ec", machine.here(commands)],
        cwd=machine.folder,
        env=ENVIRON,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_was_deleted_after_the_backup_is_there_again(machine):
    call = "/opt/mailapi/bin/mailapi call --config /etc/mailapi/config.py"
    token = f"{call} --as ann tokens add token_name=script"
    run(machine, token)
    said = run(machine, recipe("Back up", "backup.md")["sh"])
    assert said == machine.here("Copied /var/lib/cmail/master.db3 to /var/backups/mailapi/master.db3.\n")
    run(machine, f"{call} users delete user_name=ann")
    said = run(machine, recipe("Restore", "backup.md")["sh"])
    assert "FAIL" not in said
    assert '"script"' in run(machine, f"{call} --as ann tokens get")
    assert (machine.folder / "var/backups/mailapi/etc/config.py").exists()


def test_the_nightly_backup_has_every_database_and_no_old_ones(machine):
    path = "/etc/cron.daily/mailapi-backup"
    script = machine.write(path, recipe("Back up every night", "backup.md")[path])
    own, old = machine.folder / "var/lib/cmail/own.db3", machine.folder / "var/backups/mailapi/2001-01-01"
    with contextlib.closing(sqlite3.connect(own)) as database:
        database.execute("CREATE TABLE mailbox (mail_id)")
    with contextlib.closing(sqlite3.connect(machine.folder / "var/lib/cmail/master.db3")) as master, master:
        master.execute("UPDATE users SET user_database = ? WHERE user_name = 'ann'", [str(own)])
    run(
        machine,
        "/opt/mailapi/bin/mailapi call --config /etc/mailapi/config.py --as ann tokens add token_name=x",
    )
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    assert run(machine, path) == ""
    [folder] = (machine.folder / "var/backups/mailapi").iterdir()
    assert (folder / "etc/config.py").exists() and script.exists()
    for name, table in (("master.db3", "users"), ("state.db3", "token"), (f"users{own}", "mailbox")):
        with contextlib.closing(sqlite3.connect(folder / name)) as copy:
            assert table in {row[0] for row in copy.execute("SELECT name FROM sqlite_master")}, name
