"""A MariaDB database that other programs write to, as well: that of the setting `mailserver` or `apiserver`."""

import contextlib

import peewee

from mailapi import log

from . import tables
from .errors import NO_SUCH_LETTERS, NoSuchLetters, Unfit, Unreachable, code
from .link import Link
from .store import ServerStore
from .url import read_url


class SharedLink(Link):
    """The server of a database that other programs write to, as well.

    `key` is the setting that has the URL. A statement may take `deadline` seconds. `schema` is SQL in MariaDB's
    dialect that creates mailapi's own tables in it, if any.
    """

    isolation = "READ-COMMITTED"

    def __init__(self, url: str, key: str, deadline: int, schema: str):
        super().__init__(url, f"database of the {key}", key, schema)
        self.longest_silence = deadline

    def read_options(self, url: str, key: str) -> dict:
        """Convert the URL to options of PyMySQL, and return them. The item `hosts` has those of the only host."""
        options = read_url(url, key)
        host = {name: options.pop(name) for name in ("host", "port", "unix_socket") if name in options}
        return options | {"hosts": [host]}

    def limits(self, variables: dict[str, str]) -> dict[str, str]:
        """Return {}: the server need not limit the time of statements, since `longest_silence` limits it here."""
        return {}

    def needs_tables(self, connection) -> bool:
        return bool(self.schema)

    def create_tables(self, connection):
        """Run the statements of `schema`, unless its last one, which inserts rows into Sequences, was run before.

        MariaDB cannot create several tables in one transaction.
        """
        if not tables.has_rows(connection, "Sequences"):
            for statement in filter(str.strip, self.schema.split(";\n")):
                connection.cursor().execute(statement)


class SharedStore(ServerStore):
    """A database on MariaDB that other programs write to, as well.

    `url` is its `mysql://` URL, `key` the setting that has it. No statement may take more than `deadline` seconds.
    Each sees what other programs have committed before. A thread has a connection only during a transaction. Columns
    may ignore case, so that callers must compare names in Python.
    """

    connection_lost = Unreachable  # not repeated here: the caller may have changed another database, too

    def __init__(self, url: str, key: str, deadline: int = 2, schema: str = ""):
        self.use(key, SharedLink(url, key, deadline, schema), is_state=False)

    @contextlib.contextmanager
    def transaction(self, lock_type: str = "IMMEDIATE"):
        """Return a context manager for a transaction: commit at its end, or roll back after an error.

        lock_type "DEFERRED" is for reading without a transaction: each statement sees what is committed by then. The
        connection goes back to the pool afterwards, unless a change is prepared on it (two-phase commit).
        """
        try:
            if lock_type == "DEFERRED":
                self.connect()
                yield
            else:
                with super().transaction(lock_type):
                    yield
        finally:
            if not self.opened.in_xa:
                self.release()

    def take_turn(self):
        """Do nothing. Here, transactions that write run at the same time, and lock only the rows that they need."""

    def rows(self, query, **values) -> list[dict]:
        """Return the rows of a query as dictionaries; [] for a text with letters that the column cannot store."""
        try:
            return super().rows(query, **values)
        except NoSuchLetters:
            return []

    def refuse(self, error: Exception, sql: str, statement: str):
        """Raise the exception for a violated constraint, or for a value that its column cannot store (Unfit).

        Returns if the server's error is another one.
        """
        import pymysql

        if isinstance(error, pymysql.IntegrityError):
            raise peewee.IntegrityError(*error.args) from error
        if code(error) == NO_SUCH_LETTERS:
            raise NoSuchLetters(self.what) from error
        if isinstance(error, pymysql.DataError):
            log.warning("%s: %s", self.what, error)
            raise Unfit(self.what) from error
