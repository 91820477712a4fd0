"""A MariaDB database that another program writes, too: that of `mailserver` or `apiserver` in config.py."""

import contextlib

import peewee

from mailapi import log

from . import tables
from .errors import NO_SUCH_LETTERS, NoSuchLetters, Unfit, Unreachable, code
from .link import Link
from .store import ServerStore
from .url import read_url


class SharedLink(Link):
    """The server of a database whose tables and settings belong to another program.

    `key` is the key in config.py that has the URL. An answer may take `deadline` seconds. `schema` is SQL for
    MariaDB: the first connection creates its tables.
    """

    isolation = "READ-COMMITTED"

    def __init__(self, url: str, key: str, deadline: int, schema: str):
        super().__init__(url, f"database of the {key}", key, schema)
        self.longest_silence = deadline

    def read_options(self, url: str, key: str) -> dict:
        """Return PyMySQL's options for the URL. The item `hosts` has those of its only host."""
        options = read_url(url, key)
        host = {name: options.pop(name) for name in ("host", "port", "unix_socket") if name in options}
        return options | {"hosts": [host]}

    def limits(self, variables: dict[str, str]) -> dict[str, str]:
        """Return no session variables with time limits: `longest_silence`, the driver's time limit, is shorter."""
        return {}

    def needs_tables(self, connection) -> bool:
        return bool(self.schema)

    def create_tables(self, connection):
        """Run the statements of `schema`, unless the last one, which inserts the rows of Sequences, was run already.

        MariaDB cannot create several tables in one transaction.
        """
        if not tables.has_rows(connection, "Sequences"):
            for statement in filter(str.strip, self.schema.split(";\n")):
                connection.cursor().execute(statement)


class SharedStore(ServerStore):
    """A database on MariaDB that another program writes, too.

    `url` is its `mysql://` URL, and `key` the key in config.py that has it, which answers name. No wait is longer
    than `deadline` seconds. Each statement sees what other programs have committed before it. Callers compare names
    in Python, because the columns may ignore case. A thread has a connection only during a transaction.
    """

    connection_lost = Unreachable  # not repeated here: the caller may have changed another database, too

    def __init__(self, url: str, key: str, deadline: int = 2, schema: str = ""):
        self.use(key, SharedLink(url, key, deadline, schema), is_state=False)

    @contextlib.contextmanager
    def transaction(self, lock_type: str = "IMMEDIATE"):
        """Return a context manager that commits at the end of its block, or rolls back after an error.

        With lock_type "DEFERRED" the block has a connection but no transaction, so that each statement sees what is
        committed by then. The connection goes back to the pool after the block, unless a change is prepared on it
        (two-phase commit).
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
        """Do nothing. Transactions that write need not wait for each other: callers lock the rows they need."""

    def rows(self, query, **values) -> list[dict]:
        """Return the rows of a query as dictionaries.

        There are none for a text with letters that the column's character set lacks.
        """
        try:
            return super().rows(query, **values)
        except NoSuchLetters:
            return []

    def refuse(self, error: Exception, sql: str, statement: str):
        """Raise the exception for a statement that the server refused; return for other errors than these.

        They are a violated constraint, with the server's own message, and a value that does not fit its column
        (Unfit).
        """
        import pymysql

        if isinstance(error, pymysql.IntegrityError):
            raise peewee.IntegrityError(*error.args) from error
        if code(error) == NO_SUCH_LETTERS:
            raise NoSuchLetters(self.what) from error
        if isinstance(error, pymysql.DataError):
            log.warning("%s: %s", self.what, error)
            raise Unfit(self.what) from error
