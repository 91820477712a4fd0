"""Two-phase commit: a change of a user is made in both the table `users` and the mail server's database, or in none.

MariaDB prepares the change in the mail server's database (XA) during the transaction of the master database, and
commits it after the master has committed. A crash in between leaves it prepared ("in doubt"). Its XA identifier has a
hash of the user's row of `users` as it should be after the change. If the master database has this row, the change is
committed later, otherwise rolled back.
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
        """Run a query in the mail server's database and prepare its commit (XA PREPARE), which then cannot fail.

        The query has the parameters `values`, and changes the user `values["user"]`. The caller has changed the user's
        row of `users` before, in a transaction of `master` that is still open. `password` is the user's new one.
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
        """Return the XA identifiers of changes that are prepared, but neither committed nor rolled back.

        An identifier is a pair of texts, (gtrid, bqual). Those of other installations of mailapi are left out.
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
        """Commit or roll back all changes that a crash left prepared. Return their number.

        The caller has a write lock on the master database, so that no other change is half done. `users` is
        read over another connection, which sees only what is committed.
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
        """Commit a prepared change if the master database has committed its part of it, else roll it back.

        `xid` is its XA identifier; `user_name` is the changed user, None if nobody has such a name. Return False if
        another connection is still working on the change.
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
    """A change that is prepared in the mail server's database, to be committed or rolled back.

    Until then, this thread's connection cannot be used otherwise. TwoPhaseCommit.resolve_in_doubt finishes a change
    that stays prepared. `authdata` is the user's new stored password.
    """

    def __init__(self, store, xid: tuple[str, str], authdata: str):
        self.store, self.xid, self.authdata, self.connection = store, xid, authdata, store.connect()
        store.opened.in_xa = True

    def execute(self, verb: str):
        self.connection.cursor().execute(f"XA {verb} %s, %s", self.xid)

    def commit(self):
        """Commit the change. If that fails, log it: the change stays prepared until `resolve_in_doubt` finishes it."""
        try:
            self.execute("COMMIT")
            self.free_connection()
        except Exception as error:
            log.warning("%s: %s", IN_DOUBT, error)
            self.free_connection(usable=False)

    def rollback(self):
        """Roll the change back, even if it is not prepared yet.

        If that fails, log it: the change stays prepared until `resolve_in_doubt` finishes it.
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
        """Leave the change prepared for `resolve_in_doubt`, because it is unknown if the master has committed."""
        log.warning(IN_DOUBT)
        self.free_connection(usable=False)

    def free_connection(self, usable: bool = True):
        self.store.opened.in_xa = False
        self.store.close(usable)


def identify_master(dbpath: str) -> str:
    """Return a text that identifies the master database, equal in all processes that use it.

    `dbpath` is the setting. The text is the file's absolute path, or a URL's sorted hosts and database without user
    name and password.
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
