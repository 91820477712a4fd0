"""Fast parser for received mail of the usual form, with the same result as Python's parser.

In mail of the usual form, all lines of the headers are valid, and each multipart ends with its last boundary. Python's
parser reads all other mail.
"""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from .header_block import REGULAR, REGULAR_LINE

if TYPE_CHECKING:
    from .message_parser import ReceivedMessage

M = TypeVar("M", bound="ReceivedMessage")

PART_HEADER = re.compile(rb"(?>(?:%s)*)\r?\n" % REGULAR_LINE)  # it may be empty
AFTER_BOUNDARY = re.compile(rb"(--)?[ \t]*(\r?\n|\r|\Z)")
MOST_DEPTH = 9  # of parts in each other; Python's parser takes 10
MOST_PARTS = 1000  # it takes 10,000


class Irregular(Exception):
    """The error for a mail that only Python's parser can read, for example because a boundary is missing."""


class RegularParser(Generic[M]):
    """Parses one mail of the usual form.

    `raw`: the mail. `new`: a function that returns an empty message, for the mail and for each of its parts.
    """

    def __init__(self, raw: bytes, new: Callable[[], M]):
        self.raw, self.new, self.parts = raw, new, 0

    def parse(self) -> M | None:
        """Return the mail as a message with its parts; None if only Python's parser can read it."""
        header = REGULAR.match(self.raw)
        try:
            return header and self.part(header, len(self.raw), depth=0)
        except Irregular:
            return None

    def part(self, header: re.Match[bytes] | None, end: int, depth: int) -> M:
        """Return the part that has the header `header`, a match, and ends at the offset `end` of the mail.

        `depth`: the number of parts that enclose it. Irregular if only Python's parser can read it.
        """
        self.parts += 1
        if not header or depth > MOST_DEPTH or self.parts > MOST_PARTS:
            raise Irregular
        part, start = self.new(), header.end()
        part.charset = None  # unless set_charset finds one
        part.set_header(header[0])
        content_type = part.get_content_type()
        if content_type.startswith("message/") or content_type == "multipart/digest":
            raise Irregular
        if content_type.startswith("multipart/"):
            for begin, stop in self.part_offsets(start, end, part.get_boundary("")):
                part.attach(self.part(PART_HEADER.match(self.raw, begin, stop), stop, depth + 1))
        else:
            part.body = self.raw[start : self.without_line_end(start, end) if depth else end]
        return part

    def part_offsets(self, start: int, end: int, boundary: str) -> list[tuple[int, int]]:
        """Return [(begin, end), …], the offsets of each part of a multipart. Irregular if boundaries are missing.

        `start` and `end`: the offsets of the multipart's content. `boundary`: the text of the lines between the parts.
        """
        found: list[tuple[int, int]] = []
        begin = -1  # of the present part; -1: before the first one
        for line, after in self.boundary_lines(start, end, boundary):
            if begin >= 0:
                found.append((begin, line))
            is_last, begin = after[1], after.end()
            if is_last and found:
                return found
            if is_last or found and found[-1][0] == line:
                break
        raise Irregular

    def boundary_lines(self, start: int, end: int, boundary: str) -> Iterator[tuple[int, re.Match[bytes]]]:
        """Yield (offset, match) for each boundary line in a multipart. The match is the rest of the line.

        `start` and `end`: the offsets of the multipart's content. Irregular if only Python's parser can read it.
        """
        if not boundary.isascii() or "\n" in boundary or "\r" in boundary:
            raise Irregular  # Python's parser finds no line with it
        delimiter, at = b"--" + boundary.encode(), start
        while boundary and (at := self.raw.find(delimiter, at, end)) >= 0:
            before = self.raw[at - 1 : at] if at > start else b"\n"
            after = AFTER_BOUNDARY.match(self.raw, at + len(delimiter), end)
            if after and before in (b"\n", b"\r"):
                if b"\r" in (before, after[2]):
                    raise Irregular  # where lines end with CR alone
                yield at, after
            # No line begins inside the delimiter. One byte more at a time would take long for many dashes.
            at += len(delimiter)

    def without_line_end(self, start: int, end: int) -> int:
        """Return the end of a part's content without the last line end, which belongs to the next boundary (RFC 2046).

        `start` and `end`: the offsets of the content.
        """
        if self.raw.endswith(b"\r\n", start, end):
            return end - 2
        return end - self.raw.endswith((b"\n", b"\r"), start, end)
