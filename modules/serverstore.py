"""A master or state database on MariaDB or MySQL, or a Galera cluster of them, that is asked as the core's Store is."""

import contextlib
import os
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from urllib.parse import urlsplit

import peewee

from mailapi import BUSY, ApiError, ConfigError, Conflict, Opened, Store, log
from mailapi_modules import serverschema, serversql
from mailapi_modules.mariadb import GONE, code, read_url

LOST = GONE | {0, 1028, 2006, 2013, 2014, 2055}  # the connection is of no use any more
DEADLOCK, CHANGED_MEANWHILE, WAITED, TOO_LONG, OUT_OF_RANGE = 1213, 1020, 1205, 1406, 1264
ATTEMPTS = 6  # of a transaction
WAIT = 5  # seconds for a lock or a connection, as SQLite's
LONGEST_STATEMENT = 60  # seconds
CONNECTION = {"charset": "utf8mb4", "connect_timeout": 2, "read_timeout": LONGEST_STATEMENT,
              "write_timeout": LONGEST_STATEMENT, "autocommit": True, "binary_prefix": True}
SESSION = ("SET SESSION innodb_lock_wait_timeout = {wait}, sql_mode = '{mode}', collation_connection = '{collation}'")


class Unreachable(ApiError):
    """A server that is down, hangs or lets nobody in; the log has its words."""

    def __init__(self, what: str):
        super().__init__(f"The {what} cannot be reached. Try again.", http=503, retry_after=5)


class Doubtful(ApiError):
    """The connection was lost while a change was being committed."""

    def __init__(self, what: str):
        super().__init__(f"The connection to the {what} was lost; whether the change was made is not known.",
                         http=503, retry_after=5)


class Pool:
    """Connections that threads take for a request and give back, at most so many; one is tried before it is used."""

    def __init__(self, connect: Callable, most: int):
        self.connect, self.idle, self.places = connect, deque(), threading.BoundedSemaphore(most)

    def take(self):
        if not self.places.acquire(timeout=WAIT):
            raise ApiError(BUSY, http=503, retry_after=1)
        try:
            while self.idle:
                with contextlib.suppress(Exception):  # also another thread took the last one
                    connection = self.idle.pop()
                    connection.ping(reconnect=False)
                    return connection
            return self.connect()
        except BaseException:
            self.places.release()
            raise

    def give_back(self, connection, usable: bool):
        if usable:
            self.idle.append(connection)
        else:
            with contextlib.suppress(Exception):
                connection.close()
        self.places.release()


class Transaction:
    """All statements of a block or none. A block that reads sees one state of the database. Those that write take
    turns, as with SQLite: what they read stays so until they commit."""

    def __init__(self, store: "ServerStore", lock_type: str):
        self.store, self.writes = store, lock_type != "DEFERRED"

    def __enter__(self):
        self.store.connect()
        self.store.run("START TRANSACTION" if self.writes else "START TRANSACTION READ ONLY")
        if self.writes:
            self.store.run(self.store.turn)

    def __exit__(self, kind, error, traceback):
        store = self.store
        if kind is None:
            store.commit()
        elif store.opened.connection:
            try:
                store.opened.connection.rollback()
            except Exception as error:  # the server does it when the connection ends
                log.info("%s: %s", store.what, error)
                store.close(usable=False)


