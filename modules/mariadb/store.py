"""A master or state database on MariaDB or MySQL, or a Galera cluster of them, that is asked as the core's Store is."""

import contextlib
import itertools
import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping

import peewee

from mailapi import BUSY, ApiError, Param, StateFailure, Store, ThreadConnection, TransactionRolledBack, log

from ..mariadb import dialect as serversql
from ..mariadb import tables as serverschema
from ..mariadb.errors import (
    BUSY_NUMBERS,
    LOST,
    PACKET_TOO_LARGE,
    UNDONE,
    UNFIT,
    CommitLost,
    ConnectionLost,
    TooLarge,
)
from ..mariadb.pool import WAIT, Link, Pool, in_transaction
from ..mariadb.url import Unreachable, Unusable, code

LONGEST_BACK_OFF = 0.3  # seconds between two attempts of a transaction
REPEATED = threading.local()  # has the deadline of this thread's attempts
HIGHEST = 2**53 - 1  # of the numbers that are given: JavaScript rounds those above (docs/wire.md F47)


class ServerConnection(ThreadConnection):
    """What a thread has of a database on a server."""

    connection = None
    process = 0  # whose connection it is
    begun = False  # a transaction
    undone = False  # by the server


class Transaction:
    """All statements of a block or none. A block that reads sees one state of the database. Those that write take
    turns, as with SQLite: what they read stays so until they commit."""

    def __init__(self, store: "ServerStore", lock_type: str):
        self.store, self.writes = store, lock_type != "DEFERRED"

    def __enter__(self):
        store, opened = self.store, self.store.opened
        if opened.begun:  # the server would commit what was done so far
            raise peewee.OperationalError("cannot start a transaction within a transaction")
        store.run("START TRANSACTION" if self.writes else "START TRANSACTION READ ONLY")
        opened.begun, opened.undone = True, False
        try:
            if self.writes:
                store.take_turn()
        except BaseException:
            self.end()
            raise

    def __exit__(self, kind, error, traceback):
        try:
            if kind is None:
                self.store.commit(self.writes)
        finally:
            self.end()

    def end(self):
        """Undo what was not committed."""
        opened, self.store.opened.begun = self.store.opened, False
        if opened.connection and in_transaction(opened.connection):
            try:
                opened.connection.rollback()
            except Exception as error:  # the server does it when the connection ends
                log.info("%s: %s", self.store.what, error)
                self.store.close(usable=False)


