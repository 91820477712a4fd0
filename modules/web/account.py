"""The pages of My account: the visitor's password and tokens, and who did what to the account."""

import time

from mailapi import ApiError

from ..http.event import OF_CALLER
from .people import devices_of, tokens_of
from .responses import secret_to_show
from .templates import link
from .visitor import Visitor

CHANGES = {  # of an account: the module and the action, or only the module → the key of the text
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
RECENT, ON_PAGE = 5, 100  # records
DAYS = ("30", "90", "365", "")  # after which a token ends; "": never


def account(visitor: Visitor) -> dict:
    """Return the template values for the page My account: tokens, devices, audit records, and a new secret."""
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
    """Return the template values for a page of the audit about the visitor's own account."""
    before = visitor.query("before")
    records = own_records(visitor, {"before": before} if before else {}, ON_PAGE + 1)
    return {
        "records": records[:ON_PAGE],
        "more": visitor.next_page(records, ON_PAGE, "audit_id", "before"),
        "is_first": not before,
    }


def own_records(visitor: Visitor, fields: dict, limit: int) -> list[dict]:
    """Return at most `limit` audit records about the visitor, newest first, each with `what`: a text such as "Log in".

    `fields` are those of the request audit/?mine, such as {"before": "17"}.
    """
    rows = visitor.run("audit", "mine", fields, limit=limit)["audit"]
    return [row | what_happened(visitor, row) for row in rows]


def what_happened(visitor: Visitor, row: dict) -> dict[str, str]:
    """Return what the page displays of an audit record: `what`, a text such as "Log in", and perhaps `audit_target`.

    A log-in can also be the log-in of a request about another user.
    """
    module, target = row["audit_module"], row["audit_target"]
    change = f"{module} {row['audit_action']}"
    is_own = row["audit_user"] == visitor.name and change not in OF_CALLER
    if is_own and row["audit_via"] in (None, "password", "basic", "log-out") and visitor.name not in target:
        return {"what": visitor.t.log_in, "audit_target": ""}
    key = CHANGES.get(change) or CHANGES.get(module, change)
    return {"what": visitor.t.texts.get(key, key)}


def new_password(visitor: Visitor) -> dict:
    """Return the fields of users/?set_password from the form. ApiError if the two inputs of the password differ."""
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
    """Create the token that the form describes. Return the URL to redirect to, the name of the text to show there
    (in modules/web/languages), and the token's secret."""
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
    """Add the device of the form. Return the URL to redirect to, the key of its message, and the device's password."""
    fields = {name: visitor.form(name) for name in ("user_name", "device_name")}
    device = visitor.run("users", "device_add", fields)["device"]
    return link(visitor.path, **visitor.query.without()), "device_added", device["password"]
