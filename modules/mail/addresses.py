"""Mail addresses as header fields have them (RFC 5322, 6532): read strictly, in linear time, and written back.

The standard library's parser takes a minute for 100 kB of quotation marks, and `a@x y` for an address.
"""

import functools
import ipaddress
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from email.header import Header

LONGEST = 254  # bytes (RFC 5321, 4.5.3.1.3)
LONGEST_NAME = 1000  # characters
CONTROL = re.compile("[\0-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")  # a tab is a blank

# Possessive groups are not right before Python 3.11.5, hence (?>(?:…)*).
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\ud7ff\ue000-\U0010ffff-]"
DOT_ATOM = rf"{ATOM}++(?>(?:\.{ATOM}++)*)"
QUOTED = r'"(?>(?:[^"\\]|\\.)*)"'
COMMENT = r"\((?>(?:[^()\\]|\\.)*)\)"
GAP = rf"(?>(?:[ \t]|{COMMENT})*)"
WORD = rf"(?:{QUOTED}|(?>(?:{ATOM}|\.)+))"
PHRASE = rf"{WORD}(?>(?:{GAP}{WORD})*)"
SPEC = rf"({DOT_ATOM}|{QUOTED})@({DOT_ATOM}|\[[^\[\]\\\s]*+\])"
ANGLE = rf"{GAP}(?>({PHRASE})?){GAP}<{GAP}{SPEC}{GAP}>{GAP}"
BARE = rf"{GAP}(){SPEC}{GAP}"
GROUP = rf"{GAP}({PHRASE}){GAP}:"
GROUP_END = rf"{GAP};{GAP}"
BLANK = rf"{GAP}(?>(?:(,){GAP})*)"  # an empty entry is none
# What is looked for all over a text takes what has no end, too: else it would be looked for the end again and again.
WORDS = re.compile(rf"{QUOTED}?+|{COMMENT}?+|[^ \t(\"]++")
TOKENS = re.compile(r" ++[^ ]*+")
STRING = re.compile(rf"{QUOTED}?+@?")
compiled = functools.cache(re.compile)  # at first use: these five take 25 ms, of which a CGI process has 150
LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


class NotAnAddress(ValueError):
    """An entry of a list that is none; how it begins, for a person to find it."""

    def __init__(self, value: str, position: int):
        super().__init__(CONTROL.sub("\ufffd", value[position : position + 100]).partition(",")[0].strip())


@dataclass(frozen=True)
class Mailbox:
    """One address, with the name that is shown for it or ""."""

    name: str
    local: str  # without quotation marks
    domain: str  # as it was given
    address: str  # as the envelope has it: the domain in ASCII, the local part quoted only where it must be

    @property
    def spellings(self) -> set[str]:
        """The address with its domain as given, in ASCII, and in Unicode: how a table may have it."""
        local, _, ascii_domain = self.address.rpartition("@")
        domains = self.domain, ascii_domain, ".".join(map(u_label, ascii_domain.split(".")))
        return {f"{local}@{domain}" for domain in domains}

    def __str__(self):
        return f"{phrase(self.name)} <{self.address}>" if self.name else self.address


@dataclass(frozen=True)
class Group:
    """Mailboxes under a name, such as `undisclosed-recipients:;`."""

    name: str
    mailboxes: tuple[Mailbox, ...]

    def __str__(self):
        return f"{phrase(self.name)}:{','.join(f' {mailbox}' for mailbox in self.mailboxes)};"


########## Reading #################################################################################


def entries(value: str) -> Iterator[Mailbox | Group]:
    """The entries of an address list in their order; NotAnAddress names the first that is none."""
    if control := CONTROL.search(value):
        raise NotAnAddress(value, value.rfind(",", 0, control.start()) + 1)
    position = compiled(BLANK).match(value).end()
    while position < len(value):
        begin = position
        if start := compiled(GROUP).match(value, position):
            members, position = group(value, begin, start.end())
            yield Group(unquoted_phrase(start[1]), members)
        else:
            found, position = mailbox(value, position)
            yield found
        position = next_entry(value, begin, position, last="")


def group(value: str, begin: int, position: int) -> tuple[tuple[Mailbox, ...], int]:
    """The members of a group, and where it ends."""
    members, position = [], compiled(BLANK).match(value, position).end()
    while not (end := compiled(GROUP_END).match(value, position)):
        if position == len(value):
            raise NotAnAddress(value, begin)
        found, after = mailbox(value, position)
        members.append(found)
        position = next_entry(value, position, after, last=";")
    return tuple(members), end.end()


