"""Parser of malformed mail: Python's parser, after a repair of the mail's header.

Python's parser alone ends the header at the first invalid line, and takes all lines after it for text.
"""

import re
from email.feedparser import BufferedSubFile, BytesFeedParser  # type: ignore[attr-defined]  # typeshed lacks BufferedSubFile
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import Compat32

from mailapi import readable

LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
EMPTY_LINE = re.compile(rb"(?:\A|\n|\r(?!\n))(?:\r\n|\r|\n)")
BOM = b"\xef\xbb\xbf"
FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
# A header that needs no mending.
WELL_FORMED = re.compile(rb"(?>(?:(?:[!-9;-~]+:|[ \t])[^\r\n]*(?:\r\n|\r|\n))*)(?:\r\n|\r|\n)?")
# Fields that show that a header follows, although an empty line precedes it.
WELL_KNOWN_FIELD = re.compile(
    rb"(?:\s{0,100})(?:received|return-path|delivered-to|from|to|cc|subject|date|message-id|reply-to|sender|references"
    rb"|in-reply-to|mime-version|content-[a-z-]{1,40}|dkim-signature|authentication-results|list-[a-z-]{1,40}"
    rb"|x-[!-9;-~]{1,40})[ \t]*:",
    re.IGNORECASE,
)


def header_size(raw: bytes) -> int:
    """Return the size of a mail's header in bytes, including the empty line that ends the header.

    Return len(raw) if there is no empty line.
    """
    end = EMPTY_LINE.search(raw, leading_size(raw))
    return end.end() if end else len(raw)


def is_complete(raw: bytes, size: int) -> bool:
    """Return whether the first `size` bytes of a mail, its header, end with an empty line."""
    end = raw[max(size - 4, 0) : size]
    return end.endswith((b"\n\n", b"\n\r\n", b"\r\r")) or raw[:size] in (b"\n", b"\r\n", b"\r")


def leading_size(raw: bytes) -> int:
    """Return the number of bytes before the first header field: a byte order mark and empty lines."""
    start = len(BOM) if raw.startswith(BOM) else 0
    if raw[start : start + 1] in (b"\r", b"\n") and (field := WELL_KNOWN_FIELD.match(raw, start)):
        start = field.end() - len(field[0].lstrip())
    return start


def mended_header(raw: bytes, complete: bool) -> bytes:
    """Return a mail's header without the invalid lines at which Python's parser would stop.

    `complete` says whether an empty line ends the header. If none does, invalid lines after the last field are kept as
    the beginning of the mail's text.
    """
    if WELL_FORMED.fullmatch(raw):
        return raw
    lines: list[bytes] = []
    junk: list[bytes] = []
    for match in LINE.finditer(raw, leading_size(raw)):
        line = match[0]
        if not line:
            break
        if line[:1] in (b" ", b"\t"):
            (junk or lines).append(line)
        elif FIELD.match(line):
            name, _, value = line.partition(b":")
            lines.append(name.rstrip() + b":" + value)
            junk.clear()
        elif not line.strip():
            lines.append(line)
        elif lines or not line.startswith((b">From ", b"From ")):
            junk.append(line)
    if not junk:
        return b"".join(lines)
    if not any(map(FIELD.match, lines)):
        return b"\n" + raw  # all of it is text
    return b"".join(lines if complete else [*lines, b"\n", *junk])


########## Python's parser #########################################################################


class BoundedLines(BufferedSubFile):
    """An input buffer for Python's email parser. It raises ValueError if a mail has too many parts.

    The limits are 10,000 parts and 10 levels of nesting.
    """

    parts = 0

    def push_eof_matcher(self, pred):
        self.parts += 1
        if len(self._eofstack) > 10 or self.parts > 10_000:
            raise ValueError("nested too deep, or too many parts")
        super().push_eof_matcher(pred)


class ReceivedPolicy(Compat32):
    """A policy for Python's parser that decodes header fields as UTF-8."""

    def header_fetch_parse(self, name, value):
        return readable(value.encode("utf-8", "surrogateescape"))


POLICY = ReceivedPolicy()


def parse_irregular(raw: bytes, kind: type[Message], only_header: bool = False) -> Message:
    """Parse any mail, even a malformed one, into an object of the class `kind`. This takes longer than RegularParser.

    If the parts are too malformed, or with `only_header`, parse only the header.
    """
    size = header_size(raw)
    header = mended_header(raw[:size], is_complete(raw, size))
    if only_header:
        return BytesHeaderParser(kind, policy=POLICY).parsebytes(header)
    parser = BytesFeedParser(kind, policy=POLICY)
    parser._input = BoundedLines()  # type: ignore[attr-defined]  # typeshed lacks it
    try:
        parser.feed(header)
        parser.feed(raw[size:])
        return parser.close()
    except Exception:  # the library raises many types on malformed mail
        return BytesHeaderParser(kind, policy=POLICY).parsebytes(header + raw[size:])
