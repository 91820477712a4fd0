"""The master databases for measurements: always the same content for a number of users."""

import contextlib
import hashlib
import os
import sqlite3
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build/bench"
SCHEMA = ROOT / "modules/commands/schema9.sql"
ADMIN, PASSWORD = "admin", "pw"
MAIL = "From: sender@example.org\r\nSubject: A mail of 1 kB\r\n\r\n"


def database(users: int) -> Path:
    """Return the path of a database with that many users and an administrator; create it if it is missing."""
    path = FOLDER / f"{users}.db3"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        build(new, users)
        new.rename(path)
    return path


def build(path: Path, users: int):
    """Create a database. All users have a password and an address, every second POP, every third SMTP, user i has
    i % 3 mails."""
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
    salt = hashlib.sha256(user_name.encode()).hexdigest()[:32]
    return f"{salt}:{hashlib.sha256((salt + PASSWORD).encode()).hexdigest()}"


class Writer:
    """A second connection whose `change` alters the answers of all measured lists."""

    TOGGLES = (
        "UPDATE users SET user_alias = CASE WHEN user_alias IS NULL THEN 'user000002' END "
        "WHERE user_name = 'user000001'",
        "UPDATE popd SET pop_lock = 1 - pop_lock WHERE pop_user = 'user000002'",
        "UPDATE addresses SET address_route = CASE address_route WHEN 'user000001' THEN 'user000002' ELSE 'user000001' "
        "END WHERE address_order = 1",
    )

    def __init__(self, path: Path):
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA synchronous = OFF")

    def change(self):
        self.connection.execute("BEGIN IMMEDIATE")
        for statement in self.TOGGLES:
            self.connection.execute(statement)
        self.connection.execute("COMMIT")

    def close(self):
        self.connection.close()
