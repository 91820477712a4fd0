"""Access to all mails of the caller during one request, in databases and on the IMAP server."""

from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import NamedTuple, TypeVar

from mailapi import ApiError, invalid, number

from .sources import HEADER_BYTES, MailSource, SourceUnavailable

T = TypeVar("T")
SOURCE_NAMES = ("master", "user", "imap")  # the values of mail_sourcedb
READ_ORDER = ("imap", "user", "master")  # in which sources are searched, if mail_sourcedb is not given
# Without mail_sourcedb, a change is made only in the first of these sources that the caller has.
CHANGE_ORDER = ("imap", "master")
BATCH = 100  # mails read in one transaction, and in memory at the same time


class MailRef(NamedTuple):
    """A reference to a mail: its time, its id, and the source that has it. Sorting references orders them by time."""

    sent: int | float  # seconds since 1970
    mail_id: int
    name: str  # of the source
    source: MailSource


def sent_time(mail_submission) -> int | float:
    """Return the column mail_submission of a mail as seconds since 1970; 0 if it is not a number."""
    seconds = number(mail_submission)
    return seconds if isinstance(seconds, (int, float)) else 0


class Mailboxes:
    """All mails of the caller: in the master database, the user's own database, and on the IMAP server (the sources).

    A `with` statement closes the sources. A source that fails is not used again; `warning` then has the error message.
    """

    def __init__(self, call, factories: Iterable[Callable[..., MailSource]]):
        if call.user_name is None:
            raise ApiError("Name the mailbox's user with --as USER.")
        self.call = call
        self.problems: list[str] = []
        self.supported = [make(call) for make in factories]
        self.sources = [source for source in self.supported if source.exists()]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for source in self.sources:
            source.close()

    @property
    def warning(self) -> dict:
        """Return {"status": "warning", "warning": "…"} for the answer if a source of mails has failed, else {}."""
        return {"status": "warning", "warning": " ".join(self.problems)} if self.problems else {}

    def ask(self, source: MailSource, question: Callable[..., T], *arguments) -> T | None:
        """Call `question`, a method of `source`, and return its result. Return None if the source is unavailable.

        An unavailable source is not used again during the request.
        """
        try:
            return question(*arguments)
        except SourceUnavailable as error:
            self.problems.append(error.status)
            self.sources.remove(source)
            source.close()
            return None

    def index(self, only_unread: bool = False) -> list[MailRef]:
        """Return a MailRef (time, id, source) of each mail, newest first. With `only_unread`, leave out read mails."""
        refs = [
            MailRef(sent_time(mail_submission), mail_id, source.name, source)
            for source in list(self.sources)
            for mail_id, mail_submission in self.ask(source, source.keys, only_unread) or ()
        ]
        return sorted(refs, key=itemgetter(0, 1, 2), reverse=True)

    def beginnings(
        self, refs: list[MailRef], size: int = HEADER_BYTES, batch: int = BATCH
    ) -> Iterator[tuple[MailRef, dict]]:
        """Yield (reference, row of table `mailbox`) for each mail in `refs`, in the same order.

        The column mail_data is cut off after `size` bytes. Mails that do not exist any more are left out. `batch` is
        the number of mails to read at a time.
        """
        for start in range(0, len(refs), batch):
            some = refs[start : start + batch]
            rows: dict[tuple[int, str], dict] = {}
            for source in list(self.sources):
                if ids := [ref.mail_id for ref in some if ref.source is source]:
                    for row in self.ask(source, source.beginnings, ids, size) or ():
                        rows[row["mail_id"], source.name] = row
            yield from ((ref, rows[ref[1:3]]) for ref in some if ref[1:3] in rows)

    def unread_counts(self) -> dict[str, int]:
        """Return the number of unread mails in each source, such as {"master": 2, "imap": 5}."""
        counts = {source.name: self.ask(source, source.unread_count) for source in list(self.sources)}
        return {name: count for name, count in counts.items() if count is not None}

    def fetch(self, mark_read: bool = False, field: str = "mail_id") -> tuple[dict, str]:
        """Return the mail that the request names: (its row of table `mailbox`, the name of its source, such as "imap").

        `field` is the name of the request's field that has the mail's id. The field mail_sourcedb has the source's
        name; without it, all sources are searched. If `mark_read` is True, mark the mail as read. Raise ApiError if
        there is no such mail.
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
        """Call action(source, mail_id) for the mail that the request names. ApiError if it returns False: no such mail.

        The request's field mail_sourcedb has the source's name. Without it, the source is the IMAP server if the
        caller has one, else the master database.
        """
        if not any(action(source, self.call.body["mail_id"]) for source in self.requested(CHANGE_ORDER)[:1]):
            raise ApiError("mail not found", code="not_found", field="mail_id")

    def requested(self, default: tuple[str, ...]) -> list[MailSource]:
        """Return the sources that the request selects: the one in mail_sourcedb, such as "imap", or else `default`.

        Sources that the caller does not have are left out. ApiError if no source has the name in mail_sourcedb.
        """
        name = self.call.body.get("mail_sourcedb")
        if name and not any(source.name == name for source in self.supported):
            raise invalid("mail_sourcedb")
        names = (name,) if name else default
        return [source for each in names for source in self.sources if source.name == each]
