"""Parser of received mail of the usual form, which finds each boundary at once in place of reading line by line.

It reads such mail as Python's parser does. All other mail is left to that.
"""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from .header_block import REGULAR

if TYPE_CHECKING:
    from .message_parser import ReceivedMessage

M = TypeVar("M", bound="ReceivedMessage")

PART_HEADER = re.compile(REGULAR.pattern.replace(b")+)", b")*)"))  # it may be empty
AFTER_BOUNDARY = re.compile(rb"(--)?[ \t]*(\r?\n|\r|\Z)")
MOST_DEPTH = 9  # of parts in each other; Python's parser takes 10
MOST_PARTS = 1000  # it takes 10,000


class Irregular(Exception):
    """The error for a mail that is not of the usual form."""


class RegularParser(Generic[M]):
    """Reads the parts of one mail, `raw`. `new` makes an empty message for each part."""

    def __init__(self, raw: bytes, new: Callable[[], M]):
        self.raw, self.new, self.parts = raw, new, 0

    def parse(self) -> M | None:
        """Return the mail as a message, or None if it is not of the usual form."""
        header = REGULAR.match(self.raw)
        try:
            return header and self.part(header, len(self.raw), depth=0)
        except Irregular:
            return None

    def part(self, header: re.Match[bytes] | None, end: int, depth: int) -> M:
        """Return the part whose header is the match `header`, and which ends at an offset of the mail."""
        self.parts += 1
        if not header or depth > MOST_DEPTH or self.parts > MOST_PARTS:
            raise Irregular
        part, start = self.new(), header.end()
        part.charset = None  # unless with_charset finds one
        part.set_header(header[0])
        content_type = part.get_content_type()
        if content_type.startswith("message/") or content_type == "multipart/digest":
            raise Irregular
        if content_type.startswith("multipart/"):
            for begin, stop in self.spans(start, end, part.get_boundary("")):
                part.attach(self.part(PART_HEADER.match(self.raw, begin, stop), stop, depth + 1))
        else:
            part.body = self.raw[start : self.without_line_end(start, end) if depth else end]
        return part

    def spans(self, start: int, end: int, boundary: str) -> list[tuple[int, int]]:
        """Return start and end of each part of a multipart, whose content is between two offsets of the mail."""
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
        """Yield, for each line with the boundary, the offset at which it begins, and the match of its end."""
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
            at += len(
                delimiter
            )  # no line begins in it, and one more byte at a time would take long for many dashes

    def without_line_end(self, start: int, end: int) -> int:
        """Return the end of a part's content: the last line end belongs to the boundary after it (RFC 2046, 5.1.1)."""
        if self.raw.endswith(b"\r\n", start, end):
            return end - 2
        return end - self.raw.endswith((b"\n", b"\r"), start, end)
