"""The servers of an installation as private instances, each started once, when a test first asks for it.

Every server knows the users of support.site.Site, with the password `pw`.
"""

import dataclasses
import getpass
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from support.instances import free_port, require_program, running_instance, skip_without

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


# What 2.3 and 2.4 spell in two ways.
DOVECOT_BY_VERSION = {
    "2.3": """
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
ssl_dh =
mail_location = maildir:~/Maildir
mail_plugins = quota
passdb {{
  driver = passwd-file
  args = {folder}/masters
  master = yes
  result_success = continue
}}
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home/%u
}}
protocol imap {{
  mail_plugins = $mail_plugins imap_quota
}}
protocol lmtp {{
  mail_plugins = $mail_plugins sieve
}}
plugin {{
  quota = maildir:User quota
  quota_rule = *:storage=512M
  sieve = file:~/sieve;active=~/.dovecot.sieve
}}
""",
    "2.4": """
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
ssl_server_cert_file = {folder}/cert.pem
ssl_server_key_file = {folder}/key.pem
mail_driver = maildir
mail_path = ~/Maildir
mail_plugins = quota
passdb masters {{
  driver = passwd-file
  passwd_file_path = {folder}/masters
  master = yes
  result_success = continue
}}
passdb users {{
  driver = passwd-file
  passwd_file_path = {folder}/users
}}
userdb static {{
  fields {{
    uid = {uid}
    gid = {gid}
    home = {folder}/home/%{{user}}
  }}
}}
protocol imap {{
  mail_plugins {{
    imap_quota = yes
  }}
}}
protocol lmtp {{
  mail_plugins {{
    sieve = yes
  }}
}}
quota "User quota" {{
  driver = maildir
  storage_size = 512M
}}
sieve_script personal {{
  driver = file
  path = ~/sieve
  active_path = ~/.dovecot.sieve
}}
""",
}
DOVECOT = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/mail.log
protocols = imap pop3 lmtp sieve
listen = 127.0.0.1
ssl = yes
first_valid_uid = 1
{accounts}
auth_mechanisms = plain
auth_failure_delay = 0
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {ports[imap]}
  }}
  inet_listener imaps {{
    port = {ports[imaps]}
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {ports[pop]}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service managesieve-login {{
  chroot =
  inet_listener sieve {{
    port = {ports[sieve]}
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {ports[lmtp]}
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""
AS_US = """
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
"""


@pytest.fixture(scope="session")
def dovecot(public_folder):
    """IMAP, POP3, ManageSieve and LMTP, with a master user and a certificate of its own."""
    import grp
    import pwd

    program, folder = require_program("dovecot"), public_folder / "dovecot"
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout[:3]
    if version not in DOVECOT_BY_VERSION:
        skip_without("dovecot 2.3 or 2.4")
    home = folder / "home"
    home.mkdir(parents=True)
    root, me = os.getuid() == 0, pwd.getpwuid(os.getuid())
    uid, gid = (65534, 65534) if root else (me.pw_uid, me.pw_gid)
    if root:
        os.chown(home, uid, gid)
    (folder / "users").write_text("".join(f"{name}:{{PLAIN}}pw::::::\n" for name in USERS))
    (folder / "masters").write_text("{user}:{{PLAIN}}{password}::::::\n".format(**MASTER_USER))
    make_certificate(folder)
    ports = {name: free_port() for name in ("imap", "imaps", "pop", "sieve", "lmtp")}
    names = {"user": getpass.getuser(), "group": grp.getgrgid(me.pw_gid).gr_name}
    config = folder / "dovecot.conf"
    config.write_text(
        (DOVECOT_BY_VERSION[version] + DOVECOT).format(
            folder=folder, ports=ports, uid=uid, gid=gid, accounts="" if root else AS_US.format(**names)
        )
    )
    with running_instance([program, "-F", "-c", config], folder, ports["imap"]):
        setting = {
            "imap": {"url": f"imap://127.0.0.1:{ports['imap']}"} | MASTER_USER,
            "pop": f"pop3://127.0.0.1:{ports['pop']}",
            "managesieve": {"url": f"sieve://127.0.0.1:{ports['sieve']}"} | MASTER_USER,
        }
        yield RunningServer(folder, ports["imap"], setting, ports)


def make_certificate(folder: Path):
    """Make cert.pem and key.pem for localhost, signed by itself."""
    subprocess.run(
        [
            require_program("openssl"),
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout",
            folder / "key.pem",
            "-out",
            folder / "cert.pem",
        ],
        check=True,
        capture_output=True,
    )


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
        until = time.monotonic() + 60  # it listens before it has read its rules
        while b"PONG" not in ask_port(port, b"PING SPAMC/1.5\r\n\r\n"):
            assert time.monotonic() < until, "spamd does not answer"
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
