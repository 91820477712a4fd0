"""Files that commands of root's make belong to the owner of their folder."""

import contextlib
import os
import pwd
import sqlite3
import subprocess

import pytest

from support.command_line import MAILAPI, Server, as_root, run_mailapi, write_config
from support.site import MODULES, Site

NOBODY = pwd.getpwnam("nobody")
OWNER = NOBODY.pw_uid, pwd.getpwnam("daemon").pw_gid  # not nobody's own group: the folder's counts
ACCOUNT = {"Account": "modules/accounts.py"}


def own(folder, owner=OWNER):
    """Make the folder and all that is in it somebody else's."""
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, *owner, follow_symlinks=False)


def strangers(folder) -> dict:
    """What is not the owner's in the folder: name → user and group."""
    seen = {path.name: path.lstat() for path in folder.rglob("*")}
    return {name: (s.st_uid, s.st_gid) for name, s in seen.items() if (s.st_uid, s.st_gid) != OWNER}


@as_root
@pytest.mark.parametrize("umask", [0o077, 0o022])
def test_what_root_calls_leaves_a_state_database_that_is_the_folders_owners(configured_site, tmp_path, umask):
    write_config(tmp_path, MODULES | ACCOUNT, apiserver="accounts.db3")
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
def test_the_side_files_of_an_open_state_database_stay_its_owners(configured_site, tmp_path):
    """Of a service that has it open, and of one that left them, with root's as they were made before."""
    configured_site("?get_modules")
    own(tmp_path)
    state = tmp_path / "master.db3.state"
    with contextlib.closing(sqlite3.connect(state)) as service:
        service.execute("SELECT * FROM session_key").fetchall()
        os.chown(f"{state}-wal", 0, 0)
        os.chmod(f"{state}-wal", 0o600)
        run_mailapi(tmp_path, "call", "users", "add", "user_name=carol")
        assert {path.name for path in tmp_path.glob("*.state-*")} == {
            f"{state.name}-wal",
            f"{state.name}-shm",
        }
        assert strangers(tmp_path) == {}


@as_root
def test_root_is_not_led_to_other_files_by_a_side_file_that_is_a_link(configured_site, tmp_path):
    configured_site("?get_modules")
    other = tmp_path.parent / f"{tmp_path.name}-other"
    other.write_text("root's")
    other.chmod(0o640)
    own(tmp_path)
    configured_site.app.state.close()
    for ending in ("-wal", "-shm"):
        (tmp_path / f"master.db3.state{ending}").unlink(missing_ok=True)
        (tmp_path / f"master.db3.state{ending}").symlink_to(other)
    run_mailapi(tmp_path, "check", check=1)
    assert (other.stat().st_uid, other.stat().st_mode & 0o777, other.read_text()) == (0, 0o640, "root's")


@as_root
def test_a_state_database_behind_a_link_is_made_where_the_link_leads(configured_site, tmp_path):
    """Such as on another file system; the config may be a link, too."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "config.py").rename(tmp_path / "etc/real.py")
    (tmp_path / "config.py").symlink_to("etc/real.py")
    (tmp_path / "master.db3.state").symlink_to(elsewhere / "state.db3")
    own(elsewhere)
    run_mailapi(tmp_path, "call", "users", "add", "user_name=carol")
    assert (tmp_path / "master.db3.state").is_symlink() and (elsewhere / "state.db3").exists()
    assert strangers(elsewhere) == {}


@as_root
def test_what_root_makes_by_commands_is_the_folders_owners(tmp_path):
    own(tmp_path)
    run_mailapi(tmp_path, "init", "--dbpath", "new/below/master.db3")
    run_mailapi(tmp_path, "backup", "new/copy.db3")
    run_mailapi(tmp_path, "call", "users", "add", "user_name=ann")
    run_mailapi(tmp_path, "copy", "new/below/master.db3", "copied.db3")
    run_mailapi(tmp_path, "copy", "--state", "new/below/master.db3.state", "copied.state")
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
    write_config(tmp_path, {"User": "modules/users.py"})
    own(tmp_path)
    run_mailapi(tmp_path, "migrate")
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
