"""The records of users' accounts for mail, contacts and calendar, and which of them their servers have created.

A user has one account, with up to three service accounts: one each for mail, contacts and calendar.
"""

import time

from mailapi import DURABLE, ApiError, Config, Store, is_url, repeated

from ..state.store import StateStore
from .account_tables import (
    ACCOUNTS_OF_USERS,
    ADD_ACCOUNT,
    ADD_SERVICE,
    ADVANCE_SEQUENCE,
    ALL_ACCOUNTS,
    CLAIM_AGAIN,
    DELETE,
    FIND_ACCOUNT,
    FIND_SERVICES,
    KINDS,
    LAST_NUMBER,
    LOCK_ACCOUNTS,
    LONGEST_CLAIM,
    LONGEST_TEXT,
    MARIADB_SCHEMA,
    NEW_AT_SERVICE,
    NOT_AT_SERVICE,
    SERVICES_OF_ACCOUNTS,
    SET_ACTIVE,
    SET_NUMBER,
    SET_OUTCOME,
    SQLITE_SCHEMA,
)


def open_own_store(config: Config) -> Store | None:
    """Open the database that the setting `apiserver` names. Return None if the setting is empty."""
    if is_url(config.apiserver):
        from ..mariadb.shared_store import SharedStore

        return SharedStore(config.apiserver, "apiserver", deadline=6, schema=MARIADB_SCHEMA)
    if config.apiserver:
        return StateStore(str(config.base / config.apiserver), SQLITE_SCHEMA)
    return None


