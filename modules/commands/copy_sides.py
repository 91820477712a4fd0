"""The two databases of `mailapi copy`: a SQLite file, or one on MariaDB or MySQL."""

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from mailapi import GENERATIONS, ConfigError, chown_like, number, without_password

MARK = "mailapi_copy"  # a table that the target has for as long as the copy is not complete
LOWEST, HIGHEST = -(2**63), 2**63 - 1  # numbers of rows


class Side:
    """One of the two databases. A row is a tuple in the order of its table's columns, by its number."""

    file = False

    def __init__(self, place: str, state: bool):
        self.place, self.state = place, state

    @contextlib.contextmanager
    def opened(self, make: bool = False):
        """Around what is done with it; `make`: a file that is not there is made."""
        try:
            self.open(make)
        except sqlite3.Error as error:
            raise ConfigError(f"{without_password(self.place)} cannot be opened: {error}.") from None
        try:
            yield
        finally:
            self.connection.close()

    def rows(self, table, first: int, until: int = HIGHEST, size: int = -1) -> Iterator[tuple[int, tuple]]:
        raise NotImplementedError

    def columns(self, table: str) -> list[str]:
        """Return the names of a table's columns, also of computed ones; none where there is no such table."""
        raise NotImplementedError

    def refuse_other_columns(self, tables):
        """Refuse a source with a column that would be left out, or without one that is to be read."""
        for table in tables:
            wanted = {column.name.lower() for column in table.columns}
            have = {name.lower() for name in self.columns(table.name)}
            if others := sorted(have - wanted - {table.key.lower()}):
                raise ConfigError(
                    f"{table.name}.{others[0]} of {without_password(self.place)} cannot be copied: it is no column of "
                    "the schema, or a computed one. Nothing was written."
                )
            self.refuse_missing(table, wanted - have)

    def refuse_missing(self, table, names: set[str]):
        if names:
            raise ConfigError(
                f"{without_password(self.place)} has no column {table.name}.{min(names)}. Nothing was written."
            )

    def insert(self, table, rows: dict):
        """Add rows by their numbers; ConfigError names the first one that does not fit."""
        self.begin()
        try:
            self.put(table, rows)
        except self.errors():
            self.rollback()
            self.delete(table, rows)
            for key, row in rows.items():
                try:
                    self.put(table, {key: row})
                except self.errors() as error:
                    raise ConfigError(f"{table.name}, row {key}: {sentence(error)}.") from error

    def refuse_unless_complete(self):
        if self.has(MARK):
            raise ConfigError(f"{without_password(self.place)} is itself a copy that is not complete.")
        if self.state and not self.has("session"):
            raise ConfigError(f"{without_password(self.place)} is no state database of the API.")
        if not self.state and (version := self.schema_version()) not in GENERATIONS:
            raise ConfigError(
                f"{without_password(self.place)} is no master database that the API knows (schema version {version})."
            )
        if not self.file and not self.state and version != 9:
            raise ConfigError("From a server only databases of generation 9 are copied.")

    def schema_version(self):
        if not self.has("meta"):
            return None
        found = self.query("SELECT value FROM meta WHERE \"key\" = 'schema_version'")
        return number(text(found[0][0])) if found else None

    def refuse_unless_empty(self, tables, source: str):
        for table in tables:
            if self.has(table.name):
                self.refuse_missing(
                    table,
                    {column.name.lower() for column in table.columns}
                    - {name.lower() for name in self.columns(table.name)},
                )
        if self.has(MARK):
            if (other := text(self.query(f"SELECT source FROM {MARK}")[0][0])) != source:
                raise ConfigError(
                    f"{without_password(self.place)} is a copy of {other} that is not complete."
                )
            return
        for table in tables:
            if (
                self.has(table.name)
                and not self.may_have_rows(table)
                and self.query(f'SELECT 1 FROM "{table.name}" LIMIT 1')
            ):
                raise ConfigError(
                    f"{without_password(self.place)} is not empty: {table.name} has rows. It was not touched."
                )

    def may_have_rows(self, table) -> bool:
        """Rows that every new state database begins with."""
        return self.state and table.name in ("mailapi_turn", "Sequences")


