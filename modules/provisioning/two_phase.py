"""Two-phase commit: change a user both in mailapi's database and in the mail server's database, or in neither.

MariaDB prepares the change in the mail server's database (XA), and commits it after mailapi's own database (the master)
has committed. After a crash, a change may stay prepared ("in doubt"). It is committed later if the user's row in the
master has the hash that the change's XA identifier contains, else rolled back.
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
    """Prepares changes of users in the mail server's database, and finishes changes that a crash left prepared."""

    def __init__(self, app, store):
        self.app, self.store, self.master = app, store, open_store(app.config.dbpath)
        self.prefix = "mailapi-" + digest(identify_master(app.config.dbpath))[:12]

    def prepare(
        self, master: Store, query: PreparedQuery, values: dict, password: str | None
    ) -> "PreparedChange":
        """Change a user in the mail server's database by a query, and prepare its commit (XA PREPARE).

        The caller has changed the same user in mailapi's database `master`, commits that transaction next, and the
        prepared change last. The prepared change is named after the user and a digest of the row in `master`, so that
        resolve_in_doubt can find out whether `master` was committed. `values`: the query's parameters, with the user's
        name as "user". `password`: the new one.
        """
        name, stored = values["user"], password_schemes.make(password)
        self.store.connect()
        xid = f"{self.prefix}-{digest(name)}", digest_of_row(master, name)
        # Fails if another change of the user, which leaves the row in `users` as it is, too, is about to be committed.
        # That one has the same identifier, and must not be rolled back.
        self.store.run("XA START ?, ?", xid)
        change = PreparedChange(self.store, xid, stored)
        try:
            self.store.execute(query, **values, password=stored)
            self.store.run("XA END ?, ?", xid)
            self.store.run("XA PREPARE ?, ?", xid)
        except BaseException:
            change.rollback()
            raise
        return change

    def in_doubt(self) -> list[tuple[str, str]]:
        """Return the XA identifiers (gtrid, bqual) of changes that are prepared, but not committed or rolled back.

        Those of other installations of mailapi are left out.
        """
        rows = self.store.run("XA RECOVER").fetchall()
        xids = [(as_text(data)[:length], as_text(data)[length:]) for _, length, _, data in rows]
        return [xid for xid in xids if xid[0].startswith(self.prefix)]

    def resolve_in_doubt(self) -> int:
        """Commit or roll back all changes that a crash left prepared. Return their number."""
        with self.store.transaction("DEFERRED"):
            if not self.in_doubt():
                return 0
            # With the write lock of the master database, no other change is between its two commits.
            with self.app.db.transaction():
                return self.resolve_locked()

    def resolve_locked(self) -> int:
        """Commit each change that a crash left prepared if mailapi's database has its part, else roll it back.

        Return their number. The caller must have a write lock on mailapi's database.
        """
        if not (xids := self.in_doubt()):
            return 0
        self.master.connect()  # another connection than the caller's, which sees only what is committed
        names = {
            digest(name): name
            for name in self.master.column(USER_NAMES) + self.store.column(NAMES_AND_STATUS)
        }
        resolved = sum(self.resolve(xid, names.get(xid[0].rpartition("-")[2])) for xid in xids)
        self.master.close()
        return resolved

    def resolve(self, xid: tuple[str, str], user_name: str | None) -> bool:
        """Commit a prepared change if mailapi's database has committed its part, else roll it back.

        `xid` is its XA identifier. `user_name` is the changed user, or None if no user has this name any more. Return False
        if another connection is still working on the change.
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
    """A change of a user that is prepared in the mail server's database, to be committed or rolled back.

    Until then, this thread's connection to that database cannot be used otherwise. `authdata` is the hash of the
    user's new password, which the caller's own session is bound to from now on.
    """

    def __init__(self, store, xid: tuple[str, str], authdata: str):
        self.store, self.xid, self.authdata, self.connection = store, xid, authdata, store.connect()
        store.opened.in_xa = True

    def execute(self, verb: str):
        self.connection.cursor().execute(f"XA {verb} %s, %s", self.xid)

    def commit(self):
        """Commit the change.

        If that fails, log a warning: `resolve_in_doubt` will finish the change.
        """
        try:
            self.execute("COMMIT")
            self.free_connection()
        except Exception as error:
            log.warning("%s: %s", IN_DOUBT, error)
            self.free_connection(usable=False)

    def rollback(self):
        """Roll the change back, even if it is not prepared yet.

        If that fails, log a warning: the next log-in rolls it back (`resolve_in_doubt`).
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
        """Leave the change prepared: mailapi's database may or may not have committed. The next log-in finishes it."""
        log.warning(IN_DOUBT)
        self.free_connection(usable=False)

    def free_connection(self, usable: bool = True):
        self.store.opened.in_xa = False
        self.store.close(usable)


def identify_master(dbpath: str) -> str:
    """Return a text that is the same in all processes that use the same database of mailapi.

    `dbpath` is the setting: a file or a URL. User name and password are left out.
    """
    if not is_url(dbpath):
        return os.path.realpath(dbpath)
    parts = urlsplit(dbpath)
    return " ".join([*sorted(parts.netloc.rpartition("@")[2].split(",")), parts.path])


def digest(value: str) -> str:
    """Return the first 40 hex digits of the SHA-256 of a text."""
    return hashlib.sha256(value.encode()).hexdigest()[:40]


def digest_of_row(master: Store, user_name: str) -> str:
    """Return a hash of a user's name and stored password in `users`, or of the fact that there is no such user."""
    row = master.one(CREDENTIALS_OF, user=user_name)
    return digest(f"{user_name} {row['user_authdata']}" if row else f"no {user_name}")


def as_text(data: str | bytes) -> str:
    return data if isinstance(data, str) else data.decode("latin-1")
