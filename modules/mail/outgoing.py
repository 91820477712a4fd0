"""A mail to be queued, and helpers to make it: checks of fields, address lists, Date and Message-ID."""

from dataclasses import dataclass
from email.utils import formatdate, make_msgid

from mailapi import ApiError, Config

from .addresses import CONTROL, Group, Mailbox, NotAnAddress, parse_address_list

MAX_ENTRY = 1300  # characters of an address with a name


@dataclass
class OutgoingMail:
    """A mail to send: its sender, authors and recipients, and the complete message in `data`, with CRLF line ends."""

    sender: Mailbox
    authors: list[Mailbox]  # those in From and Sender
    recipients: list[str]
    data: bytes


def address_list(name: str, value: str | None, config: Config) -> list[Mailbox | Group]:
    """Parse an address list, such as "Ann <a@corp.org>, b@corp.org". ApiError if an entry is not an address.

    `value`: the list as text. `name`: the request's field that has the list, for error messages.
    """
    if len(value or "") > config.max_recipients * MAX_ENTRY:
        raise too_many_recipients(config)
    try:
        return list(parse_address_list(single_line(name, value)))
    except NotAnAddress as error:
        raise ApiError(f"Not an address: {error}.", audit="Not an address.", field=name) from None


def single_line(name: str, value: str | None) -> str:
    """Return the value of a request's field as text for a header; "" for None. ApiError if it has a control character.

    `name` is the name of the field, for the error message.
    """
    if value and CONTROL.search(value):
        raise ApiError(f"A line break or control character in {name}.")
    return (value or "").strip()


def unique_recipients(recipients: list[str]) -> list[str]:
    """Return the recipients without duplicates, in the same order. Upper and lower case are equal."""
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
    """Return {"Date": …, "Message-ID": …}: the current time, and a new id for a message from `sender`."""
    return {
        "Date": formatdate(localtime=True),
        "Message-ID": make_msgid(domain=sender.address.rpartition("@")[2]),
    }