class File(Side):
    """A SQLite file."""

    file = True

    def open(self, make: bool = False):
        if make:
            self.make()
        self.connection = sqlite3.connect(
            f"{Path(self.place).absolute().as_uri()}?mode={'rwc' if make else 'rw'}",
            uri=True,
            timeout=5,
            isolation_level=None,
        )
        self.connection.text_factory = bytes  # also what is not UTF-8
        self.connection.execute("SELECT 1 FROM sqlite_master")

    def make(self):
        """Make the file where there is none, for the folder's owner; SQLite says what fails."""
        with contextlib.suppress(OSError):
            handle = os.open(self.place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            chown_like(handle, Path(self.place).absolute().parent)
            os.close(handle)

    def query(self, sql: str, values=()) -> list:
        try:
            return self.connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise ConfigError(f"{without_password(self.place)}: {error}.") from error

    def errors(self):
        return sqlite3.Error

    def columns(self, table):
        return [row[1].decode() for row in self.query(f'PRAGMA table_xinfo("{table}")')]

    def triggers(self) -> list[str]:
        found = self.query("SELECT name FROM sqlite_master WHERE type = 'trigger' ORDER BY 1")
        return [name.decode() for (name,) in found]

    def has(self, table: str) -> bool:
        return bool(self.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)))

    def schema(self) -> str:
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

    def version(self):
        return self.query("PRAGMA data_version")[0][0]

    def rows(self, table, first, until=HIGHEST, size=-1):
        columns = ", ".join(
            f'CAST("{c.name}" AS BLOB)' if c.name == "mail_data" else f'"{c.name}"' for c in table.columns
        )
        for key, *row in self.query(
            f'SELECT rowid, {columns} FROM "{table.name}" WHERE rowid >= ? AND rowid <= ?'
            " ORDER BY rowid LIMIT ?",
            (first, until, size),
        ):
            yield (
                key,
                tuple(self.plain(value, column, table, key) for value, column in zip(row, table.columns)),
            )

    def plain(self, value, column, table, key):
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
        if not self.has(MARK):
            os.chmod(self.place, 0o600 if self.state else 0o660)
            make = "" if self.has(tables[0].name) else schema
            no_version = "" if self.state else "DELETE FROM meta;"
            try:
                self.connection.executescript(
                    f"BEGIN; {make}; {no_version} CREATE TABLE {MARK} (source TEXT)"
                )
            except sqlite3.Error as error:
                raise ConfigError(f"{without_password(self.place)}: {error}.") from error
            self.query(f"INSERT INTO {MARK} VALUES (?)", (source,))
            self.commit()

    def delete(self, table, keys):
        self.begin()
        self.connection.executemany(f'DELETE FROM "{table.name}" WHERE rowid = ?', [(key,) for key in keys])

    def put(self, table, rows: dict):
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

    def numbers(self, tables) -> dict[str, int]:
        """The last number that each AUTOINCREMENT column has given."""
        if not self.has("sqlite_sequence"):
            return {}
        return {name.decode(): last for name, last in self.query("SELECT name, seq FROM sqlite_sequence")}

    def finish(self, tables, source: Side):
        self.begin()
        for name, last in source.numbers(tables).items():
            if not self.query(
                "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ? RETURNING 1", (last, name)
            ):
                self.query("INSERT INTO sqlite_sequence VALUES (?, ?)", (name, last))
        self.query(f"DROP TABLE {MARK}")
        self.commit()


