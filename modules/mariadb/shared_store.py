"""A MariaDB database that the mail server or the API server writes, too: `mailserver` and `apiserver` in the config."""

import contextlib

import peewee

from mailapi import log

from .errors import NO_SUCH_LETTERS, NoSuchLetters, Unfit, Unreachable, code
from .link import Link
from .pool import wait_for
from .store import ServerStore
from .url import read_url


class SharedLink(Link):
    """Open connections to one host, to a database whose other tables and settings belong to somebody else."""

    isolation = "READ-COMMITTED"

    def __init__(self, url: str, key: str, deadline: int, schema: str):
        super().__init__(url, f"database of the {key}", key, schema)
        self.longest_silence = deadline

    def read_options(self, url: str, key: str) -> dict:
        """Return PyMySQL's options."""
        options = read_url(url, key)
        host = {name: options.pop(name) for name in ("host", "port", "unix_socket") if name in options}
        return options | {"hosts": [host]}

    def limits(self, variables: dict[str, str]) -> dict[str, str]:
        """Return no limits: `longest_silence` is shorter."""
        return {}

    def make_tables(self, connection):
        """Create the tables of `schema`, statement by statement, unless there is a table Sequences."""
        statements = [part for part in self.schema.split(";\n") if part.strip()]
        if self.tables_made or not statements:
            return
        wait_for(connection, self.longest_silence)
        cursor = connection.cursor()
        cursor.execute("SHOW TABLES")
        if "Sequences" not in {row[0] for row in cursor.fetchall()}:
            for statement in statements:
                cursor.execute(statement)
        self.tables_made = True


class SharedStore(ServerStore):
    """A database named by a `mysql://` URL; `key` is its key in the config, by which the answers name it.

    No wait is longer than `deadline` seconds. Every statement sees what was committed before it. The caller compares
    names exactly, as the tables may have any collation. A thread has a connection only during a transaction.
    """

    connection_lost = Unreachable  # whoever changes two databases decides about a repetition

    def __init__(self, url: str, key: str, deadline: int = 2, schema: str = ""):
        self.use(key, SharedLink(url, key, deadline, schema), is_state=False)

    @contextlib.contextmanager
    def transaction(self, lock_type: str = "IMMEDIATE"):
        """Commit or roll back, then release the connection unless a prepared change needs it.

        DEFERRED starts no transaction: each statement reads what is committed.
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
        """Do nothing: callers lock the rows that they need."""

    def rows(self, query, **values) -> list[dict]:
        """Return the rows as dictionaries; none for a name with letters that the table cannot have."""
        try:
            return super().rows(query, **values)
        except NoSuchLetters:
            return []

    def refuse(self, error: Exception, sql: str, statement: str):
        """Raise the server's own message for a violated constraint, Unfit for a value that does not fit its column."""
        import pymysql

        if isinstance(error, pymysql.IntegrityError):
            raise peewee.IntegrityError(*error.args) from error
        if code(error) == NO_SUCH_LETTERS:
            raise NoSuchLetters(self.what) from error
        if isinstance(error, pymysql.DataError):
            log.warning("%s: %s", self.what, error)
            raise Unfit(self.what) from error
