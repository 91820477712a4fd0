"""The tables of users' accounts for mail, contacts and calendar at other servers, and SQL statements for them."""

from collections.abc import Sequence
from dataclasses import dataclass

from peewee import Field, IntegerField, Select, TextField

from mailapi import Model, PreparedQuery, Store, param

from ..directory.lists import ListQuery


class Accounts(Model):
    """A row of the table Accounts: a user, and the ids of their mailbox, calendar and contacts in ServiceAccounts."""

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
    """A row of the table ServiceAccounts: a user's mailbox, calendars or contacts, and whether the server has them."""

    idServiceAccount = IntegerField()
    idAccount = IntegerField()
    kind = TextField()  # mail, contacts, calendar
    state = TextField()  # ok, pending
    url = TextField(null=True)  # of the service, without credentials
    error = TextField(null=True)
    claimed = IntegerField(null=True)  # seconds since 1970; when a log-in began to create it at the service

    class Meta:
        table_name = "ServiceAccounts"


class Sequences(Model):
    """A row of the table Sequences: the last number given to a new row, such as the last "idUsers"."""

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
    COALESCE(idContactAccount, 0), COALESCE(idCalendarAccount, 0))), 0) FROM Accounts
    UNION ALL SELECT 'idUsers', COALESCE(MAX(idUsers), 0) FROM Accounts;
"""
SQLITE_SCHEMA = SCHEMA.format(
    auto="INTEGER PRIMARY KEY AUTOINCREMENT", text="TEXT", ignore="OR IGNORE", greatest="MAX"
)
MARIADB_SCHEMA = SCHEMA.format(
    auto="INTEGER AUTO_INCREMENT PRIMARY KEY",
    ignore="IGNORE",
    greatest="GREATEST",
    text="VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
)  # compares byte for byte, as SQLite's TEXT does
LONGEST_TEXT = 255  # characters
NEW_AT_SERVICE = {"state": "pending", "error": "It is being made."}
NOT_AT_SERVICE: dict[str, str | None] = {"state": "ok", "error": None}
LONGEST_CLAIM = 10  # seconds after which the log-in that began to create a service account must have died


@dataclass(frozen=True)
class Kind:
    """A kind of service account: a user's mail, contacts or calendar at a server."""

    bit: int  # in PROVISION
    column: str  # in Accounts
    service: str  # in the config's services


KINDS = {  # in the order in which an account gets the numbers of its service accounts
    "mail": Kind(1, "idMailAccount", "imap"),
    "contacts": Kind(4, "idContactAccount", "dav"),
    "calendar": Kind(2, "idCalendarAccount", "dav"),
}

FIND_ACCOUNT = PreparedQuery(Accounts.select().where(Accounts.Name == param("user")))
FIND_SERVICES = PreparedQuery(
    ServiceAccounts.select()
    .where(ServiceAccounts.idAccount == param("idAccount"))
    .order_by(ServiceAccounts.idServiceAccount)
)


class AmongQuery:
    """A prepared query for the rows in which `column` has one of several values (in SQL: IN)."""

    SIZES = (1, 20, 999)  # values of a statement: few sizes, so that few statements have to be prepared

    def __init__(self, query: Select, column: Field):
        self.query, self.column, self.all = query, column, PreparedQuery(query)
        self.queries: dict[int, PreparedQuery] = {}

    def rows(self, store: Store, values: Sequence | None) -> list[dict]:
        """Return the rows that have one of `values`, but all rows if it is None or has more than 999 members."""
        if values is None or len(values) > self.SIZES[-1]:
            return store.rows(self.all)
        size = next(size for size in self.SIZES if size >= len(values))
        names = [f"value{n}" for n in range(size)]
        if size not in self.queries:
            among = self.column.in_([param(name) for name in names])
            self.queries[size] = PreparedQuery(self.query.where(among))
        return store.rows(self.queries[size], **dict.fromkeys(names) | dict(zip(names, values)))


BY_NAME = Accounts.select().order_by(Accounts.Name)
ACCOUNTS_OF_USERS, ALL_ACCOUNTS = AmongQuery(BY_NAME, Accounts.Name), ListQuery(BY_NAME, Accounts.Name)
SERVICES_OF_ACCOUNTS = AmongQuery(
    ServiceAccounts.select(
        ServiceAccounts.idAccount,
        ServiceAccounts.kind,
        ServiceAccounts.idServiceAccount.alias("id"),
        ServiceAccounts.state,
        ServiceAccounts.url,
        ServiceAccounts.error,
    ).order_by(ServiceAccounts.idServiceAccount),
    ServiceAccounts.idAccount,
)
ADD_ACCOUNT = PreparedQuery(
    Accounts.insert(Name=param("user"), idUsers=param("idUsers"), IsPrimary=1, Active=1)
)
IS_ACCOUNT = Accounts.idAccount == param("idAccount")
SET_NUMBER = {  # column → the statement that sets it
    kind.column: PreparedQuery(Accounts.update({kind.column: param("number")}).where(IS_ACCOUNT))
    for kind in KINDS.values()
}
SET_ACTIVE = PreparedQuery(Accounts.update(Active=param("Active")).where(IS_ACCOUNT))
DELETE = [  # the statements that delete an account
    PreparedQuery(table.delete().where(table.idAccount == param("idAccount")))
    for table in (ServiceAccounts, Accounts)
]
ADD_SERVICE = PreparedQuery(
    ServiceAccounts.insert({name: param(name) for name in ServiceAccounts._meta.fields})
)
CLAIM_AGAIN = PreparedQuery(
    ServiceAccounts.update(state="pending", url=param("url"), claimed=param("claimed")).where(
        ServiceAccounts.idServiceAccount == param("idServiceAccount")
    )
)
ADVANCE_SEQUENCE = PreparedQuery(
    Sequences.update(last=Sequences.last + 1).where(Sequences.name == param("name"))
)
LOCK_ACCOUNTS = PreparedQuery(
    Sequences.update(last=Sequences.last).where(Sequences.name == "idServiceAccount")
)
LAST_NUMBER = PreparedQuery(Sequences.select(Sequences.last).where(Sequences.name == param("name")))
SET_OUTCOME = PreparedQuery(
    ServiceAccounts.update(state=param("state"), error=param("error"), claimed=None).where(
        ServiceAccounts.idAccount == param("idAccount"), ServiceAccounts.kind == param("kind")
    )
)
