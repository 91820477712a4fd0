"""Tokens: credentials for scripts, in place of a password. A token permits no more than its owner may do."""

import contextlib
import json
import secrets
import time
from pathlib import Path

from mailapi import (
    CLOCK_SKEW,
    DURABLE,
    ApiError,
    Bearer,
    Endpoint,
    Module,
    Rule,
    boolean,
    endpoint,
    list_of_text,
    optional_number,
    sha256,
    whole_number,
)

from .answers import tokens
from .http.addresses import ip, ip_network
from .openapi.schemas import NUMBER, TEXT, json_schema
from .state.token_rows import (
    ALL_TOKENS,
    COUNT_OF_USER,
    DELETE_ALL_OF_USER,
    DELETE_ANY,
    DELETE_OWN,
    FIND_TOKEN,
    INSERT,
    SCHEMA,
    SET_USED,
    TOKEN_OF_USER,
    TOKENS_OF_USER,
)

MOST_TOKENS = 100  # of one user
MOST_NETWORKS = 50  # of a token; every request compares its address with all of them
LONGEST_NAME = 200  # characters


@json_schema({"type": "array", "items": TEXT, "maxItems": MOST_NETWORKS})
def networks(value) -> list | None:
    """Convert the field token_networks, a list of IP addresses and networks, to networks, such as ["192.0.2.0/24"]."""
    listed = list_of_text(value)
    if listed and len(listed) > MOST_NETWORKS:
        raise ValueError("too many")
    return listed and [str(ip_network(each, strict=False)) for each in listed]


@json_schema(NUMBER)
def expiry(value) -> int | None:
    """Convert the field token_expires, in seconds since 1970, to int. Return None (never) for null and ""."""
    return None if value == "" else whole_number(value)


def check_new_token(call):
    """Raise ApiError if a new token's name is too long, a module in token_modules is unknown, or it has expired."""
    if len(call.body["token_name"]) > LONGEST_NAME:
        raise ApiError(f"Token name is too long: {LONGEST_NAME} characters at most.", field="token_name")
    for name in call.body.get("token_modules") or []:
        if name not in call.config.modulelist:
            refuse_module(call, name)
    expires = call.body.get("token_expires")
    if expires is not None and expires <= time.time():
        raise ApiError("The expiry of the token is in the past.", field="token_expires")


def refuse_module(call, name: str):
    """Raise ApiError about a module that modulelist lacks. If `name` is a module's path, name the module: User."""
    meant = call.app.modules.get(name) if name else None
    if meant and (names := " or ".join(sorted(names_for_tokens(meant)))):
        sentence = f"Unknown module {name}: did you mean {names}?"
        raise ApiError(sentence, audit="Unknown module.", field="token_modules")
    raise ApiError(f"Unknown module {name}.", audit="Unknown module.", field="token_modules")


not_by_token = Rule(
    "anyone logged in without a token", lambda call: call.restriction is None, "A token cannot manage tokens."
)


