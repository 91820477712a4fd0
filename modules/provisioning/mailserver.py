"""The mail server's own database of users, kept in step with `users`: a change is made in both or in neither.

MariaDB prepares the change (XA) inside the master's transaction and commits it after that one has. What a crash leaves
between the two is named after the row of `users` that it goes with: whoever comes next looks which row is there.
"""

import contextlib
import hashlib
import hmac
import os
import re
from urllib.parse import urlsplit

import peewee
from peewee import DateTimeField, IntegerField, TextField, fn

from mailapi import (
    CREDENTIALS_OF,
    ApiError,
    Model,
    Participant,
    PreparedQuery,
    Store,
    Users,
    is_url,
    log,
    open_store,
    param,
)

from ..directory import user_names
from ..mariadb.url import MariaStore, code
from ..provisioning import password_schemes as schemes

LONGEST = 255  # characters of a name
NAME = re.compile(r"[^\s/@.\0-\x1f\x7f][^\s/@\0-\x1f\x7f]*@[^\s/@\0-\x1f\x7f]+")
SHUT_OUT = {"user_name": None, "user_authdata": None}
NOT_KNOWN = 1397  # of an XA: somebody else brings it to an end
HOME = "/var/atmail/users/{}/{}/{}/{}"


class MailAccounts(Model):
    """The columns of the mail server's table that are read or written here."""

    accountId = IntegerField()
    createdByUserId = IntegerField()
    username = TextField()
    password = TextField()
    domainId = IntegerField()
    dateModified = DateTimeField()
    dateCreate = DateTimeField()
    userStatus = IntegerField()
    homeDir = TextField()
    quota = IntegerField()
    autoReplyEnabled = IntegerField()
    mboxServer = IntegerField()
    mboxType = TextField()
    groupId = IntegerField()

    class Meta:
        table_name = "accounts"


class Domains(Model):
    domainId = IntegerField()
    domainName = TextField()


ACCOUNT = MailAccounts.select(
    MailAccounts.accountId, MailAccounts.username, MailAccounts.password, MailAccounts.userStatus
)
FIND = PreparedQuery(ACCOUNT.where(MailAccounts.username == param("user")))
DOMAIN = PreparedQuery(
    Domains.select(Domains.domainId, Domains.domainName).where(Domains.domainName == param("domain"))
)
NAMES = MailAccounts.select(MailAccounts.username, MailAccounts.userStatus).order_by(MailAccounts.username)
HIGHEST = MailAccounts.select(fn.FLOOR(fn.MAX(MailAccounts.accountId) * param("share")))
SOMEBODY = PreparedQuery(
    MailAccounts.select(MailAccounts.password)
    .where(MailAccounts.accountId >= HIGHEST)
    .order_by(MailAccounts.accountId)
    .limit(1)
)
ALL_USERS = PreparedQuery(Users.select(Users.user_name))
ADD = PreparedQuery(
    MailAccounts.insert(
        username=param("user"),
        password=param("password"),
        domainId=param("domain"),
        homeDir=param("home"),
        createdByUserId=1,
        dateModified=fn.NOW(),
        dateCreate=fn.NOW(),
        userStatus=0,
        quota=1024,
        autoReplyEnabled=0,
        mboxServer=1,
        mboxType="Maildir",
        groupId=1,
    )
)
SET_PASSWORD = PreparedQuery(
    MailAccounts.update(password=param("password"), dateModified=fn.NOW()).where(
        MailAccounts.accountId == param("accountId")
    )
)
DELETE = PreparedQuery(MailAccounts.delete().where(MailAccounts.accountId == param("accountId")))


def home(user_name: str) -> str:
    """Where a user's mail is: three folders of the first hex digits of the name's MD5."""
    return HOME.format(*hashlib.md5(user_name.encode(), usedforsecurity=False).hexdigest()[:3], user_name)


