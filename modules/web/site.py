"""All pages and forms of the panel: who may see a page, and which action of the API a form runs."""

from collections.abc import Callable
from dataclasses import dataclass

import bottle

from mailapi import list_of_text, raw_text, secret

from . import (
    account,
    address_book,
    conversations,
    filters,
    mail,
    operation,
    people,
    service_accounts,
)
from .people import sending_module
from .responses import redirect
from .templates import link
from .visitor import Visitor


def anyone(visitor: Visitor) -> bool:
    return True


def managers(visitor: Visitor) -> bool:
    return visitor.manages


def admins(visitor: Visitor) -> bool:
    return visitor.admin


@dataclass(frozen=True)
class Page:
    """A page of the panel: the function that makes it, who may see it, and the API action that it requires."""

    view: Callable[[Visitor], dict | bottle.HTTPResponse]
    allow: Callable[[Visitor], bool] = anyone
    needs: tuple[str, str] | None = None  # an action, without which there is no such page
    section: str = ""  # the page in the navigation to which it belongs
    template: str = ""

    def exists(self, visitor: Visitor) -> bool:
        return self.needs is None or visitor.has(*self.needs)


def start(visitor: Visitor) -> dict | bottle.HTTPResponse:
    """Return the template's values for the overview: {"findings": [("mail_failed", 3, "queue"), …], …}.

    For users who manage nobody, return a redirect to their mail or account.
    """
    if visitor.manages:
        return operation.overview(visitor)
    return redirect(visitor, "mail" if visitor.has("mailbox") else "account")


PAGES = {
    "": Page(start, template="overview", section="overview"),
    "people": Page(people.people, managers, ("users", "get")),
    "person": Page(people.person, managers, ("users", "get"), "people"),
    "person-add": Page(people.person_add, managers, ("users", "add"), "people"),
    "people-import": Page(people.people_import, admins, ("users", "import"), "people"),
    "person-delete": Page(people.person_delete, managers, ("users", "delete"), "people"),
    "addresses": Page(address_book.addresses, anyone, ("addresses", "get")),
    "address": Page(address_book.address, managers, ("addresses", "update"), "addresses"),
    "address-add": Page(address_book.address_form, managers, ("addresses", "add"), "addresses"),
    "address-delete": Page(address_book.address, managers, ("addresses", "delete"), "addresses"),
    "address-test": Page(address_book.address_test, anyone, ("addresses", "test"), "addresses"),
    "queue": Page(operation.queue, anyone, ("queue", "get")),
    "queue-change": Page(operation.queue_change, anyone, ("queue", "get"), "queue"),
    "activity": Page(operation.activity, admins, ("audit", "get")),
    "services": Page(operation.services, admins, ("services", "get")),
    "accounts": Page(service_accounts.accounts, managers, ("accounts", "get")),
    "service-account": Page(service_accounts.service_account, anyone, ("accounts", "get"), "accounts"),
    "service-account-delete": Page(
        service_accounts.service_account_delete, managers, ("accounts", "delete"), "accounts"
    ),
    "mail": Page(mail.mail, anyone, ("mailbox", "search")),
    "message": Page(mail.message, anyone, ("mailbox", "read"), "mail"),
    "message-html": Page(mail.message_html, anyone, ("mailbox", "html")),
    "message-part": Page(mail.message_part, anyone, ("mailbox", "attachment")),
    "message-raw": Page(mail.message_raw, anyone, ("mailbox", "raw")),
    "threads": Page(conversations.threads, anyone, ("mailbox", "threads"), "mail", "mail"),
    "thread": Page(conversations.thread, anyone, ("mailbox", "threads"), "mail"),
    "unread": Page(mail.unread, anyone, ("mailbox", "unread_count")),
    "write": Page(mail.write, anyone, ("mailbox", "send"), "mail"),
    "filters": Page(filters.filters, filters.has_filters, ("services", "sieve_list"), "mail"),
    "account": Page(account.account),
    "account-activity": Page(account.account_activity, anyone, ("audit", "mine"), "account"),
}


@dataclass(frozen=True)
class Form:
    """A form of the panel: its page, the API action that it runs, and the page that follows."""

    page: str
    action: tuple[str, str] | None = None  # module and action; "sending": msa or smtpd
    done: str = ""  # the key of the sentence that is shown then
    then: Callable[[Visitor], str] | None = None  # the page that is shown then; None: the same one
    blame: str = ""  # the field that is named when the sentence of a refusal names none
    fields: Callable[[Visitor], dict] | None = None  # None: the form's fields that the action declares
    other: Callable[[Visitor], tuple | None] | None = None  # runs in place of the action

    def action_of(self, visitor: Visitor) -> tuple[str, str]:
        module, action = self.action or ("", "")
        return (sending_module(visitor) if module == "sending" else module), action

    def run(self, visitor: Visitor) -> tuple | None:
        """Run the form's action. Return (URL to redirect to, key of the message to show), such as ("people", "saved").

        A third member is a new password or token to show. Return None to show the form's page again without a
        redirect.
        """
        if self.other:
            return self.other(visitor)
        module, action = self.action_of(visitor)
        visitor.run(module, action, (self.fields or declared_fields)(visitor))
        if self.then:
            return self.then(visitor), self.done
        return link(self.page, **visitor.query.without()), self.done


