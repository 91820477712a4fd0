"""Two-phase commit: both mailapi's table `users` and the mail server's database get a change of a user, or neither.

MariaDB prepares the mail server's part (XA) while the transaction of the master database, which has `users`, is
open, and commits it after the master has committed. A crash between the two leaves the part prepared: the change is
"in doubt". Its XA identifier has a hash of the user's row in `users` after the change. If the master has that row,
the change is committed, otherwise it is rolled back.
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
UNKNOWN_XID = 1397  # another connection has this change, and will commit it or roll it back
USER_NAMES = PreparedQuery(Users.select(Users.user_name))


class TwoPhaseCommit:
    """The changes that are prepared in the mail server's database, and their end after a crash."""

    def __init__(self, app, store):
        self.app, self.store, self.master = app, store, open_store(app.config.dbpath)
        self.prefix = "mailapi-" + digest(identify_master(app.config.dbpath))[:12]

    def prepare(
        self, master: Store, query: PreparedQuery, values: dict, password: str | None
    ) -> "PreparedChange":
        """Run a query in the mail server's database, and prepare the change so that its commit cannot fail.

        The query changes the user `values["user"]`, and gets the stored form of `password`. The caller has changed
        the user's row in `users` already, and has not yet committed that transaction of `master`.
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
        """Return the XA identifiers of the changes that are prepared, but neither committed nor rolled back.

        Changes of other installations in the same database are left out.
        """
        rows = self.store.run("XA RECOVER").fetchall()
        xids = [(as_text(data)[:length], as_text(data)[length:]) for _, length, _, data in rows]
        return [xid for xid in xids if xid[0].startswith(self.prefix)]

    def resolve_in_doubt(self) -> int:
        """Commit or roll back the changes that a crash left prepared. Return their number."""
        with self.store.transaction("DEFERRED"):
            if not self.in_doubt():
                return 0
            # With the write lock of the master database, no other change is between its two commits.
            with self.app.db.transaction():
                return self.resolve_locked()

    def resolve_locked(self) -> int:
        """Commit or roll back the changes that a crash left prepared, while the caller has the master's write lock.

        Return their number. `users` is read over a second connection, which sees only what is committed.
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
        """Commit a prepared change if the master's `users` has the row that belongs to it, or else roll it back.

        `user_name` is the user whose change it is, or None if no such user exists. Return False if another
        connection is still working on the change.
        """
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
    """A change that the mail server's database has prepared under an XA identifier.

    It occupies this thread's connection until it is committed, rolled back or left prepared. A prepared change that
    is left is ended by TwoPhaseCommit.resolve_in_doubt later. `authdata` is the user's new stored password.
    """

    def __init__(self, store, xid: tuple[str, str], authdata: str):
        self.store, self.xid, self.authdata, self.connection = store, xid, authdata, store.connect()
        store.opened.in_xa = True

    def execute(self, verb: str):
        self.connection.cursor().execute(f"XA {verb} %s, %s", self.xid)

    def commit(self):
        """Commit the change. If that fails, log it, and leave the change prepared for `resolve_in_doubt`."""
        try:
            self.execute("COMMIT")
            self.free_connection()
        except Exception as error:
            log.warning("%s: %s", IN_DOUBT, error)
            self.free_connection(usable=False)

    def rollback(self):
        """Roll the change back, even if its preparation has failed halfway.

        If that is not possible, log it, and leave the change prepared for `resolve_in_doubt`.
        """
        with contextlib.suppress(Exception):
            self.execute("END")  # fails unless the change is active
        try:
            self.execute("ROLLBACK")
            self.free_connection()
        except Exception as error:
            log.warning("mailserver: not rolled back yet: %s", error)
            self.free_connection(usable=False)

    def leave(self):
        """Leave the change prepared for `resolve_in_doubt`: nobody knows whether the master database committed."""
        log.warning(IN_DOUBT)
        self.free_connection(usable=False)

    def free_connection(self, usable: bool = True):
        self.store.opened.in_xa = False
        self.store.close(usable)


def identify_master(dbpath: str) -> str:
    """Return a text for the master database that is the same in every mailapi process which uses it.

    For a file it is the absolute path; for a URL the hosts, sorted, and the database, without user and password.
    """
    if not is_url(dbpath):
        return os.path.realpath(dbpath)
    parts = urlsplit(dbpath)
    return " ".join([*sorted(parts.netloc.rpartition("@")[2].split(",")), parts.path])


def digest(value: str) -> str:
    """Return the first 40 hex digits of a text's SHA-256."""
    return hashlib.sha256(value.encode()).hexdigest()[:40]


def digest_of_row(master: Store, user_name: str) -> str:
    """Return a hash of a user's name and stored password in `users`, or of the fact that there is no such row."""
    row = master.one(CREDENTIALS_OF, user=user_name)
    return digest(f"{user_name} {row['user_authdata']}" if row else f"no {user_name}")


def as_text(data: str | bytes) -> str:
    return data if isinstance(data, str) else data.decode("latin-1")
