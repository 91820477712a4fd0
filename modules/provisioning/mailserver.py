"""The mail server's own database of users: log-ins by it, and changes of users in it together with `users`."""

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
    SET_PASSWORD,
    STATUS_OF_USER,
)
from .two_phase import TwoPhaseCommit

LONGEST_NAME = 255  # characters
NAME = re.compile(r"[^\s/@.\0-\x1f\x7f][^\s/@\0-\x1f\x7f]*@[^\s/@\0-\x1f\x7f]+")
SHUT_OUT = {"user_name": None, "user_authdata": None}
HOME = "/var/atmail/users/{}/{}/{}/{}"


def home(user_name: str) -> str:
    """Return the folder of a user's mail, below three folders named by the first hex digits of the name's MD5."""
    return HOME.format(*hashlib.md5(user_name.encode(), usedforsecurity=False).hexdigest()[:3], user_name)


class MailServer:
    """The mail server's `accounts`, for log-ins and for changes of users."""

    def __init__(self, app):
        from ..mariadb.shared_store import SharedStore

        self.app, self.store = app, SharedStore(app.config.mailserver, "mailserver")
        self.key = app.config.mailserver.encode()
        self.two_phase = TwoPhaseCommit(app, self.store)

    def find(self, user_name: str) -> dict | None:
        """Return a user's row, or None."""
        with self.store.transaction("DEFERRED"):
            return self.find_exactly(user_name)

    def find_exactly(self, user_name: str) -> dict | None:
        """Return a user's row, or None, within a transaction. Compare names here: the collation may ignore case."""
        rows = self.store.rows(FIND_ACCOUNT, user=user_name)
        return next((row for row in rows if row["username"] == user_name), None)

    def credentials(self, user_name: str, logging_in: bool, shut_out: bool) -> dict | None:
        """Return the row that a log-in is verified against; None for a user whom only `users` has.

        An unknown, disabled or shut out user costs the same work as a wrong password (docs/wire.md F18).
        """
        if logging_in:
            self.two_phase.resolve_in_doubt()
        row, other = self.find(user_name), self.other_password(user_name) if logging_in else None
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
        stored = row["password"] if row else other
        return SHUT_OUT | {"verify": lambda password, _: password_schemes.verify(password, stored) and False}

    def other_password(self, user_name: str) -> str | None:
        """Return a stored password of another user, always the same one for a name.

        Verifying it makes an unknown name cost as much as an existing one (docs/wire.md F18).
        """
        share = int.from_bytes(hmac.digest(self.key, user_name.encode(), "sha256")[:6]) / 2**48
        with self.store.transaction("DEFERRED"):
            return self.store.value(PASSWORD_FROM_ID, share=share)

    def users(self, user_name: str | None) -> list[dict]:
        """Return all users of the mail server, or the one named, and whether they may log in."""
        query = NAMES_AND_STATUS if user_name is None else STATUS_OF_USER
        with self.store.transaction("DEFERRED"):
            return [
                {"user_name": row["username"], "user_login": int(row["userStatus"] == 0)}
                for row in self.store.rows(query, user=user_name)
                if user_name in (None, row["username"])
            ]

    def on_user_change(self, call, change: str, user_name: str, password: str | None) -> Participant | None:
        """Prepare a change of a user; return None if the mail server's database stays as it is.

        An admin who adds a user of the mail server without a password gives that user a row of `users` only.
        """
        with self.store.transaction("DEFERRED"):
            self.two_phase.resolve_locked()
            row = self.find_exactly(user_name)
            if change == "add" and not (row and not password and call.caller.admin):
                return self.two_phase.prepare(call.db, ADD_ACCOUNT, self.new_row(user_name), password)
            if change == "add" or row is None:
                return None
            query = {"delete": DELETE_ACCOUNT, "set_password": SET_PASSWORD}[change]
            values = {"user": user_name, "accountId": row["accountId"]}
            return self.two_phase.prepare(call.db, query, values, password)

    def new_row(self, user_name: str) -> dict:
        """Return the values of a new user's row; raise ApiError for a name that no mail account can have."""
        if (
            not NAME.fullmatch(user_name)
            or len(user_name) > LONGEST_NAME
            or not user_names.same_everywhere(user_name)
        ):
            raise ApiError("With a mailserver a user name must be a mail address.")
        if taken := self.store.one(FIND_ACCOUNT, user=user_name):
            raise ApiError(f"The mailserver has a user {taken['username']} already.")
        wanted = user_name.rpartition("@")[2]
        for domain in self.store.rows(FIND_DOMAIN, domain=wanted):
            if domain["domainName"] == wanted:
                return {"user": user_name, "home": home(user_name), "domain": domain["domainId"]}
        raise ApiError(f"The mailserver has no domain {wanted}.")
