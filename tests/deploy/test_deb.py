"""The Debian package, built twice alike, and installed, used, removed and purged on a copy of this system."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.instances import require_program, skip_without
from support.pyz import BUILD_TIME, PYTHON
from support.site import ROOT

pytestmark = pytest.mark.slow

# A copy of the system that ends with the process: what is written goes to memory, and to no file of the system.
# $1: an empty folder; $2: the package; the rest: what bash runs on the copy.
ON_A_COPY = """
    set -e
    mount -t tmpfs tmpfs "$1"
    mkdir "$1/upper" "$1/work" "$1/copy"
    mount -t overlay overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" "$1/copy"
    mount -t proc proc "$1/copy/proc"
    mount --rbind /dev "$1/copy/dev"
    cp "$2" "$1/copy/root/mailapi.deb"
    exec chroot "$1/copy" bash -exc "$3"
"""


def build(target, umask=-1) -> bytes:
    subprocess.run(
        [sys.executable, ROOT / "packaging/build_deb.py", target],
        check=True,
        capture_output=True,
        env=os.environ | BUILD_TIME,
        umask=umask,
    )
    return target.read_bytes()


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The path of the package."""
    require_program("dpkg-deb")
    path = tmp_path_factory.mktemp("deb") / "mailapi.deb"
    build(path)
    return path


def on_a_copy(folder, package, script: str) -> str:
    """Run a script of bash in the root of a copy of this system, and return what it prints."""
    if os.geteuid() != 0 or not os.path.exists(PYTHON):
        skip_without("a system of which root may make a copy")
    if not re.search(r"^\S+ \S+ \S+ \S+ / ", Path("/proc/self/mountinfo").read_text(), re.M):
        pytest.skip("in a chroot nothing can be mounted that its system would not see")
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "--propagation",
            "unchanged",
            "bash",
            "-c",
            ON_A_COPY,
            "-",
            folder,
            package,
            script,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_two_builds_are_the_same(package, tmp_path, umask):
    assert build(tmp_path / "again.deb", umask) == package.read_bytes()


def test_its_files_and_scripts(package, tmp_path):
    listed = subprocess.run(["dpkg-deb", "--contents", package], capture_output=True, text=True, check=True)
    for path in (
        "/usr/bin/mailapi",
        "/usr/lib/systemd/system/mailapi.service",
        "/etc/mailapi/config.py",
        "/usr/share/man/man1/mailapi.1.gz",
        "/usr/share/bash-completion/completions/mailapi",
        "/usr/share/doc/mailapi-server/docs/how-to/nginx.md",
        "/usr/share/doc/mailapi-server/copyright",
    ):
        assert re.search(rf"^-\S+ root/root .* \.{path}$", listed.stdout, re.M), path
    subprocess.run(["dpkg-deb", "--control", package, tmp_path / "control"], check=True)
    for script in ("postinst", "prerm", "postrm"):
        subprocess.run(["sh", "-n", tmp_path / "control" / script], check=True)


def test_install_use_upgrade_and_purge(package, tmp_path):
    said = on_a_copy(
        tmp_path,
        package,
        """
        dpkg -i /root/mailapi.deb
        id mailapi
        stat -c 'mode %a %U:%G %n' /etc/mailapi/config.py /var/lib/mailapi
        mailapi init --config /etc/mailapi/config.py </dev/null
        chown -R mailapi: /var/lib/cmail
        mailapi check --config /etc/mailapi/config.py --service mailapi
        runuser -u mailapi -- mailapi call --config /etc/mailapi/config.py --table users get
        man -P cat mailapi 2>/dev/null | head -3 || true
        echo '# mine' >> /etc/mailapi/config.py
        echo upgrade
        dpkg -i /root/mailapi.deb
        tail -1 /etc/mailapi/config.py
        dpkg --remove mailapi-server
        ls -d /etc/mailapi/config.py /var/lib/mailapi
        dpkg --purge mailapi-server
        ! ls -d /etc/mailapi /var/lib/mailapi /usr/lib/mailapi
        ! getent passwd mailapi
        ls -d /var/lib/cmail/master.db3
        """,
    )
    assert "is to be mended first" in said.split("uid=")[0], "there was no database"
    assert "mode 640 root:mailapi /etc/mailapi/config.py" in said and "mode 700 mailapi:mailapi" in said
    assert re.search(r"^user_name .*\nadmin ", said, re.M)
    assert said.count("# mine") == 1
    upgrade = said.split("\nupgrade\n")[1].split("# mine")[0]
    assert "Setting up mailapi-server" in upgrade and "ok  " not in upgrade
    assert said.rstrip().endswith("/var/lib/cmail/master.db3")
