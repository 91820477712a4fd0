"""Accounts: creates, lists, changes and deletes users' mailboxes, calendars and contacts on other servers."""

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

from .answers import accounts
from .directory import devices
from .directory.lists import PAGE_QUERY, asks_for_page, page_of_rows
from .directory.user_limit import service_turn
from .mail.own_addresses import addresses_of, stores_to
from .openapi.schemas import json_schema
from .provisioning.account_check import check_ledger, check_mailserver
from .provisioning.account_settings import SETTINGS, check_forward, may_change_settings
from .provisioning.mailserver import SHUT_OUT, MailServer
from .provisioning.provisioner import Provisioner, read_mask
from .provisioning.user_settings import UserSettings


@json_schema({"type": "integer", "minimum": 0, "maximum": 7})
def mask(value) -> int | None:
    """Convert the field `provision`, a sum of 1 (mail), 2 (calendar) and 4 (contacts), to int. Return None for None.

    ValueError if it is not a number from 0 to 7.
    """
    bits = whole_number(value)
    if bits is not None and not 0 <= bits <= 7:
        raise ValueError("unknown bits")
    return bits


@json_schema({"type": "integer", "minimum": 0, "maximum": 1})
def one_or_zero(value) -> int | None:
    """Convert the field `Active`, which may be 1, 0, true or false, to 1 or 0. Return None for None.

    ValueError for anything else.
    """
    bit = whole_number(int(value) if isinstance(value, bool) else value)
    if bit not in (None, 0, 1):
        raise ValueError("neither 0 nor 1")
    return bit


def require_change(call):
    """Raise ApiError if the request changes nothing, or if it changes `Active` together with other settings.

    No transaction could change both, since they are in different databases.
    """
    # The check `required` would also refuse the value 0.
    has_settings = not call.body.keys().isdisjoint(SETTINGS)
    if call.body.get("Active") is None and not has_settings:
        raise ApiError("Active is not set.", code="missing_field", field="Active")
    if call.body.get("Active") is not None and has_settings:
        raise ApiError("Active cannot be changed together with other settings.", field="Active")


SECONDS_AT_LOGIN, SECONDS_OF_ACTION = 0.3, 5  # how long a request waits for services
OF_USER = {"required": {"user_name": "Username is not set."}, "allow": admin, "manages_transactions": True}