class ServerStore(Store):
    """A database named by a `mysql://` URL, in which nobody but the API and its like writes; several hosts are tried
    in their order. With a schema, SQL for SQLite, it is the state database, whose tables it makes."""

    counts_changes = streams = False
    database = peewee.SqliteDatabase(None)  # whose SQL is translated

    def __init__(self, url: str, schema: str | None = None):
        self.path, self.schema = url, schema
        self.what = "database" if schema is None else "state database"
        self.turn = "SELECT value FROM meta WHERE \"key\" = 'schema_version' FOR UPDATE" if schema is None else \
            "SELECT last FROM mailapi_turn FOR UPDATE"
        parts = urlsplit(url)
        user, _, named = parts.netloc.rpartition("@")
        self.options = read_url(parts._replace(netloc=f"{user}@").geturl(), "dbpath" if schema is None else "state",
                                also=("charset", "max_connections"))
        self.options["password"] = self.options["password"] or os.environ.get("MYSQL_PWD", "")
        self.hosts = hosts(named, self.options.pop("unix_socket", None))
        self.most = self.options.pop("max_connections", 20)
        if self.options.pop("charset", "utf8mb4") != "utf8mb4" or not isinstance(self.most, int) or self.most < 1:
            raise ConfigError("The URL of a database takes charset=utf8mb4 and max_connections=NUMBER.")
        self.opened, self.process = Opened(), 0
        self.opened.connection = None
        self.keys: dict[tuple, list] = {}
        self.ready = schema is None

    # Connections

    def connect(self):
        """This thread's connection."""
        if self.process != os.getpid():  # our parent's connections are its own
            self.pool, self.process, self.opened = Pool(self.open, self.most), os.getpid(), Opened()
        if getattr(self.opened, "connection", None) is None:
            self.opened.connection = self.pool.take()
        return self.opened.connection

    def close(self, usable: bool = False):
        connection, self.opened.connection = getattr(self.opened, "connection", None), None
        if connection:
            self.pool.give_back(connection, usable)

    def rest(self):
        """Give the connection back."""
        if self.process == os.getpid():
            self.close(usable=True)

    def open(self):
        """A new connection, to the first host that serves."""
        import pymysql

        for host in self.hosts:
            try:
                connection = pymysql.connect(**self.options | host, **CONNECTION, conv=conversions(),
                                             client_flag=pymysql.constants.CLIENT.FOUND_ROWS)
                try:
                    self.prepare(connection)
                    return connection
                except BaseException:
                    connection.close()
                    raise
            except (pymysql.MySQLError, OSError) as error:
                log.warning("%s at %s: %s", self.what, host.get("host") or host.get("unix_socket"), error)
        raise Unreachable(self.what)

    def prepare(self, connection):
        """What a connection needs to answer as SQLite does."""
        cursor = connection.cursor()
        cursor.execute(SESSION.format(wait=WAIT, mode=serversql.SQL_MODE, collation=serverschema.collation(connection)))
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        if "MariaDB" in connection.get_server_info():
            cursor.execute("SET SESSION join_cache_level = 4")  # a list of users joins what is counted: by hashes
        cursor.execute("SHOW VARIABLES LIKE 'wsrep_on'")
        if dict(cursor.fetchall()).get("wsrep_on") == "ON":
            cursor.execute("SET SESSION wsrep_sync_wait = 1")  # see what was committed on the other nodes; not ready: 1047
            cursor.execute("SELECT 1")
        if not self.ready:
            serverschema.add_state_tables(connection, self.schema)
            self.ready = True

    def identity(self) -> tuple:
        return (self.path,)

    def version(self):
        raise NotImplementedError("counts_changes is false")

    # Transactions

    def transaction(self, lock_type: str = "IMMEDIATE") -> Transaction:
        return Transaction(self, lock_type)

    @contextlib.contextmanager
    def one_statement(self):
        self.connect()
        yield

    def commit(self):
        try:
            self.opened.connection.commit()
        except Exception as error:
            log.info("%s: %s", self.what, error)
            self.close(usable=False)
            raise Conflict() if code(error) == DEADLOCK else Doubtful(self.what) from error

    def repeat(self, work: Callable):
        """What work returns, whose whole effect is one transaction; again where the server undid it."""
        for attempt in range(1, ATTEMPTS):
            try:
                return work()
            except Conflict:
                time.sleep(random.uniform(0, 0.01 * 2 ** attempt))
        return work()

    # Queries

    def run(self, sql: str, parameters=(), values={}):
        if self.opened.trace:
            self.opened.trace(sql)
        if sql.startswith("PRAGMA"):
            return None
        filled = {str(n): plain(values[p.name] if hasattr(p, "name") else p) for n, p in enumerate(parameters)}
        cursor = self.opened.connection.cursor()
        try:
            cursor.execute(serversql.translated(sql), filled)
        except Exception as error:
            self.fail(error, sql)
        return cursor

    def execute_many(self, query, rows: list[dict]):
        sql, parameters = query.sql(self.database)
        cursor = self.opened.connection.cursor()
        try:
            cursor.executemany(serversql.translated(sql), [
                {str(n): plain(row[p.name] if hasattr(p, "name") else p) for n, p in enumerate(parameters)} for row in rows])
        except Exception as error:
            self.fail(error, sql)

    def fetch(self, query, values: dict) -> tuple[tuple, list]:
        cursor = self.execute(query, **values)
        return cursor.description, list(cursor.fetchall())

    def encoded(self, query, **values):
        return None

    def next(self, column: peewee.Field) -> int:
        """A number that was never given, also not by an UPDATE: InnoDB's own counter does not know of those."""
        table, name = column.model._meta.table_name, column.column_name
        return self.run(f"""SELECT GREATEST(COALESCE(MAX("{name}"), 0) + 1, COALESCE((SELECT AUTO_INCREMENT FROM
            information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}'), 1)) FROM "{table}" """
                        ).fetchone()[0]

    # What goes wrong

    def fail(self, error: Exception, sql: str):
        """Raise what the answer has of it."""
        import pymysql

        if not isinstance(error, (pymysql.MySQLError, OSError)):
            raise error
        number = code(error)
        if number in LOST or isinstance(error, (OSError, pymysql.InterfaceError)):
            log.warning("%s: %s", self.what, error)
            self.close(usable=False)
            raise Conflict() from error  # nothing was committed
        if number in (DEADLOCK, CHANGED_MEANWHILE):
            raise Conflict() from error
        if number == WAITED:
            raise ApiError(BUSY, http=503, retry_after=1) from error
        message = str(error.args[-1])
        if number in (TOO_LONG, OUT_OF_RANGE):
            raise ApiError(f"{re.search(chr(39) + '([^' + chr(39) + ']*)', message)[1]} is too long.", http=400) from error
        sentence = serversql.refusal(number, message, sql, self.columns_of)
        kind = peewee.IntegrityError if isinstance(error, pymysql.IntegrityError) else peewee.OperationalError
        if sentence:
            raise kind(sentence) from error
        log.error("%s: %s", self.what, error)
        raise ApiError(f"The {self.what} cannot be used. The log has the cause.", http=500) from error

    def columns_of(self, table: str, key: str) -> list[str]:
        """The columns of a unique key."""
        if (table, key) not in self.keys:
            cursor = self.opened.connection.cursor()
            cursor.execute("SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND"
                           " TABLE_NAME = %s AND INDEX_NAME = %s ORDER BY SEQ_IN_INDEX", (table, key))
            self.keys[table, key] = [row[0] for row in cursor.fetchall()]
        return self.keys[table, key]


def plain(value):
    """A value as PyMySQL takes it."""
    return bytes(value) if isinstance(value, memoryview) else value


def conversions() -> dict:
    """What the server's values become: sums are whole numbers."""
    from pymysql.constants import FIELD_TYPE
    from pymysql.converters import conversions

    return conversions | {FIELD_TYPE.NEWDECIMAL: lambda text: int(text) if text.isdigit() else float(Decimal(text))}


def hosts(named: str, unix_socket: str | None) -> list[dict]:
    """How to get to the hosts of a URL, HOST:PORT and so on with commas between them."""
    if unix_socket:
        return [{"unix_socket": unix_socket}]
    split = [HOST.fullmatch(each) for each in named.split(",")]
    if not all(split):
        raise ConfigError("The URL of a database names its hosts as HOST or HOST:PORT, with commas between them.")
    return [{"host": found[1] or found[2], "port": int(found[3] or 3306)} for found in split]


HOST = re.compile(r"(?:\[([0-9a-fA-F:]+)\]|([^:\[\]]+))(?::(\d{1,5}))?")
