"""A mail that is about to be queued, and what new and complete messages have in common: checks of addresses, Date."""

from dataclasses import dataclass
from email.utils import formatdate, make_msgid

from mailapi import ApiError, Config

from .addresses import Group, Mailbox, NotAnAddress, parse_address_list
from .mime import header_text

MAX_ENTRY = 1300  # characters of an address with a name


@dataclass
class OutgoingMail:
    """A mail to queue: the sender, the recipients, and the complete message as bytes with CRLF."""

    sender: Mailbox
    authors: list[Mailbox]  # those in From and Sender
    recipients: list[str]
    data: bytes


def address_list(name: str, value: str | None, config: Config) -> list[Mailbox | Group]:
    """Parse the address list in the field `name` of a request. ApiError if an entry is no address."""
    if len(value or "") > config.max_recipients * MAX_ENTRY:
        raise too_many_recipients(config)
    try:
        return list(parse_address_list(header_text(name, value)))
    except NotAnAddress as error:
        raise ApiError(f"Not an address: {error}.", audit="Not an address.", field=name) from None


def unique_recipients(recipients: list[str]) -> list[str]:
    """Return the recipients, each only once, in their order. Upper and lower case are equal."""
    unique: dict[str, str] = {}
    for address in recipients:
        unique.setdefault(address.casefold(), address)
    return list(unique.values())


def too_many_recipients(config: Config) -> ApiError:
    return ApiError(f"Too many recipients: {config.max_recipients} at most.", field="to")


def single_address(entries: list) -> Mailbox:
    """Return the address in a parsed list that must have exactly one. ApiError for more, none or a group."""
    if len(entries) != 1 or isinstance(entries[0], Group):
        raise ApiError("The message must be from one address.", field="from")
    return entries[0]


def date_and_id(sender: Mailbox) -> dict[str, str]:
    """Return the headers Date and Message-ID for a message that `sender` sends now."""
    return {
        "Date": formatdate(localtime=True),
        "Message-ID": make_msgid(domain=sender.address.rpartition("@")[2]),
    }
