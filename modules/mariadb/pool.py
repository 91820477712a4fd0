"""Connections to the servers that a `mysql://` URL names: opened, tried before they are used, shared by threads."""

import contextlib
import math
import os
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from urllib.parse import urlsplit

from mailapi import BUSY, ApiError, ConfigError, log

from ..mariadb import dialect as serversql
from ..mariadb import tables as serverschema
from ..mariadb.errors import BUSY_NUMBERS, LOST, UNDONE
from ..mariadb.url import Unreachable, Unusable, code, read_url

WAIT = 5  # seconds for a lock or a connection, as SQLite's
PROMPT = 2  # seconds in which a server that is well says something
LONGEST_STATEMENT = 50  # seconds, after which the server itself gives it up
LONGEST_SILENCE = 60  # seconds in which it says nothing, being busy with a statement
LONGEST_AWAY = 60  # seconds of a connection to another host than the first: that one may serve again
LONGEST_PAUSE = 30  # seconds between two statements of a transaction: who says no more holds the others up
CONNECTION = {
    "charset": "utf8mb4",
    "connect_timeout": PROMPT,
    "read_timeout": PROMPT,
    "write_timeout": LONGEST_SILENCE,
    "autocommit": True,
    "binary_prefix": True,
}
ASKED = (
    "wsrep_on",
    "max_allowed_packet",
    "max_statement_time",
    "idle_transaction_timeout",
    "tx_isolation",
    "transaction_isolation",
    "join_cache_level",
)


class Pool:
    """Connections that threads take for a request and give back, at most so many; one is tried before it is used."""

    def __init__(self, connect: Callable, most: int):
        self.connect, self.idle, self.places = connect, deque(), threading.BoundedSemaphore(most)

    def take(self):
        if not self.places.acquire(timeout=WAIT):
            raise ApiError(BUSY, http=503, retry_after=1)
        try:
            return self.tried() or self.connect()
        except BaseException:
            self.places.release()
            raise

    def tried(self):
        """An idle connection that still answers, or None. What one has lost the others have lost, too: with a server
        that hangs each would cost the same wait."""
        with contextlib.suppress(IndexError):  # there is none, or another thread took the last
            connection = self.idle.pop()
            if answers(connection):
                return connection
            discard(connection)
            self.forget()
        return None

    def give_back(self, connection, usable: bool):
        if (
            usable
            and connection.open
            and not in_transaction(connection)
            and time.monotonic() < connection.until
        ):
            self.idle.append(connection)
        else:
            discard(connection)
        self.places.release()

    def forget(self):
        """Use none of the idle connections again."""
        with contextlib.suppress(IndexError):
            while True:
                discard(self.idle.pop())


def in_transaction(connection) -> bool:
    from pymysql.constants.SERVER_STATUS import SERVER_STATUS_IN_TRANS

    return bool(connection.server_status & SERVER_STATUS_IN_TRANS)


def answers(connection) -> bool:
    wait_for(connection, PROMPT)
    try:
        connection.ping(reconnect=False)
    except Exception:
        return False
    wait_for(connection, LONGEST_SILENCE)
    return True


def wait_for(connection, seconds: int | None):
    """How long to wait for each of the server's answers from now on."""
    connection._read_timeout = seconds  # PyMySQL sets the socket's by it before it reads


def discard(connection):
    with contextlib.suppress(Exception):  # closed already
        connection.close()


