"""All sources of the caller's mails (databases, IMAP server) together, for one request: list, fetch, change."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import NamedTuple

from mailapi import ApiError, invalid, number

from .sources import HEADER_BYTES, MailSource, SourceUnavailable

SOURCE_NAMES = ("master", "user", "imap")  # the values of mail_sourcedb
READ_ORDER = ("imap", "user", "master")  # in which sources are searched, if mail_sourcedb is not given
# Without mail_sourcedb, a change is made only in the first of these sources that the caller has.
CHANGE_ORDER = ("imap", "master")
BATCH = 100  # mails read in one transaction, and in memory at the same time


class MailRef(NamedTuple):
    """A reference to a mail: its source and id, with the values by which lists are sorted."""

    sent: int | float  # seconds since 1970
    mail_id: int
    name: str  # of the source
    source: MailSource


def sent_time(row: dict) -> int | float:
    """Return the time in mail_submission, in seconds since 1970; 0 if it is no number."""
    seconds = number(row["mail_submission"])
    return seconds if isinstance(seconds, (int, float)) else 0


class Mailboxes:
    """All sources of the caller's mails, such as a database and an IMAP server. A context manager that closes them.

    A source that fails is not used again during the request, and `warning` names it.
    """

    def __init__(self, call, factories: Iterable[Callable[..., MailSource]]):
        if call.user_name is None:
            raise ApiError("Name the mailbox's user with --as USER.")
        self.call = call
        self.problems: list[str] = []
        sources = [make(call) for make in factories]
        self.supported = {source.name for source in sources}
        self.sources = [source for source in sources if source.exists()]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for source in self.sources:
            source.close()

    @property
    def warning(self) -> dict:
        """Return `status` and `warning` for the answer if a source has failed, else {}."""
        return {"status": "warning", "warning": " ".join(self.problems)} if self.problems else {}

    @contextlib.contextmanager
    def skip_if_unavailable(self, source: MailSource) -> Iterator[None]:
        """Catch SourceUnavailable in a `with` block, and do not use this source for the rest of the request."""
        try:
            yield
        except SourceUnavailable as error:
            self.problems.append(error.status)
            self.sources.remove(source)
            source.close()

    def index(self, only_unread: bool = False) -> list[MailRef]:
        """Return references to all mails of the caller, newest first, or only to unread ones."""
        refs: list[MailRef] = []
        for source in list(self.sources):
            with self.skip_if_unavailable(source):
                refs += [
                    MailRef(sent_time(row), row["mail_id"], source.name, source)
                    for row in source.keys(only_unread)
                ]
        return sorted(refs, key=itemgetter(0, 1, 2), reverse=True)

    def beginnings(
        self, refs: list[MailRef], size: int = HEADER_BYTES, batch: int = BATCH
    ) -> Iterator[tuple[MailRef, dict]]:
        """Yield a reference and the first `size` bytes of each mail in `refs`, in their order.

        Mails that do not exist any more are left out. `batch` mails are read at a time.
        """
        for start in range(0, len(refs), batch):
            some = refs[start : start + batch]
            rows: dict[tuple[int, str], dict] = {}
            for source in {each.source for each in some}.intersection(self.sources):
                with self.skip_if_unavailable(source):
                    ids = [each.mail_id for each in some if each.source is source]
                    rows |= {(row["mail_id"], source.name): row for row in source.beginnings(ids, size)}
            yield from ((each, rows[each[1:3]]) for each in some if each[1:3] in rows)

    def unread_counts(self) -> dict[str, int]:
        """Return the number of unread mails in each source, such as {"master": 2, "imap": 5}."""
        counts = {}
        for source in list(self.sources):
            with self.skip_if_unavailable(source):
                counts[source.name] = source.unread_count()
        return counts

    def fetch(self, mark_read: bool = False, field: str = "mail_id") -> tuple[dict, str]:
        """Return the mail that the request names in `field`, and the name of its source. ApiError if there is none.

        `mark_read`: also mark it as read.
        """
        problem = ApiError("mail not found", code="not_found", field="mail_id")
        for source in self.requested(READ_ORDER):
            try:
                mail = source.fetch(self.call.body[field], mark_read)
            except SourceUnavailable as error:
                problem = error
                self.problems.append(error.status)
            else:
                if mail:
                    return mail, source.name
        raise problem

    def change(self, action: Callable[[MailSource, int], bool]):
        """Call `action` with the source and id of the mail that the request names. ApiError if it returns False.

        False means that there is no such mail. Without mail_sourcedb in the request, the source is the IMAP
        server if there is one, else the master database. No other source is tried, since another mail may
        have the id there.
        """
        if not any(action(source, self.call.body["mail_id"]) for source in self.requested(CHANGE_ORDER)[:1]):
            raise ApiError("mail not found", code="not_found", field="mail_id")

    def requested(self, default: tuple[str, ...]) -> list[MailSource]:
        """Return the sources that the caller has, of those that mail_sourcedb names; by default those in `default`."""
        name = self.call.body.get("mail_sourcedb")
        if name and name not in self.supported:
            raise invalid("mail_sourcedb")
        names = (name,) if name else default
        return [source for each in names for source in self.sources if source.name == each]