def declared_fields(visitor: Visitor) -> dict:
    """Return the submitted fields that the form's API action accepts: {"user_name": "bob", …}."""
    found = visitor.endpoint(*FORMS[visitor.form_name].action_of(visitor))
    kinds = found[1].fields(visitor.generation) if found else {}
    sent = {name for name, _ in visitor.form.pairs}
    fields: dict = {}
    for name, kind in kinds.items():
        if kind is list_of_text:
            fields[name] = visitor.form.all(name)
        elif name in sent:
            fields[name] = visitor.form.exactly(name) if kind in (secret, raw_text) else visitor.form(name)
    return fields


def address_list(visitor: Visitor) -> str:
    """Return the URL to show after an address was changed: the list of addresses.

    If the form was opened from a person's page, return that page.
    """
    user = visitor.query("of")
    return link("person", user_name=user) if user and visitor.manages else "addresses"


FORMS = {
    "add-person": Form("person-add", ("users", "add"), blame="user_name", other=people.add_person),
    "import-people": Form("people-import", ("users", "import"), blame="file", other=people.import_people),
    "delete-person": Form("person-delete", ("users", "delete"), "person_deleted", lambda visitor: "people"),
    "set-password": Form(
        "person", ("users", "set_password"), "password_set", None, "user_authdata", account.new_password
    ),
    "remove-password": Form(
        "person", ("users", "set_password"), "password_removed", None, "", account.no_password
    ),
    "suspend": Form("person", ("users", "suspend"), "suspended"),
    "restore": Form("person", ("users", "restore"), "restored"),
    "add-device": Form("person", ("users", "device_add"), blame="device_name", other=account.add_device),
    "add-own-device": Form("account", ("users", "device_add"), blame="device_name", other=account.add_device),
    "delete-device": Form("person", ("users", "device_delete"), "device_deleted"),
    "delete-own-device": Form("account", ("users", "device_delete"), "device_deleted"),
    "set-alias": Form("person", ("users", "update_alias"), "saved", None, "user_alias"),
    "set-permissions": Form(
        "person",
        ("users", "update_permissions"),
        "saved",
        blame="user_permissions",
        fields=people.changed_permissions,
    ),
    "add-sending": Form("person", ("sending", "add"), "saved", None, "smtpd_route"),
    "set-sending": Form("person", ("sending", "update"), "saved", None, "smtpd_route"),
    "stop-sending": Form("person", ("sending", "delete"), "sending_stopped"),
    "pop-on": Form("person", ("pop", "add"), "saved"),
    "pop-off": Form("person", ("pop", "delete"), "saved"),
    "pop-unlock": Form("person", ("pop", "unlock"), "saved"),
    "add-manager": Form("person", ("delegates", "user_add"), "saved", None, "api_user"),
    "add-managed": Form("person", ("delegates", "user_add"), "saved", None, "api_delegate"),
    "delete-managed": Form("person", ("delegates", "user_delete"), "saved"),
    "add-expression": Form("person", ("delegates", "address_add"), "saved", None, "api_expression"),
    "delete-expression": Form("person", ("delegates", "address_delete"), "saved"),
    "delete-token": Form("person", ("tokens", "delete"), "token_deleted"),
    "add-address": Form(
        "address-add", ("addresses", "add"), "address_added", address_list, "address_expression"
    ),
    "set-address": Form(
        "address",
        ("addresses", "update"),
        "saved",
        address_list,
        "address_expression",
        address_book.changed_address,
    ),
    "delete-address": Form("address-delete", ("addresses", "delete"), "address_deleted", address_list),
    "move-address": Form("addresses", ("addresses", "switch"), other=address_book.move_address),
    "reorder-addresses": Form("addresses", ("addresses", "reorder"), other=address_book.reorder_addresses),
    "change-queue": Form("queue-change", other=operation.change_queue),
    "provision": Form(
        "service-account",
        ("accounts", "provision"),
        "provisioned",
        None,
        "provision",
        service_accounts.kinds_of_form,
    ),
    "lock-account": Form("service-account", ("accounts", "update"), "suspended"),
    "unlock-account": Form("service-account", ("accounts", "update"), "restored"),
    "set-limits": Form("service-account", ("accounts", "update"), "saved", None, "quota"),
    "set-account": Form(
        "service-account",
        ("accounts", "update"),
        "saved",
        None,
        "forward",
        service_accounts.settings_of_form,
    ),
    "delete-account": Form(
        "service-account-delete",
        ("accounts", "delete"),
        "account_deleted",
        lambda visitor: "accounts",
        "purge",
    ),
    "own-password": Form(
        "account", ("users", "set_password"), "password_set", None, "user_authdata", account.own_password
    ),
    "add-token": Form("account", ("tokens", "add"), blame="token_name", other=account.add_token),
    "delete-own-token": Form("account", ("tokens", "delete"), "token_deleted"),
    "send-mail": Form("write", ("mailbox", "send"), blame="to", other=mail.send),
    "set-away": Form("filters", blame="text", other=filters.set_away),
    "set-script": Form("filters", ("services", "sieve_put"), "script_saved", None, "script"),
    "change-script": Form("filters", other=filters.change_script),
    "change-mail": Form("message", other=mail.change_mail),
}