class MailServer:
    """`mailserver.accounts`, for log-ins and for changes of users."""

    def __init__(self, app):
        self.app = app
        self.store, self.master = (
            MariaStore(app.config.mailserver, "mailserver"),
            open_store(app.config.dbpath),
        )
        self.key = app.config.mailserver.encode()
        self.ours = "mailapi-" + digest(same_for_all(app.config.dbpath))[:12]

    def find(self, user_name: str) -> dict | None:
        """A user's row, compared exactly, whatever the table's collation is."""
        with self.store.transaction("DEFERRED"):
            return self.exact(user_name)

    def exact(self, user_name: str) -> dict | None:
        return next(
            (row for row in self.store.rows(FIND, user=user_name) if row["username"] == user_name), None
        )

    def credentials(self, user_name: str, logging_in: bool, shut_out: bool) -> dict | None:
        """What a log-in is held against; None for one whom only `users` knows.

        Who is unknown, disabled or shut out costs the same work as who gives a wrong password (docs/wire.md F18).
        """
        if logging_in:
            self.mend()
        row, other = self.find(user_name), self.measure(user_name) if logging_in else None
        if row and row["userStatus"] == 0 and not shut_out:
            return {
                "user_name": user_name,
                "user_authdata": row["password"],
                "accountId": row["accountId"],
                "verify": schemes.verify,
            }
        ours = self.app.db.one(CREDENTIALS_OF, user=user_name) or {}
        if row is None and not shut_out and ours.get("user_authdata"):
            return None
        stored = row["password"] if row else other
        return SHUT_OUT | {"verify": lambda password, _: schemes.verify(password, stored) and False}

    def measure(self, user_name: str) -> str | None:
        """The stored password of somebody, chosen by the name, for whom there is none: to cost the same (docs/wire.md F18)."""
        share = int.from_bytes(hmac.digest(self.key, user_name.encode(), "sha256")[:6]) / 2**48
        with self.store.transaction("DEFERRED"):
            return self.store.value(SOMEBODY, share=share)

    def users(self, user_name: str | None) -> list[dict]:
        """Everybody that the mail server knows, or the one named, and whether they may log in."""
        query = NAMES if user_name is None else NAMES.where(MailAccounts.username == user_name)
        with self.store.transaction("DEFERRED"):
            return [
                {"user_name": row["username"], "user_login": int(row["userStatus"] == 0)}
                for row in self.store.rows(query)
                if user_name in (None, row["username"])
            ]

    def on_user_change(self, call, change: str, user_name: str, password: str | None) -> "Change | None":
        """Prepare a change of a user; None where the mail server has no part in it."""
        with self.store.transaction("DEFERRED"):
            self.settle()
            row = self.exact(user_name)
            if change == "add" and not (row and not password and call.caller.admin):
                return self.prepare(call.db, ADD, self.new_row(user_name), password)
            if change == "add" or row is None:
                return None  # who is the mail server's becomes one of ours, too; or is none of its
            query = {"delete": DELETE, "set_password": SET_PASSWORD}[change]
            return self.prepare(call.db, query, {"user": user_name, "accountId": row["accountId"]}, password)

    def new_row(self, user_name: str) -> dict:
        """What is told of a new user; ApiError for a name that no mail account can have."""
        if (
            not NAME.fullmatch(user_name)
            or len(user_name) > LONGEST
            or not user_names.same_everywhere(user_name)
        ):
            raise ApiError("With a mailserver a user name must be a mail address.")
        if taken := self.store.one(FIND, user=user_name):
            raise ApiError(f"The mailserver has a user {taken['username']} already.")
        wanted = user_name.rpartition("@")[2]
        for domain in self.store.rows(DOMAIN, domain=wanted):
            if domain["domainName"] == wanted:
                return {"user": user_name, "home": home(user_name), "domain": domain["domainId"]}
        raise ApiError(f"The mailserver has no domain {wanted}.")

    def prepare(self, master: Store, query: PreparedQuery, values: dict, password: str | None) -> "Change":
        """Run a statement so that it can be committed whatever happens, under the name of what goes with it."""
        name, stored = values["user"], schemes.make(password)
        change = Change(self.store, (f"{self.ours}-{digest(name)}", tag(master, name)), stored)
        try:
            change.run("START")
            self.store.execute(query, **values, password=stored)
            change.run("END")
            change.run("PREPARE")
        except BaseException:
            change.rollback()
            raise
        return change

    def in_doubt(self) -> list[tuple[str, str]]:
        """The changes that are prepared, and neither committed nor rolled back."""
        rows = self.store.database.execute_sql("XA RECOVER").fetchall()
        found = [(as_text(data)[:length], as_text(data)[length:]) for _, length, _, data in rows]
        return [xid for xid in found if xid[0].startswith(self.ours)]

    def mend(self) -> int:
        """Bring to an end what a crash left in doubt; how much that was."""
        with self.store.transaction("DEFERRED"):
            if not self.in_doubt():
                return 0
            with self.app.db.transaction():  # nobody is then between the two databases, but for the dead
                return self.settle()

    def settle(self) -> int:
        """The same, by whoever holds the master's write lock: read is what is committed there, not what they write."""
        if not (doubts := self.in_doubt()):
            return 0
        self.master.connect()
        names = {digest(name): name for name in self.master.column(ALL_USERS) + self.store.column(NAMES)}
        ended = sum(self.end(xid, names.get(xid[0].rpartition("-")[2])) for xid in doubts)
        self.master.close()
        return ended

    def end(self, xid: tuple[str, str], user_name: str | None) -> bool:
        """Commit what goes with the row that the master has, roll back what goes with another."""
        goes_with_it = user_name is not None and tag(self.master, user_name) == xid[1]
        try:
            Change(self.store, xid).run("COMMIT" if goes_with_it else "ROLLBACK")
        except peewee.PeeweeException as error:
            if code(error) != NOT_KNOWN:
                raise
            return False  # who prepared it is alive, and at it
        log.warning(
            "mailserver: a change of %s that was in doubt was %s",
            user_name or "somebody",
            "committed" if goes_with_it else "rolled back",
        )
        return True


