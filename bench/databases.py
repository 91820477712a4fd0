"""Databases for measurements. Their content depends only on the number of users."""

import contextlib
import hashlib
import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build/bench"
SCHEMA = ROOT / "modules/commands/schema9.sql"
ADMIN, PASSWORD = "admin", "pw"
MAIL = "From: sender@example.org\r\nSubject: A mail of 1 kB\r\n\r\n"


def database(users: int) -> Path:
    """Return the path of a database with that many users and an administrator. Create it if it is missing."""
    path = FOLDER / f"{users}.db3"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        build(new, users)
        new.rename(path)
    return path


def build(path: Path, users: int):
    """Create a database with `users` users and an administrator.

    All users have a password and an address, every second one may use POP, every third one SMTP. User i has i % 3
    mails.
    """
    names = [name(i) for i in range(1, users + 1)]
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("PRAGMA synchronous = OFF;" + SCHEMA.read_text())
        insert = connection.executemany
        insert(
            "INSERT INTO users (user_name, user_authdata) VALUES (?, ?)",
            [(name, authdata(name)) for name in [ADMIN, *names]],
        )
        insert("INSERT INTO api_access VALUES (?, 'admin')", [(ADMIN,)])
        insert(
            "INSERT INTO addresses (address_expression, address_router, address_route) VALUES (?, 'store', ?)",
            [(f"{name}@example.org", name) for name in names],
        )
        insert("INSERT INTO popd (pop_user) VALUES (?)", [(name,) for name in names[1::2]])
        insert(
            "INSERT INTO smtpd (smtpd_user, smtpd_router) VALUES (?, 'any')",
            [(name,) for name in names[2::3]],
        )
        insert(
            "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_submission, mail_data) "
            "VALUES (?, ?, 'sender@example.org', '1700000000', ?)",
            [
                (name, f"{name}@example.org", MAIL.ljust(1000, "x"))
                for i, name in enumerate(names, 1)
                for _ in range(i % 3)
            ],
        )


def name(i: int) -> str:
    return f"user{i:06}"


def authdata(user_name: str) -> str:
    """Return a user's salted hash of PASSWORD for the column user_authdata, SALT:HASH. The salt depends on the name."""
    salt = hashlib.sha256(user_name.encode()).hexdigest()[:32]
    return f"{salt}:{hashlib.sha256((salt + PASSWORD).encode()).hexdigest()}"


class MailDaemon:
    """A context manager: during its block, a thread delivers one mail per second to a user.

    The thread writes directly to the database, without mailapi. Its mails are deleted after the block.
    """

    SENDER = "daemon@example.org"

    def __init__(self, path: Path, user_name: str):
        self.path, self.user_name, self.stopped = path, user_name, threading.Event()
        self.thread = threading.Thread(target=self.deliver)

    def deliver(self):
        insert = (
            "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_submission, mail_data) "
            "VALUES (?, ?, ?, '1700000000', ?)"
        )
        mail = (self.user_name, f"{self.user_name}@example.org", self.SENDER, MAIL.ljust(1000, "x"))
        while not self.stopped.wait(1):
            execute(self.path, insert, mail)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()
        execute(self.path, "DELETE FROM mailbox WHERE mail_envelopefrom = ?", [self.SENDER])


def execute(path: Path, statement: str, values: Sequence = ()):
    """Execute one statement on a database over a new connection, as a program other than mailapi does."""
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(statement, values)