class Account(Module):
    description = accounts.DESCRIPTION
    identifiers = ("user_name",)

    def __init__(self, app, name=""):
        super().__init__(app, name)
        self.mask, self.provisioner = read_mask(app.config, os.environ), Provisioner(app)
        self.ledger = self.provisioner.ledger
        self.state_schema = self.ledger.state_schema
        self.mailserver = MailServer(app) if app.config.mailserver else None
        self.settings = UserSettings(app, self.mailserver, self.provisioner.filters)

    @endpoint(
        allow=owner_or_delegate("user_name", missing=anyone),
        optional={"user_name": php_text},
        query=PAGE_QUERY,
        read_only=True,
        manages_transactions=True,
    )
    def get(self, call):
        """List the accounts that the caller may see. With user_name, list only that user's account, with its settings.

        An admin sees all accounts, a delegate their own and those of the users delegated to them, any other caller
        their own. `search` in the URL's query selects the names that begin with it. `after`, a name, continues a list
        that `limit` has shortened.
        """
        accounts = self.visible_accounts(call)
        try:
            with service_turn(call, self.settings.uses_script(call)):
                return {"accounts": self.settings.add_to(accounts, call)}
        except ApiError as error:  # a service that is down does not hide the accounts
            return {"accounts": accounts, "status": "warning", "warning": error.status}

    def visible_accounts(self, call) -> list[dict]:
        """Return the accounts that the caller may see, such as [{"Name": "ann", "Active": 1, "services": […]}].

        With user_name in the request, return only that user's account. Otherwise `limit` may shorten the list.
        """
        if call.body.get("user_name"):
            return self.ledger.rows([call.body["user_name"]])
        if not call.caller.admin:
            accounts = self.ledger.rows([call.user_name, *call.caller.delegated_users])
            return page_of_rows(call, accounts, "Name")
        return self.ledger.page(call) if asks_for_page(call) else self.ledger.rows()

    @endpoint(**OF_USER, optional={"provision": mask})
    def provision(self, call):
        """Create a user's mailbox, calendar and contacts now if they are missing, and retry those that failed before.

        `provision` selects them: it is a sum of 1 (mail), 2 (calendar) and 4 (contacts). Its default is the setting
        PROVISION. After at most 5 seconds, the answer lists the user's accounts. Those that a server has not created
        by then stay pending.
        """
        name, bits = call.body["user_name"], call.body.get("provision")
        user = self.mailserver.find(name) if self.mailserver else self.app.credentials(name)
        if not user or devices.is_device(self.app.db, name):
            raise ApiError("There is no such user.", code="not_found", field="user_name")
        self.provisioner.provision(
            name, self.mask if bits is None else bits, SECONDS_OF_ACTION, id_users=user.get("accountId")
        )
        return {"accounts": self.ledger.rows([name])}

    @endpoint(
        required=OF_USER["required"],
        optional={"Active": one_or_zero} | SETTINGS,
        validators=[require_change, check_forward],
        allow=(owner_or_delegate("user_name"), may_change_settings),
        manages_transactions=True,
    )
    def update(self, call):
        """Lock a user out (Active 0), let a user log in again (Active 1), or change the settings of a user.

        Active 0 ends the user's sessions, and stops their tokens. The settings are quota, userStatus, forward and the
        automatic reply. Users cannot change their own quota or userStatus. The settings are stored in the mail
        server's database if there is one, otherwise in the user's filter script.
        """
        name, active = call.body["user_name"], call.body.get("Active")
        if active is None:
            self.change_settings(call, name)
        elif not self.ledger.activate(name, active):
            raise ApiError("Account not found.", code="not_found", field="user_name")
        elif not active:
            self.app.sessions.end_others(name, but="")

    def change_settings(self, call, name: str):
        """Store the request's settings for the user `name`. If userStatus locks the user out, end their sessions."""
        changes = {field: call.body[field] for field in SETTINGS if field in call.body}
        with call.db.transaction("DEFERRED"):
            if changes.get("forward") and stores_to(call, changes["forward"], name):
                raise ApiError("forward must not be an address of the user.", field="forward")
            addresses = addresses_of(call, name)
        self.app.release()
        with service_turn(call, self.settings.uses_script(call)):
            self.settings.update(call, name, changes, addresses)
        if changes.get("userStatus"):
            self.app.sessions.end_others(name, but="")

    @endpoint(**OF_USER, optional={"purge": boolean})
    def delete(self, call):
        """Delete the record of a user's accounts. With `purge`, the servers first delete the user's mail and data.

        If a server fails to delete the data, the record stays, and `status` has the error messages.
        """
        name = call.body["user_name"]
        if not (account := self.ledger.find(name)):
            raise ApiError("Account not found.", code="not_found", field="user_name")
        if call.body.get("purge") and (errors := self.provisioner.purge(account)):
            raise ApiError(" ".join(errors), code="unavailable")
        self.ledger.delete(name)

    def on_login(self, call, password: str):
        """Create the mailbox, calendar and contacts that a user lacks. Called after each log-in with a password.

        With the setting `mailserver`, also set the user's lastLogin, and ignore users whom that mail server does not
        know.
        """
        user = call.external_user or {}
        if self.mailserver is None or "accountId" in user:
            self.provisioner.provision(
                call.user_name, self.mask, SECONDS_AT_LOGIN, password, user.get("accountId")
            )
        if "accountId" in user:
            self.settings.record_log_in(user["accountId"])

    def external_credentials(self, user_name: str, logging_in: bool) -> dict | None:
        """Return the credentials of a user that replace those in the table `users`, or None if these are to be used.

        They are {"user_name": …, "user_authdata": HASH, …} for users whose names are mail addresses, if the setting
        `mailserver` names the mail server's database. For a user who is locked out they are {"user_name": None,
        "user_authdata": None}, so that no password fits. `logging_in` is True if the request has a password, not a
        session or token. Only then changes that a crash left unfinished in that database are finished.
        """
        account = self.ledger.find(user_name)
        shut_out = account is not None and not account["Active"]
        if self.mailserver and "@" in user_name:
            return self.mailserver.credentials(user_name, logging_in, shut_out)
        return SHUT_OUT if shut_out else None

    def on_user_change(self, call, change: str, user_name: str, password: str | None) -> Participant | None:
        """Prepare a change of a user in the mail server's database, to be committed together with the table `users`.

        `change` is "add", "delete", "set_password", "suspend" or "restore". Return the prepared change. Return None if
        the mail server needs no change, for example because the name is not a mail address.
        """
        if self.mailserver and ("@" in user_name or change == "add"):
            return self.mailserver.on_user_change(call, change, user_name, password)
        return None

    def has_rows_of(self, user_name: str) -> bool:
        """Return whether the database has a record of a user's accounts."""
        return self.ledger.find(user_name) is not None

    def on_user_deleted(self, user_name: str):
        """Delete a deleted user's rows of Accounts and ServiceAccounts. Mail and other data on the servers stay."""
        self.ledger.delete(user_name)

    def external_users(self, user_name: str | None = None) -> list[dict]:
        """Return the users in the mail server's database, such as [{"user_name": "bob@example.org", "user_login": 1}].

        user_login is 0 if the user may not log in. With `user_name`, return only that user. Without a mail server,
        return [].
        """
        return self.mailserver.users(user_name) if self.mailserver and "@" in (user_name or "@") else []

    def check(self, repair: bool) -> Iterator[tuple[bool | None, str]]:
        """Check that accounts belong to users and exist at their servers, and check the mail server's database.

        Used by `mailapi check`. Yield (True, sentence) if all is well, (False, sentence) for an error, (None,
        sentence) for a remark. If `repair` is True, also correct the errors.
        """
        yield from check_ledger(self, repair)
        if self.mailserver:
            yield from check_mailserver(self.mailserver, repair)
