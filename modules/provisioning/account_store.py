"""The records of accounts: which users have mail, contacts and calendar at which servers, and if these exist already.

A user has one account. It has up to three service accounts: the user's mailbox, contacts and calendars.
"""

import time

from mailapi import ApiError, Config, Store, is_url, repeated

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
    """Open the database for the records of accounts, which is in the setting `apiserver`; None if that is empty."""
    if is_url(config.apiserver):
        from ..mariadb.shared_store import SharedStore

        return SharedStore(config.apiserver, "apiserver", deadline=6, schema=MARIADB_SCHEMA)
    if config.apiserver:
        return StateStore(str(config.base / config.apiserver), SQLITE_SCHEMA)
    return None


class Ledger:
    """The records of accounts in the tables Accounts, ServiceAccounts and Sequences, and how to change them.

    The tables are in the database of the setting `apiserver`, or without one in the state database. `urls` has the
    server's URL for each kind of service account: mail, contacts, calendar.
    """

    def __init__(self, app, urls: dict[str, str]):
        self.app, self.urls = app, urls
        self.own_store = open_own_store(app.config)

    @property
    def state_schema(self) -> str:
        """Return the SQL that creates the tables of this class in the state database, or "" if they have their own."""
        return "" if self.own_store else SQLITE_SCHEMA

    @property
    def store(self) -> Store:
        return self.own_store or self.app.state

    def find(self, user_name: str) -> dict | None:
        """Return a user's row of the table Accounts, or None if the user has no account."""
        with self.store.transaction("DEFERRED"):
            return self.find_exactly(user_name)

    def find_exactly(self, user_name: str) -> dict | None:
        """Return a user's row of the table Accounts, or None. Call it in a transaction.

        The name must be equal in case, too, which the database may ignore.
        """
        rows = self.store.rows(FIND_ACCOUNT, user=user_name)
        return next((row for row in rows if row["Name"] == user_name), None)

    def services(self, account: dict) -> dict[str, dict]:
        """Return an account's rows of the table ServiceAccounts by kind, such as {"mail": {…}, "contacts": {…}}."""
        rows = self.store.rows(FIND_SERVICES, idAccount=account["idAccount"])
        return {row["kind"]: row for row in rows}

    def rows(self, names: list[str] | None = None) -> list[dict]:
        """Return the accounts of the users in `names` (None: of all users), sorted by name.

        Each is a row of the table Accounts with `services` added: a list of its rows of ServiceAccounts.
        """
        with self.store.transaction("DEFERRED"):
            accounts = ACCOUNTS_OF_USERS.rows(self.store, names)
            if names is not None:
                among = set(names)  # compared here, because the database may ignore case
                accounts = [row for row in accounts if row["Name"] in among]
            return self.with_services(accounts)

    def page(self, call) -> list[dict]:
        """Return those accounts that `limit`, `after` and `search` of the call select, in the form of `rows`."""
        query, values = ALL_ACCOUNTS.page(call)
        with self.store.transaction("DEFERRED"):
            return self.with_services(self.store.rows(query, **values))

    def with_services(self, accounts: list[dict]) -> list[dict]:
        """Return rows of the table Accounts, each with `services` added: a list of its rows of ServiceAccounts."""
        services: dict[int, list] = {}
        for row in SERVICES_OF_ACCOUNTS.rows(self.store, [row["idAccount"] for row in accounts]):
            services.setdefault(row.pop("idAccount"), []).append(row)
        return [row | {"services": services.get(row["idAccount"], [])} for row in accounts]

    @repeated
    def enter(self, user_name: str, mask: int, id_users: int | None) -> tuple[dict, list[str]]:
        """Record an account for a user, with a service account for each kind in `mask`, if they are not there yet.

        Return the account, and the kinds that the caller must create at their servers now, such as ["mail"]. `mask` is
        a sum of 1 (mail), 2 (calendar) and 4 (contacts). `id_users` is a new account's idUsers; None: the next number.
        """
        with self.store.transaction():
            self.store.execute(LOCK_ACCOUNTS)
            account = self.find_exactly(user_name) or self.add(user_name, id_users)
            services = self.services(account)
            return account, [
                kind for kind in wanted_kinds(account, mask) if self.claim(account, kind, services.get(kind))
            ]

    def is_complete(self, user_name: str, mask: int) -> bool:
        """Return whether a user's account and its service accounts are recorded as existing at their servers.

        `mask` is the sum of the kinds that must exist: 1 mail, 2 calendar, 4 contacts. Needs no lock, unlike `enter`.
        """
        with self.store.transaction("DEFERRED"):
            account = self.find_exactly(user_name)
            services = self.services(account) if account else {}
        return account is not None and not any(
            account[KINDS[kind].column] is None or self.needs_attempt(kind, services.get(kind))
            for kind in wanted_kinds(account, mask)
        )

    def needs_attempt(self, kind: str, service: dict | None) -> bool:
        """Return whether a service account of this kind must still be created at its server.

        That is if it has no record, is pending, or its server has another URL now. `service` is its row of
        ServiceAccounts, or None.
        """
        url = self.urls.get(kind)
        return service is None or url is not None and (service["state"] != "ok" or service["url"] != url)

    def add(self, user_name: str, id_users: int | None) -> dict:
        """Insert a row into the table Accounts, and return the row. ApiError if the user name is too long.

        `id_users` is the row's idUsers; None: the next free number.
        """
        if len(user_name) > LONGEST_TEXT:
            raise ApiError(f"A user name of more than {LONGEST_TEXT} characters has no account.")
        id_users = self.next_number("idUsers") if id_users is None else id_users
        self.store.execute(ADD_ACCOUNT, user=user_name, idUsers=id_users)
        account = self.find_exactly(user_name)
        assert account is not None  # it was just added
        return account

    def next_number(self, sequence: str) -> int:
        """Increase and return the last number of a sequence, which is "idUsers" or "idServiceAccount"."""
        self.store.execute(ADVANCE_SEQUENCE, name=sequence)
        return self.store.value(LAST_NUMBER, name=sequence)

    def claim(self, account: dict, kind: str, service: dict | None) -> bool:
        """Record that this process creates a service account at its server now, and return True, or return False.

        False: the server has the service account already, another log-in is creating it, or config.py has no such
        server. `service` is the row of ServiceAccounts; None if there is none yet.
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
        """Record that a service account was created at its server, or that this failed with the message `error`."""
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
        """Let a user log in (active=True) or lock the user out (False). Return False if the user has no account."""
        with self.store.transaction():
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
    """Return the kinds of service account that an account should have, such as ["mail", "calendar"].

    These are the kinds in `mask` (a sum of 1 mail, 2 calendar, 4 contacts), and those that the account has already.
    """
    return [kind for kind, k in KINDS.items() if k.bit & mask or account[k.column] is not None]
