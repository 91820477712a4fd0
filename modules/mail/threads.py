"""Groups mails into threads, by the headers Message-ID, In-Reply-To and References (RFC 5322 section 3.6.4).

The algorithm is REFERENCES of RFC 5256, but subjects are not compared: anybody can choose an equal one.
"""

import re
import time
from collections.abc import Iterable, Iterator

from mailapi import ApiError

from .mailboxes import BATCH, Mailboxes, MailRef
from .message_parser import head
from .messages import mail_bytes, mail_summary
from .search import SECONDS, TERMS, TEXT_BATCH, TEXT_BYTES, Search
from .sources import HEADER_BYTES

Thread = list[tuple[MailRef, int]]  # mails, each with its depth
FIELD = re.compile(rb"(?im)^(message-id|in-reply-to|references)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)")
ID = re.compile(rb"<[^<>\s]+>")
THREAD_SECONDS = 30  # after which the search ends within a thread, too
UNSEARCHED = "A thread has too many mails to search all of them."
MAX_REFERENCES = 20  # references used of one mail: the first one and the last ones


class Links:
    """The message ids in a mail's header that connect mails to threads. Each id is stored as a hash.

    `own` is the id of the mail itself, or None. `references` are the ids of the mails to which it replies. The
    parameter `head` is the header.
    """

    def __init__(self, head: bytes):
        values: dict[bytes, bytes] = {}
        for name, value in FIELD.findall(head):
            values.setdefault(name.lower(), value)
        own = ID.search(values.get(b"message-id", b""))
        self.own = hash(own[0]) if own else None
        references = (
            ID.findall(values.get(b"references", b"")) or ID.findall(values.get(b"in-reply-to", b""))[:1]
        )
        self.references = [hash(each) for each in references[:1] + references[1:][1 - MAX_REFERENCES :]]


def list_threads(call, mailboxes: Mailboxes) -> dict:
    """Return the caller's mails as {"threads": [{"mails": [...]}]}. The thread with the newest mail comes first.

    If the request has mail_id, return only the thread of this mail. If it has a search or a limit, return one page of
    the threads with matching mails. The key `next` is then the value to send for the next page, or None on the last
    page.
    """
    threads, more = all_threads(mailboxes), {}
    if call.body.get("mail_id"):
        wanted = [thread_of_mail(call.body, threads)]
    elif call.limit or not call.body.keys().isdisjoint(TERMS):
        wanted, last = page_of_threads(call, threads, mailboxes)
        more = {"next": " ".join(map(str, last[:3])) if last else None}
    else:
        wanted = threads
    refs = [ref for thread in wanted for ref, _ in thread]
    rows = {ref: mail_summary(mail, ref.name) for ref, mail in mailboxes.beginnings(refs)}
    shown = [[rows[ref] | {"mail_depth": depth} for ref, depth in thread if ref in rows] for thread in wanted]
    return mailboxes.warning | {"threads": [{"mails": mails} for mails in shown if mails]} | more


def all_threads(mailboxes: Mailboxes) -> list[Thread]:
    """Return all mails of the caller, grouped into threads. The thread with the newest mail comes first."""
    refs = mailboxes.index()
    oldest_first: list[MailRef] = []

    def heads() -> Iterator[bytes]:
        for ref, mail in mailboxes.beginnings(refs[::-1]):
            oldest_first.append(ref)
            yield head(mail_bytes(mail))

    newest_first = sorted(group_into_threads(heads()), key=max, reverse=True)
    return [[(oldest_first[index], depth) for index, depth in thread] for thread in newest_first]


def thread_of_mail(fields: dict, threads: list[Thread]) -> Thread:
    """Return the thread that has the mail with the request's mail_id and mail_sourcedb. ApiError if there is none.

    `fields`: the request's fields. mail_sourcedb, the source of the mail, such as "imap", may be missing.
    """
    named = fields["mail_id"], fields.get("mail_sourcedb")
    for thread in threads:
        if any(ref.mail_id == named[0] and named[1] in (None, ref.name) for ref, _ in thread):
            return thread
    raise ApiError("mail not found", code="not_found", field="mail_id")


def newest(thread: Thread) -> MailRef:
    return max(ref for ref, _ in thread)


def page_of_threads(call, threads: list[Thread], mailboxes: Mailboxes) -> tuple[list[Thread], MailRef | None]:
    """Return (threads, last): a page of the threads with matching mails, and the mail after which the next page begins.

    `last` is None on the last page. A page may have fewer threads than wanted, because the search ends after some
    seconds.
    """
    page_end, size, started = call.body.get("next"), call.limit or len(threads), time.monotonic()
    found: list[Thread] = []
    last = None
    if page_end:
        threads = [thread for thread in threads if newest(thread)[:3] < page_end]
    for thread, matches in checked_threads(call.body, threads, mailboxes, started + THREAD_SECONDS):
        if last and (len(found) == size or time.monotonic() > started + SECONDS):
            return found, last
        last = newest(thread)
        if matches:
            found.append(thread)
        elif matches is None:
            mailboxes.problems.append(UNSEARCHED)
    return found, None


