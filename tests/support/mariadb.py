"""A private MariaDB, one a test session, and fresh databases in it."""

import contextlib
import functools
import itertools
import os
import signal
import subprocess
from pathlib import Path

import pytest

from support.instances import free_port, require_program, running_instance, skip_without

# Nothing is forced to the disk: a killed server loses nothing by that, a power failure is not what is tested.
SMALL_SERVER = [
    "--innodb-flush-method=nosync",
    "--skip-name-resolve",
    "--innodb-buffer-pool-size=8M",
    "--innodb-log-file-size=4M",
    "--key-buffer-size=64k",
    "--performance-schema=OFF",
    "--skip-log-bin",
    "--max-allowed-packet=128M",
    "--max-connections=200",
    "--table-open-cache=64",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
]
# What PROVISIONING says of the mail server's tables; nothing here may change them.
MAILSERVER_TABLES = """
CREATE TABLE domains (domainId INTEGER AUTO_INCREMENT PRIMARY KEY, domainName VARCHAR(255) NOT NULL UNIQUE);
CREATE TABLE accounts (accountId INTEGER AUTO_INCREMENT PRIMARY KEY, createdByUserId INTEGER NOT NULL,
    username VARCHAR(255) NOT NULL UNIQUE, password VARCHAR(255) NOT NULL, domainId INTEGER NOT NULL,
    dateModified DATETIME NOT NULL, dateCreate DATETIME NOT NULL, userStatus INTEGER NOT NULL,
    homeDir VARCHAR(255) NOT NULL, forward VARCHAR(255), autoReply TEXT, lastLogin DATETIME, autoReplyStart DATETIME,
    autoReplyEnd DATETIME, quota INTEGER NOT NULL, autoReplyEnabled TINYINT NOT NULL, mboxServer INTEGER NOT NULL,
    mboxType VARCHAR(32) NOT NULL, groupId INTEGER NOT NULL, FOREIGN KEY (domainId) REFERENCES domains (domainId));
INSERT INTO domains VALUES (1, 'corp.org'), (2, 'atmail.com');
"""
HASH_OF_TEST = "{SSHA256}diItlPkdWkA18C2u6tAkeX58S1wkmp2zxvjDxgSk0k2+cZ06mCoHNA+j+LZiHAxz3qZ0goVeCkSvc6AMNxgryw=="  # test
INSERT_BOB = (
    "INSERT INTO accounts VALUES (4, 1, 'bob@atmail.com', %s, 2, '2017-04-27 14:17:20', '2017-04-27 14:17:20', 0,"
    " '/var/atmail/users/c/a/d/bob@atmail.com', NULL, NULL, NULL, NULL, NULL, 1024, 0, 1, 'Maildir', 1)"
)


@functools.cache
def share_tls_context():
    """Let PyMySQL read this system's certificate authorities once: for each connection it takes longer than a test."""
    from pymysql.connections import Connection

    make, made = Connection._create_ssl_ctx, []

    def create(connection, settings):
        if settings:  # those of a URL
            return make(connection, settings)
        if not made:
            made.append(make(connection, settings))
        return made[0]

    Connection._create_ssl_ctx = create


class MariaDBServer:
    """A MariaDB that can be killed and started again; the user mail with the password `se/cret@` may do anything."""

    def __init__(self, folder: Path, *options: str):
        share_tls_context()
        self.folder, self.port, self.numbers = folder, free_port(), itertools.count(1)
        self.data, self.options, self.environ = folder / "data", list(options), dict(os.environ)
        self.data.mkdir(parents=True)
        self.command = [
            require_program("mariadbd"),
            "--no-defaults",
            f"--datadir={self.data}",
            f"--tmpdir={folder}",
            *SMALL_SERVER,
        ]
        if os.geteuid() == 0:
            self.command.append("--user=root")
        self.bootstrap()
        self.start()
        self.sql("CREATE USER mail@'127.0.0.1' IDENTIFIED BY 'se/cret@'")
        self.sql("GRANT ALL ON *.* TO mail@'127.0.0.1'")

    def bootstrap(self):
        """Make the system tables, as mariadb-install-db does, which needs programs of further packages."""
        first = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n"
        tables = [system_tables(part).read_text() for part in ("", "_data")]
        subprocess.run(
            [*self.command, "--bootstrap"],
            input=first + "".join(tables),
            text=True,
            check=True,
            capture_output=True,
        )

    def start(self, *options: str):
        """Start the server."""
        self.running = contextlib.ExitStack()
        self.process = self.running.enter_context(
            running_instance(
                [
                    *self.command,
                    f"--socket={self.folder / 'socket'}",
                    f"--port={self.port}",
                    "--bind-address=127.0.0.1",
                    f"--pid-file={self.folder / 'pid'}",
                    *self.options,
                    *options,
                ],
                self.folder,
                ready=self.port,
                env=self.environ,
            )
        )

    def kill(self):
        """End the server as a power failure would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self.running.close()

    @contextlib.contextmanager
    def hanging(self):
        """Stop the process for a while: it keeps its connections and sends nothing."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)  # all of its threads
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self):
        """End the server in good order."""
        self.running.close()

    def sql(self, statement: str, *values, database: str | None = None) -> list[tuple]:
        """Execute a statement as root, over the socket; return its rows."""
        import pymysql

        with contextlib.closing(
            pymysql.connect(
                unix_socket=str(self.folder / "socket"),
                user="root",
                autocommit=True,
                database=database,
                charset="utf8mb4",
                read_timeout=60,
            )
        ) as connection:
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return list(cursor.fetchall())

    def url(self, database: str) -> str:
        """Return the URL of a database for config.py."""
        return f"mysql://mail:se%2Fcret%40@127.0.0.1:{self.port}/{database}"


def system_tables(part: str) -> Path:
    """Return the SQL file under the name that it has in MariaDB 10.11 or in 11."""
    names = (f"{name}/{name}_system_tables{part}.sql" for name in ("mariadb", "mysql"))
    return next(path for name in names if (path := Path("/usr/share", name)).exists())


class Database:
    """A fresh database; its URL is what config.py has."""

    def __init__(self, server: MariaDBServer):
        self.server, self.name = server, f"db{next(server.numbers)}"
        server.sql(f"CREATE DATABASE {self.name}")
        self.url = server.url(self.name)

    def sql(self, statement: str, *values) -> list[tuple]:
        """Execute a statement in this database; return its rows."""
        return self.server.sql(statement, *values, database=self.name)


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory):
    """A MariaDB that all tests of a worker share."""
    try:
        import pymysql  # noqa: F401
    except ImportError:
        skip_without("PyMySQL")
    server = MariaDBServer(tmp_path_factory.mktemp("mariadb"))
    yield server
    server.stop()


@pytest.fixture
def database(mariadb):
    """An empty database."""
    made = Database(mariadb)
    yield made
    mariadb.sql(f"DROP DATABASE {made.name}")


@pytest.fixture
def mailserver(mariadb):
    """A mail server's database with the domains corp.org and atmail.com, and bob@atmail.com."""
    made = Database(mariadb)
    for statement in filter(str.strip, MAILSERVER_TABLES.split(";\n")):
        made.sql(statement)
    made.sql(INSERT_BOB, HASH_OF_TEST)
    yield made
    mariadb.sql(f"DROP DATABASE {made.name}")
