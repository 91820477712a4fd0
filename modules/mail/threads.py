"""Threads: which mails belong together, by Message-ID, In-Reply-To and References (RFC 5322 section 3.6.4).

As in the REFERENCES algorithm of RFC 5256, but for subjects, which are not looked at: equal ones need not belong
together, and anybody can write one.
"""

import re
from collections.abc import Iterable, Iterator

from ..mail.mailboxes import Found, Mailboxes
from ..mail.messages import data, head, listed

FIELD = re.compile(rb"(?im)^(message-id|in-reply-to|references)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)")
ID = re.compile(rb"<[^<>\s]+>")
MOST_REFERENCES = 20  # of one mail that count: the first and the last ones


class Linked:
    """What a mail says of its place among others. Hashes stand for ids: they are shorter than what anybody writes."""

    def __init__(self, head: bytes):
        fields: dict[bytes, list[int]] = {}
        for name, value in FIELD.findall(head):
            fields.setdefault(name.lower(), [hash(found) for found in ID.findall(value)])
        self.own = next(iter(fields.get(b"message-id", ())), None)
        known = fields.get(b"references") or fields.get(b"in-reply-to", [])[:1]
        self.before = known[:1] + known[1:][1 - MOST_REFERENCES :]


def threads_of(call, places: Mailboxes) -> dict:
    """The caller's mails as threads, the one with the newest mail first."""
    found = places.index()
    here: list[Found] = []

    def heads() -> Iterator[bytes]:
        for each, mail in places.beginnings(found[::-1]):
            here.append(each)
            yield head(data(mail))

    newest_first = sorted(threads(heads()), key=max, reverse=True)[: call.limit]
    wanted = [here[place] for thread in newest_first for place, _ in thread]
    rows = {each: listed(mail, each.name) for each, mail in places.beginnings(wanted)}
    shown = [
        [rows[here[place]] | {"mail_depth": depth} for place, depth in thread if here[place] in rows]
        for thread in newest_first
    ]
    return places.warning | {"threads": [{"mails": mails} for mails in shown if mails]}


def threads(heads: Iterable[bytes]) -> list[list[tuple[int, int]]]:
    """Mails, the oldest first, as threads: of each mail its place in `heads` and its depth, answers after what they
    answer. Two mails with the same id are two; the first is the one that was answered."""
    mails = [Linked(head) for head in heads]
    first: dict[int, int] = {}
    for place, mail in enumerate(mails):
        if mail.own is not None:
            first.setdefault(mail.own, place)
    answers: dict[int | None, list[int]] = {}
    for place, parent in enumerate(
        acyclic([parent_of(place, mail, first) for place, mail in enumerate(mails)])
    ):
        answers.setdefault(parent, []).append(place)
    together: dict[int, list[tuple[int, int]]] = {}
    groups = grouped(mails)
    for root in answers.get(None, ()):
        together.setdefault(groups[root], []).extend(descended(root, answers))
    return list(together.values())


def parent_of(place: int, mail: Linked, first: dict[int, int]) -> int | None:
    """The nearest mail of its references that is here."""
    return next((first[id_] for id_ in reversed(mail.before) if first.get(id_, place) != place), None)


def acyclic(parents: list[int | None]) -> list[int | None]:
    """The same, but for a link in each circle of mails that claim to answer one another."""
    seen: dict[int, int] = {}  # place → the walk that came by
    for walk in range(len(parents)):
        place: int | None = walk
        while place is not None and place not in seen:
            seen[place] = walk
            if (parent := parents[place]) is not None and seen.get(parent) == walk:
                parents[parent] = None
            place = parents[place]
    return parents


def grouped(mails: list[Linked]) -> list[int]:
    """A number for each mail, the same for those that share an id, also of a mail that is not here."""
    links: dict[int, int] = {}

    def representative(id_: int) -> int:
        while (above := links.setdefault(id_, id_)) != id_:
            links[id_] = links[above]  # halves the way for the next
            id_ = above
        return id_

    for place, mail in enumerate(mails):
        own = ~place if mail.own is None else mail.own
        for id_ in mail.before:
            links[representative(id_)] = representative(own)
    return [representative(~place if mail.own is None else mail.own) for place, mail in enumerate(mails)]


def descended(root: int, answers: dict) -> list[tuple[int, int]]:
    """A mail and all that answer it, with their depth."""
    found, todo = [], [(root, 0)]
    while todo:
        place, depth = todo.pop()
        found.append((place, depth))
        todo += [(answer, depth + 1) for answer in reversed(answers.get(place, ()))]
    return found