def mailbox(value: str, position: int) -> tuple[Mailbox, int]:
    found = compiled(ANGLE).match(value, position) or compiled(BARE).match(value, position)
    if not found:
        raise NotAnAddress(value, position)
    try:
        return checked(*found.groups()), found.end()
    except ValueError:
        raise NotAnAddress(value, position) from None


def next_entry(value: str, begin: int, end: int, last: str) -> int:
    """Where the entry after the one from begin to end starts: after a comma, or where the list ends with `last`."""
    blank = compiled(BLANK).match(value, end)
    if not blank[1] and value[blank.end() : blank.end() + 1] != last:
        raise NotAnAddress(value, begin)
    return blank.end()


def mailboxes(found: list[Mailbox | Group]) -> list[Mailbox]:
    """All mailboxes of a list, those of its groups too."""
    return [one for entry in found for one in (entry.mailboxes if isinstance(entry, Group) else (entry,))]


def checked(name: str | None, local: str, domain: str) -> Mailbox:
    """A mailbox of its parts as they were written; ValueError where they make none that SMTP could deliver to."""
    if len(domain) > LONGEST or len(name or "") > LONGEST_NAME:
        raise ValueError("too long")
    local = unquoted(local)
    address = f"{quoted_local(local)}@{ascii_domain(domain)}"
    if not local or not local.isprintable() or len(address.encode()) > LONGEST:
        raise ValueError("no local part, one that cannot be shown, or too long")
    return Mailbox(unquoted_phrase(name or ""), local, domain, address)


def ascii_domain(domain: str) -> str:
    """A domain as DNS has it: A-labels for what is not ASCII (RFC 5891), mapped as users expect (RFC 5895)."""
    if domain.startswith("["):
        return literal(domain)
    if not domain.isascii():
        lower = "".join(character.lower() for character in domain.replace("\u3002", "."))
        domain = ".".join(map(a_label, unicodedata.normalize("NFKC", lower).split(".")))
    if len(domain) > 253 or not all(map(LABEL.fullmatch, domain.split("."))):
        raise ValueError("no domain")
    return domain


def a_label(label: str) -> str:
    """Python's codec idna follows IDNA 2003, to which straße.de is strasse.de: another domain."""
    return label if label.isascii() else f"xn--{label.encode('punycode').decode()}"


def u_label(label: str) -> str:
    try:
        return label[4:].encode().decode("punycode") if label.lower().startswith("xn--") else label
    except ValueError:
        return label


def literal(domain: str) -> str:
    """An address in brackets (RFC 5321, 4.1.3)."""
    inner = domain[1:-1]
    if inner[:5].lower() == "ipv6:":
        ipaddress.IPv6Address(inner[5:])
    else:
        ipaddress.IPv4Address(inner)
    return domain


def unquoted(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word


def unquoted_phrase(words: str) -> str:
    return " ".join(unquoted(word) for word in WORDS.findall(words) if not word.startswith("("))


########## Writing #################################################################################


def quoted_local(local: str) -> str:
    return local if re.fullmatch(DOT_ATOM, local) else quoted(local)


def quoted(value: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def phrase(name: str) -> str:
    """A name as a header field shows it."""
    if is_plain(name):
        return name if re.fullmatch(rf"{ATOM}++(?>(?: {ATOM}++)*)", name) else quoted(name)
    return encoded(name)


def is_plain(value: str) -> bool:
    """Whether a header field can have text as it is: ASCII, in words that fit into a line."""
    return value.isascii() and value.isprintable() and not re.search("[^ ]{70}", value)


def encoded(value: str) -> str:
    """Text as encoded words (RFC 2047)."""
    return Header(value, "utf-8", maxlinelen=64).encode(linesep="")


OF_ADDRESSES = {"From", "Sender", "Reply-To", "To", "Cc", "Bcc"}  # as str.title has them


def in_one_piece(word: str) -> str:
    """A quoted local part without blanks to break it at; another quoted string as it is."""
    return word.replace(" ", "\0") if word.endswith("@") else word


def folded(name: str, value: str) -> bytes:
    """A header field, broken before blanks so that lines have 76 bytes where that is possible (RFC 2047, 2)."""
    lines = [first := f"{name}:".encode()]
    if name.title() in OF_ADDRESSES:
        value = STRING.sub(lambda found: in_one_piece(found[0]), value)
    for token in TOKENS.findall(f" {value.strip()}"):
        token = token.replace("\0", " ").encode()
        if len(lines[-1]) + len(token) > 76 and lines[-1] != first:
            lines.append(token)
        else:
            lines[-1] += token
    return b"\r\n".join(lines) + b"\r\n"
