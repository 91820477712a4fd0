"""A master or state database on MariaDB, MySQL or a Galera cluster, with the same methods as one on SQLite."""

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable

import peewee

from mailapi import Store, TransactionRolledBack, log

from . import tables
from .dialect import ServerDialect, translated
from .error_translation import ErrorTranslatingStore
from .errors import ConnectionLost, Unusable
from .link import Link
from .pool import WAIT, in_transaction

LONGEST_BACK_OFF = 0.3  # seconds between two attempts of a transaction
RETRY = threading.local()  # `deadline`: the time until which this thread may repeat a transaction
HIGHEST = 2**53 - 1  # of the numbers that are given: JavaScript rounds those above (docs/wire.md F47)


class Transaction:
    """A context manager for a transaction: it commits at the end of its block, or rolls back after an error.

    With `lock_type` "DEFERRED" the transaction only reads, and sees the database as of one moment. Otherwise it
    writes. Transactions that write run one after the other, as on SQLite.
    """

    def __init__(self, store, lock_type: str):
        self.store, self.writes = store, lock_type != "DEFERRED"

    def __enter__(self):
        store, opened = self.store, self.store.opened
        if opened.begun:  # START TRANSACTION would commit the statements before it
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
                self.commit()
        finally:
            self.end()

    def commit(self):
        if self.store.opened.undone:  # the block has caught the error and gone on
            raise TransactionRolledBack()
        self.store.commit(self.writes)

    def end(self):
        """Roll back the transaction, unless it was committed."""
        opened, self.store.opened.begun = self.store.opened, False
        if opened.connection and in_transaction(opened.connection):
            try:
                opened.connection.rollback()
            except Exception as error:  # the server does it when the connection ends
                log.info("%s: %s", self.store.what, error)
                self.store.close(usable=False)


