"""Parser of header fields that may have parameters, such as `Content-Type: text/plain; charset=utf-8`, in linear time.

It follows RFC 2045, 2183 and 2231. The standard library's parser takes quadratic time, and leaves comments and line
breaks in the values.
"""

import re
from collections.abc import Iterator
from itertools import islice
from urllib.parse import unquote_to_bytes

from .charsets import decode
from .header_text import FOLD, decoded

LONGEST = 64 * 1024  # characters of a field that count
MOST_PARAMETERS = 1000
# Parameters whose values have no comments: a file name may have parentheses.
NAMES_OF_FILES = ("filename", "name")
# A field without comments, escapes and sections, and its parameters: nearly every field.
SIMPLE = re.compile(
    r"""(?xa) \s*+ ([\w./+-]*+) \s*+ ((?> (?: ; \s*+ [\w-]++ = (?: "[^"\\]*+" | [\w./+:-]++ ) \s*+ )* )) ;?+ \s*+"""
)
PARAMETER = re.compile(r"""(?xa) ; \s*+ ([\w-]++) = (?: "([^"]*+)" | ([\w./+:-]++) )""")
LONGEST_SIMPLE = 1000  # characters
# An unterminated string or comment ends with the field.
TOKEN = re.compile(r'(?s)"(?>(?:[^"\\]|\\.)*)"?|\\.?|[();]|[^"();\\]+')
ESCAPED = re.compile(r'\\(["\\])')
SECTION = re.compile(r"([^*]+)(?:\*([0-9]{1,4}))?(\*)?")
EXTENDED = re.compile(r"([^']*)'[^']*'(.*)", re.DOTALL)


class Segment:
    """A piece of a header field between two semicolons, such as `charset=utf-8`. Pass its tokens to add()."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.quoted: str | None = None
        self.without_comments: list[str] = []

    def add(self, token: str, in_comment: bool):
        self.pieces.append(token)
        if token.startswith('"') and not in_comment and self.quoted is None:
            self.quoted = ESCAPED.sub(
                r"\1", token[1:-1] if token.endswith('"') and len(token) > 1 else token[1:]
            )
        elif not in_comment:
            self.without_comments.append(token)

    def parameter(self) -> tuple[str, str]:
        """Return name (in lower case) and value of the parameter in this piece of a field: ("charset", "utf-8").

        Return ("", "") if the piece is not a parameter.
        """
        name, equals, value = "".join(self.without_comments).partition("=")
        name = name.strip().lower()
        if self.quoted is not None:
            value = self.quoted
        elif name.partition("*")[0] in NAMES_OF_FILES:
            value = "".join(self.pieces).partition("=")[2]
        return (name, value if self.quoted is not None else value.strip()) if equals else ("", "")


def segments(raw: str) -> Iterator[Segment]:
    """Split the value of a header field at the semicolons outside of quoted strings and comments. Yield each piece."""
    segment, depth = Segment(), 0
    for token in TOKEN.findall(raw):
        if token == ";" and not depth:
            yield segment
            segment = Segment()
            continue
        depth += token == "("
        segment.add(token, depth > 0)
        depth -= token == ")" and depth > 0
    yield segment


class ContentField:
    """A parsed header field such as Content-Type, with a `value` and a dictionary of `parameters`.

    For example, the value is "text/html", and the parameters are {"charset": "utf-8"}. The value and the names of the
    parameters are in lower case.
    """

    value: str
    parameters: dict[str, str]

    def __init__(self, raw: str, charset: str | None = None):
        """Parse `raw`, the value of a header field. `charset` decodes bytes beyond ASCII that are not UTF-8."""
        raw = FOLD.sub("", raw[:LONGEST])
        decodable = "=?" in raw or not raw.isascii()
        if len(raw) > LONGEST_SIMPLE or decodable or not (simple := SIMPLE.fullmatch(raw)):
            self.read(raw, charset)
            return
        self.value, self.parameters = simple[1].lower(), {}
        for name, quoted, bare in PARAMETER.findall(simple[2]):
            self.parameters.setdefault(name.lower(), (quoted or bare).strip())

    def read(self, raw: str, charset: str | None):
        """Parse a field's value, unfolded, into `value` and `parameters`. It may have comments and encoded words."""
        self.charset = charset
        first, *others = islice(segments(raw), MOST_PARAMETERS)
        value = "".join(first.without_comments)
        if first.quoted is not None:
            value = "".join(first.pieces) if value.strip() else first.quoted
        self.value = "".join(value.lower().split())
        self.parameters = self.parse(segment.parameter() for segment in others)

    def parse(self, given: Iterator[tuple[str, str]]) -> dict[str, str]:
        """Return the field's parameters as a dictionary. `given` yields their names and values.

        A parameter may be encoded (`name*`) or in sections (`name*0`, `name*1`). Such a value has precedence over that
        of a plain `name` (RFC 2231).
        """
        plain: dict[str, str] = {}
        sections: dict[str, dict[int, tuple[bool, str]]] = {}
        for full_name, value in given:
            if not (parts := SECTION.fullmatch(full_name)):
                continue
            name, section, extended = parts.groups()
            if section is None and not extended:
                plain.setdefault(name, decoded(value.strip(), self.charset))  # many put encoded words into it
            else:
                number = -1 if section is None else int(section)
                sections.setdefault(name, {}).setdefault(number, (bool(extended), value))
        return plain | {name: self.join_sections(each) for name, each in sections.items()}

    def join_sections(self, sections: dict[int, tuple[bool, str]]) -> str:
        """Return the decoded value of a parameter in sections, such as filename*0, filename*1 (RFC 2231, 3 and 4.1).

        For {0: (True, "a%20"), 1: (False, "b.pdf")}, return "a b.pdf". Each section has a number, a flag that says
        whether it is percent-encoded, and a text. The number -1 stands for a value without sections (filename*).
        """
        pieces = [sections[-1]] if -1 in sections else [sections[number] for number in sorted(sections)]
        charset, (extended, first) = None, pieces[0]
        if extended and (match := EXTENDED.fullmatch(first)):
            charset, pieces[0] = match[1], (True, match[2])
        raws = [(coded, value.encode("utf-8", "surrogateescape")) for coded, value in pieces]
        text = decode(
            b"".join(unquote_to_bytes(raw) if coded else raw for coded, raw in raws), charset, self.charset
        )
        return text if any(coded for coded, _ in pieces) else decoded(text)