class Link:
    """How to open connections that answer as SQLite does, to the first of several hosts that serves."""

    def __init__(self, url: str, what: str, key: str, schema: str | None):
        self.what, self.schema, self.tables_made = what, schema, False
        try:
            parts = urlsplit(url)
        except ValueError:  # whose words may show the password
            raise ConfigError(f"{key} must be mysql://USER:PASSWORD@HOST/DATABASE.") from None
        user, _, named = parts.netloc.rpartition("@")
        self.options = read_url(
            parts._replace(netloc=f"{user}@").geturl(), key, also=("charset", "max_connections")
        )
        self.options["password"] = self.options["password"] or os.environ.get("MYSQL_PWD", "")
        self.hosts = hosts(named, self.options.pop("unix_socket", None))
        self.hanging: dict[int, float] = {}  # the number of a host → until when it is not asked again
        self.most = self.options.pop("max_connections", 20)
        if self.options.pop("charset", "utf8mb4") != "utf8mb4" or type(self.most) is not int or self.most < 1:
            raise ConfigError("The URL of a database takes charset=utf8mb4 and max_connections=NUMBER.")

    def open(self, patient: bool = False):
        """A new connection; a patient one waits for as long as a statement takes."""
        import pymysql

        refused = False
        for number, host in enumerate(self.hosts):
            if self.hanging.get(number, 0) > time.monotonic():
                continue
            started = time.monotonic()
            try:
                connection = self.open_to(host, patient)
                connection.until = time.monotonic() + LONGEST_AWAY if number else math.inf
                return connection
            except (
                pymysql.MySQLError,
                OSError,
                RuntimeError,
            ) as error:  # the last: no package for its log-in
                log.warning("%s at %s: %s", self.what, host.get("host") or host.get("unix_socket"), error)
                refused = (
                    refused or 1000 <= code(error) < 2000 and code(error) not in LOST | UNDONE | BUSY_NUMBERS
                )
                if time.monotonic() - started > PROMPT / 2:  # not once more for everybody who waits
                    self.hanging[number] = time.monotonic() + PROMPT
        raise (Unusable if refused else Unreachable)(self.what)

    def open_to(self, host: dict, patient: bool):
        import pymysql

        from ..mariadb.cursor import ServerCursor

        connection = pymysql.connect(
            **self.options | host,
            **CONNECTION,
            conv=conversions(),
            cursorclass=ServerCursor,
            client_flag=pymysql.constants.CLIENT.FOUND_ROWS,
        )
        try:
            self.prepare(connection, patient)
            wait_for(connection, None if patient else LONGEST_SILENCE)
            return connection
        except BaseException:
            discard(connection)
            raise

    def prepare(self, connection, patient: bool):
        """What a connection needs to answer as SQLite does, and what bounds its waits at the server, too."""
        cursor = connection.cursor()
        cursor.execute(f"SHOW VARIABLES WHERE Variable_name IN {ASKED}")
        has = dict(cursor.fetchall())
        settings = {
            "innodb_lock_wait_timeout": str(WAIT),
            "sql_mode": f"'{serversql.SQL_MODE}'",
            "sql_notes": "1",
            "max_error_count": "65535",  # ServerCursor reads them
            "collation_connection": f"'{serverschema.collation(connection)}'",
            (
                "transaction_isolation" if "transaction_isolation" in has else "tx_isolation"
            ): "'REPEATABLE-READ'",
        }
        if "join_cache_level" in has:
            settings["join_cache_level"] = "4"  # a list of users joins what is counted: by hashes
        if not patient:  # an instance that has died, or its network, must not keep what it has locked
            limits = {"max_statement_time": LONGEST_STATEMENT, "idle_transaction_timeout": LONGEST_PAUSE}
            settings |= {name: str(limit) for name, limit in limits.items() if name in has}
        if has.get("wsrep_on") == "ON":
            settings["wsrep_sync_wait"] = "1"  # see what was committed on the other nodes
        cursor.execute("SET SESSION " + ", ".join(f"{name} = {value}" for name, value in settings.items()))
        connection.max_allowed_packet = int(has["max_allowed_packet"])
        connection.in_cluster = has.get("wsrep_on") == "ON"
        if connection.in_cluster:
            cursor.execute("SELECT 1")  # 1047: this node is not one of the cluster now
        self.make_tables(connection)

    def make_tables(self, connection):
        """The tables of the state database; in a cluster also the one by which writers on all nodes take turns."""
        if self.tables_made or not (self.schema or connection.in_cluster):
            return
        import pymysql

        wait_for(connection, LONGEST_SILENCE)
        for left in reversed(range(10)):
            try:
                serverschema.add_state_tables(connection, self.schema or "")
                break
            except pymysql.MySQLError as error:
                if code(error) not in UNDONE or not left:
                    raise
                time.sleep(random.uniform(0, 0.1))  # others make them, too
        self.tables_made = True


def conversions() -> dict:
    """What the server's values become: sums are whole numbers."""
    from pymysql.constants import FIELD_TYPE
    from pymysql.converters import conversions

    return conversions | {
        FIELD_TYPE.NEWDECIMAL: lambda text: int(text) if text.isdigit() else float(Decimal(text))
    }


def hosts(named: str, unix_socket: str | None) -> list[dict]:
    """How to get to the hosts of a URL, HOST:PORT and so on with commas between them."""
    if unix_socket:
        return [{"unix_socket": unix_socket}]
    split = [HOST.fullmatch(each) for each in named.split(",")]
    if not all(found and int(found[3] or 1) in range(1, 65536) for found in split):
        raise ConfigError(
            "The URL of a database names its hosts as HOST or HOST:PORT, with commas between them."
        )
    return [{"host": found[1] or found[2], "port": int(found[3] or 3306)} for found in split]


HOST = re.compile(r"(?:\[([0-9a-fA-F:]+)\]|([^:\[\]]+))(?::(\d{1,5}))?")
