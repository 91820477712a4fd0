"""`mailapi check --service`: whether the service's user can work with its files."""

import json
import os
import pwd
import subprocess

import pytest

from support.command_line import as_root, run_mailapi
from support.deployment import AS_USER, ENVIRON, USER
from support.site import MODULES


class Service:
    """A machine as docs/how-to/install.md has it, whose service is USER; root calls and checks."""

    def __init__(self, machine):
        self.machine, self.folder = machine, machine.folder
        self.config, self.state = (
            self.folder / "etc/mailapi/config.py",
            self.folder / "var/lib/mailapi/state.db3",
        )
        self.master = self.folder / "var/lib/cmail/master.db3"
        with self.config.open("a") as file:
            file.write(f"modulelist = {MODULES!r}\n")
        for path in (self.state.parent, self.master.parent, self.master):
            os.chown(path, USER.pw_uid, USER.pw_gid)

    def run(self, *arguments, **options) -> subprocess.CompletedProcess:
        command = [self.folder / "opt/mailapi/bin/mailapi", *arguments, "--config", self.config]
        return subprocess.run(
            command, text=True, capture_output=True, cwd=self.folder, env=ENVIRON, **options
        )

    def failures(self) -> list[str]:
        """The FAIL lines of a check for the service, without paths; the exit status goes with them."""
        done = self.run("check", "--service", USER.pw_name)
        assert not done.stderr
        found = [
            line.replace(str(self.folder), "") for line in done.stdout.splitlines() if line.startswith("FAIL")
        ]
        assert done.returncode == bool(found), done.stdout
        return found


@pytest.fixture
def service(machine):
    return Service(machine)


@as_root
@pytest.mark.parametrize("umask", [0o077, 0o022])
def test_the_service_works_on_after_a_call_of_roots(service, umask):
    added = service.run("call", "users", "add", "user_name=carol", umask=umask)
    assert added.returncode == 0, added.stderr
    assert service.failures() == []
    listed = service.run("call", "audit", "get", **AS_USER)
    assert listed.returncode == 0, listed.stdout + listed.stderr
    assert [row["audit_target"] for row in json.loads(listed.stdout)["audit"]] == ["carol"]


@as_root
def test_a_user_id_without_a_name_as_in_a_container_can_call_and_check(service):
    nameless = {"user": 54321, "group": 54321, "extra_groups": []}
    for path in (service.config, service.state.parent, service.master.parent, service.master):
        os.chown(path, 54321, 54321)
    added = service.run("call", "users", "add", "user_name=carol", **nameless)
    assert added.returncode == 0, added.stderr
    listed = json.loads(service.run("call", "audit", "get", **nameless).stdout)["audit"]
    assert [(row["audit_user"], row["audit_target"]) for row in listed] == [("local:54321", "carol")]
    checked = service.run("check", **nameless)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"ok    files: {service.master} can be read and written by 54321" in checked.stdout


@as_root
def test_check_looks_as_the_service_does(service):
    name = USER.pw_name
    assert service.failures() == []
    said = service.run("check", "--service", name).stdout
    for line in (
        f"{service.master} can be read and written",
        f"{service.master.parent} can be written to",
        f"{service.state.parent} can be written to",
        "config and modules can be read",
    ):
        assert f"ok    service {name}: {line}" in said
    service.run("call", "users", "add", "user_name=carol")

    def only(path, change, undo, *expected):
        """What is said between the two, and nothing before or after."""
        change()
        assert [line.removeprefix(f"FAIL  service {name}: ") for line in service.failures()] == [*expected], (
            path
        )
        undo()
        assert service.failures() == []

    owned = "owner root, group root, mode "
    only(
        service.config,
        lambda: service.config.chmod(0o600),
        lambda: service.config.chmod(0o644),
        f"/etc/mailapi/config.py cannot be read: {owned}-rw-------",
    )
    only(
        service.config,
        lambda: service.config.parent.chmod(0o700),
        lambda: service.config.parent.chmod(0o755),
        f"/etc/mailapi/config.py cannot be read: /etc/mailapi is closed: {owned}drwx------",
    )
    master, state = service.master, service.state
    only(
        master,
        lambda: os.chown(master, 0, 0),
        lambda: os.chown(master, USER.pw_uid, USER.pw_gid),
        f"/var/lib/cmail/master.db3 cannot be read and written: {owned}-rw-r--r--",
    )
    only(
        master,
        lambda: os.chown(master.parent, 0, 0),
        lambda: os.chown(master.parent, USER.pw_uid, USER.pw_gid),
        f"/var/lib/cmail cannot be written to: {owned}drwxr-xr-x",
    )
    only(
        state,
        lambda: os.chown(state.parent, 0, 0),
        lambda: os.chown(state.parent, USER.pw_uid, USER.pw_gid),
        f"/var/lib/mailapi cannot be written to: {owned}drwxr-xr-x",
    )
    journal = master.with_name("master.db3-journal")
    only(
        journal,
        lambda: os.close(os.open(journal, os.O_CREAT, 0o600)),
        journal.unlink,
        f"FAIL  files: /var/lib/cmail/master.db3-journal belongs to somebody else ({owned}-rw-------)"
        " and may lock others out",
        f"/var/lib/cmail/master.db3-journal cannot be read and written: {owned}-rw-------",
    )


