"""Opens connections to the database servers in a `mysql://` URL, on which SQL works as on SQLite."""

import math
import os
import random
import re
import time
from decimal import Decimal
from urllib.parse import urlsplit

from mailapi import ConfigError, log

from . import dialect, tables
from .errors import BUSY_NUMBERS, LOST, UNDONE, Unreachable, Unusable, code
from .pool import PROMPT, WAIT, discard, wait_for
from .url import read_url

LONGEST_STATEMENT = 50  # seconds, after which the server ends a statement
LONGEST_SILENCE = 60  # seconds without an answer while the server runs a statement
LONGEST_AWAY = 60  # seconds that a connection to another host than the first is used: the first may be back
LONGEST_PAUSE = 30  # seconds between two statements of a transaction: other transactions wait for its locks
CONNECTION = {
    "charset": "utf8mb4",
    "connect_timeout": PROMPT,
    "read_timeout": PROMPT,
    "autocommit": True,
    "binary_prefix": True,
    "init_command": dialect.SET_SESSION,
}
SERVER_VARIABLES = (
    "wsrep_on",
    "max_allowed_packet",
    "max_statement_time",
    "idle_transaction_timeout",
    "tx_isolation",
    "transaction_isolation",
    "join_cache_level",
)
HOST = re.compile(r"(?:\[([0-9a-fA-F:]+)\]|([^:\[\]]+))(?::(\d{1,5}))?")


class Link:
    """Opens connections to the first working one of the database servers in a `mysql://` URL.

    `what`: the name of the database in messages, such as "state database". `key`: the setting that has the URL.
    `schema`: the SQL that creates the tables of a state database. It is written for SQLite, and translated for the
    server. None for a master database.
    """

    isolation = "REPEATABLE-READ"

    def __init__(self, url: str, what: str, key: str, schema: str | None):
        self.what, self.schema, self.tables_made = what, schema, False
        self.longest_silence, self.most = LONGEST_SILENCE, 20
        self.options = self.read_options(url, key)
        self.hosts = self.options.pop("hosts")
        self.hanging: dict[int, float] = {}  # number of a host → monotonic time until which it is skipped

    def read_options(self, url: str, key: str) -> dict:
        """Return PyMySQL's options for the URL: {"user": …, "database": …, "hosts": [{"host": …, "port": …}], …}.

        `key`: the setting that has the URL, for error messages. max_connections in the URL, the most connections of a
        process, is stored in `self.most`. ConfigError if the URL is invalid.
        """
        try:
            parts = urlsplit(url)
        except ValueError:  # its message may have the password
            raise ConfigError(f"{key} must be mysql://USER:PASSWORD@HOST/DATABASE.") from None
        user, _, named = parts.netloc.rpartition("@")
        options = read_url(
            parts._replace(netloc=f"{user}@").geturl(), key, also=("charset", "max_connections")
        )
        options["password"] = options["password"] or os.environ.get("MYSQL_PWD", "")
        options["hosts"] = hosts(named, options.pop("unix_socket", None))
        self.most = options.pop("max_connections", self.most)
        if options.pop("charset", "utf8mb4") != "utf8mb4" or type(self.most) is not int or self.most < 1:
            raise ConfigError("The URL of a database takes charset=utf8mb4 and max_connections=NUMBER.")
        return options

    def open(self, patient: bool = False):
        """Connect to the first host that works, and return PyMySQL's connection.

        If no host works, raise Unusable if one has refused what mailapi needs, such as a privilege, else Unreachable.
        `patient`: whether statements on the connection may take any time.
        """
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
            except (pymysql.MySQLError, OSError, RuntimeError) as error:
                # PyMySQL raises RuntimeError if a package for the log-in's method is missing.
                log.warning("%s at %s: %s", self.what, host.get("host") or host.get("unix_socket"), error)
                refused = refused or is_refusal(code(error))
                if time.monotonic() - started > PROMPT / 2:  # the host hangs: every thread would wait as long
                    self.hanging[number] = time.monotonic() + PROMPT
        raise (Unusable if refused else Unreachable)(self.what)

    def open_to(self, host: dict, patient: bool):
        """Connect to one host, set up the session, and return PyMySQL's connection. MySQLError or OSError on failure.

        `host`: PyMySQL's options for the host. `patient`: whether statements on the connection may take any time.
        """
        import pymysql

        from .cursor import ServerCursor

        connection = pymysql.connect(
            **self.options | host,
            **CONNECTION,
            write_timeout=self.longest_silence,
            conv=conversions(),
            cursorclass=ServerCursor,
            client_flag=pymysql.constants.CLIENT.FOUND_ROWS,
        )
        try:
            connection.longest_silence = None if patient else self.longest_silence
            self.prepare(connection, patient)
            wait_for(connection, connection.longest_silence)
            return connection
        except BaseException:
            discard(connection)
            raise

    def prepare(self, connection, patient: bool):
        """Set the session variables of a new connection, and create the tables that the database lacks.

        `patient`: whether statements on the connection may take any time.
        """
        cursor = connection.cursor()
        cursor.execute(f"SHOW VARIABLES WHERE Variable_name IN {SERVER_VARIABLES}")
        variables = dict(cursor.fetchall())
        connection.max_allowed_packet = int(variables["max_allowed_packet"])
        connection.in_cluster = variables.get("wsrep_on") == "ON"
        settings = self.settings(variables) | {
            "collation_connection": f"'{tables.collation(connection)}'",
        }
        if not patient:
            settings |= self.limits(variables)
        cursor.execute("SET SESSION " + ", ".join(f"{name} = {value}" for name, value in settings.items()))
        if connection.in_cluster:
            cursor.execute("SELECT 1")  # fails with 1047 if this node is not part of the cluster now
        self.make_tables(connection)

    def settings(self, variables: dict[str, str]) -> dict[str, str]:
        """Return the session variables for every connection and their values in SQL, such as {"sql_notes": "1"}.

        `variables`: the server's variables, such as {"wsrep_on": "ON"}.
        """
        # MariaDB before 11.1 has the second.
        isolation = "transaction_isolation" if "transaction_isolation" in variables else "tx_isolation"
        settings = {
            "innodb_lock_wait_timeout": str(min(WAIT, max(self.longest_silence - 1, 1))),
            isolation: f"'{self.isolation}'",
        }
        if "join_cache_level" in variables:
            settings["join_cache_level"] = "4"  # a list of users joins derived tables: hash joins
        if variables.get("wsrep_on") == "ON":
            settings["wsrep_sync_wait"] = "1"  # see what was committed on the other nodes
        return settings

    def limits(self, variables: dict[str, str]) -> dict[str, str]:
        """Return session variables that limit how long statements last, such as {"max_statement_time": "50"}.

        `variables`: the server's variables, such as {"wsrep_on": "ON"}. Limits that it lacks are left out.
        """
        # So the server soon releases the locks of a mailapi process that died.
        limits = {"max_statement_time": LONGEST_STATEMENT, "idle_transaction_timeout": LONGEST_PAUSE}
        return {name: str(limit) for name, limit in limits.items() if name in variables}

    def make_tables(self, connection):
        """Create the tables that the database lacks, once in a process. Try again if another process interferes."""
        if self.tables_made or not self.needs_tables(connection):
            return
        import pymysql

        wait_for(connection, self.longest_silence)
        for left in reversed(range(10)):
            try:
                self.create_tables(connection)
                break
            except pymysql.MySQLError as error:
                if code(error) not in UNDONE or not left:
                    raise
                time.sleep(random.uniform(0, 0.1))
        self.tables_made = True

    def needs_tables(self, connection) -> bool:
        """Return whether mailapi creates tables in this database.

        A state database needs all its tables. A master database in a Galera cluster needs mailapi_turn, a table with a
        row that each transaction changes before it writes, so that they run one after the other.
        """
        return bool(self.schema or connection.in_cluster)

    def create_tables(self, connection):
        """Create the missing tables of a state database, and the table mailapi_turn.

        Transactions that write lock a row of mailapi_turn first, so that they run one after the other.
        """
        tables.add_state_tables(connection, self.schema or "")


