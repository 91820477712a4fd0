"""A complete message (RFC 5322) that a caller wants to send: checks, authors, recipients, and missing header fields."""

import re

from mailapi import ApiError, Config, readable

from .addresses import CONTROL, Group, Mailbox, all_mailboxes, fold_field
from .mime import checked_lines, crlf, decode_base64
from .outgoing import OutgoingMail, address_list, date_and_id, single_address

MAX_HEADER = 256 * 1024  # bytes of all header fields
MAX_AUTHORS = 10  # each costs database queries
ONE_FROM = "A message needs one From, and has one Sender at most."
FIELD = re.compile(rb"([!-9;-~]++)[ \t]*+:([^\r\n]*+(?>(?:\r\n[ \t][^\r\n]*+)*))\r\n")


def prepare_message(message: bytes, lists: dict, config: Config) -> OutgoingMail:
    """Return a complete message as a mail to send: without Bcc, and with Date and Message-ID.

    `message`: the message, as it is or in base64. `lists`: the parsed address fields of the request, {"from": [...],
    "to": [...], "cc": [...], "bcc": [...]}. They have precedence over those in the header. ApiError if the message is
    invalid.
    """
    raw = checked_lines(message if b":" in message else unpack_base64(message))
    header = raw[: raw.find(b"\r\n\r\n") + 2] if b"\r\n\r\n" in raw else raw
    fields = header_fields(header)
    names = [name for name, _, _ in fields]
    if "from" not in names:
        raise ApiError(ONE_FROM)
    authors = authors_of(fields, config)
    header_lists = address_fields(fields, ("from", "sender", "to", "cc", "bcc"), config)
    sender = single_address(lists["from"] or header_lists["sender"] or header_lists["from"])
    recipient_lists = lists if lists["to"] or lists["cc"] or lists["bcc"] else header_lists
    if recipient_lists is header_lists and any(name.startswith("resent-") for name in names):
        raise ApiError("The message has Resent fields, so its recipients must be given.")
    recipients = [
        each.address for name in ("to", "cc", "bcc") for each in all_mailboxes(recipient_lists[name])
    ]
    remaining = [field for name, _, field in fields if name not in ("bcc", "resent-bcc")]
    added = [
        fold_field(name, value) for name, value in date_and_id(sender).items() if name.lower() not in names
    ]
    content = memoryview(raw)[len(header) :] or b"\r\n"
    return OutgoingMail(sender, authors, recipients, b"".join([*remaining, *added, content]))


def address_fields(fields: list, names: tuple, config: Config) -> dict[str, list[Mailbox | Group]]:
    """Return the parsed addresses in the header fields `names`, such as {"from": [Mailbox(…)], "cc": []}.

    `fields`: all fields of the header, [(name in lower case, value, whole field), …]. ApiError if an address is
    invalid, or if there are too many.
    """
    return {
        each: [
            entry
            for name, value, _ in fields
            if name == each
            for entry in address_list(name.title(), unfold(value), config)
        ]
        for each in names
    }


def authors_of(fields: list, config: Config) -> list[Mailbox]:
    """Return the addresses in the header fields From and Sender. ApiError if one is there twice, or has no address.

    `fields`: all fields of the header, [(name in lower case, value, whole field), …].
    """
    names = [name for name, _, _ in fields]
    if names.count("from") > 1 or names.count("sender") > 1:
        raise ApiError(ONE_FROM)
    lists = address_fields(fields, ("from", "sender"), config)
    if any(name in names and not all_mailboxes(lists[name]) for name in lists):
        raise ApiError("From and Sender must have an address.")
    authors = all_mailboxes(lists["from"] + lists["sender"])
    if len(authors) > MAX_AUTHORS:
        raise ApiError(f"Too many authors: {MAX_AUTHORS} at most.")
    return authors


def authors_in(message: bytes, config: Config) -> list[Mailbox]:
    """Return the addresses in From and Sender of a message. ApiError if a line of its header is malformed."""
    # In a malformed header, other programs might find other authors.
    begin = crlf(message[: MAX_HEADER + 2])
    end = begin.find(b"\r\n\r\n")
    if b"\0" in begin[:end]:
        raise ApiError("The message has a NUL byte.")
    return authors_of(header_fields(begin[: end + 2] if end >= 0 else begin), config)


def unpack_base64(message: bytes) -> bytes:
    try:
        return b"".join(decode_base64(message))
    except ValueError:
        raise ApiError("The message has no header, and is not base64.") from None


def header_fields(header: bytes) -> list[tuple[str, bytes, bytes]]:
    """Split a header into fields: (name in lower case, value, the whole field with its line ends) for each.

    ApiError if a line is malformed, or if the header is too long.
    """
    fields, position = [], 0
    if len(header) > MAX_HEADER:
        raise ApiError(f"The header of the message is too long: {MAX_HEADER} bytes at most.")
    while position < len(header):
        match = FIELD.match(header, position)
        if not match:
            line = readable(header[position : position + 100]).partition("\r\n")[0]
            raise ApiError(f"Not a header line: {CONTROL.sub(' ', line)}.", audit="Not a header line.")
        fields.append((match[1].lower().decode(), match[2], match[0]))
        position = match.end()
    return fields


def unfold(value: bytes) -> str:
    """Return the raw value of an address field as one line of text. ApiError if it is not UTF-8 (RFC 6532)."""
    value = value.replace(b"\r\n", b"")
    try:
        return value.decode()
    except UnicodeDecodeError:
        sentence = f"Not an address: {readable(value[:100]).strip()}."
        raise ApiError(sentence, audit="Not an address.") from None
