"""Two-phase commit of a change in `users` and in the mail server's database: both have it, or neither.

MariaDB prepares its part (XA) within the master's transaction, and commits it after the master has. A crash between
the two leaves it prepared. The XA identifier has the hash of the row of `users` that belongs to the change: if the
master has that row, the change is committed, otherwise it is rolled back.
"""

import contextlib
import hashlib
import os
from urllib.parse import urlsplit

from mailapi import (
    CREDENTIALS_OF,
    Participant,
    PreparedQuery,
    Store,
    Users,
    is_url,
    log,
    open_store,
)

from ..mariadb.errors import code
from . import password_schemes
from .mailserver_tables import NAMES_AND_STATUS

IN_DOUBT = "mailserver: a change is in doubt until the next log-in or `mailapi check --repair`"
UNKNOWN_XID = 1397  # another connection has this change, and will end it
USER_NAMES = PreparedQuery(Users.select(Users.user_name))


class TwoPhaseCommit:
    """Prepare changes in the mail server's database, and resolve those that a crash left prepared."""

    def __init__(self, app, store):
        self.app, self.store, self.master = app, store, open_store(app.config.dbpath)
        self.prefix = "mailapi-" + digest(identify_master(app.config.dbpath))[:12]

    def prepare(
        self, master: Store, query: PreparedQuery, values: dict, password: str | None
    ) -> "PreparedChange":
        """Run a query that changes values["user"], and prepare it, so that its commit cannot be refused.

        The caller is within a transaction of `master` that has changed the row of `users` already.
        """
        name, stored = values["user"], password_schemes.make(password)
        self.store.connect()
        xid = f"{self.prefix}-{digest(name)}", digest_of_row(master, name)
        change = PreparedChange(self.store, xid, stored)
        try:
            self.store.run("XA START ?, ?", xid)
            self.store.execute(query, **values, password=stored)
            self.store.run("XA END ?, ?", xid)
            self.store.run("XA PREPARE ?, ?", xid)
        except BaseException:
            change.rollback()
            raise
        return change

    def in_doubt(self) -> list[tuple[str, str]]:
        """Return the identifiers of the changes that are prepared, and neither committed nor rolled back."""
        rows = self.store.run("XA RECOVER").fetchall()
        xids = [(as_text(data)[:length], as_text(data)[length:]) for _, length, _, data in rows]
        return [xid for xid in xids if xid[0].startswith(self.prefix)]

    def resolve_in_doubt(self) -> int:
        """Commit or roll back what a crash left prepared; return the number of these changes."""
        with self.store.transaction("DEFERRED"):
            if not self.in_doubt():
                return 0
            with self.app.db.transaction():  # with the lock, no other change is between its two commits
                return self.resolve_locked()

    def resolve_locked(self) -> int:
        """Resolve while the caller holds the master's write lock.

        Read the master by a connection of its own, which sees what is committed and not what the caller writes.
        """
        if not (xids := self.in_doubt()):
            return 0
        self.master.connect()
        names = {
            digest(name): name
            for name in self.master.column(USER_NAMES) + self.store.column(NAMES_AND_STATUS)
        }
        resolved = sum(self.resolve(xid, names.get(xid[0].rpartition("-")[2])) for xid in xids)
        self.master.close()
        return resolved

    def resolve(self, xid: tuple[str, str], user_name: str | None) -> bool:
        """Commit a change if the master has the row that belongs to it, else roll it back; False if it is under way."""
        commit = user_name is not None and digest_of_row(self.master, user_name) == xid[1]
        statement = f"XA {'COMMIT' if commit else 'ROLLBACK'} %s, %s"
        try:
            self.store.connect().cursor().execute(statement, xid)
        except Exception as error:
            if code(error) == UNKNOWN_XID:
                return False
            self.store.fail(error, statement)
        log.warning(
            "mailserver: a change of %s that was in doubt was %s",
            user_name or "somebody",
            "committed" if commit else "rolled back",
        )
        return True


class PreparedChange(Participant):
    """A change of the mail server's database under an XA identifier. It keeps this thread's connection until it ends."""

    def __init__(self, store, xid: tuple[str, str], authdata: str):
        self.store, self.xid, self.authdata, self.connection = store, xid, authdata, store.connect()
        store.opened.in_xa = True

    def execute(self, verb: str):
        self.connection.cursor().execute(f"XA {verb} %s, %s", self.xid)

    def commit(self):
        """Commit the change; if that fails, leave it in doubt."""
        try:
            self.execute("COMMIT")
            self.free_connection()
        except Exception as error:
            log.warning("%s: %s", IN_DOUBT, error)
            self.free_connection(usable=False)

    def rollback(self):
        """Roll the change back, prepared or not; if that fails, leave it in doubt."""
        with contextlib.suppress(Exception):
            self.execute("END")  # fails unless the change is active
        try:
            self.execute("ROLLBACK")
            self.free_connection()
        except Exception as error:
            log.warning("mailserver: not rolled back yet: %s", error)
            self.free_connection(usable=False)

    def leave(self):
        """Leave the change prepared, as the outcome of the master's commit is unknown."""
        log.warning(IN_DOUBT)
        self.free_connection(usable=False)

    def free_connection(self, usable: bool = True):
        self.store.opened.in_xa = False
        self.store.close(usable)


def identify_master(dbpath: str) -> str:
    """Return a name of the master database that is equal in all instances: without user, password or order of hosts."""
    if not is_url(dbpath):
        return os.path.realpath(dbpath)
    parts = urlsplit(dbpath)
    return " ".join([*sorted(parts.netloc.rpartition("@")[2].split(",")), parts.path])


def digest(value: str) -> str:
    """Return 40 hex digits of a text's SHA-256."""
    return hashlib.sha256(value.encode()).hexdigest()[:40]


def digest_of_row(master: Store, user_name: str) -> str:
    """Return the digest of a row of `users`, or of its absence."""
    row = master.one(CREDENTIALS_OF, user=user_name)
    return digest(f"{user_name} {row['user_authdata']}" if row else f"no {user_name}")


def as_text(data: str | bytes) -> str:
    return data if isinstance(data, str) else data.decode("latin-1")
