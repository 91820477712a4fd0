"""The state database: mailapi's own SQLite file with sessions, the audit and the like. It is created on first use."""

import contextlib
import fcntl
import os
import re
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path

import peewee

from mailapi import (
    DURABLE,
    ApiError,
    CannotOpen,
    StateFailure,
    Store,
    ThreadConnection,
    Transaction,
    is_busy,
    refusal,
)

from .owners import chown_like


class StateConnection(ThreadConnection):
    """The current thread's connection to the state database. Using it before it is open raises RuntimeError."""

    def __getattr__(self, name: str):  # Python calls it for missing attributes only
        if name != "connection":
            raise AttributeError(name)
        raise RuntimeError(
            "The state database is not open: begin `with state.transaction():` first, or use state.read()."
        )


class StateTransaction(Transaction):
    """A transaction on the state database, for a `with` block. Database errors in the block become ApiError."""

    def __enter__(self):
        try:
            super().__enter__()
        except peewee.PeeweeException as error:
            raise StateStore.failure(error) from error

    def __exit__(self, kind, error, traceback):
        try:
            super().__exit__(kind, error, traceback)
        except peewee.PeeweeException as failed:
            raise StateStore.failure(failed) from failed
        if isinstance(error, peewee.PeeweeException):
            raise StateStore.failure(error) from error


class DurableTransaction(StateTransaction):
    """A transaction on mailapi's state database that survives a power cut as soon as its `with` block has ended."""

    def __enter__(self):
        self.wait_for_disk("FULL")
        try:
            super().__enter__()
        except BaseException:
            self.wait_for_disk("NORMAL")
            raise

    def __exit__(self, kind, error, traceback):
        try:
            super().__exit__(kind, error, traceback)
        finally:
            self.wait_for_disk("NORMAL")

    def wait_for_disk(self, level: str):
        """Set whether this thread's commits wait until the data is on the disk: "FULL" if so, "NORMAL" if not."""
        try:
            self.store.connect()
            self.store.run(f"PRAGMA synchronous = {level}")
        except peewee.PeeweeException as error:
            raise StateStore.failure(error) from error


class StateStore(Store):
    """The state database, with sessions, the audit and the like: a SQLite file that only its owner can read.

    `schema`: the SQL that creates its tables. If root creates the file, it gets the owner of its folder.
    """

    PRAGMAS: Mapping[str, object] = {"synchronous": "NORMAL"}

    def __init__(self, path: str, schema: str):
        super().__init__(path)
        self.opened = StateConnection()
        del self.gates["DEFERRED"]  # in WAL mode readers and writers do not wait for each other
        self.gates[DURABLE] = self.gates["IMMEDIATE"]
        self.transactions = {
            "DEFERRED": StateTransaction(self, "DEFERRED"),
            "IMMEDIATE": StateTransaction(self, "IMMEDIATE"),
            DURABLE: DurableTransaction(self, DURABLE),
        }
        self.schema = schema

    def missing(self, error):
        self.create()
        try:
            return os.stat(self.path)
        except (OSError, ValueError) as still:
            raise CannotOpen(still) from None

    def identity(self) -> object:
        """Open the database, and return a value that identifies its file. Raise ApiError if that is impossible.

        The value changes when the file is replaced, or when its owner or mode is changed.
        """
        try:
            return super().identity()
        except peewee.PeeweeException as error:
            raise self.failure(error) from error

    def before_opening(self):
        """Give SQLite's side files (-wal and -shm) the permissions of the database file."""
        # The database file may have been read-only when SQLite created them. SQLite itself gives them the right owner.
        path = os.path.realpath(self.path)
        for side in (path + "-wal", path + "-shm"):
            with contextlib.suppress(OSError):
                if not os.path.islink(side):  # a link could lead root to any other file
                    os.chmod(side, os.stat(path).st_mode & 0o777)

    def after_opening(self):
        """Create the tables of `schema` that the database lacks, for example after an update of mailapi.

        Raise StateFailure, and change nothing, if the file is a master database.
        """
        connection = self.database.connection()
        try:
            have = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
            # Its mode and journal mode are those that the mail daemons need.
            if have >= {"users", "api_access"}:
                raise sqlite3.DatabaseError("it is a master database; name another file in config.py")
            if not have.issuperset(re.findall("IF NOT EXISTS ([A-Za-z_]+)", self.schema)):
                with contextlib.suppress(PermissionError):  # of another owner, who lets this process write
                    os.chmod(self.path, 0o600)
                connection.executescript("PRAGMA journal_mode = WAL;" + self.schema)
        except sqlite3.Error as error:
            self.database.close()
            raise StateFailure(error) from None

    def create(self):
        """Create the database file with all tables, unless it exists. Raise StateFailure if that is impossible.

        Other processes never see an incomplete file.
        """
        path = os.path.realpath(self.path)  # of a link that leads nowhere yet
        folder = os.path.dirname(path)
        try:
            with folder_lock(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".mailapi-") as private:
                if os.path.exists(path):
                    return
                new = os.path.join(private, "state")
                with contextlib.closing(sqlite3.connect(new)) as connection:
                    # In WAL mode, tables that a full disk keeps out of the file would be lost with its side file.
                    connection.executescript(f"BEGIN; {self.schema} COMMIT; PRAGMA journal_mode = WAL;")
                os.chmod(new, 0o600)
                chown_like(new, folder)
                for leftover in ("-wal", "-shm"):  # of a deleted file; SQLite would apply them to the new one
                    Path(path + leftover).unlink(missing_ok=True)
                os.rename(new, path)
        except (OSError, sqlite3.Error) as error:
            raise StateFailure(getattr(error, "strerror", error)) from None

    def read(self, query, **values):
        """Run a query outside of a transaction and return its rows as tuples. Raise ApiError if that fails.

        `values`: the parameters of a prepared query by name, such as user="bob".
        """
        try:
            self.connect()
            return self.fetch(query, values)[1]
        except peewee.PeeweeException as error:
            raise self.failure(error) from error

    def make_room(self):
        """Free space on a full disk by a checkpoint: SQLite then overwrites its write-ahead log from the start."""
        with contextlib.suppress(ApiError, peewee.PeeweeException, sqlite3.Error):
            self.connect().execute("PRAGMA wal_checkpoint(RESTART)")

    @staticmethod
    def failure(error: peewee.PeeweeException) -> ApiError:
        """Convert a database exception to an ApiError: HTTP 503 if the database is locked, else 500 (StateFailure)."""
        return refusal(error) if is_busy(error) else StateFailure(error)


@contextlib.contextmanager
def folder_lock(folder: str):
    """Lock a folder for a `with` block. Other threads and processes that lock the same folder wait."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
