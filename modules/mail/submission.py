"""Messages that `services/?send` passes to the SMTP server: the request's fields, and who may send from an address."""

import base64
import re

from mailapi import LONGEST, Rule, invalid, list_of_text, long_text, php_text

from ..openapi.schemas import json_schema, schema_of
from .outbox import queue_rows
from .own_addresses import may_be_sender
from .ready_message import authors_in
from .routing_rules import out_router, outbound

LONGEST_ENVELOPE_ADDRESS = 256  # bytes


@json_schema({"type": "string", "maxLength": LONGEST_ENVELOPE_ADDRESS})
def envelope_address(value) -> str | None:
    """Return a sender or recipient for SMTP as text. ValueError if it is too long, or has white space, `<` or `>`."""
    value = php_text(value)
    too_long = value and len(value.encode()) > LONGEST_ENVELOPE_ADDRESS
    if value and (too_long or re.search(r"[\x00-\x20\x7f-\xa0<>\u2028\u2029]", value)):
        raise ValueError("not an envelope address")
    return value


@json_schema({"type": "array", "items": schema_of(envelope_address), "maxItems": LONGEST})
def envelope_addresses(value) -> list | None:
    """Return a list of recipients for SMTP. ValueError if one of them is empty or invalid."""
    addresses = list_of_text(value)
    if addresses and "" in addresses:
        raise ValueError("an address is empty")
    return addresses and [envelope_address(each) for each in addresses]


@json_schema({"type": "string", "enum": ["base64"]})
def encoding(value) -> str | None:
    """Return "base64" if the request's field `message` is in base64, or None for plain text. ValueError for others."""
    value = php_text(value)
    if value not in (None, "base64"):
        raise ValueError("unknown encoding")
    return value


MESSAGE_FIELDS = {"message": long_text, "encoding": encoding}


def decoded_message(call) -> bytes:
    """Return the message in the request as bytes, decoded if it is in base64. ApiError if the base64 is invalid."""
    message = call.body["message"]
    if not call.body.get("encoding"):
        return message
    try:
        return base64.b64decode(message.translate(None, b" \t\r\n\f\v"), validate=True)
    except ValueError:
        raise invalid("message") from None


def may_send_from(call) -> bool:
    """Return whether the caller may send mail from the address `sender` in the request.

    The router of the caller's outgoing mail decides: `any` and `handoff` allow every address, `defined` the caller's
    own, `drop` and `reject` none. On the command line, without a user name, any address is allowed.
    """
    user, sender = call.user_name, call.body["sender"]
    routing = out_router(call, user)
    stores = may_be_sender(call, routing[0], [sender])
    outcome = outbound([], user, routing, stores, sender, None)
    return user is None or outcome["decision"]["queued"] is not None


owns_sender = Rule(
    "whose out router passes the sender on", may_send_from, "Not allowed to send from this address."
)


def check_authors(call, message: bytes):
    """Raise ApiError if an author in the message's header is not an address of the caller.

    Authors are checked only if the caller may send from own addresses only (router `defined`). A malformed header is
    then refused, too.
    """
    if call.user_name is None or out_router(call, call.user_name)[0] != "defined":
        return
    authors = authors_in(message, call.config)
    with call.db.transaction("DEFERRED"):
        routing = out_router(call, call.user_name)
        for author in authors:
            queue_rows(call, routing, author, [None])
