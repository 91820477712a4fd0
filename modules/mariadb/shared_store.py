"""Databases on MariaDB that other programs write to, too: those of the settings `mailserver` and `apiserver`."""

import contextlib

import peewee

from mailapi import log

from . import tables
from .errors import NO_SUCH_LETTERS, NoSuchLetters, Unfit, Unreachable, code
from .link import Link
from .store import ServerStore
from .url import read_url


class SharedLink(Link):
    """The server of a database that other programs write to, too.

    `key`: the setting that has the URL. `deadline`: the seconds that a statement may take. `schema`: SQL in MariaDB's
    dialect that creates mailapi's own tables in the database, or "".
    """

    isolation = "READ-COMMITTED"

    def __init__(self, url: str, key: str, deadline: int, schema: str):
        super().__init__(url, f"database of the {key}", key, schema)
        self.longest_silence = deadline

    def read_options(self, url: str, key: str) -> dict:
        """Convert the URL to PyMySQL's options. Its item `hosts` is a list with the options of the only host.

        `key`: the setting that has the URL. ConfigError if the URL is invalid.
        """
        options = read_url(url, key)
        host = {name: options.pop(name) for name in ("host", "port", "unix_socket") if name in options}
        return options | {"hosts": [host]}

    def limits(self, variables: dict[str, str]) -> dict[str, str]:
        """Return {}, no limits on the server: `longest_silence` already limits the time of a statement."""
        return {}

    def needs_tables(self, connection) -> bool:
        return bool(self.schema)

    def create_tables(self, connection):
        """Create mailapi's own tables in the database by running `schema`, unless that was completed before.

        The last statement of `schema` inserts rows into the table Sequences, which prove that all were run. MariaDB
        cannot create several tables in one transaction.
        """
        if not tables.has_rows(connection, "Sequences"):
            for statement in filter(str.strip, self.schema.split(";\n")):
                connection.cursor().execute(statement)


class SharedStore(ServerStore):
    """A database on MariaDB that other programs write to, too.

    `url`: its `mysql://` URL. `key`: the setting that has the URL. `deadline`: the seconds that a statement may take.
    A statement sees everything that other programs have committed before it. A thread has a connection only during a
    transaction. Text columns may ignore case, so callers must compare names in Python.
    """

    connection_lost = Unreachable  # not repeated here: the caller may have changed another database, too

    def __init__(self, url: str, key: str, deadline: int = 2, schema: str = ""):
        self.use(key, SharedLink(url, key, deadline, schema), is_state=False)

    @contextlib.contextmanager
    def transaction(self, lock_type: str = "IMMEDIATE"):
        """Return a context manager for a transaction: it commits at the end of its block, or rolls back on error.

        With `lock_type` "DEFERRED", for reading, there is no transaction: each statement sees what is committed by
        then. At the end the connection goes back to the pool, unless a change is prepared on it (two-phase commit).
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
        """Do nothing. Here, transactions write at the same time, and lock only the rows that they need."""

    def rows(self, query, **values) -> list[dict]:
        """Return the rows of a query as dictionaries; [] for a text with letters that the searched column cannot have.

        `values`: the values of a prepared query's parameters, by name.
        """
        try:
            return super().rows(query, **values)
        except NoSuchLetters:
            return []

    def refuse(self, error: Exception, sql: str, statement: str):
        """Raise the exception for an `error` of the server that concerns the values in a statement, else return.

        It is IntegrityError for a violated constraint, NoSuchLetters or Unfit for a value that does not fit its
        column. `sql` and `statement` are not used.
        """
        import pymysql

        if isinstance(error, pymysql.IntegrityError):
            raise peewee.IntegrityError(*error.args) from error
        if code(error) == NO_SUCH_LETTERS:
            raise NoSuchLetters(self.what) from error
        if isinstance(error, pymysql.DataError):
            log.warning("%s: %s", self.what, error)
            raise Unfit(self.what) from error
