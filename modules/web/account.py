"""The panel's pages on which users see their own account: password, tokens, devices and activity."""

import time

from mailapi import ApiError

from ..http.event import OF_CALLER
from .people import devices_of, tokens_of
from .responses import secret_to_show
from .templates import link
from .visitor import Visitor

# Module and action of an audit record, or only its module → the key of the text (in languages/) that describes it.
CHANGES = {
    "accounts": "accounts",
    "addresses": "addresses",
    "delegates": "delegations",
    "msa": "in_and_out",
    "pop": "POP3",
    "services": "filters",
    "smtpd": "sending",
    "tokens": "tokens",
    "users add": "add_person",
    "users add_permission": "permissions",
    "users delete_permission": "permissions",
    "users device_add": "devices",
    "users device_delete": "devices",
    "users restore": "restore",
    "users set_password": "new_password",
    "users suspend": "suspend",
    "users update_alias": "alias",
    "users update_permissions": "permissions",
}
VERBS = {  # a word in the action's name, such as "device_add" → the key of the text after it: "Devices: Add"
    "activate": "activate",
    "add": "add",
    "deactivate": "deactivate",
    "delete": "delete",
    "update": "edit",
}
RECENT, ON_PAGE = 5, 100  # records
DAYS = ("30", "90", "365", "")  # after which a token ends; "": never


def account(visitor: Visitor) -> dict:
    """Return the template's values for the page "My account", such as {"tokens": [row, …], "records": [row, …]}."""
    return {
        "tokens": tokens_of(visitor, visitor.name) if visitor.has("tokens") else None,
        "devices": devices_of(visitor, visitor.name),
        "secret": secret_to_show(visitor),
        "days": DAYS,
        "has_settings": visitor.app.config.mailserver or "managesieve" in visitor.app.config.services,
        "modules": list(visitor.app.config.modulelist),
        "records": own_records(visitor, {}, RECENT) if visitor.has("audit", "mine") else None,
    }


def account_activity(visitor: Visitor) -> dict:
    """Return the template's values for the page that lists audit records about the user: {"records": [row, …], …}."""
    before = visitor.query("before")
    records = own_records(visitor, {"before": before} if before else {}, ON_PAGE + 1)
    return {
        "records": records[:ON_PAGE],
        "more": visitor.next_page(records, ON_PAGE, "audit_id", "before"),
        "is_first": not before,
    }


def own_records(visitor: Visitor, fields: dict, limit: int) -> list[dict]:
    """Return the newest audit records about the user, each with a text for the page: {"what": "Log in", …}.

    Return `limit` records at most. `fields` is {}, or {"before": "17"} for the records before the one with this id.
    """
    rows = visitor.run("audit", "mine", fields, limit=limit)["audit"]
    return [row | what_happened(visitor, row) for row in rows]


def what_happened(visitor: Visitor, row: dict) -> dict[str, str]:
    """Describe an audit record for the page of the user's activity: {"what": "Log in"}, {"what": "Devices: Add"}.

    For the log-in of a request about another user, the result also has "audit_target": "", so that no name is shown.
    """
    module, target = row["audit_module"], row["audit_target"]
    change = f"{module} {row['audit_action']}"
    is_own = row["audit_user"] == visitor.name and change not in OF_CALLER
    if is_own and row["audit_via"] in (None, "password", "basic", "log-out") and visitor.name not in target:
        # The log-in of a request about another user.
        return {"what": visitor.t.log_in, "audit_target": ""}
    key = CHANGES.get(change) or CHANGES.get(module, change)
    what = visitor.t.texts.get(key, key)
    verb = next((VERBS[word] for word in row["audit_action"].split("_") if word in VERBS), "")
    return {"what": f"{what}: {visitor.t.texts[verb]}" if verb and key != "add_person" else what}


def new_password(visitor: Visitor) -> dict:
    """Read a new password from the form. ApiError if it is empty or its two inputs differ.

    Return fields for the action users/?set_password: {"user_name": "bob", "user_authdata": "the password"}.
    """
    typed = visitor.form.exactly("user_authdata")
    if not typed:
        raise ApiError(visitor.t.password_missing)
    if typed != visitor.form.exactly("again"):
        raise ApiError(visitor.t.passwords_differ)
    return {"user_name": visitor.form("user_name") or visitor.name, "user_authdata": typed}


def own_password(visitor: Visitor) -> dict:
    return new_password(visitor) | {"user_name": visitor.name}


def no_password(visitor: Visitor) -> dict:
    return {"user_name": visitor.form("user_name")}


def add_token(visitor: Visitor) -> tuple[str, str, str]:
    """Create the token that the form describes. Return ("account", "token_added", the token).

    The first is the page to redirect to, the second the name of the message on it (in modules/web/languages).
    """
    days = visitor.form("days")
    expires = int(time.time()) + int(days) * 86400 if days in DAYS and days else None
    fields = {
        "token_name": visitor.form("token_name"),
        "token_expires": expires,
        "token_reads_only": visitor.form("token_reads_only"),
        "token_modules": visitor.form.all("token_modules"),
        "token_networks": visitor.form("token_networks").replace(",", " ").split(),
    }
    return link("account"), "token_added", visitor.run("tokens", "add", fields)["token"]


def add_device(visitor: Visitor) -> tuple[str, str, str]:
    """Add the device (a password for one program) that the form describes.

    Return (URL to redirect to, "device_added", the device's password). "device_added" is the name of the message to
    show there (in modules/web/languages).
    """
    fields = {name: visitor.form(name) for name in ("user_name", "device_name")}
    device = visitor.run("users", "device_add", fields)["device"]
    return link(visitor.path, **visitor.query.without()), "device_added", device["password"]
