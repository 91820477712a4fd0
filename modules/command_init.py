"""Create a master database of generation 9 with an administrator, and a config.py where there is none."""

import contextlib
import getpass
import os
import secrets
import sqlite3
import sys
import tempfile
from pathlib import Path

import mailapi

SCHEMA = Path(__file__).with_name("schema9.sql")


def options(parser):
    parser.add_argument("--dbpath", metavar="FILE", help="the file to create (default: dbpath of the config)")
    parser.add_argument("--admin", default="admin", metavar="NAME", help="the administrator (default: %(default)s)")


def run(args):
    configured = mailapi.read_config(args.config).dbpath if os.path.exists(args.config) else None
    dbpath = args.dbpath or configured or "data/master.db3"
    password = ask_password() if sys.stdin.isatty() else random_password()
    create(dbpath, args.admin, password)
    print(f"Created {dbpath} with the administrator {args.admin}.")
    write_config(args.config, args.dbpath)
    if configured and not os.path.samefile(dbpath, configured if os.path.exists(configured) else args.config):
        print(f"{args.config} still names {configured}.")
    if not sys.stdin.isatty():
        print(f"Password, shown only now: {password}")


def random_password() -> str:
    return secrets.token_urlsafe(12)


def ask_password() -> str:
    while True:
        password = getpass.getpass("Password for the administrator: ")
        if password and password == getpass.getpass("Once more: "):
            return password
        print("The two are not the same, or empty.")


def write_config(config: str, dbpath: str | None = None):
    """The sample as config, with the chosen dbpath; nothing where there is a config already."""
    if os.path.exists(config):
        return
    sample = next(path for path in SAMPLES if path.exists()).read_text(encoding="utf-8")
    if dbpath:
        sample = sample.replace('dbpath = "data/master.db3"', f"dbpath = {os.path.abspath(dbpath)!r}")
    with open(config, "x", encoding="utf-8") as file:
        file.write(sample)
    print(f"Wrote {config}.")


SAMPLES = [mailapi.HERE / "config.sample.py", Path(sys.prefix) / "share/mailapi/config.sample.py"]


def create(dbpath: str, admin: str, password: str):
    """The database whole or not at all; an existing file is never touched."""
    if admin.lower() in ("", "0", "main", "temp"):
        raise mailapi.ConfigError(f"{admin!r} cannot be a user's name.")
    parent = Path(dbpath).parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".mailapi-") as folder:
        new = os.path.join(folder, "new")
        with contextlib.closing(sqlite3.connect(new)) as connection, connection:
            connection.executescript(SCHEMA.read_text(encoding="utf-8"))
            connection.execute("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)",
                               (admin, mailapi.make_authdata(password)))
            connection.execute("INSERT INTO api_access VALUES (?, 'admin')", (admin,))
        os.chmod(new, 0o660)  # the mail daemons' group may write, nobody else may read
        try:
            os.link(new, dbpath)
        except FileExistsError:
            raise mailapi.ConfigError(f"{dbpath} exists; it was not touched.") from None
