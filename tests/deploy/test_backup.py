"""docs/how-to/backup.md: its commands, run as they stand, save what was there and bring it back."""

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
