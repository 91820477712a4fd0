"""Accounts: who has what with which services, made at the first log-in, and the mail server's database of users."""

import os

from mailapi import (
    ApiError,
    Module,
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
    """Bits as in PROVISION."""
    found = whole_number(value)
    if found is not None and not 0 <= found <= 7:
        raise ValueError("no such bits")
    return found


def one_or_zero(value) -> int | None:
    found = whole_number(int(value) if isinstance(value, bool) else value)
    if found not in (None, 0, 1):
        raise ValueError("neither 0 nor 1")
    return found


def active_given(call):
    if call.body.get("Active") is None:
        raise ApiError("Active is not set.")


ONE_LOG_IN, ONE_ACTION = 0.3, 5  # seconds that they wait for services
NAMED = {"required": {"user_name": "Username is not set."}, "allow": admin, "manages_transactions": True}


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
        """Everybody's accounts, for a delegate theirs and those of whom they may act for, for others their own."""
        names = [call.body["user_name"]] if call.body.get("user_name") else None
        if names is None and not call.caller.admin:
            names = [call.user_name, *call.caller.delegated_users]
        return {"accounts": self.ledger.rows(names)}

    @endpoint(**NAMED, optional={"provision": mask})
    def provision(self, call):
        """Make a user's accounts now, those of the mask `provision` or else of PROVISION, and try what is pending."""
        name, wanted = call.body["user_name"], call.body.get("provision")
        known = self.mailserver.find(name) if self.mailserver else self.app.credentials(name)
        if not known:
            raise ApiError("There is no such user.")
        self.provisioner.provision(
            name, self.mask if wanted is None else wanted, ONE_ACTION, id_users=known.get("accountId")
        )
        return {"accounts": self.ledger.rows([name])}

    @endpoint(**NAMED, optional={"Active": one_or_zero}, validators=[active_given])
    def update(self, call):
        """Active 0 ends a user's log-ins, sessions and tokens; 1 lets them log in again."""
        name, active = call.body["user_name"], call.body["Active"]
        if not self.ledger.activate(name, active):
            raise ApiError("Account not found.")
        if not active:
            self.app.sessions.end_others(name, but="")

    @endpoint(**NAMED, optional={"purge": boolean})
    def delete(self, call):
        """Forget a user's accounts; with purge the services first delete what they hold for them."""
        name = call.body["user_name"]
        if not (account := self.ledger.find(name)):
            raise ApiError("Account not found.")
        if call.body.get("purge") and (errors := self.provisioner.purge(account)):
            raise ApiError(" ".join(errors))
        self.ledger.delete(name)

    def on_login(self, call, password):
        """Make what is missing, or try it again; who is no user of the mail server's has nothing there."""
        known = call.external_user or {}
        if self.mailserver is None or "accountId" in known:
            self.provisioner.provision(
                call.user_name, self.mask, ONE_LOG_IN, password, known.get("accountId")
            )

    def external_credentials(self, user_name, logging_in):
        """The mail server's password is the one that counts, where it has one; a name that is no address is ours."""
        account = self.ledger.find(user_name)
        shut_out = account is not None and not account["Active"]
        if self.mailserver and "@" in user_name:
            return self.mailserver.credentials(user_name, logging_in, shut_out)
        return SHUT_OUT if shut_out else None

    def on_user_change(self, call, change, user_name, password):
        if self.mailserver and ("@" in user_name or change == "add"):
            return self.mailserver.on_user_change(call, change, user_name, password)
        return None

    def has_rows_of(self, user_name):
        return self.ledger.find(user_name) is not None

    def on_user_deleted(self, user_name):
        """What the services hold stays there; another user of that name has to be provisioned anew."""
        self.ledger.delete(user_name)

    def external_users(self, user_name=None):
        return self.mailserver.users(user_name) if self.mailserver and "@" in (user_name or "@") else []

    def check(self, repair):
        yield from check_ledger(self, repair)
        if self.mailserver:
            yield from check_mailserver(self.mailserver, repair)
