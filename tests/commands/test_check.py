"""`mailapi check`, and whom the files belong to that commands of root's make."""

import contextlib
import json
import os
import pwd
import shutil
import sqlite3
import subprocess

import pytest

from support.command_line import MAILAPI, Server, run
from support.deployment import AS_USER, ENVIRON, USER
from support.site import MODULES, Site

NOBODY = pwd.getpwnam("nobody")
OWNER = NOBODY.pw_uid, pwd.getpwnam("daemon").pw_gid  # not nobody's own group: the folder's counts
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
ACCOUNT = {"Account": "modules/accounts.py"}


def configure(folder, modules=MODULES, **config):
    named = {"dbpath": "master.db3", "modulelist": modules} | config
    (folder / "config.py").write_text("".join(f"{key} = {value!r}\n" for key, value in named.items()))


@pytest.fixture
def configured(tmp_path):
    configure(tmp_path)
    return Site(tmp_path)


def own(folder, owner=OWNER):
    """Make the folder and all that is in it somebody else's."""
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, *owner, follow_symlinks=False)


def strangers(folder) -> dict:
    """What is not the owner's in the folder: name → user and group."""
    seen = {path.name: path.lstat() for path in folder.rglob("*")}
    return {name: (s.st_uid, s.st_gid) for name, s in seen.items() if (s.st_uid, s.st_gid) != OWNER}


########## Files that root makes #################################################################


