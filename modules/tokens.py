"""Tokens: what scripts log in with instead of a password, never allowed more than whoever made them."""

import contextlib
import json
import secrets
import time
from pathlib import Path

from peewee import IntegerField, TextField

from mailapi import (
    CLOCK_SKEW,
    ApiError,
    Bearer,
    Model,
    Module,
    PreparedQuery,
    Rule,
    boolean,
    endpoint,
    ip,
    ip_network,
    list_of_text,
    optional_number,
    param,
    sha256,
    whole_number,
)


class TokenRow(Model):
    token_id = IntegerField()
    token_hash = TextField()
    token_user = TextField()
    token_name = TextField()
    token_created = IntegerField()  # seconds since 1970, as the next two
    token_expires = IntegerField(null=True)
    token_used = IntegerField(null=True)
    token_reads_only = IntegerField()
    token_modules = TextField(null=True)  # JSON lists; null: all
    token_networks = TextField(null=True)
    # As with a session: a token ends with the password that it was made under, and so never falls to another
    # user of the same name, not even to one made straight in the database file.
    authdata_hash = TextField()

    class Meta:
        table_name = "token"


SHOWN = TokenRow.select(
    *[
        column
        for column in TokenRow._meta.sorted_fields
        if column not in {TokenRow.token_hash, TokenRow.authdata_hash}
    ]
)
FIND = PreparedQuery(TokenRow.select().where(TokenRow.token_hash == param("token_hash")))
OF_USER = PreparedQuery(
    TokenRow.select(TokenRow.token_id).where(TokenRow.token_user == param("user")).limit(1)
)
USED = PreparedQuery(TokenRow.update(token_used=param("now")).where(TokenRow.token_id == param("token_id")))


def networks(value) -> list | None:
    """Addresses and networks, such as 192.0.2.0/24."""
    listed = list_of_text(value)
    return listed and [str(ip_network(each, strict=False)) for each in listed]


def expiry(value) -> int | None:
    """Seconds since 1970; only null, missing and "" are never, and 0 is long ago."""
    return None if value == "" else whole_number(value)


def makes_sense(call):
    for name in call.body.get("token_modules") or []:
        if name not in call.config.modulelist:
            raise ApiError(f"Unknown module {name}.", audit="Unknown module.")
    expires = call.body.get("token_expires")
    if expires is not None and expires <= time.time():
        raise ApiError("The token would have expired already.")


not_by_token = Rule(
    "anyone logged in without a token", lambda call: call.restriction is None, "A token cannot manage tokens."
)


class Token(Module):
    identifiers = ("token_name", "token_id")
    state_schema = """
CREATE TABLE IF NOT EXISTS token (token_id INTEGER PRIMARY KEY AUTOINCREMENT, token_hash TEXT NOT NULL UNIQUE,
    token_user TEXT NOT NULL, token_name TEXT NOT NULL, token_created INTEGER NOT NULL, token_expires INTEGER,
    token_used INTEGER, token_reads_only INTEGER NOT NULL, token_modules TEXT, token_networks TEXT,
    authdata_hash TEXT NOT NULL);
"""

    @endpoint(allow=not_by_token, read_only=True, manages_transactions=True)
    def get(self, call):
        """The caller's tokens, for an admin everybody's; not the secrets, which nobody has."""
        rows = SHOWN if call.caller.admin else SHOWN.where(TokenRow.token_user == call.user_name)
        with self.app.state.transaction("DEFERRED"):
            found = self.app.state.rows(rows.order_by(TokenRow.token_id))
        return {"tokens": [shown(row) for row in found]}

    @endpoint(
        required={"token_name": "Token name is not set."},
        validators=[makes_sense],
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
        """A new token for the caller; `token` is the secret, told only now."""
        if call.user_name is None:
            raise ApiError("A token belongs to a user: say which (--as).")
        secret = "mailapi_" + secrets.token_urlsafe(32)
        lists = {
            name: json.dumps(call.body[name]) if call.body.get(name) else None
            for name in ("token_modules", "token_networks")
        }
        with self.app.state.transaction():
            row = self.app.state.execute(
                TokenRow.insert(
                    token_hash=sha256(secret),
                    token_user=call.user_name,
                    token_name=call.body["token_name"],
                    token_created=int(time.time()),
                    token_expires=call.body.get("token_expires"),
                    token_reads_only=call.body.get("token_reads_only") or False,
                    # The one that was confirmed: where it is being changed just now, the token has ended already.
                    authdata_hash=sha256(call.authdata or ""),
                    **lists,
                )
            ).lastrowid
        return {"token": secret, "token_id": row}

    @endpoint(
        required={"token_id": "No token id is set."},
        optional={"token_id": optional_number},
        allow=not_by_token,
        manages_transactions=True,
    )
    def delete(self, call):
        """End a token: one's own, for an admin anybody's."""
        which = TokenRow.token_id == call.body["token_id"]
        if not call.caller.admin:
            which &= TokenRow.token_user == call.user_name
        with self.app.state.transaction():
            if not self.app.state.execute(TokenRow.delete().where(which)).rowcount:
                raise ApiError("Token not found.")

    def bearer(self, call, token: str, address: str) -> Bearer | None:
        with self.app.state.transaction("DEFERRED"):
            row = self.app.state.one(FIND, token_hash=sha256(token))
        now = int(time.time())
        if (
            row is None
            or row["token_expires"] is not None
            and row["token_expires"] <= now
            or not within(address, row["token_networks"])
        ):
            return None
        if row["token_created"] > now + CLOCK_SKEW:  # a clock was wrong
            return None
        user = call.app.credentials(row["token_user"]) or {}
        if row["authdata_hash"] != sha256(
            user.get("user_authdata") or ""
        ):  # looked at again in the transaction
            return None
        if abs(now - (row["token_used"] or 0)) > 60:  # to the minute: a write for every request would be dear
            with (
                contextlib.suppress(ApiError),
                self.app.state.transaction(),
            ):  # not worth refusing the request
                self.app.state.execute(USED, now=now, token_id=row["token_id"])
        return Bearer(
            row["token_user"],
            f"token {row['token_name']}",
            lambda *asked: refuse(row, *asked),
            row["authdata_hash"],
        )

    def has_rows_of(self, user_name):
        with self.app.state.transaction("DEFERRED"):
            return self.app.state.value(OF_USER, user=user_name) is not None

    def on_user_deleted(self, user_name: str):
        """A deleted user's tokens end, also for another one of the same name."""
        with self.app.state.transaction():
            self.app.state.execute(TokenRow.delete().where(TokenRow.token_user == user_name))


def refuse(row: dict, module: Module, chosen):
    """Hold what is asked against what the token is for."""
    names = json.loads(row["token_modules"] or "null")
    if names is not None and module.path and not serves(module).intersection(names):
        raise ApiError("This token is not for this module.")
    if row["token_reads_only"] and not chosen.read_only:
        raise ApiError("This token may only read.")


def serves(module: Module) -> set:
    """The names in modulelist under which a module serves: one that only stands in for others has theirs."""
    return (
        {module.name}
        if module.name
        else {
            other.name
            for other in module.app.modules.values()
            if module.path in [Path(file).stem for _, file in other.stand_ins.values()]
        }
    )


def within(address: str, listed: str | None) -> bool:
    if listed is None:
        return True
    try:
        return any(ip(address) in ip_network(each) for each in json.loads(listed))
    except ValueError:
        return False


def shown(row: dict) -> dict:
    lists = {
        name: json.loads(row[name]) if row[name] else None for name in ("token_modules", "token_networks")
    }
    return row | lists