def is_refusal(number: int) -> bool:
    """Return whether an error number means that a working server refuses the connection or its settings.

    For example, a privilege is missing. Another attempt is then useless.
    """
    return 1000 <= number < 2000 and number not in LOST | UNDONE | BUSY_NUMBERS


def conversions() -> dict:
    """Return PyMySQL's converters of values, {type: function}. DECIMAL becomes int if whole, else float."""
    # MariaDB's SUM() returns DECIMAL where SQLite returns an integer.
    from pymysql.constants import FIELD_TYPE
    from pymysql.converters import conversions

    return conversions | {
        FIELD_TYPE.NEWDECIMAL: lambda text: int(text) if text.isdigit() else float(Decimal(text))
    }


def hosts(named: str, unix_socket: str | None) -> list[dict]:
    """Return PyMySQL's options for each host of a URL: [{"host": "db1", "port": 3306}, ...].

    `named`: the hosts in the URL, such as "db1,db2:3307". `unix_socket`: the path of a socket to use instead, or None.
    """
    if unix_socket:
        return [{"unix_socket": unix_socket}]
    return [host_options(each) for each in named.split(",")]


def host_options(named: str) -> dict:
    """Return PyMySQL's options for a host: "db2:3307" gives {"host": "db2", "port": 3307}. ConfigError if invalid."""
    match = HOST.fullmatch(named)
    if not match or int(match[3] or 1) not in range(1, 65536):
        raise ConfigError(
            "The URL of a database names its hosts as HOST or HOST:PORT, with commas between them."
        )
    return {"host": match[1] or match[2], "port": int(match[3] or 3306)}