class ServerStore(Store):
    """A database named by a `mysql://` URL, in which nobody but the API and its like writes; several hosts are tried
    in their order. With a schema, SQL for SQLite, it is the state database, whose tables it makes."""

    streams = False
    database = peewee.SqliteDatabase(None)  # whose SQL is translated

    def __init__(self, url: str, schema: str | None = None):
        self.path, self.is_state = url, schema is not None
        self.what = "state database" if self.is_state else "database"
        self.link = Link(url, self.what, "state" if self.is_state else "dbpath", schema)
        self.open = self.link.open
        self.opened, self.pools = ServerConnection(), {}
        self.keys: dict[tuple, list] = {}

    # Connections

    @property
    def pool(self) -> Pool:
        """This process's: its parent's connections are not to be used."""
        here = os.getpid()
        if here not in self.pools:
            self.pools.setdefault(here, Pool(self.link.open, self.link.most))  # one, also where threads race
            for other in set(self.pools) - {here}:
                self.pools.pop(other, None)
        return self.pools[here]

    def connect(self):
        """This thread's connection."""
        opened = self.opened
        if opened.process != os.getpid():
            opened.connection, opened.process, opened.begun = None, os.getpid(), False
        if opened.connection is None:
            opened.connection = self.pool.take()
        return opened.connection

    def close(self, usable: bool = False):
        connection, self.opened.connection = self.opened.connection, None
        if connection and self.opened.process == os.getpid():
            self.pool.give_back(connection, usable)

    def release(self):
        """Give the connection back."""
        self.close(usable=True)

    def lose(self):
        """Nothing can be done with this thread's connection any more."""
        self.opened.undone = True
        self.close(usable=False)

    # Transactions

    def transaction(self, lock_type: str = "IMMEDIATE") -> Transaction:
        return Transaction(self, lock_type)

    @contextlib.contextmanager
    def one_statement(self):
        self.connect()
        yield

    def take_turn(self):
        """What one writer does after the other. In a cluster only what is written is held against other nodes."""
        name = "writer" if self.is_state else "master"
        if self.opened.connection.in_cluster:
            if not self.run(f"UPDATE mailapi_turn SET last = last + 1 WHERE name = '{name}'").rowcount:
                log.error("%s: mailapi_turn has no row %s", self.what, name)
                raise Unusable(self.what)
        elif self.is_state:
            self.run(f"SELECT last FROM mailapi_turn WHERE name = '{name}' FOR UPDATE")
        else:
            self.run("SELECT value FROM meta WHERE \"key\" = 'schema_version' FOR UPDATE")

    def commit(self, writes: bool = True):
        if self.opened.undone:  # somebody took it for a refusal, and went on
            raise TransactionRolledBack()
        try:
            self.opened.connection.commit()
        except BaseException as error:
            log.info("%s: %s", self.what, error)
            self.lose()
            if not isinstance(error, Exception):
                raise
            if writes:  # what was read is true all the same
                raise self.not_committed(error) or CommitLost(self) from error

    def not_committed(self, error: Exception) -> Exception | None:
        """What to raise where the server says that it undid the transaction; None where nobody knows."""
        if code(error) in UNDONE:
            return TransactionRolledBack()
        if code(error) in serversql.READ_ONLY:
            sentence = serversql.refusal(code(error), "", "", self.columns_of)
            return StateFailure(sentence) if self.is_state else peewee.OperationalError(sentence)
        return None

    def run_with_retry(self, work: Callable):
        """Return what work returns, whose whole effect is one transaction; again where the server undid it, until
        WAIT seconds are over. Within another repeat (of another store, too) that one's deadline holds."""
        outer = getattr(REPEATED, "deadline", None)
        REPEATED.deadline = outer or time.monotonic() + WAIT
        try:
            for attempt in itertools.count():
                try:
                    return work()
                except TransactionRolledBack:
                    pause = random.uniform(
                        0, min(0.02 * 2 ** min(attempt, 9), LONGEST_BACK_OFF)
                    )  # else two meet again
                    if time.monotonic() + pause > REPEATED.deadline:
                        raise
                    time.sleep(pause)
        finally:
            REPEATED.deadline = outer

    # Queries

    def run(self, sql: str, parameters=(), values: Mapping = {}):
        if self.opened.trace:
            self.opened.trace(sql)
        if sql.startswith("PRAGMA"):
            return None
        filled = bound(parameters, values)
        try:
            return self.ask(serversql.translated(sql), filled, sql)
        except ConnectionLost:
            if self.opened.begun or not sql.startswith(("SELECT", "START TRANSACTION")):
                raise
            return self.ask(serversql.translated(sql), filled, sql)  # nothing was done that is gone now

    def ask(self, sql: str, values: dict, original: str):
        cursor, statement = self.cursor(), ""
        try:
            statement = cursor.mogrify(sql, values)
            cursor.execute(statement)
        except BaseException as error:
            self.fail(error, original, statement)
        return cursor

    def cursor(self):
        if self.opened.begun and self.opened.undone:
            raise TransactionRolledBack()  # what is done now would not be undone with the rest
        return self.connect().cursor()

    def execute_many(self, query, rows: list[dict]):
        sql, parameters = query.sql(self.database)
        if self.opened.trace:
            self.opened.trace(sql)
        filled = [bound(parameters, row) for row in rows]
        cursor = self.cursor()
        try:
            cursor.executemany(serversql.translated(sql), filled)
        except BaseException as error:
            self.fail(error, sql)

    def fetch(self, query, values: dict) -> tuple:
        cursor = self.execute(query, **values)
        return cursor, cursor.fetchall()

    def encoded(self, query, values):
        return None

    def next(self, column: peewee.Field) -> int:
        """A number up to HIGHEST that was never given, also not by an UPDATE: InnoDB's counter does not know of those.

        Numbers above HIGHEST, in rows of an older version, count for nothing.
        """
        table, name = column.model._meta.table_name, column.column_name
        counter = serverschema.counter(self.run(f'SHOW CREATE TABLE "{table}"').fetchone()[1])
        highest = (
            self.run(f'SELECT MAX("{name}") FROM "{table}" WHERE "{name}" <= {HIGHEST}').fetchone()[0] or 0
        )
        return max(highest + 1, counter if counter <= HIGHEST else 1)

    # What goes wrong

    def fail(self, error: BaseException, sql: str, statement: str = ""):
        """Raise what the answer has of it. All that is sent in a request comes here when it fails, but for a commit.

        `sql` is SQLite's; `statement` is what was sent, with its values.
        """
        import pymysql

        number = code(error)
        if not isinstance(error, pymysql.MySQLError) or number in LOST:
            self.broken(error)
        if number in UNDONE:
            self.opened.undone = True
            raise TransactionRolledBack() from error
        if number in BUSY_NUMBERS:
            raise ApiError(BUSY, http=503, retry_after=1) from error
        if number == PACKET_TOO_LARGE:
            most = self.opened.connection.max_allowed_packet
            self.lose()
            raise TooLarge(most) from error
        message = str(error.args[-1])
        if number in UNFIT and (column := re.search("'([^']*)'", message)):
            self.opened.undone = True  # blanks at the end have been cut already: that must not be committed
            raise ApiError(f"{column[1]} is too long.", http=400) from error
        if number == serversql.NO_PARENT and statement and self.opened.begun:
            number, message = self.duplicate(statement) or (number, message)
        sentence = serversql.refusal(number, message, sql, self.columns_of)
        kind = peewee.IntegrityError if isinstance(error, pymysql.IntegrityError) else peewee.OperationalError
        if sentence:
            raise StateFailure(sentence) if self.is_state else kind(sentence) from error
        log.error("%s: %s", self.what, error)
        self.lose(), self.pool.forget()  # a connection keeps the privileges that it began with
        raise Unusable(self.what) from error

    def broken(self, error: BaseException):
        """Nobody knows what the connection would say next: it is closed."""
        import pymysql

        self.lose()
        if not isinstance(error, (pymysql.MySQLError, OSError)) or isinstance(
            error, pymysql.ProgrammingError
        ):
            raise error
        log.warning("%s: %s", self.what, error)
        self.pool.forget()
        # To ask once more what was not answered in time would take as long.
        raise (Unreachable if isinstance(error.__context__, TimeoutError) else ConnectionLost)(
            self.what
        ) from error

    def columns_of(self, table: str, key: str) -> list[str]:
        """The columns of a unique key."""
        if (table, key) not in self.keys:
            cursor = self.ask(
                "SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE()"
                " AND TABLE_NAME = %(table)s AND INDEX_NAME = %(key)s ORDER BY SEQ_IN_INDEX",
                {"table": table, "key": key},
                "SELECT",
            )
            self.keys[table, key] = [row[0] for row in cursor.fetchall()]
        return self.keys[table, key]

    def duplicate(self, statement: str) -> tuple[int, str] | None:
        """Return the number and message for a duplicate in a statement that was refused for a missing parent, or None.

        SQLite looks for duplicates first; MySQL 9 does not. Nothing of the statement remains.
        """
        import pymysql

        found, cursor = None, self.cursor()
        try:
            cursor.execute("SAVEPOINT mailapi_parents")
            cursor.execute("SET SESSION foreign_key_checks = 0")
            try:
                cursor.execute(statement)
            except pymysql.IntegrityError as error:
                found = code(error), str(error.args[-1])
            cursor.execute("SET SESSION foreign_key_checks = 1")
            cursor.execute("ROLLBACK TO SAVEPOINT mailapi_parents")
        except BaseException as error:
            self.lose()  # foreign_key_checks must not stay off
            self.fail(error, "")
        return found


def bound(parameters, values) -> dict[str, object]:
    """What serversql.translated calls the parameters, each as PyMySQL takes it."""
    filled = (values[p.name] if isinstance(p, Param) else p for p in parameters)
    return {
        str(n): bytes(value) if isinstance(value, memoryview) else value for n, value in enumerate(filled)
    }