@as_root
def test_a_state_database_of_roots_is_told_also_without_the_service(service):
    service.run("call", "users", "add", "user_name=carol")
    os.chown(service.state, 0, 0)
    cannot, belongs = service.failures()
    assert "/state.db3 belongs to root, its folder to somebody else, who cannot use it" in belongs
    assert cannot == (
        f"FAIL  service {USER.pw_name}: /var/lib/mailapi/state.db3 cannot be read and written: "
        "owner root, group root, mode -rw-------"
    )
    done = service.run("check")
    assert done.returncode == 1 and "state.db3 belongs to root" in done.stdout


@as_root
def test_a_config_that_fails_only_for_the_service_is_told(service):
    """Such as one that reads its passwords from a file, or a module that is not readable."""
    secret, module = service.folder / "etc/mailapi/secret", service.folder / "etc/mailapi/greeting.py"
    secret.write_text("x")
    secret.chmod(0o600)
    plain = service.config.read_text()
    service.config.write_text(f"{plain}with open({str(secret)!r}) as file: file.read()\ndel file\n")
    assert "PermissionError" in service.failures()[0]
    module.write_text("from mailapi import Module\nclass Greeting(Module):\n    pass\n")
    module.chmod(0o600)
    service.config.write_text(f'{plain}modulelist["Greeting"] = "greeting.py"\n')
    [line] = service.failures()
    assert "/etc/mailapi/greeting.py cannot be read: owner root" in line


@pytest.mark.parametrize("option", ["--service", "--daemon"])
def test_an_unknown_user_is_one_line_beside_the_usual_ones(configured_site, tmp_path, option):
    usual = run_mailapi(tmp_path, "check").splitlines()
    said = run_mailapi(tmp_path, "check", option, "nosuch", check=1).splitlines()
    assert said == ["FAIL  There is no user nosuch on this system.", *usual]


def test_a_service_user_that_is_none_or_another_one_is_refused(configured_site, tmp_path):
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert f"ok    service {me}: config and modules can be read" in run_mailapi(
        tmp_path, "check", "--service", me
    )


@as_root
def test_only_root_can_look_as_somebody_else(service):
    done = service.run("check", "--service", "nobody", **AS_USER)
    assert (done.returncode, done.stderr) == (1, "mailapi: --service nobody: run it as root or as nobody.\n")


@as_root
def test_a_log_file_that_the_service_cannot_write_is_named(service):
    with service.config.open("a") as file:
        file.write('log_file = "/var/log/mailapi/api.log"\n'.replace('"/', f'"{service.folder}/'))
    folder = service.folder / "var/log/mailapi"
    assert service.failures() == ["FAIL  log_file: there is no folder /var/log/mailapi"]
    folder.mkdir(parents=True)
    [closed] = service.failures()
    assert f"service {USER.pw_name}: /var/log/mailapi cannot be written to: owner root" in closed
    os.chown(folder, USER.pw_uid, USER.pw_gid)
    assert service.failures() == []
    (folder / "api.log").touch(0o640)
    [closed] = service.failures()
    assert f"service {USER.pw_name}: /var/log/mailapi/api.log cannot be written to: owner root" in closed
    (folder / "api.log").unlink()
    (folder / "api.log").mkdir()
    assert service.failures()[0] == "FAIL  log_file: /var/log/mailapi/api.log is a folder"
