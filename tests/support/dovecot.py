"""A private Dovecot, 2.3 or 2.4: IMAP, POP3, ManageSieve and LMTP."""

import getpass
import os
import subprocess
from pathlib import Path

import pytest

from support.instances import free_port, require_program, running_instance, skip_without
from support.servers import MASTER_USER, USERS, RunningServer

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
sendmail_path = {folder}/sendmail
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
# Keeps the mails that filter scripts send: the recipients in the first line, then the mail.
SENDMAIL = """#!/bin/sh
mail=$(mktemp {sent}/.XXXXXX) || exit 75
{{ echo "$@"; cat; }} > "$mail" && mv "$mail" "{sent}/$(basename "$mail" | tr -d .)"
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
    sent = folder / "sent"
    sent.mkdir()
    if root:
        os.chown(sent, uid, gid)
    (folder / "sendmail").write_text(SENDMAIL.format(sent=sent))
    (folder / "sendmail").chmod(0o755)
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
