"""The table of the suite's usual tasks in docs/how-to/accounts.md: each command is one that mailapi takes."""

import re
import shlex

import pytest

import mailapi
from support.mailserver_site import run_call
from support.site import OPTIONAL, ROOT, Site

TABLE = (ROOT / "docs/how-to/accounts.md").read_text().partition("## The suite's usual tasks")[2]
COMMANDS = [shlex.split(command) for command in re.findall(r"`mailapi (call [^`]+)`", TABLE)]


def test_the_commands_name_actions_and_fields(tmp_path):
    site = Site(tmp_path, extra=OPTIONAL)
    assert len(COMMANDS) > 15
    for _, module, action, *fields in COMMANDS:
        endpoint = site.app.modules[module].endpoints[action]
        known = endpoint.fields(mailapi.GENERATIONS[9])
        assert {field.partition("=")[0] for field in fields} <= set(known)


@pytest.mark.slow
def test_the_commands_do_what_the_table_says(site_with_mailserver):
    """But for what needs services, another installation, or a user who was added and deleted before."""
    for command in COMMANDS:
        if command[1] != "services" and command[2] != "device_add" and "delete" not in command:
            code, said = run_call(site_with_mailserver, *command[1:])
            assert code == 0, (command, said)
