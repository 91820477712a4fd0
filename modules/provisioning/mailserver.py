"""The mail server's own database of users: mailapi checks passwords against it and keeps its users up to date."""

import hashlib
import hmac
import re

from mailapi import CREDENTIALS_OF, ApiError, Participant

from ..directory import user_names
from . import password_schemes
from .mailserver_tables import (
    ADD_ACCOUNT,
    DELETE_ACCOUNT,
    FIND_ACCOUNT,
    FIND_DOMAIN,
    NAMES_AND_STATUS,
    PASSWORD_FROM_ID,
    RESTORE,
    SET_PASSWORD,
    STATUS_OF_USER,
    SUSPEND,
)
from .two_phase import TwoPhaseCommit

LONGEST_NAME = 255  # characters
NAME = re.compile(r"[^\s/@.\0-\x1f\x7f][^\s/@\0-\x1f\x7f]*@[^\s/@\0-\x1f\x7f]+")
SHUT_OUT = {"user_name": None, "user_authdata": None}
CHANGES = {
    "delete": DELETE_ACCOUNT,
    "set_password": SET_PASSWORD,
    "suspend": SUSPEND,
    "restore": RESTORE,
}
HOME = "/var/atmail/users/{}/{}/{}/{}"


def home(user_name: str) -> str:
    """Return the folder for a user's mail, such as /var/atmail/users/a/b/c/bob@example.org.

    a, b and c are the first three hex digits of the name's MD5.
    """
    return HOME.format(*hashlib.md5(user_name.encode(), usedforsecurity=False).hexdigest()[:3], user_name)


class MailServer:
    """The mail server's database of users: checks their passwords, and adds, changes and deletes users."""

    def __init__(self, app):
        from ..mariadb.shared_store import SharedStore

        self.app, self.store = app, SharedStore(app.config.mailserver, "mailserver")
        self.key = app.config.mailserver.encode()
        self.two_phase = TwoPhaseCommit(app, self.store)

    def find(self, user_name: str) -> dict | None:
        """Return a user's row of the mail server's table `accounts`, or None if there is no such user."""
        with self.store.transaction("DEFERRED"):
            return self.find_exactly(user_name)

    def find_exactly(self, user_name: str) -> dict | None:
        """Return a user's row of the mail server's table `accounts`, or None. Call this within a transaction.

        Upper and lower case in the name must match, even if the database ignores case.
        """
        rows = self.store.rows(FIND_ACCOUNT, user=user_name)
        return next((row for row in rows if row["username"] == user_name), None)

    def credentials(self, user_name: str, logging_in: bool, shut_out: bool) -> dict | None:
        """Return a user's credentials in the mail server's database: {"user_name": …, "user_authdata": HASH, …}.

        Their "verify" is a function that checks a password, verify(password, hash). It always returns False if the
        user is unknown or disabled, or if `shut_out` is True (the user is locked out). Return None if the password in
        mailapi's table `users` is to be checked instead. `logging_in` is True if the request has a password, not a
        session or token.
        """
        if logging_in:
            self.two_phase.resolve_in_doubt()
        row, other = self.find(user_name), self.decoy_password_hash(user_name) if logging_in else None
        if row and row["userStatus"] == 0 and not shut_out:
            return {
                "user_name": user_name,
                "user_authdata": row["password"],
                "accountId": row["accountId"],
                "verify": password_schemes.verify,
            }
        ours = self.app.db.one(CREDENTIALS_OF, user=user_name) or {}
        if row is None and not shut_out and ours.get("user_authdata"):
            return None
        # A refusal takes the time of a wrong password (docs/wire.md F18).
        stored = row["password"] if row else other
        return SHUT_OUT | {"verify": lambda password, _: password_schemes.verify(password, stored) and False}

    def decoy_password_hash(self, user_name: str) -> str | None:
        """Return another user's password hash, so that checking an unknown user takes as long as checking a known one.

        The same `user_name` always gets the same hash.
        """
        # So a log-in does not reveal which users exist (docs/wire.md F18).
        share = int.from_bytes(hmac.digest(self.key, user_name.encode(), "sha256")[:6]) / 2**48
        with self.store.transaction("DEFERRED"):
            return self.store.value(PASSWORD_FROM_ID, share=share)

    def users(self, user_name: str | None) -> list[dict]:
        """Return the user `user_name` of the mail server, or all users if it is None.

        For example [{"user_name": "bob@example.org", "user_login": 1}]; user_login is 0 if the user may not log in.
        """
        query = NAMES_AND_STATUS if user_name is None else STATUS_OF_USER
        with self.store.transaction("DEFERRED"):
            return [
                {"user_name": row["username"], "user_login": int(row["userStatus"] == 0)}
                for row in self.store.rows(query, user=user_name)
                if user_name in (None, row["username"])
            ]

    def on_user_change(self, call, change: str, user_name: str, password: str | None) -> Participant | None:
        """Prepare a change in the mail server's database that mailapi is making to a user in its table `users`.

        `change` is "add", "delete", "set_password", "suspend" or "restore". Return an object that the caller commits
        after its own transaction, or rolls back with it; None if there is nothing to change.
        """
        with self.store.transaction("DEFERRED"):
            self.two_phase.resolve_locked()
            row = self.find_exactly(user_name)
            if change == "add" and not (row and not password and call.caller.admin):
                return self.two_phase.prepare(call.db, ADD_ACCOUNT, self.new_row(user_name), password)
            if change not in CHANGES or row is None or change == "restore" and row["userStatus"] == 0:
                return None
            values = {"user": user_name, "accountId": row["accountId"]}
            return self.two_phase.prepare(call.db, CHANGES[change], values, password)

    def new_row(self, user_name: str) -> dict:
        """Return the values for a new user's row: {"user": "bob@example.org", "home": "/var/…", "domain": 7}.

        ApiError if the name is no mail address, exists already, or has a domain that the mail server does not have.
        """
        if (
            not NAME.fullmatch(user_name)
            or len(user_name) > LONGEST_NAME
            or not user_names.same_everywhere(user_name)
        ):
            raise ApiError("With a mailserver a user name must be a mail address.", field="user_name")
        if taken := self.store.one(FIND_ACCOUNT, user=user_name):
            raise ApiError(
                f"The mailserver has a user {taken['username']} already.", code="duplicate", field="user_name"
            )
        wanted = user_name.rpartition("@")[2]
        for domain in self.store.rows(FIND_DOMAIN, domain=wanted):
            if domain["domainName"] == wanted:
                return {"user": user_name, "home": home(user_name), "domain": domain["domainId"]}
        raise ApiError(f"The mailserver has no domain {wanted}.", field="user_name")