class Token(Module):
    description = tokens.DESCRIPTION
    identifiers = ("token_name", "token_id")
    state_schema = SCHEMA

    @endpoint(allow=not_by_token, read_only=True, manages_transactions=True)
    def get(self, call):
        """List the caller's tokens without their secrets. For an admin, list the tokens of all users."""
        visible = ALL_TOKENS if call.caller.admin else TOKENS_OF_USER
        with self.app.state.transaction("DEFERRED"):
            rows = self.app.state.rows(visible, user=call.user_name)
        return {"tokens": [with_lists(row) for row in rows]}

    @endpoint(
        required={"token_name": "Token name is not set."},
        validators=[check_new_token],
        allow=not_by_token,
        manages_transactions=True,
        optional={
            "token_expires": expiry,
            "token_reads_only": boolean,
            "token_modules": list_of_text,
            "token_networks": networks,
        },
    )
    def add(self, call):
        """Create a token for the caller. `token` in the answer is its secret, which is never shown again.

        token_expires is in seconds since 1970. token_modules and token_networks restrict the token to some modules,
        and to clients in some networks. With token_reads_only, the token permits no changes.
        """
        if call.user_name is None:
            raise ApiError("Name the token's user with --as USER.")
        secret = "mailapi_" + secrets.token_urlsafe(32)
        lists = {
            name: json.dumps(call.body[name]) if call.body.get(name) else None
            for name in ("token_modules", "token_networks")
        }
        with self.app.state.transaction():
            if self.app.state.value(COUNT_OF_USER, user=call.user_name) >= MOST_TOKENS:
                raise ApiError(f"Too many tokens: {MOST_TOKENS} at most. Delete one first.")
            token_id = self.app.state.execute(
                INSERT,
                token_hash=sha256(secret),
                token_user=call.user_name,
                token_name=call.body["token_name"],
                token_created=int(time.time()),
                token_expires=call.body.get("token_expires"),
                token_reads_only=int(call.body.get("token_reads_only") or 0),
                # Of the password that the caller logged in with. If that has just been changed, the token is void.
                authdata_hash=sha256(call.authdata or ""),
                **lists,
            ).lastrowid
        return {"token": secret, "token_id": token_id}

    @endpoint(
        required={"token_id": "No token id is set."},
        optional={"token_id": optional_number},
        allow=not_by_token,
        manages_transactions=True,
    )
    def delete(self, call):
        """Delete one of the caller's tokens; an admin may delete any user's."""
        query = DELETE_ANY if call.caller.admin else DELETE_OWN
        with self.app.state.transaction(DURABLE):
            deleted = self.app.state.execute(query, token_id=call.body["token_id"], user=call.user_name)
            if not deleted.rowcount:
                raise ApiError("Token not found.", code="not_found", field="token_id")

    def bearer(self, call, token: str, address: str) -> Bearer | None:
        """Return the owner and the restrictions of a token; None if it is not valid for the client's IP `address`.

        A token is no longer valid when it has expired, or when its owner's password has been changed.
        """
        with self.app.state.transaction("DEFERRED"):
            row = self.app.state.one(FIND_TOKEN, token_hash=sha256(token))
        now = int(time.time())
        if row is None or row["token_expires"] is not None and row["token_expires"] <= now:
            return None
        if row["token_created"] > now + CLOCK_SKEW:  # a clock was wrong
            return None
        if not is_in_networks(address, row["token_networks"]):
            return None
        user = call.app.credentials(row["token_user"]) or {}
        # The password has changed. This is checked again in the transaction of the action.
        if row["authdata_hash"] != sha256(user.get("user_authdata") or ""):
            return None
        self.record_use(row, now)
        return Bearer(
            row["token_user"],
            f"token {row['token_name']}",
            lambda module, chosen: check_restrictions(row, module, chosen),
            row["authdata_hash"],
        )

    def record_use(self, row: dict, now: int):
        """Store `now` (seconds since 1970) as the time of a token's last use, but at most once a minute.

        `row` is the token's row in the database.
        """
        if abs(now - (row["token_used"] or 0)) <= 60:
            return
        with contextlib.suppress(ApiError), self.app.state.transaction():  # the request does not depend on it
            self.app.state.execute(SET_USED, now=now, token_id=row["token_id"])

    def has_rows_of(self, user_name: str) -> bool:
        """Return whether a user of this name has tokens."""
        with self.app.state.transaction("DEFERRED"):
            return self.app.state.value(TOKEN_OF_USER, user=user_name) is not None

    def on_user_deleted(self, user_name: str):
        """Delete all tokens of a deleted user."""
        with self.app.state.transaction():
            self.app.state.execute(DELETE_ALL_OF_USER, user=user_name)


def check_restrictions(row: dict, module: Module, chosen: Endpoint):
    """Raise ApiError if a token does not permit the action `chosen` of the module `module`.

    `row` is the token's row in the database.
    """
    names = json.loads(row["token_modules"] or "null")
    if names is not None and module.path and not names_for_tokens(module).intersection(names):
        raise ApiError("This token is not for this module.", code="token_scope")
    if row["token_reads_only"] and not chosen.read_only:
        raise ApiError("This token may only read.", code="token_scope")


def names_for_tokens(module: Module) -> set:
    """Return the names by which the field token_modules of a token may name a module, such as {"Mailbox"}.

    A module in modulelist has its own name. A module that replaces others in some schema version has their names:
    smtpd.py, which replaces MSA in version 9, has the name "MSA".
    """
    return (
        {module.name}
        if module.name
        else {
            other.name
            for other in module.app.modules.values()
            if module.path in [Path(file).stem for _, file in other.stand_ins.values()]
        }
    )


def is_in_networks(address: str, networks: str | None) -> bool:
    """Return whether an IP address is in one of the `networks`, a JSON list. Return True if `networks` is None."""
    if networks is None:
        return True
    try:
        return any(ip(address) in ip_network(each) for each in json.loads(networks))
    except ValueError:
        return False


def with_lists(row: dict) -> dict:
    """Return a token's row with token_modules and token_networks as lists; the database has them as JSON text."""
    lists = {
        name: json.loads(row[name]) if row[name] else None for name in ("token_modules", "token_networks")
    }
    return row | lists
