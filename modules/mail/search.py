"""Search: which of somebody's mails say something, a page at a time."""

import re
import time

from mailapi import boolean, number, optional_number, php_text

from ..mail.mailboxes import AT_ONCE, NAMES, Found, Mailboxes
from ..mail.messages import data, head, header, headers_of, listed, said
from ..mail.sources import HEADERS

PAGE, LONGEST_PAGE = 100, 1000  # mails in an answer, without a limit and at the most
SECONDS = 5  # after which an answer is given with what was found so far
SEARCHED = 2**20  # bytes of a mail whose text is looked at
LARGE_AT_ONCE = 16  # of these
LONGEST_POSITION = 100  # characters of `next`: a time as a float of 25, an id of 20 and a source


def position(value) -> tuple | None:
    """Where the page before has ended: `next` of its answer."""
    if (value := php_text(value)) is None:
        return None
    sent, mail_id, name = value.split(" ") if len(value) <= LONGEST_POSITION else ("", "", "")
    if isinstance(number(sent), str) or not re.fullmatch("-?[0-9]{1,19}", mail_id) or name not in NAMES:
        raise ValueError("not what `next` was")
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
    """What is looked for: everything that is given must be so."""

    def __init__(self, asked: dict):
        self.asked = asked
        self.subject, self.sender, self.text = (
            folded(asked.get(name) or "") for name in ("subject", "from", "text")
        )

    def within(self, found: Found) -> bool:
        """Whether a mail's time fits, and it comes after the page before."""
        after, before, page = (self.asked.get(name) for name in ("after", "before", "next"))
        return (
            (after is None or found.sent >= after)
            and (before is None or found.sent < before)
            and (page is None or found[:3] < page)
        )

    def fits(self, raw: bytes) -> bool:
        message = headers_of(head(raw))
        subject, sender = folded(header(message, "subject")), folded(header(message, "from"))
        if self.subject not in subject or self.sender not in sender:
            return False
        return (
            self.text in subject
            or self.text in sender
            or self.text in folded(header(message, "to"))
            or self.text in folded(said(raw))
        )


def folded(value: str) -> str:
    """Text as it is compared: without case, every run of blanks and line ends a blank."""
    return " ".join(value.split()).casefold()


def search(call, places: Mailboxes) -> dict:
    """A page of the mails that fit, newest first, and where the next one begins; null at the end."""
    asked = Search(call.body)
    everything = places.index(call.body.get("unread"))
    size, until = min(call.limit or PAGE, LONGEST_PAGE), time.monotonic() + SECONDS
    looked_at = (SEARCHED, LARGE_AT_ONCE) if asked.text else (HEADERS, AT_ONCE)
    mails, last = [], None
    for found, mail in places.beginnings([each for each in everything if asked.within(each)], *looked_at):
        if last and (len(mails) == size or time.monotonic() > until):
            return places.warning | {"mails": mails, "next": " ".join(map(str, last[:3]))}
        last = found
        if asked.fits(data(mail)):
            mails.append(listed(mail, found.name))
    return places.warning | {"mails": mails, "next": None}
