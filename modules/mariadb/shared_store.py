"""Databases on MariaDB that other programs write to, too: those in the settings `mailserver` and `apiserver`."""

import contextlib

import peewee

from mailapi import log

from . import tables
from .errors import NO_SUCH_LETTERS, NoSuchLetters, Unfit, Unreachable, code
from .link import Link
from .store import ServerStore
from .url import read_url


class SharedLink(Link):
    """Opens connections to a database on MariaDB that other programs write to, too.

    `key`: the setting that has the URL. `deadline`: how many seconds a statement may take. `schema`: SQL in MariaDB's
    dialect that creates mailapi's own tables in the database, or "".
    """

    isolation = "READ-COMMITTED"

    def __init__(self, url: str, key: str, deadline: int, schema: str):
        super().__init__(url, f"database of the {key}", key, schema)
        self.longest_silence = deadline

    def read_options(self, url: str, key: str) -> dict:
        """Return PyMySQL's options for the URL: {"user": …, "database": …, "hosts": [{"host": …, "port": …}], …}.

        `key`: the setting that has the URL, for error messages. ConfigError if the URL is invalid.
        """
        options = read_url(url, key)
        host = {name: options.pop(name) for name in ("host", "port", "unix_socket") if name in options}
        return options | {"hosts": [host]}

    def limits(self, variables: dict[str, str]) -> dict[str, str]:
        """Return the session variable that ends a transaction in which mailapi says nothing, as if it had died.

        None limits statements: mailapi itself gives one up after `longest_silence` seconds. `variables`: the server's.
        """
        limits = super().limits(variables)
        limits.pop("max_statement_time", None)
        return limits

    def needs_tables(self, connection) -> bool:
        return bool(self.schema)

    def create_tables(self, connection):
        """Create mailapi's own tables in the database by running `schema`, unless that was completed before."""
        # The last statement of `schema` inserts rows into the table Sequences, which prove that all were run. MariaDB
        # cannot create several tables in one transaction.
        if not tables.has_rows(connection, "Sequences"):
            for statement in filter(str.strip, self.schema.split(";\n")):
                connection.cursor().execute(statement)


class SharedStore(ServerStore):
    """A database on MariaDB that other programs write to, too.

    `url`: its `mysql://` URL. `key`: the setting that has the URL. `deadline`: how many seconds a statement may take.
    `schema`: SQL that creates mailapi's own tables in the database, or "". Text columns may ignore case, so callers
    must compare names in Python.
    """

    connection_lost = Unreachable  # not repeated here: the caller may have changed another database, too

    def __init__(self, url: str, key: str, deadline: int = 2, schema: str = ""):
        self.use(key, SharedLink(url, key, deadline, schema), is_state=False)

    @contextlib.contextmanager
    def transaction(self, lock_type: str = "IMMEDIATE"):
        """Return a context manager for a transaction: it commits at the end of its block, or rolls back on error.

        With `lock_type` "DEFERRED", for reading, each statement sees everything that is committed when it begins.
        """
        # At the end the connection goes back to the pool, unless a change is prepared on it (two-phase commit).
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
        """Do nothing. In this database, transactions may write at the same time. In others, they wait here."""

    def rows(self, query, **values) -> list[dict]:
        """Return the rows of a query as dictionaries; [] if it searches for letters that the column's charset lacks.

        `values`: the values of a prepared query's parameters, by name.
        """
        try:
            return super().rows(query, **values)
        except NoSuchLetters:
            return []

    def raise_translated(self, error: Exception, sql: str, filled_sql: str):
        """Raise an exception if `error` concerns the values in a statement. Do nothing for other errors.

        Raise IntegrityError for a violated constraint, NoSuchLetters for a search for letters that a column's
        character set lacks, and Unfit for a value that its column cannot store. `sql` and `filled_sql` are not used.
        """
        import pymysql

        if isinstance(error, pymysql.IntegrityError):
            raise peewee.IntegrityError(*error.args) from error
        if code(error) == NO_SUCH_LETTERS:
            raise NoSuchLetters(self.what) from error
        if isinstance(error, pymysql.DataError):
            log.warning("%s: %s", self.what, error)
            raise Unfit(self.what) from error
