"""docs/how-to/install.md: what stands below "Install it" can be done right there, on a machine without a mail server."""

import re
import shutil
import subprocess

import pytest

from support.deployment import ENVIRON, recipe

pytestmark = pytest.mark.slow


@pytest.fixture
def new_machine(machine):
    """A machine as after "Install it": there is no master database yet, and nobody but root."""
    shutil.rmtree(machine.folder / "var/lib/cmail")
    return machine


def run(machine, title: str) -> str:
    """Run the commands of a section of the page, without a terminal, and return what they print."""
    commands = machine.here(recipe(title, "install.md")["sh"])
    done = subprocess.run(
        ["bash", "-ec", commands], stdin=subprocess.DEVNULL, env=ENVIRON, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_master_database_is_made_with_its_folder_and_checked(new_machine):
    said = run(new_machine, "Make a master database")
    assert (new_machine.folder / "var/lib/cmail/master.db3").exists()
    assert re.search(r"^Password, shown only now: \S+$", said, re.M)
    checked = run(new_machine, "Check it")
    assert re.search(r"^ok    database: ", checked, re.M) and "FAIL" not in checked