def checked_threads(
    fields: dict, threads: list[Thread], mailboxes: Mailboxes, until: float
) -> Iterator[tuple[Thread, bool | None]]:
    """Yield (thread, matches) for each thread: whether a mail in it matches the request's search.

    `fields`: the request's fields. `until`: when to end the search, from time.monotonic(). `matches` is None for a
    thread that has mails which were not searched, and no match among the others.
    """
    terms = Search(fields | {"next": None})
    unread = {ref[:3] for ref in mailboxes.index(True)} if fields.get("unread") else None
    candidates = [
        [ref for ref, _ in thread if terms.in_range(ref) and (unread is None or ref[:3] in unread)]
        for thread in threads
    ]
    if not (terms.subject or terms.sender or terms.text):
        yield from ((thread, bool(refs)) for thread, refs in zip(threads, candidates))
        return
    amount = (TEXT_BYTES, TEXT_BATCH) if terms.text else (HEADER_BYTES, BATCH)
    mails = mailboxes.beginnings([ref for refs in candidates for ref in refs], *amount)
    following = next(mails, None)
    for thread, refs in zip(threads, candidates):
        among, matches = set(refs), False
        while following and following[0] in among and time.monotonic() < until:
            matches = matches or terms.matches(mail_bytes(following[1]))
            following = next(mails, None)
        is_cut = bool(following and following[0] in among)
        yield thread, matches or (None if is_cut else False)


def group_into_threads(heads: Iterable[bytes]) -> list[list[tuple[int, int]]]:
    """Group mails into threads. `heads`: the headers of the mails, oldest first.

    Each thread is a list of (index in `heads`, depth), such as [(0, 0), (2, 1)]. A reply comes after the mail to which
    it replies, and its depth is greater by one.
    """
    # If two mails have the same id, replies belong to the older mail.
    mails = [Links(head) for head in heads]
    oldest: dict[int, int] = {}  # id → index
    for index, mail in enumerate(mails):
        if mail.own is not None:
            oldest.setdefault(mail.own, index)
    answers: dict[int | None, list[int]] = {}
    parents = [parent_of(index, mail, oldest) for index, mail in enumerate(mails)]
    for index, parent in enumerate(without_cycles(parents)):
        answers.setdefault(parent, []).append(index)
    threads: dict[int, list[tuple[int, int]]] = {}
    groups = group_numbers(mails)
    for root in answers.get(None, ()):
        threads.setdefault(groups[root], []).extend(with_descendants(root, answers))
    return list(threads.values())


def parent_of(index: int, mail: Links, oldest: dict[int, int]) -> int | None:
    """Return the index of the mail to which `mail` replies, or None.

    This is the mail with the last message id in `mail.references` that belongs to a mail. `index`: the index of
    `mail`. `oldest`: {message id: index of the oldest mail with this id}.
    """
    return next((oldest[id_] for id_ in reversed(mail.references) if oldest.get(id_, index) != index), None)


def without_cycles(parents: list[int | None]) -> list[int | None]:
    """Break each cycle of mails that claim to reply to each other: set the parent of one of them to None.

    `parents`: for each mail, the index of the mail to which it replies, or None. The list is changed and returned.
    """
    walk_of: dict[int, int] = {}  # index → start of the walk that visited it
    for start in range(len(parents)):
        index: int | None = start
        while index is not None and index not in walk_of:
            walk_of[index] = start
            if (parent := parents[index]) is not None and walk_of.get(parent) == start:
                parents[parent] = None
            index = parents[index]
    return parents


def group_numbers(mails: list[Links]) -> list[int]:
    """Return a number for each mail. All mails of a thread have the same number.

    Mails are in the same thread if they share a message id or a reference.
    """
    links: dict[int, int] = {}

    def representative(id_: int) -> int:
        while (parent := links.setdefault(id_, id_)) != id_:
            links[id_] = links[parent]  # halves the path for later calls
            id_ = parent
        return id_

    for index, mail in enumerate(mails):
        own = ~index if mail.own is None else mail.own
        for id_ in mail.references:
            links[representative(id_)] = representative(own)
    return [representative(~index if mail.own is None else mail.own) for index, mail in enumerate(mails)]


def with_descendants(root: int, answers: dict) -> list[tuple[int, int]]:
    """Return a mail and all its direct and indirect replies as [(index, depth), …].

    `root`: the index of the mail. `answers`: {index of a mail: [indexes of its direct replies]}.
    """
    thread, pending = [], [(root, 0)]
    while pending:
        index, depth = pending.pop()
        thread.append((index, depth))
        pending += [(answer, depth + 1) for answer in reversed(answers.get(index, ()))]
    return thread
