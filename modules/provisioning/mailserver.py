"""The mail server's own database of users: it verifies their log-ins, and is changed together with table `users`."""

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

    a, b and c are the first hex digits of the name's MD5.
    """
    return HOME.format(*hashlib.md5(user_name.encode(), usedforsecurity=False).hexdigest()[:3], user_name)


class MailServer:
    """The mail server's database of users (its table `accounts`), for log-ins and for changes of users."""

    def __init__(self, app):
        from ..mariadb.shared_store import SharedStore

        self.app, self.store = app, SharedStore(app.config.mailserver, "mailserver")
        self.key = app.config.mailserver.encode()
        self.two_phase = TwoPhaseCommit(app, self.store)

    def find(self, user_name: str) -> dict | None:
        """Return a user's row of the mail server's table `accounts`, or None."""
        with self.store.transaction("DEFERRED"):
            return self.find_exactly(user_name)

    def find_exactly(self, user_name: str) -> dict | None:
        """Return a user's row of the mail server's table `accounts`, or None. Upper and lower case differ.

        Call it in a transaction. Python compares the names, since the database may ignore case.
        """
        rows = self.store.rows(FIND_ACCOUNT, user=user_name)
        return next((row for row in rows if row["username"] == user_name), None)

    def credentials(self, user_name: str, logging_in: bool, shut_out: bool) -> dict | None:
        """Return a user's password hash and the function that verifies a password. None: use the table `users`.

        `logging_in` is False if a session or token is used. `shut_out`: an admin has locked the user out. For
        a user who is unknown, disabled or locked out, the function accepts no password, but takes as long as
        for a wrong one (docs/wire.md F18).
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
        """Return the password hash of another user, for an unknown `user_name`: always the same one for a name.

        The password of an unknown user is checked against it, to take as long as for an existing user
        (docs/wire.md F18).
        """
        share = int.from_bytes(hmac.digest(self.key, user_name.encode(), "sha256")[:6]) / 2**48
        with self.store.transaction("DEFERRED"):
            return self.store.value(PASSWORD_FROM_ID, share=share)

    def users(self, user_name: str | None) -> list[dict]:
        """Return all users of the mail server, or only the one named, with `user_login` 1 if they may log in.

        For example [{"user_name": "bob@example.org", "user_login": 1}].
        """
        query = NAMES_AND_STATUS if user_name is None else STATUS_OF_USER
        with self.store.transaction("DEFERRED"):
            return [
                {"user_name": row["username"], "user_login": int(row["userStatus"] == 0)}
                for row in self.store.rows(query, user=user_name)
                if user_name in (None, row["username"])
            ]

    def on_user_change(self, call, change: str, user_name: str, password: str | None) -> Participant | None:
        """Prepare a change of a user in the mail server's database (two-phase commit). None if it needs no change.

        `change` is the change in table `users`: "add", or a key of CHANGES. The mail server needs no change
        if it does not have the user, or if a user to restore is active there. Nor does it if an admin adds a
        user whom it already has, without giving a password.
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
        """Return the values of a new row in the mail server's table `accounts`.

        ApiError if the name is no mail address, exists already, or is in a domain that the mail server does not have.
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
