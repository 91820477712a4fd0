"""Search in the caller's mails by text, sender, subject, time and read state; results come in pages."""

import re
import time

from mailapi import boolean, number, optional_number, php_text

from ..openapi.schemas import json_schema
from .mailboxes import BATCH, SOURCE_NAMES, Mailboxes, MailRef
from .message_parser import parse_headers
from .messages import mail_bytes, mail_summary, searchable_text
from .sources import HEADER_BYTES

DEFAULT_PAGE, MAX_PAGE = 100, 1000  # mails in an answer
SECONDS = 5  # after which the search ends, and the answer has the matches so far
TEXT_BYTES = 2**20  # bytes of a mail that are searched for a text
TEXT_BATCH = 16  # mails read at a time when searching for a text
MAX_POSITION = 100  # characters of `next`: a time as a float of 25, an id of 20 and a source


@json_schema({"type": "string", "maxLength": MAX_POSITION})
def position(value) -> tuple | None:
    """Convert the request's field `next`, such as "1700000000 7 master", to (1700000000, 7, "master").

    These are time, id and source of the last mail on the page before. Return None for the first page, without the
    field. ValueError if the field is invalid.
    """
    if (value := php_text(value)) is None:
        return None
    sent, mail_id, name = value.split(" ") if len(value) <= MAX_POSITION else ("", "", "")
    if (
        isinstance(number(sent), str)
        or not re.fullmatch("-?[0-9]{1,19}", mail_id)
        or name not in SOURCE_NAMES
    ):
        raise ValueError("not a value of `next`")
    return number(sent), int(mail_id), name


TERMS = {
    "subject": php_text,
    "from": php_text,
    "text": php_text,
    "before": optional_number,
    "after": optional_number,
    "unread": boolean,
    "next": position,
}


class Search:
    """Checks whether mails meet all conditions of a search.

    `terms`: the request's fields, such as {"subject": "offer", "after": 1700000000}.
    """

    def __init__(self, terms: dict):
        self.terms = terms
        self.subject, self.sender, self.text = (
            normalized(terms.get(name) or "") for name in ("subject", "from", "text")
        )

    def in_range(self, ref: MailRef) -> bool:
        """Return whether a mail is in the time from `after` to `before`, and not on an earlier page of the results."""
        after, before, page_end = (self.terms.get(name) for name in ("after", "before", "next"))
        return (
            (after is None or ref.sent >= after)
            and (before is None or ref.sent < before)
            and (page_end is None or ref[:3] < page_end)
        )

    def matches(self, raw: bytes) -> bool:
        """Return whether the mail `raw` has the wanted subject, sender and text."""
        message = parse_headers(raw)
        subject, sender = normalized(message.field("subject")), normalized(message.field("from"))
        if self.subject not in subject or self.sender not in sender:
            return False
        return (
            self.text in subject
            or self.text in sender
            or self.text in normalized(message.field("to"))
            or self.text in normalized(searchable_text(raw))
        )


def normalized(value: str) -> str:
    """Return a text for comparisons: case-folded, and with single spaces."""
    return " ".join(value.split()).casefold()


def search(call, mailboxes: Mailboxes) -> dict:
    """Return {"mails": [...], "next": ...}: a page of the mails that match the request, newest first.

    `next` is the value to send for the next page; None on the last page.
    """
    terms = Search(call.body)
    refs = mailboxes.index(call.body.get("unread"))
    size, until = min(call.limit or DEFAULT_PAGE, MAX_PAGE), time.monotonic() + SECONDS
    amount = (TEXT_BYTES, TEXT_BATCH) if terms.text else (HEADER_BYTES, BATCH)
    mails, last = [], None
    for ref, mail in mailboxes.beginnings([each for each in refs if terms.in_range(each)], *amount):
        if last and (len(mails) == size or time.monotonic() > until):
            return mailboxes.warning | {"mails": mails, "next": " ".join(map(str, last[:3]))}
        last = ref
        if terms.matches(mail_bytes(mail)):
            mails.append(mail_summary(mail, ref.name))
    return mailboxes.warning | {"mails": mails, "next": None}
