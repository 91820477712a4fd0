"""Creation of tables on MariaDB or MySQL from a schema for SQLite: types of columns, keys and indexes."""

import contextlib
import re
import sqlite3
from dataclasses import dataclass

from .dialect import translated

SHORT, LONG = 255, 512  # characters of a text in a key; InnoDB can index one of each together
PREFIX = 191  # characters of a text that an index has
TYPES = {"INTEGER": "BIGINT", "BOOLEAN": "TINYINT(1)", "BLOB": "LONGBLOB"}
NOW = "strftime('%s','now')"  # a default in SQLite, without its blanks: seconds since 1970
TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY rowid"


@dataclass(frozen=True)
class Column:
    """A column of a SQLite table: its name, its type, its default, and whether it is NOT NULL."""

    name: str
    type: str
    required: bool
    default: str | None


class Table:
    """A table of a SQLite database. `definition` returns the statement that creates the same table on MariaDB."""

    def __init__(self, connection: sqlite3.Connection, name: str):
        def pragma(what: str, of: str = name):
            return connection.execute(f'PRAGMA {what}("{of}")').fetchall()

        self.name = name
        rows = pragma("table_info")
        self.columns = [Column(row[1], row[2].upper(), bool(row[3]), row[4]) for row in rows]
        primary = [column for column, row in zip(self.columns, rows) if row[5]]
        # The column that is SQLite's rowid, or None.
        self.number = primary[0].name if [column.type for column in primary] == ["INTEGER"] else None
        indexes = [
            (row[2], [part[2] for part in pragma("index_info", row[1])])
            for row in reversed(pragma("index_list"))
        ]
        # dict.fromkeys drops duplicates: a column may be both primary key and unique.
        self.unique = [
            list(key)
            for key in dict.fromkeys(tuple(key) for unique, key in indexes if unique)
            if list(key) != [self.number]
        ]
        self.indexes = [key for unique, key in indexes if not unique]
        self.foreign = [
            dict(zip(("parent", "column", "key", "update", "delete"), row[2:7]))
            for row in pragma("foreign_key_list")
        ]

    @property
    def key(self) -> str:
        """Return the name of the column that identifies a row: the integer primary key, or else "rowid"."""
        return self.number or "rowid"

    def type_of(self, column: Column) -> str:
        """Return the type of a column on MariaDB, such as "VARCHAR(255)"."""
        if column.name == "mail_data":
            return "LONGBLOB"  # bytes in any charset, which SQLite has as TEXT (docs/wire.md section 7)
        if column.type in TYPES:
            return TYPES[column.type]
        keys = [key for key in self.unique if column.name in key]
        refers = any(foreign["column"] == column.name for foreign in self.foreign)
        if refers or keys:
            long = not refers and all(len(key) > 1 and key[-1] == column.name for key in keys)
            return f"VARCHAR({LONG if long else SHORT})"
        return "MEDIUMTEXT"

    def definition(self, collation: str) -> str:
        """Return MariaDB's CREATE TABLE statement for the table. `collation`: the collation of its text columns."""
        lines = [] if self.number else ["rowid BIGINT NOT NULL AUTO_INCREMENT INVISIBLE PRIMARY KEY"]
        lines += [self.column_line(column) for column in self.columns]
        lines += [f"UNIQUE KEY ({quoted(key)})" for key in self.unique]
        lines += [f"KEY ({', '.join(self.index_part(name) for name in key)})" for key in self.indexes]
        lines += [
            f'FOREIGN KEY ("{f["column"]}") REFERENCES "{f["parent"]}" ("{f["key"]}") '
            f"ON DELETE {f['delete']} ON UPDATE {f['update']}"
            for f in self.foreign
        ]
        return (
            f'CREATE TABLE IF NOT EXISTS "{self.name}" (\n    '
            + ",\n    ".join(lines)
            + f"\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE={collation}"
        )

    def column_line(self, column: Column) -> str:
        """Return a column's line in MariaDB's CREATE TABLE, such as '"name" VARCHAR(255) NOT NULL'."""
        if column.name == self.number:
            return f'"{column.name}" BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY'
        line = f'"{column.name}" {self.type_of(column)}' + (" NOT NULL" if column.required else "")
        if column.default is None:
            return line
        is_now = NOW in column.default.replace(" ", "")
        return f"{line} DEFAULT ({'UNIX_TIMESTAMP()' if is_now else column.default})"

    def index_part(self, name: str) -> str:
        """Return a column in an index as SQL: '"name"', or '"name"(191)' if its text may be long.

        The index then contains only the first 191 characters of the text.
        """
        kind = self.type_of(next(column for column in self.columns if column.name == name))
        return f'"{name}"' + (f"({PREFIX})" if kind in ("MEDIUMTEXT", "VARCHAR(512)") else "")


def quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def tables(connection: sqlite3.Connection) -> list[Table]:
    """Return the tables of a SQLite database in the order in which they were created."""
    return [Table(connection, row[0]) for row in connection.execute(TABLES).fetchall()]


def collation(server) -> str:
    """Return the server's collation that compares texts byte by byte, for example "utf8mb4_nopad_bin".

    `server`: a connection to the server.
    """
    return "utf8mb4_nopad_bin" if "MariaDB" in server.get_server_info() else "utf8mb4_0900_bin"


@contextlib.contextmanager
def model(schema: str):
    """Create a SQLite database in memory with the tables of a schema, and yield a connection to it for a `with` block.

    `schema`: SQL for SQLite.
    """
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema)
        yield connection


def create(server, schema: sqlite3.Connection):
    """Create the tables and views of a SQLite database on a server, if they are missing there. Rows are not copied.

    `server`: a connection to the server. `schema`: a connection to the SQLite database.
    """
    cursor = server.cursor()
    for table in tables(schema):
        cursor.execute(table.definition(collation(server)))
    for (sql,) in schema.execute("SELECT sql FROM sqlite_master WHERE type = 'view'").fetchall():
        cursor.execute(re.sub("^CREATE VIEW", "CREATE OR REPLACE VIEW", translated(sql).replace("%%", "%")))


def add_state_tables(server, schema: str):
    """Create the missing tables of a state database on a server, and insert their missing initial rows.

    `server`: a connection to the server. `schema`: statements for SQLite that create the tables and insert the rows;
    they are translated for the server.
    """
    cursor = server.cursor()
    cursor.execute("SHOW TABLES")
    have = {row[0].lower() for row in cursor.fetchall()}
    wanted = re.findall("IF NOT EXISTS ([A-Za-z_]+) \\(", schema)
    with model(schema + TURN) as sqlite:
        if not have.issuperset({name.lower() for name in [*wanted, "mailapi_turn"]}):
            create(server, sqlite)
        insert_rows(server, sqlite, "INSERT IGNORE")


def insert_rows(server, source: sqlite3.Connection, verb: str = "INSERT"):
    """Copy all rows of a SQLite database to a server, into tables of the same names, in one transaction.

    `server`: a connection to the server. `source`: the SQLite database. `verb`: "INSERT", or "INSERT IGNORE" to skip
    rows whose key the server already has.
    """
    cursor = server.cursor()
    server.begin()
    for table in tables(source):
        for row in source.execute(f'SELECT * FROM "{table.name}"'):
            cursor.execute(f'{verb} INTO "{table.name}" VALUES ({", ".join(["%s"] * len(row))})', row)
    server.commit()


def counter(statement: str) -> int:
    """Return the next AUTO_INCREMENT number in the result of SHOW CREATE TABLE; 1 if it has none."""
    # MySQL's information_schema would be easier to read, but may be a day old.
    match = re.search(r"^\).*? AUTO_INCREMENT=(\d+)", statement, re.MULTILINE)
    return int(match[1]) if match else 1


def has_rows(server, table: str) -> bool:
    """Return whether a table exists and has at least one row. `server`: a connection to the database."""
    cursor = server.cursor()
    cursor.execute("SHOW TABLES LIKE %s", (table,))
    return bool(cursor.fetchall()) and bool(cursor.execute(f'SELECT 1 FROM "{table}" LIMIT 1'))


# Transactions that write lock a row until they commit: 'writer' in the state database, 'master' in the master's.
TURN = """
CREATE TABLE IF NOT EXISTS mailapi_turn (name TEXT NOT NULL UNIQUE, last INTEGER);
INSERT INTO mailapi_turn VALUES ('writer', 0), ('master', 0);
"""