class ServerStore(ErrorTranslatingStore):
    """A database on MariaDB or MySQL that only mailapi writes to: a master database or a state database.

    `url`: its `mysql://` URL; if it has several hosts, the first one that works is used. `schema`: SQL in SQLite's
    dialect that creates the tables of a state database; None for a master database.
    """

    streams = encodes_json = False
    dialect = "MariaDB"
    database = ServerDialect(None)

    def __init__(self, url: str, schema: str | None = None):
        what, key = ("database", "dbpath") if schema is None else ("state database", "state")
        self.use(url, Link(url, what, key, schema), is_state=schema is not None)

    # Transactions

    def identity(self) -> object:
        """Return the URL, which identifies the database."""
        return self.path

    def last_write(self) -> None:
        """Return None: a server does not tell when its database was last written to."""
        return

    def transaction(self, lock_type: str = "IMMEDIATE") -> contextlib.AbstractContextManager:
        """Return a context manager for a transaction: it commits at the end of its block, or rolls back on error.

        `lock_type`: "IMMEDIATE" if the transaction writes, "DEFERRED" if it only reads.
        """
        return Transaction(self, lock_type)

    def take_turn(self):
        """Wait until this transaction is the only one that writes."""
        # Every transaction that writes locks the same row first. In a Galera cluster the row is changed, because other
        # nodes do not see that it is locked.
        name = "writer" if self.is_state else "master"
        if self.opened.connection.in_cluster:
            if not self.run(f"UPDATE mailapi_turn SET last = last + 1 WHERE name = '{name}'").rowcount:
                log.error("%s: mailapi_turn has no row %s", self.what, name)
                raise Unusable(self.what)
        elif self.is_state:
            self.run(f"SELECT last FROM mailapi_turn WHERE name = '{name}' FOR UPDATE")
        else:
            self.run("SELECT value FROM meta WHERE \"key\" = 'schema_version' FOR UPDATE")

    def commit(self, writes: bool):
        """Commit this thread's transaction. If that fails, raise the exception that `commit_failure` returns.

        `writes`: whether the transaction may have written. If not, a failure is ignored.
        """
        try:
            self.opened.connection.commit()
        except BaseException as error:
            log.info("%s: %s", self.what, error)
            self.close_broken()
            if not isinstance(error, Exception):
                raise
            if writes:  # rows that were read are right without a commit
                raise self.commit_failure(error) from error

    def run_with_retry(self, work: Callable):
        """Return work(). Call it again if the server has rolled back its transaction, for example after a deadlock.

        All effects of `work` must be in one transaction. It is repeated for at most 5 seconds, counted from the
        outermost call of this method.
        """
        outer = getattr(RETRY, "deadline", None)
        RETRY.deadline = outer or time.monotonic() + WAIT
        try:
            for attempt in itertools.count():
                try:
                    return work()
                except TransactionRolledBack:
                    longest = min(0.02 * 2 ** min(attempt, 9), LONGEST_BACK_OFF)
                    pause = random.uniform(0, longest)  # random, or the same two transactions meet again
                    if time.monotonic() + pause > RETRY.deadline:
                        raise
                    time.sleep(pause)
        finally:
            RETRY.deadline = outer

    # Queries

    def execute(self, query, **values):
        """Run a query and return the cursor. `values`: the values of a prepared query's parameters, by name."""
        sql, bind = self.compile(query)
        return self.send(sql, tuple(map(sendable, bind(values))) if bind else ())

    def run(self, sql: str, parameters=()):
        """Run SQL text in SQLite's dialect, and return the cursor. For a PRAGMA, do nothing and return None.

        `parameters`: the values for each `?`, in order.
        """
        values = {str(number): sendable(value) for number, value in enumerate(parameters)}
        return self.send(translated(sql), values)

    def send(self, sql: str, values: tuple | dict[str, object]):
        """Run SQL text in MariaDB's dialect, and return the cursor. For a PRAGMA, do nothing and return None.

        `values`: the values of the parameters. A SELECT outside of a transaction is repeated if the connection is
        lost.
        """
        if self.opened.trace:
            self.opened.trace(sql)
        if sql.startswith("PRAGMA"):
            return None
        try:
            return self.ask(sql, values)
        except ConnectionLost:
            if self.opened.begun or not sql.startswith(("SELECT", "START TRANSACTION")):
                raise
            return self.ask(sql, values)  # safe: it was not in a transaction

    def execute_many(self, query, rows: list[dict]):
        """Run a prepared query once for each dictionary in `rows`, {name of a parameter: value}."""
        sql, bind = self.compile(query)
        if self.opened.trace:
            self.opened.trace(sql)
        filled = [tuple(map(sendable, bind(row) if bind else ())) for row in rows]
        cursor = self.cursor()
        try:
            cursor.executemany(sql, filled)
        except BaseException as error:
            self.fail(error, sql)

    def fetch(self, query, values: dict) -> tuple:
        """Run a query, and return (cursor, rows).

        `values`: the values of a prepared query's parameters, by name.
        """
        cursor = self.execute(query, **values)
        return cursor, cursor.fetchall()

    def next(self, column: peewee.Field) -> int:
        """Return the next number for an AUTO_INCREMENT column: above all that it has ever had, at most 2**53 - 1."""
        # InnoDB's counter misses a number that an UPDATE has set, so the highest number of the rows is read, too.
        # Numbers above HIGHEST, which older versions of mailapi gave, are ignored.
        table, name = column.model._meta.table_name, column.column_name
        counter = tables.counter(self.run(f'SHOW CREATE TABLE "{table}"').fetchone()[1])
        highest = (
            self.run(f'SELECT MAX("{name}") FROM "{table}" WHERE "{name}" <= {HIGHEST}').fetchone()[0] or 0
        )
        return max(highest + 1, counter if counter <= HIGHEST else 1)


def sendable(value: object) -> object:
    """Convert a memoryview to bytes, since PyMySQL does not accept it. Return other values unchanged."""
    return bytes(value) if isinstance(value, memoryview) else value


# The core's Store, from which these would be inherited, works on a SQLite file.
NEEDED = (
    "close connect execute execute_many fetch identity last_write next release run run_with_retry transaction"
)
if inherited := [name for name in NEEDED.split() if getattr(ServerStore, name) is getattr(Store, name, None)]:
    raise TypeError(f"ServerStore lacks {', '.join(inherited)}.")
