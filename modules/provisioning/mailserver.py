"""The mail server's own database of users: mailapi checks log-ins against it, and changes it together with `users`."""

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
    """The mail server's database of users (its table `accounts`): checks their log-ins, and changes them."""

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
        """Return a user's row of the mail server's table `accounts`, or None. Call it in a transaction.

        The name must be equal in case, too, which the database may ignore.
        """
        rows = self.store.rows(FIND_ACCOUNT, user=user_name)
        return next((row for row in rows if row["username"] == user_name), None)

    def credentials(self, user_name: str, logging_in: bool, shut_out: bool) -> dict | None:
        """Return a user's stored password and a function to verify one; None if the table `users` has them instead.

        The result is {"user_name": …, "user_authdata": …, "verify": …}. For an unknown, disabled or locked out user,
        `verify` refuses every password, in the time that a wrong one takes (docs/wire.md F18). `logging_in`: the
        request has a password, not a session or token. `shut_out`: an admin has locked the user out.
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
        stored = row["password"] if row else other
        return SHUT_OUT | {"verify": lambda password, _: password_schemes.verify(password, stored) and False}

    def decoy_password_hash(self, user_name: str) -> str | None:
        """Return the password hash of another user, with which to verify the password of an unknown user.

        So both take equally long (docs/wire.md F18). The same `user_name` always gets the same hash.
        """
        share = int.from_bytes(hmac.digest(self.key, user_name.encode(), "sha256")[:6]) / 2**48
        with self.store.transaction("DEFERRED"):
            return self.store.value(PASSWORD_FROM_ID, share=share)

    def users(self, user_name: str | None) -> list[dict]:
        """Return all users of the mail server (None), or only the user `user_name`.

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
        """Prepare a change of a user in the mail server's database (two-phase commit). None: no change is needed.

        `change` is what happens in the table `users`: "add", or a key of CHANGES. No change is needed if the mail
        server does not have the user, if a user to be restored is active there, or if an admin adds, without a
        password, a user whom it has.
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
        """Return the values for a new row of the mail server's table `accounts`.

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
