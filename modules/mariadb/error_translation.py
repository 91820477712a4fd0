"""Translation of errors of MariaDB and MySQL into the exceptions that mailapi raises for the same errors on SQLite."""

import re
from collections.abc import Callable
from typing import NoReturn

import peewee

from mailapi import BUSY, ApiError, StateFailure, TransactionRolledBack, log

from .errors import (
    BUSY_NUMBERS,
    HAS_CHILDREN,
    LOST,
    NO_DEFAULT,
    NO_PARENT,
    NOT_NULL,
    PACKET_TOO_LARGE,
    READ_ONLY,
    UNDONE,
    UNFIT,
    UNIQUE,
    CommitLost,
    ConnectionLost,
    TooLarge,
    Unreachable,
    Unusable,
    code,
)
from .pooled_store import PooledStore

TABLE = re.compile(
    r'^\s*(?:INSERT|REPLACE|UPDATE|DELETE)\s+(?:IGNORE\s+)?(?:INTO\s+|FROM\s+)?"?(\w+)"?', re.IGNORECASE
)


class ErrorTranslatingStore(PooledStore):
    """A database on MariaDB or MySQL that raises the same exceptions as a SQLite database."""

    connection_lost: type[ApiError] = ConnectionLost

    def ask(self, sql: str, values: tuple | dict[str, object]):
        """Run a statement in MariaDB's dialect of SQL, and return the cursor. `values`: the values of its parameters.

        If that fails, raise the exception that a SQLite database would raise.
        """
        cursor, filled_sql = self.cursor(), ""
        try:
            filled_sql = cursor.mogrify(sql, values)
            cursor.execute(filled_sql)
        except BaseException as error:
            self.fail(error, sql, filled_sql)
        return cursor

    def fail(self, error: BaseException, sql: str, filled_sql: str = "") -> NoReturn:
        """Raise the exception for a failed statement that a SQLite database would raise, such as IntegrityError.

        `error`: PyMySQL's exception. `sql`: the statement with placeholders. `filled_sql`: the same with its values,
        or "". A failed COMMIT is a case for `commit_failure`.
        """
        import pymysql

        number = code(error)
        if not isinstance(error, pymysql.MySQLError) or number in LOST:
            self.drop_connection(error)
        if number in UNDONE:
            self.opened.undone = True
            raise TransactionRolledBack() from error
        if number in BUSY_NUMBERS:
            raise ApiError(BUSY, http=503, retry_after=1, code="busy") from error
        if number == PACKET_TOO_LARGE:
            most = self.opened.connection.max_allowed_packet
            self.close_broken()
            raise TooLarge(most) from error
        self.raise_translated(error, sql, filled_sql)
        log.error("%s: %s", self.what, error)
        self.close_broken()
        self.pool.close_idle()  # a connection has the privileges that the user had when it was opened
        raise Unusable(self.what) from error

    def raise_translated(self, error: Exception, sql: str, filled_sql: str):
        """Translate an error about the values in a statement, such as a duplicate key, and raise the result.

        The result is SQLite's exception, such as IntegrityError. Do nothing if SQLite has no such error. `error`:
        PyMySQL's exception. `sql`: the statement with placeholders. `filled_sql`: the same with its values, or "".
        """
        import pymysql

        number, message = code(error), str(error.args[-1])
        if number in UNFIT and (column := re.search("'([^']*)'", message)):
            self.opened.undone = True  # the server has cut blanks at the end: that must not be committed
            raise ApiError(
                f"{column[1]} is too long.", http=400, code="invalid_field", field=column[1]
            ) from error
        if number == NO_PARENT and filled_sql and self.opened.begun:
            number, message = self.find_duplicate(filled_sql) or (number, message)
        sentence = sqlite_message(number, message, sql, self.columns_of)
        kind = peewee.IntegrityError if isinstance(error, pymysql.IntegrityError) else peewee.OperationalError
        if sentence:
            raise StateFailure(sentence) if self.is_state else kind(sentence) from error

    def drop_connection(self, error: BaseException) -> NoReturn:
        """Close this thread's connection, and raise mailapi's exception for `error`, such as ConnectionLost."""
        # The next answer on the connection may be the late answer to the failed statement.
        import pymysql

        self.close_broken()
        if not isinstance(error, (pymysql.MySQLError, OSError)) or isinstance(
            error, pymysql.ProgrammingError
        ):
            raise error
        log.warning("%s: %s", self.what, error)
        self.pool.close_idle()
        # A statement that timed out is not repeated: it would take as long again.
        timed_out = isinstance(error.__context__, TimeoutError)
        raise (Unreachable if timed_out else self.connection_lost)(self.what) from error

    def commit_failure(self, error: Exception) -> Exception:
        """Return the exception to raise for an `error` during a COMMIT.

        This is CommitLost if the COMMIT may have taken effect. It is another one if the server has refused the COMMIT.
        """
        if code(error) in UNDONE:
            return TransactionRolledBack()
        if code(error) in READ_ONLY:
            sentence = sqlite_message(code(error), "", "", self.columns_of)
            return StateFailure(sentence) if self.is_state else peewee.OperationalError(sentence)
        return CommitLost(self)

    def columns_of(self, table: str, key: str) -> list[str]:
        """Return the columns of the unique key `key` of a table, such as ["user_name"]."""
        if (table, key) not in self.keys:
            cursor = self.ask(
                "SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE()"
                " AND TABLE_NAME = %(table)s AND INDEX_NAME = %(key)s ORDER BY SEQ_IN_INDEX",
                {"table": table, "key": key},
            )
            self.keys[table, key] = [row[0] for row in cursor.fetchall()]
        return self.keys[table, key]

    def find_duplicate(self, filled_sql: str) -> tuple[int, str] | None:
        """Check if an INSERT also has a duplicate key. Return that error, such as (1062, "Duplicate entry"), or None.

        The server has refused the INSERT because a parent row is missing. `filled_sql`: the INSERT with its values.
        """
        # SQLite would report the duplicate. So the INSERT is tried again without foreign keys, and undone.
        import pymysql

        duplicate, cursor = None, self.cursor()
        try:
            cursor.execute("SAVEPOINT mailapi_parents")
            cursor.execute("SET SESSION foreign_key_checks = 0")
            try:
                cursor.execute(filled_sql)
            except pymysql.IntegrityError as error:
                duplicate = code(error), str(error.args[-1])
            cursor.execute("SET SESSION foreign_key_checks = 1")
            cursor.execute("ROLLBACK TO SAVEPOINT mailapi_parents")
        except BaseException as error:
            self.close_broken()  # foreign_key_checks must not stay off
            self.fail(error, "")
        return duplicate


def sqlite_message(
    number: int, message: str, sql: str, columns_of: Callable[[str, str], list[str]]
) -> str | None:
    """Return SQLite's message for an error of MariaDB, such as "UNIQUE constraint failed: users.user_name", or None.

    `number` and `message`: MariaDB's error. `sql`: the statement that failed. `columns_of`: a function that takes the
    names of a table and of its unique key, and returns the key's columns. Return None if SQLite has no such error.
    """
    match = TABLE.match(sql)
    table = match[1] if match else ""
    if number == UNIQUE:
        key = re.search("for key '(?:[^']*[.])?([^'.]*)'$", message)
        columns = columns_of(table, key[1]) if key else []
        return "UNIQUE constraint failed: " + ", ".join(f"{table}.{column}" for column in columns)
    if number in (NOT_NULL, NO_DEFAULT):
        column = re.search("'([^']*)'", message)
        return f"NOT NULL constraint failed: {table}.{column and column[1]}"
    if number in (HAS_CHILDREN, NO_PARENT):
        return "FOREIGN KEY constraint failed"
    if number in READ_ONLY:
        return "attempt to write a readonly database"
    return None
