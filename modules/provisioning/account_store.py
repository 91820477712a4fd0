"""Who has an account with which services, and whether these know: the tables that first log-ins fill."""

import time
from dataclasses import dataclass

from peewee import IntegerField, TextField

from mailapi import ApiError, Model, PreparedQuery, Store, is_url, param

from ..mariadb.url import MariaStore
from ..state.store import StateStore


class Accounts(Model):
    """The account that ties a user's service accounts together."""

    idAccount = IntegerField()
    idUsers = IntegerField()
    Name = TextField()
    IsPrimary = IntegerField()
    Active = IntegerField()
    idMailAccount = IntegerField(null=True)
    idContactAccount = IntegerField(null=True)
    idCalendarAccount = IntegerField(null=True)

    class Meta:
        table_name = "Accounts"


class ServiceAccounts(Model):
    """What one service was asked to keep for an account, and whether it does."""

    idServiceAccount = IntegerField()
    idAccount = IntegerField()
    kind = TextField()  # mail, contacts, calendar
    state = TextField()  # ok, pending
    url = TextField(null=True)  # of the service, without credentials
    error = TextField(null=True)
    claimed = IntegerField(null=True)  # by a log-in that is at it, in seconds since 1970

    class Meta:
        table_name = "ServiceAccounts"


class Sequences(Model):
    """The last number given of a kind; its rows are also what simultaneous log-ins wait for each other at."""

    name = TextField()
    last = IntegerField()

    class Meta:
        table_name = "Sequences"


SCHEMA = """
CREATE TABLE IF NOT EXISTS Accounts (idAccount {auto}, idUsers INTEGER NOT NULL, Name {text} NOT NULL UNIQUE,
    IsPrimary INTEGER NOT NULL DEFAULT 1, Active INTEGER NOT NULL DEFAULT 1,
    idMailAccount INTEGER, idContactAccount INTEGER, idCalendarAccount INTEGER);
CREATE TABLE IF NOT EXISTS ServiceAccounts (idServiceAccount INTEGER PRIMARY KEY, idAccount INTEGER NOT NULL,
    kind {text} NOT NULL, state {text} NOT NULL, url {text}, error {text}, claimed INTEGER,
    UNIQUE (idAccount, kind));
CREATE TABLE IF NOT EXISTS Sequences (name {text} PRIMARY KEY, last INTEGER NOT NULL);
INSERT {ignore} INTO Sequences SELECT 'idServiceAccount', COALESCE(MAX({greatest}(COALESCE(idMailAccount, 0),
    COALESCE(idContactAccount, 0), COALESCE(idCalendarAccount, 0))), 0) FROM Accounts;
INSERT {ignore} INTO Sequences SELECT 'idUsers', COALESCE(MAX(idUsers), 0) FROM Accounts;
"""
SQLITE = SCHEMA.format(
    auto="INTEGER PRIMARY KEY AUTOINCREMENT", text="TEXT", ignore="OR IGNORE", greatest="MAX"
)
MARIADB = SCHEMA.format(
    auto="INTEGER AUTO_INCREMENT PRIMARY KEY",
    ignore="IGNORE",
    greatest="GREATEST",
    text="VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
)  # as exact as SQLite's TEXT
LONGEST = 255  # characters of a text
BEING_MADE = {"state": "pending", "error": "It is being made."}
CLAIM = 10  # seconds after which whoever claimed a service account must have died at it


@dataclass(frozen=True)
class Kind:
    bit: int  # of PROVISION
    column: str  # of Accounts
    service: str  # of the config's services


KINDS = {  # in the order of their numbers
    "mail": Kind(1, "idMailAccount", "imap"),
    "contacts": Kind(4, "idContactAccount", "dav"),
    "calendar": Kind(2, "idCalendarAccount", "dav"),
}

FIND = PreparedQuery(Accounts.select().where(Accounts.Name == param("user")))
FIND_SERVICES = PreparedQuery(
    ServiceAccounts.select()
    .where(ServiceAccounts.idAccount == param("idAccount"))
    .order_by(ServiceAccounts.idServiceAccount)
)
EVERYBODY = Accounts.select().order_by(Accounts.Name)
SERVICES = ServiceAccounts.select(
    ServiceAccounts.idAccount,
    ServiceAccounts.kind,
    ServiceAccounts.idServiceAccount.alias("id"),
    ServiceAccounts.state,
    ServiceAccounts.url,
    ServiceAccounts.error,
).order_by(ServiceAccounts.idServiceAccount)
NEXT = PreparedQuery(Sequences.update(last=Sequences.last + 1).where(Sequences.name == param("name")))
LOCK = PreparedQuery(Sequences.update(last=Sequences.last).where(Sequences.name == "idServiceAccount"))
GIVEN = PreparedQuery(Sequences.select(Sequences.last).where(Sequences.name == param("name")))
KEEP = PreparedQuery(
    ServiceAccounts.update(state=param("state"), error=param("error"), claimed=None).where(
        ServiceAccounts.idAccount == param("idAccount"), ServiceAccounts.kind == param("kind")
    )
)


