"""docs/mailapi.service: what systemd says to it, and files that the API and the mail daemons share."""

import configparser
import grp
import os
import pwd
import re
import shlex
import subprocess

import pytest
from mailapi_modules.commands.main import find_commands

from support.deployment import AS_USER, ENVIRON, recipe
from support.instances import require_program, running_instance, skip_without
from support.session import check_session
from support.site import ROOT

UNIT = (ROOT / "docs/mailapi.service").read_text()


@pytest.fixture
def unit(machine):
    """The unit's file, with this machine's paths."""
    return machine.write("/etc/systemd/system/mailapi.service", UNIT)


def service(unit) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)  # some keys come twice
    parser.optionxform = str
    parser.read_string(unit.read_text())
    return parser["Service"]


def test_systemd_finds_nothing_wrong_with_the_unit(unit):
    done = subprocess.run(
        [require_program("systemd-analyze"), "--man=no", "verify", unit], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_is_hardened(unit):
    """Its exposure is at most 1.5 of 10."""
    done = subprocess.run(
        [require_program("systemd-analyze"), "security", "--offline=true", "--threshold=15", unit],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_mailapi_has_no_limit_to_raise(unit, monkeypatch):
    """The unit's filter of system calls would not let it."""
    files, serve = int(service(unit)["LimitNOFILE"]), find_commands()["serve"]
    monkeypatch.setattr(serve.resource, "getrlimit", lambda _: (files, files))
    monkeypatch.setattr(serve.resource, "setrlimit", lambda *_: pytest.fail("not permitted"))
    assert serve.allow_connections(serve.LIMITS["connection_limit"]) == serve.LIMITS["connection_limit"]


########## Shared files ############################################################################


class Shared:
    """A master database of the mail daemons (user and group mail), shared as docs/how-to/systemd.md says."""

    def __init__(self, machine):
        if os.geteuid() != 0:
            skip_without("A second user, which only root has,")
        self.machine, self.path = machine, machine.site.dbpath
        self.daemon = {"user": "mail", "group": "mail", "extra_groups": [], "umask": 0o077}
        self.api = AS_USER | {"group": "mail"}
        os.chown(machine.folder / "var/lib/mailapi", AS_USER["user"], -1)
        for path in (self.path, self.path.parent):
            os.chown(path, pwd.getpwnam("mail").pw_uid, -1)
        for line in recipe("As a service of systemd")["sh"].splitlines():
            if line.split()[0] in ("chgrp", "chmod", "/opt/mailapi/bin/mailapi"):
                line = re.sub("(chgrp|--daemon) cmail", r"\1 mail", machine.here(line))
                line = line.replace("--service mailapi", "")  # whom useradd would have made
                subprocess.run(shlex.split(line), check=True, stdout=subprocess.DEVNULL)

    def python(self, code: str, who: dict):
        """Run code with `db` open as somebody."""
        code = f"import os, sqlite3; db = sqlite3.connect({str(self.path)!r}, isolation_level=None)\n{code}"
        return subprocess.run(["/usr/bin/python3", "-c", code], env=ENVIRON, cwd="/", **who).returncode


@pytest.fixture
def shared(machine):
    return Shared(machine)


def test_the_unit_serves_beside_the_daemons(shared, unit):
    options = service(unit)
    start = shlex.split(options["ExecStart"])
    assert options["User"] == "mailapi" and options["Group"] == "cmail"
    who = shared.api | {"umask": int(options["UMask"], 8)}
    with running_instance(
        start, shared.machine.folder / "run/mailapi", shared.machine.back, env=ENVIRON, **who
    ):
        check_session(f"http://127.0.0.1:{shared.machine.back}/cmail/api/")
        assert (
            shared.python("db.execute(\"INSERT INTO users (user_name) VALUES ('by daemon')\")", shared.daemon)
            == 0
        )
    state = shared.machine.folder / "var/lib/mailapi/state.db3"
    assert state.stat().st_mode & 0o777 == 0o600
    assert shared.python(f"open({str(state)!r})", shared.daemon) == 1


@pytest.mark.parametrize("killed, survivor", [("api", "daemon"), ("daemon", "api")])
def test_what_a_killed_one_leaves_the_other_clears(shared, killed, survivor):
    """A journal that is still needed belongs to one and is rolled back by the other."""
    half_done = (
        "db.execute('PRAGMA cache_size = 1'); db.execute('BEGIN IMMEDIATE')\n"
        "db.executemany('INSERT INTO users (user_name) VALUES (?)', [[f'half{n}'] for n in range(5000)])\n"
        "os._exit(9)"
    )
    before = shared.machine.site.dump()
    size = shared.path.stat().st_size
    assert shared.python(half_done, getattr(shared, killed)) == 9
    journal = shared.path.with_name(shared.path.name + "-journal").stat()
    assert journal.st_mode & 0o777 == 0o660 and journal.st_gid == grp.getgrnam("mail").gr_gid
    assert shared.path.stat().st_size > size  # half of it is in the file
    assert shared.python('db.execute("UPDATE users SET user_alias = NULL")', getattr(shared, survivor)) == 0
    assert shared.machine.site.dump() == before
