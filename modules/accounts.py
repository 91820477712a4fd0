"""Accounts: what users have at other services, created at the first log-in, and the mail server's database of users."""

import os
from collections.abc import Iterator

from mailapi import (
    ApiError,
    Module,
    Participant,
    admin,
    anyone,
    boolean,
    endpoint,
    owner_or_delegate,
    php_text,
    whole_number,
)

from .provisioning.account_check import check_ledger, check_mailserver
from .provisioning.mailserver import SHUT_OUT, MailServer
from .provisioning.provisioner import Provisioner, read_mask


def mask(value) -> int | None:
    """Read the field `provision`: a sum of service bits (1 mail, 2 calendar, 4 contacts), or None if it is not given.

    ValueError: it is not a number from 0 to 7.
    """
    bits = whole_number(value)
    if bits is not None and not 0 <= bits <= 7:
        raise ValueError("unknown bits")
    return bits


def one_or_zero(value) -> int | None:
    """Read the field `Active`: 1, 0, true or false become 1 or 0. A missing value stays None."""
    bit = whole_number(int(value) if isinstance(value, bool) else value)
    if bit not in (None, 0, 1):
        raise ValueError("neither 0 nor 1")
    return bit


def require_active(call):
    """Raise ApiError for a request without the field `Active`. (The check `required` would also refuse the value 0.)"""
    if call.body.get("Active") is None:
        raise ApiError("Active is not set.", code="missing_field", field="Active")


SECONDS_AT_LOGIN, SECONDS_OF_ACTION = 0.3, 5  # how long a request waits for services
OF_USER = {"required": {"user_name": "Username is not set."}, "allow": admin, "manages_transactions": True}


class Account(Module):
    identifiers = ("user_name",)

    def __init__(self, app, name=""):
        super().__init__(app, name)
        self.mask, self.provisioner = read_mask(app.config, os.environ), Provisioner(app)
        self.ledger = self.provisioner.ledger
        self.state_schema = self.ledger.state_schema
        self.mailserver = MailServer(app) if app.config.mailserver else None

    @endpoint(
        allow=owner_or_delegate("user_name", missing=anyone),
        optional={"user_name": php_text},
        read_only=True,
        manages_transactions=True,
    )
    def get(self, call):
        """List the accounts that the caller may see, or only those of the user named.

        An admin sees all accounts, a delegate their own and the delegated users', any other caller their own.
        """
        names = [call.body["user_name"]] if call.body.get("user_name") else None
        if names is None and not call.caller.admin:
            names = [call.user_name, *call.caller.delegated_users]
        return {"accounts": self.ledger.rows(names)}

    @endpoint(**OF_USER, optional={"provision": mask})
    def provision(self, call):
        """Create a user's accounts now, and retry those that are pending.

        `provision` is the sum of the bits of the wanted services; without it PROVISION in the configuration counts.
        Returns the user's accounts after at most 5 seconds; what a service has not created by then stays pending.
        """
        name, bits = call.body["user_name"], call.body.get("provision")
        user = self.mailserver.find(name) if self.mailserver else self.app.credentials(name)
        if not user:
            raise ApiError("There is no such user.", code="not_found", field="user_name")
        self.provisioner.provision(
            name, self.mask if bits is None else bits, SECONDS_OF_ACTION, id_users=user.get("accountId")
        )
        return {"accounts": self.ledger.rows([name])}

    @endpoint(**OF_USER, optional={"Active": one_or_zero}, validators=[require_active])
    def update(self, call):
        """Lock a user out (Active 0), which ends their sessions and tokens, or let them log in again (Active 1)."""
        name, active = call.body["user_name"], call.body["Active"]
        if not self.ledger.activate(name, active):
            raise ApiError("Account not found.", code="not_found", field="user_name")
        if not active:
            self.app.sessions.end_others(name, but="")

    @endpoint(**OF_USER, optional={"purge": boolean})
    def delete(self, call):
        """Delete the record of a user's accounts. With purge the services first delete what they store for the user.

        If a service fails to delete the user's data, the record stays and `status` has the errors.
        """
        name = call.body["user_name"]
        if not (account := self.ledger.find(name)):
            raise ApiError("Account not found.", code="not_found", field="user_name")
        if call.body.get("purge") and (errors := self.provisioner.purge(account)):
            raise ApiError(" ".join(errors), code="unavailable")
        self.ledger.delete(name)

    def on_login(self, call, password: str):
        """Create the accounts that the user lacks, and retry pending ones.

        If a mail server is configured, only users whom it knows get accounts.
        """
        user = call.external_user or {}
        if self.mailserver is None or "accountId" in user:
            self.provisioner.provision(
                call.user_name, self.mask, SECONDS_AT_LOGIN, password, user.get("accountId")
            )

    def external_credentials(self, user_name: str, logging_in: bool) -> dict | None:
        """Return the row to check a log-in with, for a user whom the mail server authenticates or who is locked out.

        Users named like an address belong to the mail server, if one is configured. Returns None for all others: their
        password is in this database. A user who was locked out (Active 0) gets a row that no password fits.
        """
        account = self.ledger.find(user_name)
        shut_out = account is not None and not account["Active"]
        if self.mailserver and "@" in user_name:
            return self.mailserver.credentials(user_name, logging_in, shut_out)
        return SHUT_OUT if shut_out else None

    def on_user_change(self, call, change: str, user_name: str, password: str | None) -> Participant | None:
        """Prepare a change of a user in the mail server's database, and return it for the two-phase commit.

        `change` is add, delete or set_password. Returns None if the mail server cannot have a user of this name.
        """
        if self.mailserver and ("@" in user_name or change == "add"):
            return self.mailserver.on_user_change(call, change, user_name, password)
        return None

    def has_rows_of(self, user_name: str) -> bool:
        """Return whether there is a record of accounts for this user name."""
        return self.ledger.find(user_name) is not None

    def on_user_deleted(self, user_name: str):
        """Delete the record of a deleted user's accounts. The services keep the user's data.

        A later user of the same name gets new accounts.
        """
        self.ledger.delete(user_name)

    def external_users(self, user_name: str | None = None) -> list[dict]:
        """Return the users in the mail server's database, or only the one named; [] if the name is no address."""
        return self.mailserver.users(user_name) if self.mailserver and "@" in (user_name or "@") else []

    def check(self, repair: bool) -> Iterator[tuple[bool | None, str]]:
        """Check the records of accounts and the mail server's database, for `mailapi check`.

        `repair`: also correct what is wrong.
        """
        yield from check_ledger(self, repair)
        if self.mailserver:
            yield from check_mailserver(self.mailserver, repair)
