"""A MariaDB database that is asked as the core's Store is: a connection a thread, opened anew where it was lost."""

import contextlib
import os
import threading
from collections.abc import Iterable, Mapping

import peewee

from mailapi import BUSY, ApiError, ConfigError, Param, Store, TransactionRolledBack, is_url, log

NO_SUCH_LETTERS = 1267  # the character set of a column does not have them
LOST = {1205}  # a wait for a lock
UNDONE = {1020, 1213}  # by others at the same time: the whole transaction again can succeed
KNOWN = {
    "database",
    "user",
    "passwd",
    "host",
    "port",
    "unix_socket",
    "ssl_ca",
    "ssl_cert",
    "ssl_key",
    "ssl_verify_cert",
    "ssl_verify_identity",
}
# The server lets nobody in, or the connection is of no use any more.
GONE = {1040, 1042, 1043, 1044, 1045, 1047, 1049, 1053, 1077, 1129, 1130, 1152, 1158, 1159, 1160, 1161, 1927}


class Unreachable(ApiError):
    """A database server that is down, hangs or lets nobody in; the log has its words."""

    def __init__(self, what: str):
        super().__init__(f"The {what} cannot be reached. Try again.", http=503, retry_after=5)


class Unusable(ApiError):
    """A database that is not as it should be, or refuses what the API needs; the log has its words."""

    def __init__(self, what: str):
        super().__init__(f"The {what} cannot be used. The log has the cause.", http=500)


class Unfit(ApiError):
    """A value that is too long for a column, or has letters that the column cannot have."""

    def __init__(self, key: str):
        super().__init__(f"The database of the {key} has no place for this. The log has the cause.")


class MariaStore(Store):
    """A database named by a `mysql://` URL; `key` is what the config and the sentences call it.

    No wait is longer than `deadline` seconds. Every statement sees what was committed before it, names are compared
    by the caller, and what does not fit a column is refused, whatever the server's defaults are.
    """

    def __init__(self, url: str, key: str, deadline: int = 2, schema: str = ""):
        self.key, self.path, self.schema = key, key, schema
        self.options = read_url(url, key) | {
            "charset": "utf8mb4",
            "connect_timeout": 2,
            "read_timeout": deadline,
            "write_timeout": deadline,
            "sql_mode": "STRICT_ALL_TABLES",
            "init_command": f"SET SESSION innodb_lock_wait_timeout = {max(deadline - 1, 1)}, sql_notes = 1",
        }
        self.opened = threading.local()
        self.database, self.process = self.unopened(), os.getpid()

    def unopened(self) -> peewee.MySQLDatabase:
        from ..mariadb.cursor import ServerCursor

        return peewee.MySQLDatabase(**self.options, cursorclass=ServerCursor)

    def connect(self) -> peewee.Database:
        """This thread's connection, alive a moment ago."""
        if self.process != os.getpid():  # the socket is our parent's, who still talks through it
            self.database, self.process = self.unopened(), os.getpid()
        if not self.database.is_closed():
            try:
                self.database.connection().ping()
                return self.database
            except Exception as error:
                log.info("%s: connecting again: %s", self.key, error)
                self.close()
        self.database.connect()
        self.after_opening()
        return self.database

    def after_opening(self):
        """Add the tables that are missing, where they are ours."""
        self.database.execute_sql("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        wanted = [part for part in self.schema.split(";\n") if part.strip()]
        if wanted and "Sequences" not in {row[0] for row in self.database.execute_sql("SHOW TABLES")}:
            for statement in wanted:
                self.database.execute_sql(statement)

    def close(self):
        with contextlib.suppress(Exception):  # it may be gone already
            self.database.close()

    @contextlib.contextmanager
    def transaction(self, lock_type: str = "IMMEDIATE"):
        """As the core's; DEFERRED reads need no bracket here: each statement reads what is committed."""
        with self.failures():
            database = self.connect()
            if lock_type == "DEFERRED":
                yield
                return
            database.begin()
            try:
                yield
                database.commit()
            except BaseException:
                with contextlib.suppress(peewee.PeeweeException):  # the server has rolled back what it lost
                    database.rollback()
                raise

    def run(self, sql: str, parameters=(), values: Mapping = {}):
        return self.database.execute_sql(
            sql, [values[p.name] if isinstance(p, Param) else p for p in parameters]
        )

    def fetch(self, query, values: dict) -> tuple:
        cursor = self.execute(query, **values)
        return cursor, cursor.fetchall()

    def rows(self, query, **values) -> list[dict]:
        """As the core's; a name with letters that a table cannot have is in no row of it."""
        try:
            return super().rows(query, **values)
        except peewee.PeeweeException as error:
            if code(error) == NO_SUCH_LETTERS:
                return []
            raise

    @contextlib.contextmanager
    def failures(self):
        """What the server or the way to it did wrong, as the answer has it; what it refuses stays as it is."""
        try:
            yield
        except peewee.IntegrityError:
            raise
        except peewee.PeeweeException as error:
            log.warning("%s: %s", self.key, error)
            if code(error) in UNDONE:
                raise TransactionRolledBack() from error
            if code(error) in LOST:
                raise ApiError(BUSY, http=503, retry_after=1) from error
            if isinstance(error, peewee.DataError):
                raise Unfit(self.key) from error
            reached = 1000 <= code(error) < 2000 and code(error) not in GONE
            raise (Unusable if reached else Unreachable)(f"database of the {self.key}") from error


def code(error: Exception) -> int:
    """The server's or the client's number of an error."""
    first = next(iter(error.args), None)
    return first if isinstance(first, int) else 0


def read_url(url: str, key: str, also: Iterable[str] = ()) -> dict:
    """What peewee connects with; ConfigError, never with the password in it, where that cannot be."""
    from playhouse.db_url import parse

    try:
        options = parse(url, unquote_password=True, unquote_user=True)
    except ValueError:  # whose words may show the password
        raise ConfigError(f"{key} must be mysql://USER:PASSWORD@HOST/DATABASE.") from None
    if not is_url(url) or not options["database"]:
        raise ConfigError(f"{key} must be mysql://USER:PASSWORD@HOST/DATABASE.")
    if unknown := set(options) - KNOWN - set(also):
        raise ConfigError(f"{key} has unknown options: {', '.join(sorted(unknown))}.")
    if "ssl_ca" in options:
        options.setdefault("ssl_verify_cert", True)  # PyMySQL would encrypt to whoever is there
    elif options.get("ssl_verify_identity"):  # and look at no name
        raise ConfigError(f"{key}: ssl_verify_identity needs ssl_ca.")
    options["password"] = str(options.pop("passwd", ""))
    try:
        import pymysql  # noqa: F401  what peewee connects with
    except ImportError:
        raise ConfigError(f"{key} needs PyMySQL: install mailapi[mariadb].") from None
    return options
