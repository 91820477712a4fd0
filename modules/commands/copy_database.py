"""Defines the base class of the databases that `mailapi copy` reads and writes."""

import contextlib
import re
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from mailapi import GENERATIONS, ConfigError, number

from ..mariadb.url import without_password

COPY_TABLE = "mailapi_copy"  # a table that the target has until the copy is complete
LOWEST_KEY, HIGHEST_KEY = -(2**63), 2**63 - 1


class Database:
    """A database that `mailapi copy` reads or writes: a SQLite file, or a database on a MariaDB or MySQL server.

    Each row is a tuple of values, and has an integer as its key. `location` is a path or a URL. `label` is the
    location without the password, for messages.
    """

    is_file = False
    connection: Any  # sqlite3's or PyMySQL's

    def __init__(self, location: str, is_state: bool):
        self.location, self.is_state, self.label = location, is_state, without_password(location)

    @contextlib.contextmanager
    def opened(self, make: bool = False) -> Iterator[None]:
        """Open the database for a `with` block. If `make` is True, create the file if there is none.

        ConfigError if it cannot be opened.
        """
        try:
            self.open(make)
        except sqlite3.Error as error:
            raise ConfigError(f"{self.label} cannot be opened: {error}.") from None
        try:
            yield
        finally:
            self.connection.close()

    # Methods of the subclasses

    def open(self, make: bool = False):
        """Open the database. If `make` is True, create the file if there is none."""
        raise NotImplementedError

    def query(self, sql: str, values: tuple = ()) -> list[tuple]:
        """Run an SQL statement with the values of its parameters, and return its rows. ConfigError if it fails."""
        raise NotImplementedError

    def error_class(self) -> type[Exception]:
        """Return the base class of the driver's exceptions: sqlite3.Error or pymysql.MySQLError."""
        raise NotImplementedError

    def has_table(self, table: str) -> bool:
        raise NotImplementedError

    def columns(self, table: str) -> list[str]:
        """Return the names of a table's columns, including computed columns; [] if there is no such table."""
        raise NotImplementedError

    def version(self) -> int | None:
        """Return a number that changes when another connection changes the database; None if the database has none."""
        raise NotImplementedError

    def rows(self, table, first: int, last: int = HIGHEST_KEY, size: int = -1) -> Iterator[tuple[int, tuple]]:
        """Yield (key, row) for the rows of a table with keys from `first` to `last`, sorted by key.

        At most `size` rows are yielded. A `size` of -1 means all.
        """
        raise NotImplementedError

    def last_keys(self, tables: list) -> dict[str, int]:
        """Return the highest key that AUTOINCREMENT has given to a row of each table: {"mailbox": 7, …}."""
        raise NotImplementedError

    def prepare(self, schema: str, tables: list, source: str):
        """Create the tables of this target database, and mark it as an incomplete copy.

        `schema` is the SQL that creates `tables`. `source` is the label of the source database, which the mark
        contains.
        """
        raise NotImplementedError

    def begin(self):
        """Begin a transaction, unless one has begun already."""
        raise NotImplementedError

    def insert_all(self, table, rows: dict[int, tuple]):
        """Insert the rows {key: row} into a table. Raise an exception of error_class() if the database refuses one."""
        raise NotImplementedError

    def delete(self, table, keys: Iterable[int]):
        """Delete the rows with these keys from a table. Begin a transaction, unless one has begun already."""
        raise NotImplementedError

    def rollback(self):
        raise NotImplementedError

    def commit(self):
        raise NotImplementedError

    def finish(self, tables: list, source: "Database"):
        """Mark this target of `mailapi copy` as complete, and give it the source's last keys of AUTOINCREMENT."""
        raise NotImplementedError

    # Methods that the subclasses share

    def refuse_other_columns(self, tables: list):
        """Raise ConfigError if a table of this source database lacks a column of the schema, or has another one."""
        for table in tables:
            wanted = {column.name.lower() for column in table.columns}
            have = {name.lower() for name in self.columns(table.name)}
            if others := sorted(have - wanted - {table.key.lower()}):
                raise ConfigError(
                    f"{table.name}.{others[0]} of {self.label} cannot be copied: it is no column of "
                    "the schema, or a computed one. Nothing was written."
                )
            self.refuse_missing(table, wanted - have)

    def refuse_missing(self, table, names: set[str]):
        """Raise ConfigError unless `names`, the names of a table's missing columns, is empty."""
        if names:
            raise ConfigError(f"{self.label} has no column {table.name}.{min(names)}. Nothing was written.")

    def insert(self, table, rows: dict[int, tuple]):
        """Insert the rows {key: row} into a table. ConfigError tells which row the database refuses, and why."""
        self.begin()
        try:
            self.insert_all(table, rows)
        except self.error_class():
            self.rollback()
            self.delete(table, rows)
            for key, row in rows.items():
                try:
                    self.insert_all(table, {key: row})
                except self.error_class() as error:
                    raise ConfigError(f"{table.name}, row {key}: {error_text(error)}.") from error

    def refuse_unless_complete(self):
        """Raise ConfigError if this source of `mailapi copy` is not mailapi's database, or is an incomplete copy."""
        if self.has_table(COPY_TABLE):
            raise ConfigError(f"{self.label} is itself a copy that is not complete.")
        if self.is_state and not self.has_table("session_key"):
            raise ConfigError(f"{self.label} is no state database of the API.")
        if not self.is_state and (version := self.schema_version()) not in GENERATIONS:
            raise ConfigError(
                f"{self.label} is no master database that the API knows (schema version {version})."
            )
        if not self.is_file and not self.is_state and version != 9:
            raise ConfigError("From a server only databases of generation 9 are copied.")

    def schema_version(self):
        """Return the schema version of a master database, such as 9; None if the database has no version."""
        if not self.has_table("meta"):
            return None
        rows = self.query("SELECT value FROM meta WHERE \"key\" = 'schema_version'")
        return number(decoded(rows[0][0])) if rows else None

    def refuse_unless_empty(self, tables: list, source: str):
        """Raise ConfigError if this target database already has rows, or if its tables lack columns of the schema.

        Rows are allowed if they are from an interrupted copy of the database with the label `source`.
        """
        for table in tables:
            if self.has_table(table.name):
                self.refuse_missing(
                    table,
                    {column.name.lower() for column in table.columns}
                    - {name.lower() for name in self.columns(table.name)},
                )
        if self.has_table(COPY_TABLE):
            if (other := decoded(self.query(f"SELECT source FROM {COPY_TABLE}")[0][0])) != source:
                raise ConfigError(f"{self.label} is a copy of {other} that is not complete.")
            return
        for table in tables:
            if (
                self.has_table(table.name)
                and not self.may_have_rows(table)
                and self.query(f'SELECT 1 FROM "{table.name}" LIMIT 1')
            ):
                raise ConfigError(f"{self.label} is not empty: {table.name} has rows. It was not touched.")

    def may_have_rows(self, table) -> bool:
        """Return whether creating a table also inserts rows into it, as for two tables that store counters."""
        return self.is_state and table.name in ("mailapi_turn", "Sequences")


def error_text(error: Exception) -> str:
    """Return the message of a database's exception, without the error number and the final "at row N"."""
    return re.sub(r" at row \d+$", "", str(error.args[-1] if error.args else error)).rstrip(".")


def decoded(value):
    """Convert bytes to str, since SQLite may return text as bytes. Return any other value unchanged."""
    return value.decode() if isinstance(value, bytes) else value
