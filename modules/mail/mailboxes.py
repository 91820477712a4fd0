"""All the places where a caller's mails lie, asked together for one request."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import NamedTuple

from mailapi import ApiError, invalid, number

from ..mail.sources import HEADERS, Source, SourceUnavailable

NAMES = ("master", "user", "imap")  # that a mail_sourcedb can have
READ_FROM = ("imap", "user", "master")  # where a mail is looked for without one, in this order
CHANGED_IN = ("imap", "master")  # where it is changed then: in the first one that the caller has
AT_ONCE = 100  # so many mails are read in one transaction, and in memory together


class Found(NamedTuple):
    """What a list is sorted by, and where the mail is."""

    sent: int | float  # seconds since 1970
    mail_id: int
    name: str  # of the source
    source: Source


def sent(row: dict) -> int | float:
    """When a mail was submitted; 0 where that is no number."""
    seconds = number(row["mail_submission"])
    return seconds if isinstance(seconds, (int, float)) else 0


class Mailboxes:
    """The sources that the caller has; what they keep open is closed at the end of the block.

    A source that turns out to be out of reach is left alone from then on.
    """

    def __init__(self, call, kinds: Iterable[Callable[..., Source]]):
        if call.user_name is None:
            raise ApiError("Say whose mailbox: --as USER.")
        self.call, self.problems = call, []
        made = [kind(call) for kind in kinds]
        self.known = {source.name for source in made}
        self.sources = [source for source in made if source.exists()]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for source in self.sources:
            source.close()

    @property
    def warning(self) -> dict:
        """What the answer says of sources that were out of reach."""
        return {"status": "warning", "warning": " ".join(self.problems)} if self.problems else {}

    @contextlib.contextmanager
    def within_reach(self, source: Source) -> Iterator[None]:
        """A block that asks a source, and is left without an error where it is out of reach."""
        try:
            yield
        except SourceUnavailable as error:
            self.problems.append(error.status)
            self.sources.remove(source)
            source.close()

    def index(self, only_unread: bool = False) -> list[Found]:
        """All mails of the caller, newest first."""
        found: list[Found] = []
        for source in list(self.sources):
            with self.within_reach(source):
                found += [
                    Found(sent(row), row["mail_id"], source.name, source) for row in source.keys(only_unread)
                ]
        return sorted(found, key=itemgetter(0, 1, 2), reverse=True)

    def beginnings(
        self, found: list[Found], size: int = HEADERS, at_once: int = AT_ONCE
    ) -> Iterator[tuple[Found, dict]]:
        """These mails in their order, as Source.beginnings has them; who is gone meanwhile is left out."""
        for start in range(0, len(found), at_once):
            some, rows = found[start : start + at_once], {}
            for source in {each.source for each in some}.intersection(self.sources):
                with self.within_reach(source):
                    ids = [each.mail_id for each in some if each.source is source]
                    rows |= {(row["mail_id"], source.name): row for row in source.beginnings(ids, size)}
            yield from ((each, rows[each[1:3]]) for each in some if each[1:3] in rows)

    def unread_counts(self) -> dict[str, int]:
        """How many mails are unread, by source."""
        counts = {}
        for source in list(self.sources):
            with self.within_reach(source):
                counts[source.name] = source.unread_count()
        return counts

    def fetched(self, mark_read: bool = False) -> tuple[dict, str]:
        """The mail that mail_id and mail_sourcedb name, and the name of its source."""
        problem = ApiError("mail not found")
        for source in self.named(READ_FROM):
            try:
                mail = source.fetch(self.call.body["mail_id"], mark_read)
            except SourceUnavailable as error:
                problem = error
                self.problems.append(error.status)
            else:
                if mail:
                    return mail, source.name
        raise problem

    def change(self, do: Callable[[Source, int], bool]):
        """Do it to the mail that mail_id and mail_sourcedb name.

        Without a source only one place is looked at: an id that is gone there may be another mail's elsewhere.
        """
        if not any(do(source, self.call.body["mail_id"]) for source in self.named(CHANGED_IN)[:1]):
            raise ApiError("mail not found")

    def named(self, otherwise: tuple[str, ...]) -> list[Source]:
        """The source that the request names, or those that are looked at where it names none."""
        asked = self.call.body.get("mail_sourcedb")
        if asked and asked not in self.known:
            raise invalid("mail_sourcedb")
        names = (asked,) if asked else otherwise
        return [source for name in names for source in self.sources if source.name == name]
