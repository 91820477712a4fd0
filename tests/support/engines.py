"""The engine that the tests' master databases are on: MAILAPI_TEST_DB=mariadb puts every Site on a MariaDB.

Making tables takes longer than a test: databases are emptied and used again.
"""

import atexit
import contextlib
import itertools
import os
import re
import sqlite3
import tempfile
from functools import lru_cache
from pathlib import Path

import pytest

ENGINE = os.environ.get("MAILAPI_TEST_DB", "sqlite")
NUMBERS = itertools.count(1)
ONLY_SQLITE = re.compile(r"typeof|ALTER TABLE|TRIGGER|PRAGMA|GLOB|CAST\(x'", re.IGNORECASE)
FREE: dict[int, list] = {}  # databases by generation
TAKEN: list = []


class ReusedDatabase:
    """A database with the tables of a generation, which one test after the other uses."""

    def __init__(self, server, schema: sqlite3.Connection):
        from mailapi_modules.mariadb import tables as serverschema

        self.name = f"kept{next(NUMBERS)}"
        server.sql(f"CREATE DATABASE {self.name}")
        self.url, self.connection = server.url(self.name), connect(server, self.name)
        self.tables = serverschema.tables(schema)
        self.names: list[str] = []  # of all tables, also those that apps made for their state
        self.unnumbered: set[str] = set()  # tables whose AUTO_INCREMENT nobody sees
        self.filled: dict[tuple, tuple] = {}  # fingerprints of tables by name and rows, right after `put`
        serverschema.create(self.connection, schema)

    def fill(self, source: sqlite3.Connection):
        """Store the rows of a SQLite database, and delete all others, those of the state database, too."""
        self.find_tables()
        rows = {
            table.name: source.execute(f'SELECT * FROM "{table.name}"').fetchall() for table in self.tables
        }
        self.put(dict.fromkeys(self.names, []) | rows)

    def find_tables(self):
        """Find out which tables there are, and which of them have numbers that nobody sees."""
        (found,) = self.ask(["SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'"])
        if (names := [name for name, _ in found]) != self.names:
            self.names = names
            (hidden,) = self.ask(
                [
                    "SELECT TABLE_NAME FROM information_schema.COLUMNS"
                    " WHERE TABLE_SCHEMA = DATABASE() AND COLUMN_NAME = 'rowid'"
                ]
            )
            self.unnumbered = {name for (name,) in hidden}

    def put(self, rows: dict[str, list]):
        """Store these rows, and delete all others of these tables. Leave tables alone that have just these rows."""
        wanted = {
            name: tuple(map(tuple, rows[name])) for name in rows if name not in ("Sequences", "mailapi_turn")
        }
        statements, new = ["SET foreign_key_checks = 0"], False
        if "Sequences" in self.names:
            statements.append('UPDATE "Sequences" SET last = 0')
        for name, fingerprint in self.fingerprints(wanted).items():
            empty = name in self.unnumbered and not wanted[name] and fingerprint[0] == 0
            if not empty and self.filled.get((name, wanted[name])) != fingerprint:
                statements += self.refilling(name, wanted[name], fingerprint[1])
                new = new or (name, wanted[name]) not in self.filled
        self.ask([*statements, "SET foreign_key_checks = 1"])
        if new:
            for name, fingerprint in self.fingerprints(wanted).items():
                self.filled[name, wanted[name]] = fingerprint

    def refilling(self, name: str, rows: tuple, number: int | None) -> list[str]:
        """Return the statements that store these rows in a table with this AUTO_INCREMENT, and delete all others."""
        statements = []
        if (number and number > 1) or name == "addresses":  # orders can be negative
            statements.append(f'DELETE FROM "{name}"')
            if rows or name not in self.unnumbered:
                statements.append(f'ALTER TABLE "{name}" AUTO_INCREMENT = 1')
        if rows:
            places = ", ".join([f"({', '.join(['%s'] * len(rows[0]))})"] * len(rows))
            insert = f'INSERT INTO "{name}" VALUES {places}'
            values = tuple(itertools.chain.from_iterable(rows))
            statements.append(self.connection.cursor().mogrify(insert, values))
        return statements

    def fingerprints(self, names) -> dict[str, tuple]:
        """Return the checksum and the AUTO_INCREMENT of tables: one that changes has another of them."""
        listed = ", ".join(f"'{name}'" for name in names)
        numbers, checksums = self.ask(
            [
                "SELECT TABLE_NAME, AUTO_INCREMENT FROM information_schema.TABLES"
                f" WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN ({listed})",
                f"CHECKSUM TABLE {', '.join(names)}",
            ]
        )
        by_name = {name.partition(".")[2]: checksum for name, checksum in checksums}
        return {name: (by_name[name], number) for name, number in numbers}

    def rows(self) -> dict[str, tuple]:
        """Return all rows of the master database by table."""
        names = [table.name for table in self.tables]
        return dict(zip(names, self.ask([f'SELECT * FROM "{name}"' for name in names])))

    def ask(self, statements: list[str]) -> list[tuple]:
        """Execute statements in one exchange with the server; return the rows of each."""
        cursor = self.connection.cursor()
        cursor.execute("; ".join(statements))
        answers = [cursor.fetchall()]
        while cursor.nextset():
            answers.append(cursor.fetchall())
        return answers

    def disconnect_others(self):
        """End what the apps of a test have left in their pools."""
        cursor = self.connection.cursor()
        cursor.execute(
            "SELECT id FROM information_schema.PROCESSLIST WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        for (number,) in cursor.fetchall():
            with contextlib.suppress(Exception):  # it has just gone
                cursor.execute(f"KILL {number}")


def connect(server, name: str):
    """Connect to a database as root over the socket, with the settings of mailapi."""
    import pymysql
    from mailapi_modules.mariadb.dialect import SQL_MODE
    from pymysql.constants import CLIENT

    return pymysql.connect(
        unix_socket=str(server.folder / "socket"),
        user="root",
        database=name,
        autocommit=True,
        charset="utf8mb4",
        sql_mode=SQL_MODE,
        client_flag=CLIENT.FOUND_ROWS | CLIENT.MULTI_STATEMENTS,
    )


@lru_cache(maxsize=1)
def server():
    """The MariaDB of this process."""
    from support.mariadb import MariaDBServer

    folder = tempfile.TemporaryDirectory(prefix="mailapi-test-")
    atexit.register(folder.cleanup)
    started = MariaDBServer(Path(folder.name))
    atexit.register(started.stop)
    return started


def take_database(generation: int, source: sqlite3.Connection) -> ReusedDatabase:
    """Return a database with the rows of a SQLite one; it is reserved until the end of the test."""
    free = FREE.setdefault(generation, [])
    kept = free.pop() if free else ReusedDatabase(server(), source)
    TAKEN.append((generation, kept))
    kept.fill(source)
    return kept


def give_back_databases():
    """Free the databases of a test that has ended."""
    for generation, kept in TAKEN:
        kept.disconnect_others()
        FREE[generation].append(kept)
    TAKEN.clear()


class OnMariaDB:
    """A Site whose master and state database are on MariaDB."""

    kept: ReusedDatabase | None = None

    @property
    def dbpath(self) -> Path:
        """Skip the test: it is about a file."""
        pytest.skip("about a SQLite file")

    @property
    def place(self) -> str:
        """The URL that `dbpath` of the config has."""
        return self.kept.url

    def create(self):
        """Make the file and a database with its rows."""
        super().create()
        with contextlib.closing(sqlite3.connect(self.file)) as source:
            self.kept = take_database(self.generation, source)

    def run(self, statement: str, *values):
        """Execute a statement of SQLite, translated; return the cursor."""
        import pymysql
        from mailapi_modules.mariadb.dialect import translated

        if ONLY_SQLITE.search(statement):
            pytest.skip("in SQLite's own words")
        cursor = self.kept.connection.cursor()
        try:
            cursor.execute(translated(statement), {str(n): value for n, value in enumerate(values)})
        except pymysql.DataError:
            pytest.skip("nothing that the server could hold")
        return cursor

    def sql(self, statement: str, *values) -> list[tuple]:
        """Execute a statement and return its rows."""
        return list(self.run(statement, *values).fetchall())

    state = sql

    def insert(self, statement: str, *values) -> int:
        """Execute an INSERT and return the number of the row."""
        return self.run(statement, *values).lastrowid

    def insert_many(self, statement: str, rows):
        """Execute an INSERT for every row, in one transaction."""
        self.kept.connection.begin()
        for row in rows:
            self.run(statement, *row)
        self.kept.connection.commit()

    def execute_all(self, statements: list[str]):
        """Execute statements in one transaction."""
        self.kept.connection.begin()
        for statement in statements:
            self.run(statement)
        self.kept.connection.commit()

    def save(self):
        """Return all rows, for `restore`."""
        return {name: list(rows) for name, rows in self.kept.rows().items()}

    def restore(self, saved):
        """Store the rows that `save` returned, and delete all others of these tables. The state stays."""
        self.kept.find_tables()
        self.kept.put(saved)

    def dump(self) -> list[str]:
        """Return every row as text."""
        return [f"{name} {row}" for name, rows in self.kept.rows().items() for row in rows]
