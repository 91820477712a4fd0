"""A mail that is about to be queued, and what is needed to make it: parsing of address lists, Date, Message-ID."""

from dataclasses import dataclass
from email.utils import formatdate, make_msgid

from mailapi import ApiError, Config

from .addresses import Group, Mailbox, NotAnAddress, parse_address_list
from .mime import header_text

MAX_ENTRY = 1300  # characters of an address with a name


@dataclass
class OutgoingMail:
    """A mail to put into the queue: its sender and recipients, and the whole message in `data`, with CRLF."""

    sender: Mailbox
    authors: list[Mailbox]  # those in From and Sender
    recipients: list[str]
    data: bytes


def address_list(name: str, value: str | None, config: Config) -> list[Mailbox | Group]:
    """Parse the address list `value` in the field `name` of a request. ApiError if an entry is not an address."""
    if len(value or "") > config.max_recipients * MAX_ENTRY:
        raise too_many_recipients(config)
    try:
        return list(parse_address_list(header_text(name, value)))
    except NotAnAddress as error:
        raise ApiError(f"Not an address: {error}.", audit="Not an address.", field=name) from None


def unique_recipients(recipients: list[str]) -> list[str]:
    """Return the recipients in their order, without duplicates. Upper and lower case are equal."""
    unique: dict[str, str] = {}
    for address in recipients:
        unique.setdefault(address.casefold(), address)
    return list(unique.values())


def too_many_recipients(config: Config) -> ApiError:
    return ApiError(f"Too many recipients: {config.max_recipients} at most.", field="to")


def single_address(entries: list) -> Mailbox:
    """Return the only address in a parsed list. ApiError if there is none or more than one, or if it is a group."""
    if len(entries) != 1 or isinstance(entries[0], Group):
        raise ApiError("The message must be from one address.", field="from")
    return entries[0]


def date_and_id(sender: Mailbox) -> dict[str, str]:
    """Return the header fields Date, with the current time, and Message-ID for a message from `sender`."""
    return {
        "Date": formatdate(localtime=True),
        "Message-ID": make_msgid(domain=sender.address.rpartition("@")[2]),
    }