class Ledger:
    """Accounts, wherever `apiserver` has them."""

    def __init__(self, app, urls: dict[str, str]):
        self.app, self.urls, place = app, urls, app.config.apiserver  # urls: of the services, by kind
        self.store_of_its_own: Store | None = None
        if is_url(place):
            self.store_of_its_own = MariaStore(place, "apiserver", deadline=6, schema=MARIADB)
        elif place:
            self.store_of_its_own = StateStore(str(app.config.base / place), SQLITE)

    @property
    def state_schema(self) -> str:
        """The tables that the state database needs for this."""
        return "" if self.store_of_its_own else SQLITE

    @property
    def store(self) -> Store:
        return self.store_of_its_own or self.app.state

    def find(self, user_name: str) -> dict | None:
        """A user's account."""
        with self.store.transaction("DEFERRED"):
            return self.named(user_name)

    def named(self, user_name: str) -> dict | None:
        """The same within a transaction; compared exactly, whatever the table's collation is."""
        return next((row for row in self.store.rows(FIND, user=user_name) if row["Name"] == user_name), None)

    def services(self, account: dict) -> dict[str, dict]:
        rows = self.store.rows(FIND_SERVICES, idAccount=account["idAccount"])
        return {row["kind"]: row for row in rows}

    def rows(self, names: list[str] | None = None) -> list[dict]:
        """The accounts of these users, or all, by name, each with its services."""
        wanted = EVERYBODY
        if names is not None and len(names) < 1000:
            wanted = wanted.where(Accounts.Name.in_(names))
        services: dict[int, list] = {}
        with self.store.transaction("DEFERRED"):
            among = None if names is None else set(names)
            found = [row for row in self.store.rows(wanted) if among is None or row["Name"] in among]
            few = [row["idAccount"] for row in found] if len(found) < 1000 else None
            for row in self.store.rows(
                SERVICES if few is None else SERVICES.where(ServiceAccounts.idAccount.in_(few))
            ):
                services.setdefault(row.pop("idAccount"), []).append(row)
        return [row | {"services": services.get(row["idAccount"], [])} for row in found]

    def enter(self, user_name: str, mask: int, id_users: int | None) -> tuple[dict, list[str]]:
        """A user's account with a number for all that mask asks for; and the kinds that are ours to make now."""
        with self.store.transaction():
            self.store.execute(LOCK)
            account = self.named(user_name) or self.add(user_name, id_users)
            services = self.services(account)
            return account, [
                kind for kind in asked(account, mask) if self.claim(account, kind, services.get(kind))
            ]

    def complete(self, user_name: str, mask: int) -> bool:
        """Whether there is nothing to do: so it is at all log-ins but few."""
        with self.store.transaction("DEFERRED"):
            account = self.named(user_name)
            services = self.services(account) if account else {}
        return account is not None and not any(
            account[KINDS[kind].column] is None or self.to_try(kind, services.get(kind))
            for kind in asked(account, mask)
        )

    def to_try(self, kind: str, service: dict | None) -> bool:
        """Whether a service account is not there yet, or not where the service is now."""
        url = self.urls.get(kind)
        return service is None or url is not None and (service["state"] != "ok" or service["url"] != url)

    def add(self, user_name: str, id_users: int | None) -> dict:
        if len(user_name) > LONGEST:
            raise ApiError(f"A user name of more than {LONGEST} characters has no account.")
        self.store.execute(
            Accounts.insert(
                Name=user_name,
                idUsers=self.number("idUsers") if id_users is None else id_users,
                IsPrimary=1,
                Active=1,
            )
        )
        return self.named(user_name)

    def number(self, sequence: str) -> int:
        self.store.execute(NEXT, name=sequence)
        return self.store.value(GIVEN, name=sequence)

    def claim(self, account: dict, kind: str, service: dict | None) -> bool:
        """Give the account a service account of a kind; whether it is ours now to make it at the service."""
        column, url, now = KINDS[kind].column, self.urls.get(kind), int(time.time())
        if account[column] is None:
            account[column] = self.number("idServiceAccount")
            self.store.execute(
                Accounts.update({column: account[column]}).where(Accounts.idAccount == account["idAccount"])
            )
        if service is None:
            self.store.execute(
                ServiceAccounts.insert(
                    idServiceAccount=account[column],
                    idAccount=account["idAccount"],
                    kind=kind,
                    url=url,
                    **(BEING_MADE | {"claimed": now} if url else {"state": "ok"}),
                )
            )
            return url is not None
        if not self.to_try(kind, service) or abs(now - (service["claimed"] or 0)) < CLAIM:
            return False
        self.store.execute(
            ServiceAccounts.update(state="pending", url=url, claimed=now).where(
                ServiceAccounts.idServiceAccount == service["idServiceAccount"]
            )
        )
        return True

    def keep(self, account: dict, kind: str, error: str | None):
        """Note how an attempt ended: the reason, or None for what is there now."""
        with self.store.transaction():
            self.store.execute(
                KEEP,
                state="pending" if error else "ok",
                error=error and error[:LONGEST],
                idAccount=account["idAccount"],
                kind=kind,
            )

    def activate(self, user_name: str, active: bool) -> bool:
        """Let a user log in or not; whether there is such an account."""
        with self.store.transaction():
            account = self.named(user_name)
            if account:
                self.store.execute(
                    Accounts.update(Active=int(active)).where(Accounts.idAccount == account["idAccount"])
                )
        return account is not None

    def delete(self, user_name: str) -> bool:
        """Forget a user's account and service accounts; whether there was one."""
        with self.store.transaction():
            account = self.named(user_name)
            if account:
                for table in (ServiceAccounts, Accounts):
                    self.store.execute(table.delete().where(table.idAccount == account["idAccount"]))
        return account is not None


def asked(account: dict, mask: int) -> list[str]:
    """The kinds that an account is to have: those of mask, and those that it has."""
    return [kind for kind, k in KINDS.items() if k.bit & mask or account[k.column] is not None]
