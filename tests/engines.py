"""Master databases of the tests on MariaDB, emptied and used again: making tables takes longer than a test."""

import contextlib
import itertools
import sqlite3
from pathlib import Path

import pymysql

from mailapi_modules import serverschema
from mailapi_modules.serversql import SQL_MODE, translated

NUMBERS = itertools.count(1)


class Kept:
    """A database with the tables of a SQLite schema."""

    def __init__(self, server, schema: sqlite3.Connection):
        self.server, self.name = server, f"kept{next(NUMBERS)}"
        server.sql(f"CREATE DATABASE {self.name}")
        self.url = server.url(self.name)
        self.tables = serverschema.tables(schema)
        self.connection = connect(server, self.name)
        serverschema.create(self.connection, schema)

    def fill(self, source: sqlite3.Connection):
        """The rows of a SQLite file in place of all others."""
        cursor = self.connection.cursor()
        cursor.execute("SET foreign_key_checks = 0")
        cursor.execute("SHOW TABLES")
        for (name,) in cursor.fetchall():
            if name not in ("outbound",):
                cursor.execute("SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s", (name,))
                number = cursor.fetchone()
                cursor.execute(f'DELETE FROM "{name}"')
                if number and number[0] != 1:
                    cursor.execute(f'ALTER TABLE "{name}" AUTO_INCREMENT = 1')
        for table in self.tables:
            for row in source.execute(f'SELECT * FROM "{table.name}"'):
                cursor.execute(f'INSERT INTO "{table.name}" VALUES ({", ".join(["%s"] * len(row))})', row)
        with contextlib.suppress(pymysql.MySQLError):
            cursor.execute("INSERT INTO mailapi_turn VALUES ('writer', 0)")
        cursor.execute("SET foreign_key_checks = 1")


def connect(server, name: str):
    return pymysql.connect(unix_socket=str(server.folder / "socket"), user="root", database=name, autocommit=True,
                           charset="utf8mb4", sql_mode=SQL_MODE, init_command="SET foreign_key_checks = 1")