class Change(Participant):
    """A prepared change of the mail server's database (XA), in this thread's connection."""

    def __init__(self, store: MariaStore, xid: tuple[str, str], authdata: str | None = None):
        self.store, self.xid, self.authdata = store, xid, authdata

    def run(self, verb: str):
        self.store.database.execute_sql(f"XA {verb} %s, %s", self.xid)

    def commit(self):
        try:
            self.run("COMMIT")
        except peewee.PeeweeException as error:
            log.warning(
                "mailserver: a change is in doubt until the next log-in or `mailapi check --repair`: %s",
                error,
            )
            self.store.close()

    def rollback(self):
        with contextlib.suppress(peewee.PeeweeException):
            self.run("END")  # unless it has come further
        try:
            self.run("ROLLBACK")
        except peewee.PeeweeException as error:
            log.warning("mailserver: not rolled back yet: %s", error)
            self.store.close()

    def leave(self):
        log.warning("mailserver: a change is in doubt until the next log-in or `mailapi check --repair`")
        self.store.close()


def same_for_all(dbpath: str) -> str:
    """What names the master database in every instance: nothing of who asks, nor the order of the hosts."""
    if not is_url(dbpath):
        return os.path.realpath(dbpath)
    parts = urlsplit(dbpath)
    return " ".join([*sorted(parts.netloc.rpartition("@")[2].split(",")), parts.path])


def digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:40]


def tag(master: Store, user_name: str) -> str:
    """What names the row of `users` as it is, or that there is none."""
    row = master.one(CREDENTIALS_OF, user=user_name)
    return digest(f"{user_name} {row['user_authdata']}" if row else f"no {user_name}")


def as_text(data: str | bytes) -> str:
    return data if isinstance(data, str) else data.decode("latin-1")
