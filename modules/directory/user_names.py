"""Rules for user names: which names new users may have, and which names look the same (docs/wire.md F47)."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain

from peewee import SQL, fn

from mailapi import LONGEST, ApiError, Param, PreparedQuery, Store, Users, param

from .lists import LAST_CHARACTER

RESERVED = ("main", "temp")  # SQLite uses these names for databases (docs/wire.md section 7)
# Invisible characters outside the Unicode categories Z and C: fillers, joiners, variation selectors, the Braille blank,
# two blanks of Egyptian hieroglyphs, the filler of the Khitan script, the null notehead.
INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0") | frozenset(
    map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), 0x13441, 0x13442, 0x16FE4, 0x1D159])
)
# Characters that services do not take literally: separators of folders, `*` in Dovecot's USER*MASTER, wildcards of IMAP
# and of shells, `:` after the name in HTTP Basic.
NOT_IN_A_WORD = re.compile(r"[/\\:*?%]")
MOST_PREFIXES = 200
NOT_VISIBLE_ASCII = re.compile("[^!-~]")
NAME = Users.user_name
MOST_RANGES = 50  # ranges of names that one statement reads; SQLite allows 500 queries in a UNION
FEWEST_RANGES = 10
BOUNDS = [f"bound{number}" for number in range(2 * MOST_RANGES)]
IN_RANGES = {  # by the number of ranges
    ranges: PreparedQuery(
        SQL(
            " UNION ALL ".join(
                ["SELECT user_name FROM users WHERE user_name >= ? AND user_name < ?"] * ranges
            ),
            [Param(bound) for bound in BOUNDS[: 2 * ranges]],
        )
    )
    for ranges in range(FEWEST_RANGES, MOST_RANGES + 1, FEWEST_RANGES)
}
# Names that may equal param("form") except for case. Reads a whole index, in 20 ms for 100,000 users.
IN_ANY_CASE = PreparedQuery(
    Users.select(NAME).where(
        (fn.LOWER(NAME) == param("form"))
        | (fn.LENGTH(fn.HEX(NAME)) != 2 * fn.LENGTH(NAME))
        | (fn.INSTR(NAME, " ") > 0)
    )
)


def is_visible(character: str) -> bool:
    """Return whether a character is visible. Spaces and zero-width characters, for example, are not."""
    return unicodedata.category(character)[0] not in "ZC" and character not in INVISIBLE


def may_be_new(name: str) -> bool:
    """Return False if a name is reserved (main, temp), too long, or has invisible characters or outer spaces; else True.

    All names are compared with a new one, and to normalize a long one (Unicode) takes quadratic time.
    """
    return len(name.encode()) <= LONGEST and name.lower() not in RESERVED and is_plain(name)


def is_plain(name: str) -> bool:
    """Return whether a name has no invisible characters except spaces, and no space at its start or end."""
    printable = name.isascii() and name.isprintable() or all(c == " " or is_visible(c) for c in name)
    return printable and name == name.strip(" ")


def check_new(name: str):
    """Raise ApiError if no new user may have this name, for example because it has invisible characters."""
    if not may_be_new(name):
        raise ApiError("Username is not allowed. ", field="user_name")


def same_everywhere(name: str) -> bool:
    """Return whether a name stays the same in HTTP headers and with SASLprep (RFC 4013), which remove outer spaces."""
    return visible(name) == name


def is_word(name: str) -> bool:
    """Return False if a mail service could read a name as a path or a pattern, such as `../bob` or `b*`; else True."""
    return not name.startswith(".") and NOT_IN_A_WORD.search(name) is None


def may_be_host(name: str) -> bool:
    """Return whether a name could be a host name, such as `localhost` or `mx.example.com`.

    The SMTP daemon stores the sending host as the submitter of a queued mail. A user of that name would own the mail.
    """
    form = without_case(name)
    return "@" not in form and (form == "localhost" or any(mark in form for mark in ".:"))


def visible(name: str) -> str:
    """Convert a name to a form that is equal for all names that look the same.

    It is in Unicode's form NFKC, without invisible characters and outer spaces. Servers that apply SASLprep (RFC 4013)
    convert names to it, too. Similar letters, such as the Latin and the Cyrillic a, stay different.
    """
    if not (name.isascii() and name.isprintable()):
        decomposed = unicodedata.normalize("NFKD", name)
        name = unicodedata.normalize("NFKC", "".join(c for c in decomposed if is_visible(c) or c.isspace()))
    return " ".join(name.split())


def without_case(name: str) -> str:
    """Convert a name to a form that is equal for names that look the same or differ only in case."""
    return visible(visible(name).casefold())


def is_taken(db: Store, name: str, ignore_case: bool = False) -> bool:
    """Return whether a user in the database has a name that looks like `name`, but is not exactly `name`.

    With `ignore_case`, names that differ only in upper and lower case look alike, too.
    """
    form_of = without_case if ignore_case else visible
    form, others = form_of(name), similar(db, visible(name))
    if ignore_case:
        others += db.column(IN_ANY_CASE, form=form)
    return any(other != name and form_of(other) == form for other in others)


def similar(db: Store, form: str) -> list[str]:
    """Return user names in the database that may look like a given name. All names that do are in the list.

    `form` is the result of visible(given name). A name in the list looks like the given name if visible() converts it
    to `form`, too.
    """
    names: list[str] = []
    ranges = ranges_of_similar(form)
    for position in range(0, len(ranges), MOST_RANGES):
        some = ranges[position : position + MOST_RANGES]
        some += [("", "")] * (-len(some) % FEWEST_RANGES)  # empty ranges
        rows = db.fetch(IN_RANGES[len(some)], dict(zip(BOUNDS, chain.from_iterable(some))))[1]
        names += [name for (name,) in rows]
    return names


def ranges_of_similar(form: str) -> list[tuple[str, str]]:
    """Return a list of ranges of names that together contain every name which looks like a given name.

    A range is a pair such as ("ann", "ann!"): it begins with the first text, and ends before the second. Other names
    may be in the ranges, too. `form` is the given name without invisible characters, as visible() returns it.
    """
    # Names that look like `form` equal it up to their first character that is no visible ASCII. So there are ranges of
    # the names that have such a character after a beginning of `form`.
    start = NOT_VISIBLE_ASCII.split(unicodedata.normalize("NFKD", form), maxsplit=1)[0]
    if len(start) > MOST_PREFIXES:
        return [("", LAST_CHARACTER)]
    prefixes = [start[:length] for length in range(len(start) + 1)]
    below, above = [(p, p + "!") for p in prefixes], [(p + "\x7f", p + LAST_CHARACTER) for p in prefixes]
    return [(form, form + "\0"), *below, *above]


def problems(names: Iterable[str]) -> Iterator[str]:
    """Yield a sentence about each name with invisible characters or outer spaces, and about names that look the same."""
    by_form = defaultdict(list)
    for name in names:
        by_form[visible(name)].append(name)
        if not is_plain(name):
            yield f"user {ascii(name)} has outer blanks or invisible characters: no service takes the name"
    for alike in by_form.values():
        if len(alike) > 1:
            yield f"users {', '.join(map(ascii, alike))} look the same"


def problems_at_services(names: Iterable[str]) -> Iterator[str]:
    """Yield a sentence about each name that a mail service could misread as a path, a pattern or another user's name.

    Services that ignore upper and lower case, for example, take Ann and ann for the same user.
    """
    by_form = defaultdict(set)
    for name in names:
        by_form[without_case(name)].add(visible(name))
        if is_plain(name) and not is_word(name):
            yield f"user {ascii(name)} is a path or a pattern to services: none is given the name"
    for alike in by_form.values():
        if len(alike) > 1:
            yield f"users {', '.join(map(ascii, sorted(alike)))} are the same to services that ignore case"