@as_root
@pytest.mark.parametrize("umask", [0o077, 0o022])
def test_what_root_calls_leaves_a_state_database_that_is_the_folders_owners(configured, tmp_path, umask):
    configure(tmp_path, MODULES | ACCOUNT, apiserver="accounts.db3")
    own(tmp_path)
    subprocess.run(
        [*MAILAPI, "call", "users", "add", "user_name=carol"], cwd=tmp_path, check=True, umask=umask
    )
    subprocess.run(
        [*MAILAPI, "call", "accounts", "provision", "user_name=ann"], cwd=tmp_path, check=True, umask=umask
    )
    for name in ("master.db3.state", "accounts.db3"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert strangers(tmp_path) == {}


@as_root
def test_the_side_files_of_an_open_state_database_stay_its_owners(configured, tmp_path):
    """Of a service that has it open, and of one that left them, with root's as they were made before."""
    configured("?get_modules")
    own(tmp_path)
    state = tmp_path / "master.db3.state"
    with contextlib.closing(sqlite3.connect(state)) as service:
        service.execute("SELECT * FROM session_key").fetchall()
        os.chown(f"{state}-wal", 0, 0)
        os.chmod(f"{state}-wal", 0o600)
        run(tmp_path, "call", "users", "add", "user_name=carol")
        assert {path.name for path in tmp_path.glob("*.state-*")} == {
            f"{state.name}-wal",
            f"{state.name}-shm",
        }
        assert strangers(tmp_path) == {}


@as_root
def test_root_is_not_led_to_other_files_by_a_side_file_that_is_a_link(configured, tmp_path):
    configured("?get_modules")
    other = tmp_path.parent / f"{tmp_path.name}-other"
    other.write_text("root's")
    other.chmod(0o640)
    own(tmp_path)
    configured.app.state.close()
    for ending in ("-wal", "-shm"):
        (tmp_path / f"master.db3.state{ending}").unlink(missing_ok=True)
        (tmp_path / f"master.db3.state{ending}").symlink_to(other)
    run(tmp_path, "check", check=1)
    assert (other.stat().st_uid, other.stat().st_mode & 0o777, other.read_text()) == (0, 0o640, "root's")


@as_root
def test_a_state_database_behind_a_link_is_made_where_the_link_leads(configured, tmp_path):
    """Such as on another file system; the config may be a link, too."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "config.py").rename(tmp_path / "etc/real.py")
    (tmp_path / "config.py").symlink_to("etc/real.py")
    (tmp_path / "master.db3.state").symlink_to(elsewhere / "state.db3")
    own(elsewhere)
    run(tmp_path, "call", "users", "add", "user_name=carol")
    assert (tmp_path / "master.db3.state").is_symlink() and (elsewhere / "state.db3").exists()
    assert strangers(elsewhere) == {}


@as_root
def test_what_root_makes_by_commands_is_the_folders_owners(tmp_path):
    own(tmp_path)
    run(tmp_path, "init", "--dbpath", "new/below/master.db3")
    run(tmp_path, "backup", "new/copy.db3")
    run(tmp_path, "call", "users", "add", "user_name=ann")
    run(tmp_path, "copy", "new/below/master.db3", "copied.db3")
    run(tmp_path, "copy", "--state", "new/below/master.db3.state", "copied.state")
    made = {path.name for path in tmp_path.rglob("*")}
    assert made == {
        "config.py",
        "new",
        "below",
        "master.db3",
        "copy.db3",
        "master.db3.state",
        "copied.db3",
        "copied.state",
    }
    assert strangers(tmp_path) == {}
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.*")}
    assert modes["master.db3"] == modes["copied.db3"] == 0o660
    assert modes["copy.db3"] == modes["copied.state"] == modes["master.db3.state"] == 0o600


@as_root
def test_what_root_migrates_stays_the_owners_and_so_does_the_copy(tmp_path):
    Site(tmp_path, generation=8)
    configure(tmp_path, {"User": "modules/users.py"})
    own(tmp_path)
    run(tmp_path, "migrate")
    assert len(list(tmp_path.glob("master.db3.generation8-*"))) == 1 and strangers(tmp_path) == {}


@as_root
def test_what_root_serves_is_the_folders_owners(tmp_path):
    own(tmp_path)
    with Server(tmp_path, "--init") as server:
        server.post("?login", b'{"auth": {"user_name": "admin", "password": "wrong"}}')
        assert {"config.py", "data", "master.db3", "master.db3.state"} <= {
            path.name for path in tmp_path.rglob("*")
        }
        assert strangers(tmp_path) == {}


########## check --service #######################################################################


class Service:
    """A machine as docs/deploy.md has it, whose service is USER; root calls and checks."""

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


def test_a_service_user_that_is_none_or_another_one_is_refused(configured, tmp_path):
    assert "There is no user nosuch" in run(tmp_path, "check", "--service", "nosuch", check=1)
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert f"ok    service {me}: config and modules can be read" in run(tmp_path, "check", "--service", me)


@as_root
def test_only_root_can_look_as_somebody_else(service):
    done = service.run("check", "--service", "nobody", **AS_USER)
    assert (done.returncode, done.stderr) == (1, "mailapi: --service nobody: run it as root or as nobody.\n")


########## config.py #############################################################################


SECRETS = [
    {"mailserver": "mysql://mailapi:s3cret@127.0.0.1/mailserver"},
    {"services": {"imap": {"url": "imap://127.0.0.1", "user": "master", "password": 'it\'s "s3cret"'}}},
]


@pytest.fixture
def in_public(public_folder):
    """A folder that everybody gets to, for a config."""
    folder = public_folder / f"check-{os.urandom(4).hex()}"
    folder.mkdir()
    folder.chmod(0o755)
    Site(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_config_with_passwords_that_others_can_read_fails(in_public, secret):
    configure(in_public, **secret)
    said = "everybody on this machine can read it"
    (in_public / "config.py").chmod(0o644)
    assert f"FAIL  config: config.py has passwords in it, and {said}: chmod o-r" in run(
        in_public, "check", check=1
    )
    assert "s3cret" not in run(in_public, "check", check=1)
    (in_public / "config.py").chmod(0o640)
    assert said not in run(in_public, "check")
    (in_public / "config.py").chmod(0o644)
    in_public.chmod(0o750)  # nobody else gets there
    assert said not in run(in_public, "check")


def test_a_config_without_passwords_in_it_may_be_read(in_public):
    services = {"imap": "imap://127.0.0.1", "dav": {"url": "https://dav.example", "user_header": "X-User"}}
    configure(in_public, services=services, mailserver="mysql://mailapi@127.0.0.1/mailserver")
    (in_public / "config.py").chmod(0o644)
    assert "FAIL" not in run(in_public, "check")
    (in_public / "secret").write_text("s3cret")
    (in_public / "secret").chmod(0o600)
    with (in_public / "config.py").open("a") as config:
        config.write(
            "with open(__file__[:-9] + 'secret') as file:\n"
            "    mailserver = f'mysql://mailapi:{file.read()}@127.0.0.1/mailserver'\ndel file\n"
        )
    assert "FAIL" not in run(in_public, "check")


def test_a_config_that_others_can_write_to_fails(in_public):
    configure(in_public)
    (in_public / "config.py").chmod(0o666)
    said = run(in_public, "check", check=1)
    assert (
        "FAIL  config: everybody on this machine can write to config.py, which the API runs: chmod o-w"
        in said
    )


########## The state database ####################################################################


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("CREATE TABEL greeting (x);", 'near "TABEL": syntax error'),
        ("CREATE TABLE greeting (x);", "table greeting already exists"),
        ("CREATE TABLE IF NOT EXISTS greeting (x)", "it does not end with a semicolon"),
        ("CREATE TABLE IF NOT EXISTS greeting (x", "incomplete input"),
        ("CREATE INDEX IF NOT EXISTS i ON nowhere (x);", "no such table: main.nowhere"),
    ],
)
def test_a_state_schema_that_sqlite_refuses_is_told_by_its_module(configured, tmp_path, schema, said):
    (tmp_path / "greeting.py").write_text(
        f"from mailapi import Module\nclass Greeting(Module):\n    state_schema = {schema!r}\n"
    )
    configure(tmp_path, MODULES | {"Greeting": "greeting.py"})
    lines = run(tmp_path, "check", check=1)
    assert f"FAIL  state: the state_schema of Greeting is refused, and nobody can log in: {said}" in lines
    assert lines.count("the state_schema of") == 1


def test_a_state_folder_that_is_not_there_or_cannot_be_written_fails(configured, tmp_path):
    for state in (tmp_path / "nowhere/state.db3", "/proc/state.db3", tmp_path / "config.py/state.db3"):
        configure(tmp_path, state=str(state))
        said = run(tmp_path, "check", check=1)
        assert (
            f"FAIL  state: {os.path.dirname(state)} cannot be written to: " in said
            and "will be made" not in said
        )
    (tmp_path / "folder").mkdir()
    configure(tmp_path, state="folder/state.db3")
    assert "will be made by the first log-in" in run(tmp_path, "check")
    assert list((tmp_path / "folder").iterdir()) == []


########## Permissions and delegations ###########################################################


def warnings(folder) -> list[str]:
    """The warnings; they are no failure."""
    return [line for line in run(folder, "check").splitlines() if line.startswith("warn")]


@pytest.mark.parametrize("generation", [9, 8])
def test_permissions_that_mean_nothing_are_told_and_are_no_failure(tmp_path, generation):
    site = Site(tmp_path, generation)
    word = {9: "permission", 8: "right"}[generation]
    modules = {"User": "modules/users.py", "Delegate": "modules/delegates.py"}
    configure(tmp_path, modules)
    assert warnings(tmp_path) == []
    for user, permission in (
        ("ann", "delegte"),
        ("bob", "Admin"),
        ("ann", "special"),
        ("bob", "special"),
        ("root", "special"),
        ("dele", "special"),
        ("nologin", "special"),
    ):
        site.sql("INSERT INTO api_access VALUES (?, ?)", user, permission)
    assert warnings(tmp_path) == [
        f"warn  {word}s: 'Admin' means nothing here: bob",
        f"warn  {word}s: 'delegte' means nothing here: ann",
        f"warn  {word}s: 'special' means nothing here: ann, bob, dele and 2 more",
    ]
    (tmp_path / "special.py").write_text(
        "from mailapi import Module\nclass Special(Module):\n    permissions = ('special',)\n"
    )
    configure(tmp_path, modules | {"Special": "special.py"})
    assert [line.split("'")[1] for line in warnings(tmp_path)] == ["Admin", "delegte"]


@pytest.mark.parametrize("generation", [9, 8])
def test_delegations_without_the_permission_to_use_them_are_told(tmp_path, generation):
    site = Site(tmp_path, generation)
    word = {9: "permission", 8: "right"}[generation]
    configure(tmp_path, {"User": "modules/users.py"})
    for user, other in (("bob", "ann"), ("bob", "nologin"), ("root", "ann"), ("dele", "bob")):
        site.sql("INSERT INTO api_user_delegates VALUES (?, ?)", user, other)
    site.sql("INSERT INTO api_address_delegates VALUES ('ann', '%@one.org')")
    assert warnings(tmp_path) == [
        f"warn  delegations: bob has 2 users, and no {word} delegate to use that",
        f"warn  delegations: ann has 1 address expressions, and no {word} delegate to use that",
    ]


def test_nothing_in_a_name_can_forge_a_line(configured, tmp_path):
    configured.sql("INSERT INTO api_access VALUES ('ann', ?)", "x\nok    \x1b[2Jall is well")
    [line] = warnings(tmp_path)
    assert "\x1b" not in line and line.startswith("warn  permissions: ")


########## Accounts that were taken over #########################################################


def test_accounts_taken_over_whose_user_is_unknown_are_told_and_left_alone(configured, tmp_path):
    configure(tmp_path, MODULES | ACCOUNT, apiserver="suite.db3")
    run(tmp_path, "call", "accounts", "provision", "user_name=ann")
    with contextlib.closing(sqlite3.connect(tmp_path / "suite.db3")) as suite, suite:
        for number, name in enumerate(("carol@one.org", "dave@one.org", "erin@one.org", "frank@one.org")):
            suite.execute(
                "INSERT INTO Accounts (idUsers, Name, idMailAccount) VALUES (?, ?, ?)", (number, name, 50)
            )
    said = run(tmp_path, "check")
    assert (
        "warn  Account: accounts that another program made, of nobody who is a user here, left alone: 4, such as "
        "carol@one.org, dave@one.org, erin@one.org"
    ) in said and "ok    Account: accounts: 5" in said
    run(tmp_path, "check", "--repair")
    assert len(json.loads(run(tmp_path, "call", "accounts", "get"))["accounts"]) == 5


def test_accounts_of_ours_whose_user_is_gone_still_fail_until_they_are_repaired(configured, tmp_path):
    configure(tmp_path, MODULES | ACCOUNT)
    run(tmp_path, "call", "accounts", "provision", "user_name=bob")
    configured.sql("DELETE FROM users WHERE user_name = 'bob'")
    assert "FAIL  Account: account of bob, who is no user" in run(tmp_path, "check", check=1)
    assert "ok    Account: account of bob, who is no user any more: deleted" in run(
        tmp_path, "check", "--repair"
    )
    assert "ok    Account: accounts: 0" in run(tmp_path, "check")
