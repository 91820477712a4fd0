"""The accounts: which services a user has, and whether the services know it."""

import time

from mailapi import ApiError, Config, Store, is_url, repeated

from ..state.store import StateStore
from .account_tables import (
    ADVANCE_SEQUENCE,
    ALL_ACCOUNTS,
    ALL_SERVICES,
    FIND_ACCOUNT,
    FIND_SERVICES,
    KINDS,
    LAST_NUMBER,
    LOCK_ACCOUNTS,
    LONGEST_CLAIM,
    LONGEST_TEXT,
    MARIADB_SCHEMA,
    NEW_AT_SERVICE,
    SET_OUTCOME,
    SQLITE_SCHEMA,
    Accounts,
    ServiceAccounts,
)


def open_own_store(config: Config) -> Store | None:
    """Return the store that `apiserver` names: a URL or a file; None if it is not set."""
    if is_url(config.apiserver):
        from ..mariadb.shared_store import SharedStore

        return SharedStore(config.apiserver, "apiserver", deadline=6, schema=MARIADB_SCHEMA)
    if config.apiserver:
        return StateStore(str(config.base / config.apiserver), SQLITE_SCHEMA)
    return None


class Ledger:
    """The tables of accounts, in the state database or in the one that `apiserver` names."""

    def __init__(self, app, urls: dict[str, str]):
        self.app, self.urls = app, urls  # of the services, by kind
        self.own_store = open_own_store(app.config)

    @property
    def state_schema(self) -> str:
        """The schema that the state database gets for accounts."""
        return "" if self.own_store else SQLITE_SCHEMA

    @property
    def store(self) -> Store:
        return self.own_store or self.app.state

    def find(self, user_name: str) -> dict | None:
        """Return a user's account, or None."""
        with self.store.transaction("DEFERRED"):
            return self.find_exactly(user_name)

    def find_exactly(self, user_name: str) -> dict | None:
        """Return a user's account, or None, within a transaction. Compare here: the collation may ignore case."""
        rows = self.store.rows(FIND_ACCOUNT, user=user_name)
        return next((row for row in rows if row["Name"] == user_name), None)

    def services(self, account: dict) -> dict[str, dict]:
        """Return an account's service accounts by their kind."""
        rows = self.store.rows(FIND_SERVICES, idAccount=account["idAccount"])
        return {row["kind"]: row for row in rows}

    def rows(self, names: list[str] | None = None) -> list[dict]:
        """Return the accounts of these users, or all, ordered by name, each with its service accounts."""
        wanted = ALL_ACCOUNTS
        if names is not None and len(names) < 1000:
            wanted = wanted.where(Accounts.Name.in_(names))
        services: dict[int, list] = {}
        with self.store.transaction("DEFERRED"):
            among = None if names is None else set(names)
            accounts = [row for row in self.store.rows(wanted) if among is None or row["Name"] in among]
            query = ALL_SERVICES
            if len(accounts) < 1000:
                query = query.where(ServiceAccounts.idAccount.in_([row["idAccount"] for row in accounts]))
            for row in self.store.rows(query):
                services.setdefault(row.pop("idAccount"), []).append(row)
        return [row | {"services": services.get(row["idAccount"], [])} for row in accounts]

    @repeated
    def enter(self, user_name: str, mask: int, id_users: int | None) -> tuple[dict, list[str]]:
        """Give a user an account with a number for each kind in mask; return it and the kinds that the caller is to make."""
        with self.store.transaction():
            self.store.execute(LOCK_ACCOUNTS)
            account = self.find_exactly(user_name) or self.add(user_name, id_users)
            services = self.services(account)
            return account, [
                kind for kind in wanted_kinds(account, mask) if self.claim(account, kind, services.get(kind))
            ]

    def is_complete(self, user_name: str, mask: int) -> bool:
        """Return whether `enter` would change nothing, without a lock: true for all log-ins of a user but the first."""
        with self.store.transaction("DEFERRED"):
            account = self.find_exactly(user_name)
            services = self.services(account) if account else {}
        return account is not None and not any(
            account[KINDS[kind].column] is None or self.needs_attempt(kind, services.get(kind))
            for kind in wanted_kinds(account, mask)
        )

    def needs_attempt(self, kind: str, service: dict | None) -> bool:
        """Return whether a service account is yet to be made, or was made at another URL of the service."""
        url = self.urls.get(kind)
        return service is None or url is not None and (service["state"] != "ok" or service["url"] != url)

    def add(self, user_name: str, id_users: int | None) -> dict:
        """Add an account without service accounts, and return it; raise ApiError for a name that is too long."""
        if len(user_name) > LONGEST_TEXT:
            raise ApiError(f"A user name of more than {LONGEST_TEXT} characters has no account.")
        self.store.execute(
            Accounts.insert(
                Name=user_name,
                idUsers=self.next_number("idUsers") if id_users is None else id_users,
                IsPrimary=1,
                Active=1,
            )
        )
        account = self.find_exactly(user_name)
        assert account is not None  # it was just added
        return account

    def next_number(self, sequence: str) -> int:
        """Return the next number of a sequence, and note that it is given."""
        self.store.execute(ADVANCE_SEQUENCE, name=sequence)
        return self.store.value(LAST_NUMBER, name=sequence)

    def claim(self, account: dict, kind: str, service: dict | None) -> bool:
        """Give an account a service account of a kind; return whether the caller is to make it at the service."""
        column, url, now = KINDS[kind].column, self.urls.get(kind), int(time.time())
        if account[column] is None:
            account[column] = self.next_number("idServiceAccount")
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
                    **(NEW_AT_SERVICE | {"claimed": now} if url else {"state": "ok"}),
                )
            )
            return url is not None
        if not self.needs_attempt(kind, service) or abs(now - (service["claimed"] or 0)) < LONGEST_CLAIM:
            return False
        self.store.execute(
            ServiceAccounts.update(state="pending", url=url, claimed=now).where(
                ServiceAccounts.idServiceAccount == service["idServiceAccount"]
            )
        )
        return True

    @repeated
    def record_outcome(self, account: dict, kind: str, error: str | None):
        """Record how an attempt at a service ended: the error, or None if the service has the account now."""
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
        """Allow or refuse a user's log-ins; return whether the user has an account."""
        with self.store.transaction():
            account = self.find_exactly(user_name)
            if account:
                self.store.execute(
                    Accounts.update(Active=int(active)).where(Accounts.idAccount == account["idAccount"])
                )
        return account is not None

    @repeated
    def delete(self, user_name: str) -> bool:
        """Delete a user's account and service accounts; return whether there was one."""
        with self.store.transaction():
            account = self.find_exactly(user_name)
            if account:
                for table in (ServiceAccounts, Accounts):
                    self.store.execute(table.delete().where(table.idAccount == account["idAccount"]))
        return account is not None


def wanted_kinds(account: dict, mask: int) -> list[str]:
    """Return the kinds that an account is to have: those in mask, and those that it has."""
    return [kind for kind, k in KINDS.items() if k.bit & mask or account[k.column] is not None]
