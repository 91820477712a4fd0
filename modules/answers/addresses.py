"""Describes the request fields and answers of the module at addresses/, for openapi.json and docs/reference/."""

from typing import NotRequired, TypedDict

from ..openapi.description import Description

FIELDS = {
    "address_expression": "Pattern for recipients: % stands for any text, _ for one character.",
    "address_order": "Patterns with a higher order are tried first.",
    "address_old_order": "The order of the address that is changed.",
    "address_old_expression": "The pattern that the address has until now; if it has another, it is left alone.",
    "address_router": "What the SMTP daemon does with the mail: store, redirect, handoff, reject or drop.",
    "address_route": "The router's argument: a user for store, an address for redirect, a host for handoff.",
    "address_user": "The user who gets the mail.",
    "address1": "The first of two addresses, by expression and order.",
    "address2": "The second of two addresses, by expression and order.",
    "address_routing": "inrouter: mail to the address; outrouter: mail from it.",
    "test": "An address: lists the patterns that match it.",
    "sender": "The envelope sender of an incoming mail.",
    "smtpd_user": "The user who sends the mail.",
    "recipient": "The recipient of an outgoing mail.",
    "addresses": "The addresses, highest order first.",
    "steps": "What the SMTP daemon does, a sentence a step.",
    "decision": "The outcome; missing if the caller may not see it.",
    "accepted": "Whether the daemon takes the mail.",
    "stored": "The user whose mailbox gets the mail.",
    "queued": "The mail as the outbox would have it.",
    "mail_remote": "The host that the mail is handed to; null: the host of the recipient's domain.",
    "mail_envelopefrom": "The envelope's sender.",
    "mail_envelopeto": "The envelope's recipient.",
}


class Address(TypedDict):
    address_expression: str
    address_order: int
    address_router: NotRequired[str]
    address_route: NotRequired[str | None]
    address_user: NotRequired[str | None]


class AddressList(TypedDict):
    addresses: list[Address]


class QueuedMail(TypedDict):
    mail_remote: str | None
    mail_envelopefrom: str | None
    mail_envelopeto: str | None


class Decision(TypedDict):
    accepted: bool
    stored: str | None
    queued: QueuedMail | None


class RoutingTest(TypedDict):
    steps: list[str]
    decision: NotRequired[Decision]


DESCRIPTION = Description(
    FIELDS,
    {"get": AddressList, "test": RoutingTest},
    {"get": AddressList},
    {
        "add": {"address_router": "store", "address_route": "ann"},
        "update": {"address_router": "store", "address_route": "ann"},
    },
)