class Ledger:
    """Reads and changes the records of users' accounts: the tables Accounts, ServiceAccounts and Sequences.

    They are in the database that the setting `apiserver` names. If it names none, they are in the state database,
    beside sessions and tokens. `urls` has the servers' URLs for service accounts: {"mail": "imap://…", …}.
    """

    def __init__(self, app, urls: dict[str, str]):
        self.app, self.urls = app, urls
        self.own_store = open_own_store(app.config)

    @property
    def state_schema(self) -> str:
        """Return the SQL that creates the tables in the state database; "" if the database of `apiserver` has them."""
        return "" if self.own_store else SQLITE_SCHEMA

    @property
    def store(self) -> Store:
        return self.own_store or self.app.state

    def find(self, user_name: str) -> dict | None:
        """Return a user's row of the table Accounts, or None if the user has no account."""
        with self.store.transaction("DEFERRED"):
            return self.find_exactly(user_name)

    def find_exactly(self, user_name: str) -> dict | None:
        """Return a user's row of the table Accounts, or None. Call this within a transaction.

        Upper and lower case in the name must match, even if the database ignores case.
        """
        rows = self.store.rows(FIND_ACCOUNT, user=user_name)
        return next((row for row in rows if row["Name"] == user_name), None)

    def services(self, account: dict) -> dict[str, dict]:
        """Return an account's rows of the table ServiceAccounts: {"mail": row, "contacts": row, …}."""
        rows = self.store.rows(FIND_SERVICES, idAccount=account["idAccount"])
        return {row["kind"]: row for row in rows}

    def rows(self, names: list[str] | None = None) -> list[dict]:
        """Return the accounts of the users in `names`, or of all users if `names` is None, sorted by name.

        An account is its row of the table Accounts, with "services": [row of ServiceAccounts, …] added.
        """
        with self.store.transaction("DEFERRED"):
            accounts = ACCOUNTS_OF_USERS.rows(self.store, names)
            if names is not None:
                among = set(names)  # compared here, because the database may ignore case
                accounts = [row for row in accounts if row["Name"] in among]
            return self.with_services(accounts)

    def page(self, call) -> list[dict]:
        """Return one page of the list of accounts: rows of Accounts, each with "services": [row of ServiceAccounts].

        The fields `limit`, `after` and `search` of the call select the page.
        """
        query, values = ALL_ACCOUNTS.page(call)
        with self.store.transaction("DEFERRED"):
            return self.with_services(self.store.rows(query, **values))

    def with_services(self, accounts: list[dict]) -> list[dict]:
        """Return rows of Accounts with a key added: "services" has the user's rows of ServiceAccounts (mailbox, …)."""
        services: dict[int, list] = {}
        for row in SERVICES_OF_ACCOUNTS.rows(self.store, [row["idAccount"] for row in accounts]):
            services.setdefault(row.pop("idAccount"), []).append(row)
        return [row | {"services": services.get(row["idAccount"], [])} for row in accounts]

    @repeated
    def enter(self, user_name: str, mask: int, id_users: int | None) -> tuple[dict, list[str]]:
        """Record a user's account, and its service accounts of the kinds in `mask`, unless they are recorded already.

        Return (row of Accounts, kinds), such as ({…}, ["mail"]). The caller must create these kinds at their servers.
        The other kinds exist, or another process is creating them. `mask` is a sum of 1 mail, 2 calendar and 4
        contacts. `id_users` is the idUsers of a new account; the next number if None.
        """
        with self.store.transaction():
            self.store.execute(LOCK_ACCOUNTS)
            account = self.find_exactly(user_name) or self.add(user_name, id_users)
            services = self.services(account)
            return account, [
                kind for kind in wanted_kinds(account, mask) if self.claim(account, kind, services.get(kind))
            ]

    def is_complete(self, user_name: str, mask: int) -> bool:
        """Return whether the records say that a user's mail, calendar and contacts exist at their servers.

        `mask` is the sum of the kinds that must exist: 1 mail, 2 calendar, 4 contacts.
        """
        with self.store.transaction("DEFERRED"):
            account = self.find_exactly(user_name)
            services = self.services(account) if account else {}
        return account is not None and not any(
            account[KINDS[kind].column] is None or self.needs_attempt(kind, services.get(kind))
            for kind in wanted_kinds(account, mask)
        )

    def needs_attempt(self, kind: str, service: dict | None) -> bool:
        """Return whether a server must still create a service account, such as a user's mailbox.

        `kind` is "mail", "calendar" or "contacts". `service` is the user's row of this kind in ServiceAccounts, or
        None.
        """
        url = self.urls.get(kind)
        return service is None or url is not None and (service["state"] != "ok" or service["url"] != url)

    def add(self, user_name: str, id_users: int | None) -> dict:
        """Insert a row for a user into the table Accounts, and return it. ApiError if the name is too long.

        `id_users` is the row's idUsers. If it is None, take the number after the last one in the table Sequences.
        """
        if len(user_name) > LONGEST_TEXT:
            raise ApiError(f"A user name of more than {LONGEST_TEXT} characters has no account.")
        id_users = self.next_number("idUsers") if id_users is None else id_users
        self.store.execute(ADD_ACCOUNT, user=user_name, idUsers=id_users)
        account = self.find_exactly(user_name)
        assert account is not None  # it was just added
        return account

    def next_number(self, sequence: str) -> int:
        """Increase the number of a sequence, "idUsers" or "idServiceAccount", by 1, and return it."""
        self.store.execute(ADVANCE_SEQUENCE, name=sequence)
        return self.store.value(LAST_NUMBER, name=sequence)

    def claim(self, account: dict, kind: str, service: dict | None) -> bool:
        """Record that this process is about to create a service account (mail, calendar or contacts) at its server.

        Return True if it must do so; False if the server has the service account already, another log-in is creating
        it, or there is no such server. `service` is its row of ServiceAccounts; None if there is no row yet.
        """
        column, url, now = KINDS[kind].column, self.urls.get(kind), int(time.time())
        if account[column] is None:
            account[column] = self.next_number("idServiceAccount")
            self.store.execute(SET_NUMBER[column], number=account[column], idAccount=account["idAccount"])
        if service is None:
            self.store.execute(
                ADD_SERVICE,
                idServiceAccount=account[column],
                idAccount=account["idAccount"],
                kind=kind,
                url=url,
                claimed=now if url else None,
                **(NEW_AT_SERVICE if url else NOT_AT_SERVICE),
            )
            return url is not None
        if not self.needs_attempt(kind, service) or abs(now - (service["claimed"] or 0)) < LONGEST_CLAIM:
            return False
        number = service["idServiceAccount"]
        self.store.execute(CLAIM_AGAIN, url=url, claimed=now, idServiceAccount=number)
        return True

    @repeated
    def record_outcome(self, account: dict, kind: str, error: str | None):
        """Record whether a server has created a service account, such as a user's mailbox.

        `error` is the server's error message, or None if it succeeded.
        """
        with self.store.transaction():
            self.store.execute(
                SET_OUTCOME,
                state="pending" if error else "ok",
                error=error and error[:LONGEST_TEXT],
                idAccount=account["idAccount"],
                kind=kind,
            )

    @repeated
    def activate(self, user_name: str, active: bool) -> bool:
        """Let a user log in if `active` is True, else lock the user out. Return False if there is no such account.

        A power cut does not undo it.
        """
        with self.store.transaction(DURABLE):
            account = self.find_exactly(user_name)
            if account:
                self.store.execute(SET_ACTIVE, Active=int(active), idAccount=account["idAccount"])
        return account is not None

    @repeated
    def delete(self, user_name: str) -> bool:
        """Delete the records of a user's account and its service accounts. Return False if there is no account."""
        with self.store.transaction():
            account = self.find_exactly(user_name)
            if account:
                for query in DELETE:
                    self.store.execute(query, idAccount=account["idAccount"])
        return account is not None


def wanted_kinds(account: dict, mask: int) -> list[str]:
    """Return which service accounts a user has or should get, such as ["mail", "calendar"].

    `account` is the user's row of Accounts: with a number in idMailAccount, for example, the user has "mail". `mask`
    says which the user should get: it is a sum of 1 mail, 2 calendar and 4 contacts.
    """
    return [kind for kind, k in KINDS.items() if k.bit & mask or account[k.column] is not None]
