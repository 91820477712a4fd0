"""The page My account: the visitor's password and tokens, and what others did to the account."""

import time

from mailapi import ApiError

from .people import devices_of, tokens_of
from .responses import secret_to_show
from .templates import link
from .visitor import Visitor

DAYS = ("30", "90", "365", "")  # after which a token ends; "": never


def account(visitor: Visitor) -> dict:
    """Find the visitor's tokens and devices, and the secret of one that was just made."""
    return {
        "tokens": tokens_of(visitor, visitor.name) if visitor.has("tokens") else None,
        "devices": devices_of(visitor, visitor.name),
        "secret": secret_to_show(visitor),
        "days": DAYS,
        "modules": list(visitor.app.config.modulelist),
    }


def new_password(visitor: Visitor) -> dict:
    """Return the fields of a form for a new password. ApiError: it is empty, or was typed in two ways."""
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
    """Create a token, and redirect to the page that shows its secret, once."""
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
    """Add a device, and redirect to the same page, which shows its password, once."""
    fields = {name: visitor.form(name) for name in ("user_name", "device_name")}
    device = visitor.run("users", "device_add", fields)["device"]
    return link(visitor.path, **visitor.query.without()), "device_added", device["password"]