class Server(Side):
    """A database on MariaDB or MySQL."""

    def __init__(self, place: str, state: bool, schema: str):
        super().__init__(place, state)
        from ..mariadb.store import ServerStore

        self.store = ServerStore(place, schema if state else None)

    def open(self, make: bool = False):
        self.connection = self.store.open(patient=True)
        self.connection.begin()  # one state of the database, however long it takes

    def query(self, sql: str, values=()) -> list:
        cursor = self.connection.cursor()
        try:
            cursor.execute(sql, values or None)
        except self.errors() as error:
            raise ConfigError(f"{without_password(self.place)}: {sentence(error)}.") from error
        return list(cursor.fetchall())

    def errors(self):
        import pymysql

        return pymysql.MySQLError

    def columns(self, table):
        return [
            name
            for (name,) in self.query(
                "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE"
                " TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
                (table,),
            )
        ]

    def has(self, table: str) -> bool:
        return bool(
            self.query(
                "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s",
                (table,),
            )
        )

    def version(self):
        return None  # nothing that is read changes

    def rows(self, table, first, until=HIGHEST, size=-1):
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        limit = f" LIMIT {size}" if size >= 0 else ""
        for key, *row in self.query(
            f'SELECT "{table.key}", {columns} FROM "{table.name}" WHERE "{table.key}" >= %s AND'
            f' "{table.key}" <= %s ORDER BY "{table.key}"{limit}',
            (first, until),
        ):
            yield key, tuple(row)

    def prepare(self, schema: str, tables: list, source: str):
        from ..mariadb import tables as serverschema

        self.rollback()
        self.refuse_unless_empty(tables, source)
        with serverschema.model(schema) as model:
            try:
                serverschema.create(self.connection, model)
            except self.errors() as error:
                raise ConfigError(f"{without_password(self.place)}: {sentence(error)}.") from error
        if not self.has(MARK):
            self.query(f"CREATE TABLE {MARK} (rowid BIGINT PRIMARY KEY AUTO_INCREMENT, source TEXT)")
            self.query(f"INSERT INTO {MARK} (source) VALUES (%s)", (source,))
        self.query("SET SESSION foreign_key_checks = 0")

    def delete(self, table, keys):
        self.begin()
        for key in keys:
            self.query(f'DELETE FROM "{table.name}" WHERE "{table.key}" = %s', (key,))

    def put(self, table, rows: dict):
        names = ", ".join(
            f'"{name}"' for name in [*([] if table.number else [table.key]), *[c.name for c in table.columns]]
        )
        values = [row if table.number else (key, *row) for key, row in rows.items()]
        statement = f'INSERT INTO "{table.name}" ({names}) VALUES ({", ".join(["%s"] * len(values[0]))})'
        self.connection.cursor().executemany(statement, values)

    def begin(self):
        from ..mariadb.pool import in_transaction

        if not in_transaction(self.connection):
            self.query("START TRANSACTION")

    def rollback(self):
        self.query("ROLLBACK")

    def commit(self):
        self.query("COMMIT")

    def names(self) -> list[str]:
        return [
            name
            for (name,) in self.query(
                "SELECT TABLE_NAME FROM information_schema.TABLES WHERE"
                " TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' ORDER BY 1"
            )
        ]

    def numbers(self, tables) -> dict[str, int]:
        from ..mariadb import tables as serverschema

        found = {
            table.name: serverschema.counter(self.query(f'SHOW CREATE TABLE "{table.name}"')[0][1])
            for table in tables
            if table.number
        }
        return {name: following - 1 for name, following in found.items() if following > 1}

    def finish(self, tables, source: Side):
        mine = {table.name for table in tables if table.number}
        for name, last in source.numbers(tables).items():
            if name in mine:
                self.query(f'ALTER TABLE "{name}" AUTO_INCREMENT = {last + 1:d}')
        self.query(f"DROP TABLE {MARK}")


def sentence(error: Exception) -> str:
    """What a database said, without the server's number and its count of the rows of a statement."""
    return re.sub(r" at row \d+$", "", str(error.args[-1] if error.args else error)).rstrip(".")


def text(value):
    return value.decode() if isinstance(value, bytes) else value
