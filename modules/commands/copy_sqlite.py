"""Defines the class of a SQLite file that `mailapi copy` reads or writes."""

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from mailapi import ConfigError

from ..state.owners import chown_like
from .copy_database import COPY_TABLE, HIGHEST_KEY, Database


class SqliteFile(Database):
    """A SQLite file that `mailapi copy` reads or writes. Its queries return text as bytes, which need not be UTF-8."""

    is_file = True

    def open(self, make: bool = False):
        if make:
            self.make()
        self.connection = sqlite3.connect(
            f"{Path(self.location).absolute().as_uri()}?mode={'rwc' if make else 'rw'}",
            uri=True,
            timeout=5,
            isolation_level=None,
        )
        self.connection.text_factory = bytes
        self.connection.execute("SELECT 1 FROM sqlite_master")

    def make(self):
        """Create an empty file with the owner of its folder, unless the file exists."""
        with contextlib.suppress(OSError):  # SQLite then reports what is wrong
            handle = os.open(self.location, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            chown_like(handle, Path(self.location).absolute().parent)
            os.close(handle)

    def query(self, sql: str, values: tuple = ()) -> list[tuple]:
        try:
            return self.connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise ConfigError(f"{self.label}: {error}.") from error

    def error_class(self) -> type[Exception]:
        return sqlite3.Error

    def columns(self, table: str) -> list[str]:
        return [row[1].decode() for row in self.query(f'PRAGMA table_xinfo("{table}")')]

    def triggers(self) -> list[str]:
        """Return the names of the SQL triggers in this SQLite file."""
        rows = self.query("SELECT name FROM sqlite_master WHERE type = 'trigger' ORDER BY 1")
        return [name.decode() for (name,) in rows]

    def has_table(self, table: str) -> bool:
        return bool(self.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)))

    def schema(self) -> str:
        """Return the SQL statements that create the file's tables, indexes and views, in this order."""
        return (
            ";\n".join(
                sql.decode()
                for (sql,) in self.query(
                    "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
                    " ORDER BY type = 'view', type = 'index', rowid"
                )
            )
            + ";"
        )

    def version(self) -> int:
        return self.query("PRAGMA data_version")[0][0]

    def rows(self, table, first: int, last: int = HIGHEST_KEY, size: int = -1) -> Iterator[tuple[int, tuple]]:
        columns = ", ".join(
            f'CAST("{c.name}" AS BLOB)' if c.name == "mail_data" else f'"{c.name}"' for c in table.columns
        )
        for key, *row in self.query(
            f'SELECT rowid, {columns} FROM "{table.name}" WHERE rowid >= ? AND rowid <= ?'
            " ORDER BY rowid LIMIT ?",
            (first, last, size),
        ):
            yield (
                key,
                tuple(self.checked(value, column, table, key) for value, column in zip(row, table.columns)),
            )

    def checked(self, value, column, table, key: int):
        """Return a value of a row of this SQLite file, converted to str if the column contains text.

        ConfigError if MariaDB or MySQL could not store the value. Its message names the table, the row's key and the
        column.
        """
        if isinstance(value, bytes) and column.name != "mail_data" and column.type != "BLOB":
            try:
                value = value.decode()
            except UnicodeDecodeError:
                raise ConfigError(f"{table.name}, row {key}: {column.name} is not UTF-8.") from None
        if column.type in ("INTEGER", "BOOLEAN") and value is not None and not isinstance(value, int):
            raise ConfigError(f"{table.name}, row {key}: {column.name} is no whole number.")
        return value

    def prepare(self, schema: str, tables: list, source: str):
        self.refuse_unless_empty(tables, source)
        if self.is_state:
            self.query("PRAGMA journal_mode = WAL")  # who reads must not keep others from writing
        if not self.has_table(COPY_TABLE):
            os.chmod(self.location, 0o600 if self.is_state else 0o660)
            create = "" if self.has_table(tables[0].name) else schema
            no_version = "" if self.is_state else "DELETE FROM meta;"
            try:
                self.connection.executescript(
                    f"BEGIN; {create}; {no_version} CREATE TABLE {COPY_TABLE} (source TEXT)"
                )
            except sqlite3.Error as error:
                raise ConfigError(f"{self.label}: {error}.") from error
            self.query(f"INSERT INTO {COPY_TABLE} VALUES (?)", (source,))
            self.commit()

    def delete(self, table, keys: Iterable[int]):
        self.begin()
        self.connection.executemany(f'DELETE FROM "{table.name}" WHERE rowid = ?', [(key,) for key in keys])

    def insert_all(self, table, rows: dict[int, tuple]):
        names = ", ".join(f'"{c.name}"' for c in table.columns)
        marks = ", ".join("CAST(? AS TEXT)" if c.name == "mail_data" else "?" for c in table.columns)
        self.connection.executemany(
            f'INSERT INTO "{table.name}" (rowid, {names}) VALUES (?, {marks})',
            [(key, *row) for key, row in rows.items()],
        )

    def begin(self):
        if not self.connection.in_transaction:
            self.query("BEGIN IMMEDIATE")

    def rollback(self):
        if self.connection.in_transaction:
            self.query("ROLLBACK")

    def commit(self):
        if self.connection.in_transaction:
            self.query("COMMIT")

    def last_keys(self, tables: list) -> dict[str, int]:
        if not self.has_table("sqlite_sequence"):
            return {}
        return {name.decode(): key for name, key in self.query("SELECT name, seq FROM sqlite_sequence")}

    def finish(self, tables: list, source: Database):
        self.begin()
        for name, key in source.last_keys(tables).items():
            if not self.query(
                "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ? RETURNING 1", (key, name)
            ):
                self.query("INSERT INTO sqlite_sequence VALUES (?, ?)", (name, key))
        self.query(f"DROP TABLE {COPY_TABLE}")
        self.commit()
