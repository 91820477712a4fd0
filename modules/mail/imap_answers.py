"""Parser of an IMAP server's answers to FETCH (RFC 3501), in the form in which imaplib returns them."""

import re
from collections.abc import Iterator
from email.utils import mktime_tz, parsedate_tz

from ..clients.deadline import to_text

# The FETCH items that are used. Text in brackets or quotes is matched as a whole.
ITEM = re.compile(
    rb'(UID|RFC822\.SIZE) (\d+)|(FLAGS) \(([^()]*)\)|(INTERNALDATE) "([^"]*)"'
    rb'|(BODY)\[[^][]*\](?:<\d+>)? (?:"((?>(?:[^"\\]|\\.)*))"|\{\d+\}|NIL)'
)


def parse_answers(pieces: list) -> Iterator[dict[bytes, bytes]]:
    """Parse answers to FETCH. Yield a dictionary for each, such as {b"UID": b"7", b"RFC822.SIZE": b"512"}.

    `pieces` is the list that imaplib returns. Its members are bytes, and tuples of bytes and a literal.
    """
    texts, literal = [], b""
    for piece in pieces:
        if isinstance(piece, tuple):
            texts.append(piece[0])
            literal = piece[1]
        elif piece is not None:
            yield parse_items(b"".join([*texts, piece]), literal)
            texts, literal = [], b""


def parse_items(text: bytes, literal: bytes) -> dict[bytes, bytes]:
    """Parse one answer to FETCH. Return a dictionary such as {b"UID": b"7", b"BODY": b"Subject: Hello"}.

    `literal` is the long value that imaplib separates from `text`, such as the mail itself; b"" if there is none.
    """
    items = {}
    for match in ITEM.finditer(text):
        name, value = ([group for group in match.groups() if group is not None] + [literal])[:2]
        items[name] = re.sub(rb"\\(.)", rb"\1", value) if match[8] else value
    return items


def flags(items: dict[bytes, bytes]) -> list[bytes]:
    """Return the IMAP flags of a mail in lower case. `items` is a dictionary that parse_answers() yields."""
    return items.get(b"FLAGS", b"").lower().split()


def is_read(items: dict[bytes, bytes]) -> bool:
    return rb"\seen" in flags(items)


def received_time(items: dict[bytes, bytes]) -> int:
    """Return the time at which the IMAP server received a mail, in seconds since 1970. 0 if it is missing or invalid.

    `items` is a dictionary that parse_answers() yields; its INTERNALDATE is used.
    """
    try:
        parsed = parsedate_tz(to_text(items.get(b"INTERNALDATE", b"")).strip())
        return int(mktime_tz(parsed)) if parsed else 0
    except (TypeError, ValueError, OverflowError):
        return 0
