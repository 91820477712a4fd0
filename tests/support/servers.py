"""The servers of an installation as private instances, each started once, when a test first asks for it.

Every server knows the users of support.site.Site, with the password `pw`.
"""

import dataclasses
import hashlib
import os
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from support.instances import free_port, require_program, running_instance
from support.waiting import wait_until

USERS = ("root", "dele", "ann", "bob")
MASTER_USER = {"user": "master", "password": "master-secret"}
# The anti-virus test string, put together here so that no scanner takes this file for a virus.
EICAR = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + "EICAR" + "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
GTUBE = "XJS*C4JDBQADN1" + ".NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


@dataclasses.dataclass
class RunningServer:
    """A server, the folder of its files, and the setting by which config.py names it."""

    folder: Path
    port: int
    setting: dict
    ports: dict = dataclasses.field(default_factory=dict)


@pytest.fixture(scope="session")
def public_folder():
    """A folder that servers can enter which have given up root's rights."""
    with tempfile.TemporaryDirectory(prefix="mailapi-test-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def radicale(public_folder):
    """CalDAV and CardDAV for the user that X-Remote-User names."""
    pytest.importorskip("radicale") if os.environ.get("CI") != "true" else __import__("radicale")
    folder, port = public_folder / "radicale", free_port()
    folder.mkdir()
    (folder / "config").write_text(
        f"[server]\nhosts = 127.0.0.1:{port}\n[auth]\ntype = http_x_remote_user\ndelay = 0\n"
        f"[rights]\ntype = owner_only\n[storage]\nfilesystem_folder = {folder}/collections\n"
        "[web]\ntype = none\n[logging]\nlevel = warning\n"
    )
    with running_instance([sys.executable, "-m", "radicale", "--config", folder / "config"], folder, port):
        yield RunningServer(
            folder, port, {"dav": {"url": f"http://127.0.0.1:{port}", "user_header": "X-Remote-User"}}
        )


@pytest.fixture(scope="session")
def spamd(public_folder):
    """SpamAssassin, with tests that need no network."""
    folder, port = public_folder / "spamd", free_port()
    folder.mkdir()
    command = [
        require_program("spamd"),
        "--local",
        "--listen",
        f"127.0.0.1:{port}",
        "--max-children",
        "1",
        "--nouser-config",
        "--helper-home-dir",
        folder,
        "--syslog",
        "stderr",
    ] + ["--username=nobody"] * (os.getuid() == 0)
    with running_instance(command, folder, port, seconds=60):
        ping = b"PING SPAMC/1.5\r\n\r\n"  # it listens before it has read its rules
        wait_until(lambda: b"PONG" in ask_port(port, ping), "spamd does not answer")
        yield RunningServer(folder, port, {"antispam": f"spamd://127.0.0.1:{port}"})


def ask_port(port: int, said: bytes) -> bytes:
    """Send bytes to a port and return what a server answers."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(said)
        return connection.recv(1000)


@pytest.fixture(scope="session")
def clamd(public_folder):
    """ClamAV with one signature, of the anti-virus test string; on a port and a Unix socket."""
    folder, port = public_folder / "clamd", free_port()
    folder.mkdir()
    digest = hashlib.md5(EICAR.encode()).hexdigest()
    (folder / "test.hdb").write_text(f"{digest}:{len(EICAR)}:Eicar-Test-Signature\n")
    (folder / "clamd.conf").write_text(
        f"Foreground yes\nTCPSocket {port}\nTCPAddr 127.0.0.1\n"
        f"DatabaseDirectory {folder}\nLocalSocket {folder}/socket\n"
        "MaxThreads 4\nStreamMaxLength 2M\n"
    )
    with running_instance(
        [require_program("clamd"), "--config-file", folder / "clamd.conf"], folder, port, seconds=60
    ):
        yield RunningServer(
            folder, port, {"antivirus": f"clamd://127.0.0.1:{port}"}, {"unix": folder / "socket"}
        )


@pytest.fixture(scope="session")
def smtp_sink(public_folder):
    """An SMTP server that keeps what comes in a Maildir, folder/mail."""
    pytest.importorskip("aiosmtpd") if os.environ.get("CI") != "true" else __import__("aiosmtpd")
    folder, port = public_folder / "smtp", free_port()
    folder.mkdir()
    command = [
        sys.executable,
        "-m",
        "aiosmtpd",
        "--nosetuid",
        "--listen",
        f"127.0.0.1:{port}",
        "--class",
        "support.smtp_sink.Sink",
        folder / "mail",
    ]
    with running_instance(
        command, folder, port, env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    ):
        yield RunningServer(folder, port, {"smtp": f"smtp://127.0.0.1:{port}"})
