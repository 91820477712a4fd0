"""Create a master database (a file, or mysql://…) with an administrator, and config.py if it is missing."""

import contextlib
import getpass
import os
import secrets
import sqlite3
import sys
import tempfile
from pathlib import Path

import mailapi

from ..directory import user_names
from ..mariadb.url import without_password
from ..state.owners import chown_like
from .package_files import read_package_file, read_schema


def options(parser):
    parser.add_argument(
        "--dbpath",
        metavar="FILE",
        help="the file to create, or mysql://USER:PASSWORD@HOST/DATABASE (default: dbpath of the config)",
    )
    parser.add_argument(
        "--admin", default="admin", metavar="NAME", help="the administrator (default: %(default)s)"
    )


def run(args):
    configured = mailapi.read_config(args.config).dbpath if os.path.exists(args.config) else None
    dbpath = args.dbpath or configured or "data/master.db3"
    password = ask_password() if sys.stdin.isatty() else random_password()
    create(dbpath, args.admin, password)
    print(f"Created {without_password(dbpath)} with the administrator {args.admin}.")
    if not sys.stdin.isatty():
        print(f"Password, shown only now: {password}", flush=True)
    write_config(args.config, args.dbpath)
    if configured and not same_database(dbpath, configured):
        print(f"{args.config} still names {without_password(configured)}.")


def same_database(dbpath: str, configured: str) -> bool:
    """Return whether two paths or URLs are those of the same database."""
    return dbpath == configured or (
        os.path.exists(configured) and os.path.exists(dbpath) and os.path.samefile(dbpath, configured)
    )


def random_password() -> str:
    return secrets.token_urlsafe(12)


def ask_password() -> str:
    """Ask for a new password on the terminal until the same password is typed twice. Return the password."""
    while True:
        password = getpass.getpass("Password for the administrator: ")
        if password and password == getpass.getpass("Once more: "):
            return password
        print("The two are not the same, or empty.")


def write_config(config: str, dbpath: str | None = None):
    """Create the config file from config.sample.py, unless it exists. If `dbpath` is given, set dbpath in the file."""
    if os.path.exists(config):
        return
    sample = sample_config()
    if dbpath:
        location = dbpath if mailapi.is_url(dbpath) else os.path.abspath(dbpath)
        sample = sample.replace('dbpath = "data/master.db3"', f"dbpath = {location!r}")
    has_password = bool(dbpath and mailapi.is_url(dbpath))
    handle = os.open(config, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 if has_password else 0o666)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            chown_like(handle, Path(config).absolute().parent)
            file.write(sample)
    except OSError as error:
        os.unlink(config)  # a later `mailapi init` would take an empty one for the administrator's
        raise mailapi.ConfigError(f"{config} cannot be written: {error.strerror}.") from None
    print(f"Wrote {config}.")


def sample_config() -> str:
    """Return the text of config.sample.py, the sample of a config file that comes with mailapi."""
    try:
        return read_package_file(mailapi.HERE / "config.sample.py")
    except OSError:
        return (Path(sys.prefix) / "share/mailapi/config.sample.py").read_text(encoding="utf-8")


def create(dbpath: str, admin: str, password: str):
    """Create a master database at a path or URL, with the administrator `admin`.

    ConfigError if the database exists already, or if a user cannot have this name. An existing database is not
    changed.
    """
    if admin in ("", "0") or not user_names.may_be_new(admin):
        raise mailapi.ConfigError(f"{admin!r} cannot be a user's name.")
    if mailapi.is_url(dbpath):
        return create_on_server(dbpath, admin, password)
    parent = Path(dbpath).parent
    make_folder(parent)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".mailapi-") as folder:
        new = os.path.join(folder, "new")
        with contextlib.closing(sqlite3.connect(new)) as connection, connection:
            make_tables(connection, admin, password)
        os.chmod(new, 0o660)  # the mail daemons' group may write, nobody else may read
        chown_like(new, parent)
        try:
            os.link(new, dbpath)
        except FileExistsError:
            raise mailapi.ConfigError(f"{dbpath} exists; it was not touched.") from None


def make_folder(folder: Path):
    """Create a folder, and its missing parent folders. Each gets the owner of the folder that contains it."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        chown_like(folder, folder.parent)


def make_tables(connection: sqlite3.Connection, admin: str, password: str):
    """Create the tables of a master database, and insert the administrator."""
    connection.executescript(read_schema())
    connection.execute(
        "INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", (admin, mailapi.make_authdata(password))
    )
    connection.execute("INSERT INTO api_access VALUES (?, 'admin')", (admin,))


def create_on_server(url: str, admin: str, password: str):
    """Create the tables of a master database on a server, and the administrator. ConfigError if a table has rows."""
    from ..mariadb import tables as server_tables
    from ..mariadb.store import ServerStore

    with (
        contextlib.closing(sqlite3.connect(":memory:")) as model,
        contextlib.closing(ServerStore(url).open(patient=True)) as server,
    ):
        make_tables(model, admin, password)
        for table in server_tables.tables(model):
            if server_tables.has_rows(server, table.name):
                raise mailapi.ConfigError(
                    f"{without_password(url)} is not empty: {table.name} has rows. It was not touched."
                )
        server_tables.create(server, model)
        server_tables.insert_rows(server, model)
