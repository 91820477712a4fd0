"""A mail installation on a fresh database, and a client that talks to it."""

import contextlib
import functools
import hashlib
import json
import sqlite3
import sys
import unittest.mock
from pathlib import Path

import mailapi
from support import engines
from support.answer_check import CheckedApp

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMAS = {9: ROOT / "modules/commands/schema9.sql", 8: ROOT / "tests/conformance/schema8.sql"}
MODULES = {
    "Address": "modules/addresses.py",
    "User": "modules/users.py",
    "SMTPD": "modules/smtpd.py",
    "POP": "modules/pop.py",
    "Mailbox": "modules/mailbox.py",
    "Delegate": "modules/delegates.py",
    "Token": "modules/tokens.py",
    "Audit": "modules/audit.py",
    "Queue": "modules/queue.py",
}
# The modules that only some installations have.
OPTIONAL = {"Account": "modules/accounts.py", "Service": "modules/services.py"}
# What every site starts with: who they are by permission, and what was delegated to them.
PERMISSIONS = {"root": ["admin"], "dele": ["delegate"], "ann": [], "bob": [], "nologin": []}


read_file = mailapi.load_file


@functools.cache
def read_once(path: Path):
    return read_file(path)


def load_file(path: Path):
    """Return a module of modules/, read once for all sites: reading its file takes longer than a test's requests."""
    python = (read_once if path.parent == ROOT / "modules" else read_file)(path)
    sys.modules[python.__name__] = python  # another app of this process may have read it again
    return python


def authdata(password: str) -> str:
    """Return a password as the users' table has it."""
    return "salt:" + hashlib.sha256(("salt" + password).encode()).hexdigest()


@functools.cache
def fresh_database(generation: int) -> bytes:
    """Return the bytes of a new site's file; to copy it takes a fiftieth of the time that its statements take."""
    with contextlib.closing(sqlite3.connect(":memory:")) as made:
        made.executescript(SCHEMAS[generation].read_text())
        for name, permissions in PERMISSIONS.items():
            made.execute(
                "INSERT INTO users (user_name, user_authdata) VALUES (?, ?)",
                [name, None if name == "nologin" else authdata("pw")],
            )
            made.executemany("INSERT INTO api_access VALUES (?, ?)", [[name, each] for each in permissions])
        made.execute("INSERT INTO api_user_delegates VALUES ('dele', 'ann')")
        made.execute("INSERT INTO api_address_delegates VALUES ('dele', '%@corp.org')")
        made.commit()
        return made.serialize()


class Site:
    """A master database with root (admin), dele (delegate of ann and of %@corp.org), ann and bob; the
    password is `pw`. Calling it posts one request, without a cookie, as somebody."""

    def __init__(self, folder: Path, generation: int = 9, extra: dict = {}, **config):
        self.file, self.generation = folder / "master.db3", generation
        self.create()
        modules = (
            MODULES
            if generation == 9
            else {n: f for n, f in MODULES.items() if n != "SMTPD"} | {"MSA": "modules/msa.py"}
        )
        self.config = {"dbpath": self.place, "modulelist": modules | extra} | config
        with unittest.mock.patch.object(mailapi, "load_file", load_file):
            self.app = mailapi.create_app(self.config)

    @property
    def dbpath(self) -> Path:
        """The path of the file."""
        return self.file

    @property
    def place(self) -> str:
        """The value of `dbpath` in the config."""
        return str(self.file)

    def create(self):
        """Write the file."""
        self.file.write_bytes(fresh_database(self.generation))

    def sql(self, statement: str, *values) -> list[tuple]:
        """Execute a statement on the file, as a mail daemon would; return its rows."""
        connection = sqlite3.connect(self.file)
        try:
            connection.execute("PRAGMA synchronous = OFF")  # no test takes the power away
            with connection:
                return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def insert(self, statement: str, *values) -> int:
        """Execute an INSERT and return the number of the row."""
        with contextlib.closing(sqlite3.connect(self.file)) as connection, connection:
            return connection.execute(statement, values).lastrowid

    def insert_many(self, statement: str, rows):
        """Execute an INSERT for every row."""
        with contextlib.closing(sqlite3.connect(self.file)) as connection, connection:
            connection.executemany(statement, rows)

    def execute_all(self, statements: list[str]):
        """Execute statements in one transaction."""
        with contextlib.closing(sqlite3.connect(self.file)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    def save(self):
        """Return the whole database, for `restore`."""
        return self.file.read_bytes()

    def restore(self, saved):
        """Write a new file: pages of the old one must not be taken for the new one's."""
        other = self.file.with_suffix(".new")
        other.write_bytes(saved)
        other.replace(self.file)

    def state(self, statement: str, *values) -> list[tuple]:
        """Execute a statement on the state database; return its rows."""
        with contextlib.closing(sqlite3.connect(self.app.config.state)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def dump(self) -> list[str]:
        """Return every row as text."""
        connection = sqlite3.connect(self.file)
        connection.text_factory = bytes
        try:
            names = [
                n.decode()
                for (n,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            return [f"{n} {row}" for n in names for row in connection.execute(f"SELECT * FROM {n}")]
        finally:
            connection.close()

    def browser(self, **environ) -> CheckedApp:
        """Return a client that keeps its cookies."""
        browser = CheckedApp(self.app, extra_environ={"HTTP_HOST": "localhost", **environ})
        browser.site_app = self.app
        return browser

    def __call__(
        self, url: str, user: str | None = "root", check: int = 200, password: str = "pw", **fields
    ) -> dict:
        """Post fields to a URL such as users/?get; the decoded answer."""
        if user is not None:
            fields["auth"] = {"user_name": user, "password": password}
        return self.raw(url, json.dumps(fields).encode(), check)

    def raw(self, url: str, body: bytes, check: int = 200, **environ) -> dict:
        """Post a body; return the decoded answer, or the file that is downloaded."""
        answer = self.browser(**environ).post("/" + url, body, status=check)
        if "Content-Disposition" in answer.headers:
            return {"status": "ok", "login": True, "file": answer.body}
        return answer.json


if engines.ENGINE == "mariadb":
    Site = type("Site", (engines.OnMariaDB, Site), {"__doc__": Site.__doc__})
