"""Names of users: which may be added, and which look the same to people and to other servers (docs/wire.md F47)."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import takewhile

from peewee import SQL, fn

from mailapi import LAST_CHARACTER, ApiError, PreparedQuery, Store, Users, param

RESERVED = ("main", "temp")  # SQLite uses these names for databases (docs/wire.md section 7)
# Characters outside the categories Z and C that show nothing: fillers, joiners, variation selectors, the Braille blank,
# two blanks of Egyptian hieroglyphs, the filler of the Khitan script, the null notehead.
UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0") | frozenset(
    map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), 0x13441, 0x13442, 0x16FE4, 0x1D159])
)
# Paths and patterns to services: folders, Dovecot's USER*MASTER, wildcards of IMAP and of shells, what HTTP Basic ends
# a name at.
NOT_IN_A_WORD = re.compile(r"[/\\:*?%]")
MOST_PREFIXES = 200  # SQLite joins up to 500 queries with UNION
NAME = Users.user_name
# The names that may be the same but for case: an index is read as a whole, which takes 20 ms for 100,000 users.
IN_ANY_CASE = PreparedQuery(
    Users.select(NAME).where(
        (fn.LOWER(NAME) == param("seen"))
        | (fn.LENGTH(fn.HEX(NAME)) != 2 * fn.LENGTH(NAME))
        | (fn.INSTR(NAME, " ") > 0)
    )
)


def is_seen(character: str) -> bool:
    """Return whether a character shows something: blanks do not."""
    return unicodedata.category(character)[0] not in "ZC" and character not in UNSEEN


def may_be_new(name: str) -> bool:
    """Return whether a new user may have a name: not SQLite's own, without outer blanks and invisible characters.

    A plain space between other characters is visible, and the original has users with one.
    """
    return name.lower() not in RESERVED and is_plain(name)


def is_plain(name: str) -> bool:
    printable = name.isascii() and name.isprintable() or all(c == " " or is_seen(c) for c in name)
    return printable and name == name.strip(" ")


def check_new(name: str):
    """Refuse a name that no new user may have."""
    if not may_be_new(name):
        raise ApiError("Username is not allowed. ")


def same_everywhere(name: str) -> bool:
    """Return whether no server makes another name of one: an HTTP header loses outer blanks, SASLprep much more."""
    return visible(name) == name


def is_word(name: str) -> bool:
    """Return whether no server reads a path or a pattern in a name, such as `../bob`, `bob/` or `b*`."""
    return not name.startswith(".") and NOT_IN_A_WORD.search(name) is None


def may_be_host(name: str) -> bool:
    """Return whether a mail's client may have called itself so: mail that came by SMTP has that as its submitter."""
    seen = without_case(name)
    return "@" not in seen and (seen == "localhost" or any(mark in seen for mark in ".:"))


def visible(name: str) -> str:
    """Return what people see of a name, and what servers make of it that prepare names (SASLprep, RFC 4013)."""
    if not (name.isascii() and name.isprintable()):
        decomposed = unicodedata.normalize("NFKD", name)
        name = unicodedata.normalize("NFKC", "".join(c for c in decomposed if is_seen(c) or c.isspace()))
    return " ".join(name.split())


def without_case(name: str) -> str:
    """Return what servers make of a name that also ignore case."""
    return visible(visible(name).casefold())


def is_taken(db: Store, name: str, ignore_case: bool = False) -> bool:
    """Return whether another user has a name that looks the same; for one of exactly this name the database answers."""
    look = without_case if ignore_case else visible
    seen, others = look(name), db.column(similar(visible(name)))
    if ignore_case:
        others += db.column(IN_ANY_CASE, seen=seen)
    return any(other != name and look(other) == seen for other in others)


def similar(seen: str) -> SQL:
    """Return the query for all names that may look like this one.

    Such a name is the same up to some character that is not plain ASCII, so that the index finds it at once.
    """
    start = "".join(takewhile(lambda c: "!" <= c <= "~", unicodedata.normalize("NFKD", seen)))
    ranges = [("", LAST_CHARACTER)]
    if len(start) <= MOST_PREFIXES:
        prefixes = [start[:length] for length in range(len(start) + 1)]
        ranges = [
            (seen, seen + "\0"),
            *((p, p + "!") for p in prefixes),
            *((p + "\x7f", p + LAST_CHARACTER) for p in prefixes),
        ]
    one = "SELECT user_name FROM users WHERE user_name >= ? AND user_name < ?"
    return SQL(" UNION ALL ".join([one] * len(ranges)), [bound for pair in ranges for bound in pair])


def problems(names: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each name that could not be added today, and for those that look the same."""
    looks = defaultdict(list)
    for name in names:
        looks[visible(name)].append(name)
        if not is_plain(name):
            yield f"user {ascii(name)} has outer blanks or invisible characters: no service takes the name"
    for alike in looks.values():
        if len(alike) > 1:
            yield f"users {', '.join(map(ascii, alike))} look the same"


def problems_at_services(names: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each name that is a path or a pattern to services, and for those that differ only by case."""
    looks = defaultdict(set)
    for name in names:
        looks[without_case(name)].add(visible(name))
        if is_plain(name) and not is_word(name):
            yield f"user {ascii(name)} is a path or a pattern to services: none is given the name"
    for alike in looks.values():
        if len(alike) > 1:
            yield f"users {', '.join(map(ascii, sorted(alike)))} are the same to services that ignore case"
