"""Defines the class of a database on a server that `mailapi copy` reads or writes."""

from collections.abc import Iterable, Iterator

from mailapi import ConfigError

from .copy_database import COPY_TABLE, HIGHEST_KEY, Database, error_text


class ServerDatabase(Database):
    """A database on a MariaDB or MySQL server that `mailapi copy` reads or writes."""

    def __init__(self, location: str, is_state: bool, schema: str):
        super().__init__(location, is_state)
        from ..mariadb.store import ServerStore

        self.store = ServerStore(location, schema if is_state else None)

    def open(self, make: bool = False):
        self.connection = self.store.open(patient=True)
        self.connection.begin()  # every read sees the database as it is now

    def query(self, sql: str, values: tuple = ()) -> list[tuple]:
        cursor = self.connection.cursor()
        try:
            cursor.execute(sql, values or None)
        except self.error_class() as error:
            raise ConfigError(f"{self.label}: {error_text(error)}.") from error
        return list(cursor.fetchall())

    def error_class(self) -> type[Exception]:
        import pymysql

        return pymysql.MySQLError

    def columns(self, table: str) -> list[str]:
        return [
            name
            for (name,) in self.query(
                "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE"
                " TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
                (table,),
            )
        ]

    def has_table(self, table: str) -> bool:
        return bool(
            self.query(
                "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s",
                (table,),
            )
        )

    def version(self) -> None:
        return None  # the transaction always reads the same rows

    def rows(self, table, first: int, last: int = HIGHEST_KEY, size: int = -1) -> Iterator[tuple[int, tuple]]:
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        limit = f" LIMIT {size}" if size >= 0 else ""
        for key, *row in self.query(
            f'SELECT "{table.key}", {columns} FROM "{table.name}" WHERE "{table.key}" >= %s AND'
            f' "{table.key}" <= %s ORDER BY "{table.key}"{limit}',
            (first, last),
        ):
            yield key, tuple(row)

    def prepare(self, schema: str, tables: list, source: str):
        from ..mariadb import tables as server_tables

        self.rollback()
        self.refuse_unless_empty(tables, source)
        with server_tables.model(schema) as model:
            try:
                server_tables.create(self.connection, model)
            except self.error_class() as error:
                raise ConfigError(f"{self.label}: {error_text(error)}.") from error
        if not self.has_table(COPY_TABLE):
            self.query(f"CREATE TABLE {COPY_TABLE} (rowid BIGINT PRIMARY KEY AUTO_INCREMENT, source TEXT)")
            self.query(f"INSERT INTO {COPY_TABLE} (source) VALUES (%s)", (source,))
        self.query("SET SESSION foreign_key_checks = 0")

    def delete(self, table, keys: Iterable[int]):
        self.begin()
        for key in keys:
            self.query(f'DELETE FROM "{table.name}" WHERE "{table.key}" = %s', (key,))

    def insert_all(self, table, rows: dict[int, tuple]):
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

    def table_names(self) -> list[str]:
        return [
            name
            for (name,) in self.query(
                "SELECT TABLE_NAME FROM information_schema.TABLES WHERE"
                " TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' ORDER BY 1"
            )
        ]

    def last_keys(self, tables: list) -> dict[str, int]:
        from ..mariadb import tables as server_tables

        following = {
            table.name: server_tables.counter(self.query(f'SHOW CREATE TABLE "{table.name}"')[0][1])
            for table in tables
            if table.number
        }
        return {name: key - 1 for name, key in following.items() if key > 1}

    def finish(self, tables: list, source: Database):
        numbered = {table.name for table in tables if table.number}
        for name, key in source.last_keys(tables).items():
            if name in numbered:
                self.query(f'ALTER TABLE "{name}" AUTO_INCREMENT = {key + 1:d}')
        self.query(f"DROP TABLE {COPY_TABLE}")
