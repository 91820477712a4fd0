"""Parser of malformed mail: Python's parser, after a repair of the mail's header.

Python's parser alone ends the header at the first invalid line, and takes all lines after it for text.
"""

import io
import re
from collections.abc import Iterator
from email.feedparser import (  # type: ignore[attr-defined]  # typeshed lacks them
    NLCRE,
    BufferedSubFile,
    BytesFeedParser,
    NeedMoreData,
)
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import Compat32

from mailapi import readable

LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
EMPTY_LINE = re.compile(rb"(?:\A|\n|\r(?!\n))(?:\r\n|\r|\n)")
LONGEST_HEADER = 1024 * 1024  # bytes; parsing takes 70 times the size of short lines
CHUNK = 64 * 1024  # bytes that Python's parser splits into lines at a time
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
    """The lines of a mail for Python's email parser. ValueError beyond 10,000 parts, 10 levels or 200,000 header lines.

    Lines of text that cannot be a boundary of parts are given to the parser together, as one string. One string for
    each would take 30 times their size.
    """

    parts = header_lines = 0
    in_header = True  # whether the next line belongs to a header; the parser sets it

    def push_eof_matcher(self, pred):
        self.parts += 1
        if len(self._eofstack) > 10 or self.parts > 10_000:
            raise ValueError("nested too deep, or too many parts")
        super().push_eof_matcher(pred)

    def pop_eof_matcher(self):
        # Of a message/delivery-status, each block ends at an empty line, and another header follows.
        self.in_header = self._eofstack[-1] == NLCRE.match
        return super().pop_eof_matcher()

    def readline(self):
        line = super().readline()
        if self.in_header:
            self.header_lines += 1
            if self.header_lines > 200_000:
                raise ValueError("too many lines of headers")
        elif line and line is not NeedMoreData and not line.startswith("--"):
            return "".join([line, *self.lines_of_text()])
        return line

    def lines_of_text(self) -> Iterator[str]:
        """Take the following lines up to the next one that can be a boundary, or at which a part ends. Yield each."""
        while self._lines and not self._lines[0].startswith("--"):
            if any(is_end(self._lines[0]) for is_end in self._eofstack):
                break
            yield self._lines.popleft()

    def unreadline(self, line):
        self._lines.extendleft(reversed(io.StringIO(line, newline="").readlines()))


class BoundedParser(BytesFeedParser):
    """Python's parser, with bounds on what it takes (BoundedLines)."""

    def __init__(self, kind: type[Message]):
        super().__init__(kind, policy=POLICY)
        self._input = BoundedLines()

    def _new_message(self):
        super()._new_message()
        self._input.in_header = True

    def _parse_headers(self, lines):
        super()._parse_headers(lines)
        self._input.in_header = False


class ReceivedPolicy(Compat32):
    """A policy for Python's parser that decodes header fields as UTF-8."""

    def header_fetch_parse(self, name, value):
        return readable(value.encode("utf-8", "surrogateescape"))


POLICY = ReceivedPolicy()


def parse_irregular(raw: bytes, kind: type[Message], only_header: bool = False) -> Message:
    """Parse any mail, even a malformed one, into an object of the class `kind`. This takes longer than RegularParser.

    If the parts are too malformed, or with `only_header`, parse only the header. Of a header that is too long, the rest
    becomes text.
    """
    size = header_size(raw)
    too_long = size > LONGEST_HEADER
    if too_long:
        size = raw.rfind(b"\n", 0, LONGEST_HEADER) + 1 or LONGEST_HEADER
    header = mended_header(raw[:size], is_complete(raw, size)) + b"\n" * too_long
    head_parser = BytesHeaderParser(kind, policy=POLICY)
    if only_header:
        return head_parser.parsebytes(header)
    parser = BoundedParser(kind)
    try:
        parser.feed(header)
        for start in range(size, len(raw), CHUNK):
            parser.feed(raw[start : start + CHUNK])
        return parser.close()
    except Exception:  # the library raises many types on malformed mail
        message = head_parser.parsebytes(header)
        message.set_payload(str(message.get_payload()) + raw[size:].decode("ascii", "surrogateescape"))
        return message
