"""Parsing of received mail: by a fast parser if it has the usual form, and otherwise by Python's parser.

In mail of the usual form, all lines of the headers are valid, and each multipart ends with its last boundary. The fast
parser gives the same result as Python's.
"""

import re
from collections.abc import Iterator
from email.message import Message
from functools import cached_property
from itertools import islice

from .address_fields import address_list
from .charsets import codec_of, decode
from .content_fields import ContentField
from .header_text import decoded_line
from .irregular_mail import LONGEST_HEADER, POLICY, header_size, parse_irregular
from .transfer_encodings import decode_content

REGULAR_LINE = rb"(?:[!-9;-~]+:|[ \t])[^\r\n]*\r?\n"
# A header of the usual form, with the empty line after it: nearly every mail has one.
REGULAR = re.compile(rb"(?>(?:%s)+)\r?\n" % REGULAR_LINE)
PART_HEADER = re.compile(rb"(?>(?:%s)*)\r?\n" % REGULAR_LINE)  # it may be empty
VALUE = re.compile(rb"[ \t]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)")  # of a field
AFTER_BOUNDARY = re.compile(rb"(--)?[ \t]*(\r?\n|\r|\Z)")
MAX_BOUNDARY = 8192  # characters
MOST_DEPTH = 9  # of parts in each other; Python's parser takes 10
MOST_PARTS = 1000  # it takes 10,000
# The charset of the mail's text, in which some mailers also write its header.
CHARSET = re.compile(rb"charset=[\"' ]?([\w.:+-]{1,60})", re.IGNORECASE)
META = re.compile(rb"<meta[\s/][^<>]*?charset\s*=[\s\"']*([\w.:+-]{1,60})", re.IGNORECASE)
META_BYTES = 4096  # bytes of HTML in which its charset is looked for
MOST_CHARSETS = 100  # of a mail that are looked at
CHARSET_BYTES = 65536  # bytes of a mail in which its charset is looked for


class ReceivedMessage(Message):
    """A received mail, or a part of one. It can also read malformed header fields such as Content-Type."""

    # A header of the usual form, each line after a line feed: a field is found without parsing all.
    header = header_in_lower_case = b""
    mail = b""  # of which this is the header
    body = b""  # the content as it is in a mail of the usual form, if it does not consist of parts

    def set_header(self, lines: bytes):
        self.header = b"\n" + lines
        self.header_in_lower_case = self.header.lower()

    @cached_property
    def charset(self) -> str | None:
        """Return the charset that the mail declares for its text, such as "koi8-r".

        Return None if it declares none, or only ASCII, UTF-8 or Latin-1, which are tried anyway.
        """
        return None if self.mail.isascii() else charset_in(self.mail)

    def raw_field(self, name: str) -> str:
        """Return the value of a header field such as "subject" without any decoding; "" if it is missing.

        `name` is in lower case. Line breaks and encoded words are kept. Bytes beyond ASCII become surrogates.
        """
        if not self.header:
            return next((value for field, value in self.raw_items() if field.lower() == name), "")
        start = self.header_in_lower_case.find(f"\n{name}:".encode())
        value = VALUE.match(self.header, start + len(name) + 2) if start >= 0 else None
        return value[1].decode("ascii", "surrogateescape") if value else ""

    def field(self, name: str) -> str:
        """Return a header field such as "subject" (in lower case) as a line of decoded text; "" if it is missing."""
        value = self.raw_field(name)
        if value.isascii() and value.isprintable() and "=?" not in value:
            return value.strip()  # there is nothing to decode, and no line break
        return decoded_line(value, None if value.isascii() else self.charset)

    def addresses(self, name: str) -> list[dict[str, str]]:
        """Return the addresses in a header field such as "to", as [{"name": "Ann", "address": "ann@corp.org"}]."""
        return address_list(self.raw_field(name), self.charset)

    def content_field(self, name: str) -> ContentField:
        """Return the header field `name` (in lower case) with `value` and `parameters`, both empty if it is missing."""
        fields = self.__dict__.setdefault("_content_fields", {})
        if name not in fields:
            fields[name] = ContentField(self.raw_field(name), self.charset)
        return fields[name]

    def get_content_type(self) -> str:
        kind = self.content_field("content-type").value
        return kind if kind.count("/") == 1 else "text/plain" if kind else self.get_default_type()

    def get_boundary(self, failobj=None):
        boundary = self.content_field("content-type").parameters.get("boundary", "").rstrip()
        return boundary if 0 < len(boundary) <= MAX_BOUNDARY else failobj

    def get_content_charset(self, failobj=None):
        return self.content_field("content-type").parameters.get("charset") or failobj

    def get_filename(self, failobj=None):
        for field, name in (("content-disposition", "filename"), ("content-type", "name")):
            if found := self.content_field(field).parameters.get(name):
                return found
        return failobj

    def content(self) -> bytes:
        """Return the content as bytes, decoded from base64, for example; b"" if it consists of parts."""
        raw = self.body
        if isinstance(self._payload, str):  # type: ignore[attr-defined]  # get_payload would decode it by its charset
            raw = self._payload.encode("ascii", "surrogateescape")  # type: ignore[attr-defined]
        return decode_content(raw, self.content_field("content-transfer-encoding").value)

    def readable_text(self) -> str:
        """Return the content as text for people to read. If it does not fit its charset, other charsets are tried."""
        raw = self.content()
        in_html = META.search(raw, 0, META_BYTES) if self.get_content_type() == "text/html" else None
        other = in_html[1].decode("ascii") if in_html else self.charset
        return decode(raw, self.get_content_charset(), other).removeprefix("\ufeff")

    def text(self) -> str:
        """Return the content as text for mail_body. If it does not fit its charset, try UTF-8 (docs/wire.md F16)."""
        return decode(self.content(), self.get_content_charset(), guess=False)


class Irregular(Exception):
    """The error for a mail that only Python's parser can read, for example because a boundary is missing."""


class RegularParser:
    """Parses the mail `raw` if it is well-formed. The mail and each of its parts become objects of the class `kind`."""

    def __init__(self, raw: bytes, kind: type[ReceivedMessage]):
        self.raw, self.kind, self.parts = raw, kind, 0

    def parse(self) -> ReceivedMessage | None:
        """Return the mail as a message with its parts; None if it is malformed: then Python's parser must read it."""
        header = REGULAR.match(self.raw, 0, LONGEST_HEADER)
        try:
            return header and self.part(header, len(self.raw), depth=0)
        except Irregular:
            return None

    def part(self, header: re.Match[bytes] | None, end: int, depth: int) -> ReceivedMessage:
        """Return a part of the mail as a message object. Raise Irregular if only Python's parser can read the part.

        `header`: the match of a pattern with the part's header, behind which its content begins; None if a line is
        invalid. `end`: the offset in the mail at which the part ends. `depth`: the number of parts that enclose it.
        """
        self.parts += 1
        if not header or depth > MOST_DEPTH or self.parts > MOST_PARTS:
            raise Irregular
        part, start = self.kind(POLICY), header.end()
        part.charset = None  # unless set_charset finds one
        part.set_header(header[0])
        content_type = part.get_content_type()
        if content_type.startswith("message/") or content_type == "multipart/digest":
            raise Irregular
        if content_type.startswith("multipart/"):
            for begin, stop in self.part_offsets(start, end, part.get_boundary("")):
                header = PART_HEADER.match(self.raw, begin, min(stop, begin + LONGEST_HEADER))
                part.attach(self.part(header, stop, depth + 1))
        else:
            part.body = self.raw[start : self.without_line_end(start, end) if depth else end]
        return part

    def part_offsets(self, start: int, end: int, boundary: str) -> list[tuple[int, int]]:
        """Return [(begin, end), …], the offsets of each part of a multipart. Raise Irregular if boundaries are missing.

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
        """Yield (offset, match) for each boundary line in a multipart. The match is the line's end after the boundary.

        `start` and `end`: the offsets of the multipart's content. Raise Irregular if only Python's parser can read it.
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


def head(raw: bytes) -> bytes:
    """Return the header of a mail with the empty line after it. If there is no empty line, return the whole mail."""
    regular = REGULAR.match(raw, 0, LONGEST_HEADER)
    return regular[0] if regular else raw[: header_size(raw)]


def parse_message(raw: bytes, kind: type[ReceivedMessage] = ReceivedMessage) -> ReceivedMessage:
    """Parse a mail into an object of the class `kind`. If the parts are too malformed, parse only the header."""
    regular = RegularParser(raw, kind).parse()
    # A message without header fields is false.
    return set_charset(parse_irregular(raw, kind) if regular is None else regular, raw)


def parse_headers(raw: bytes) -> ReceivedMessage:
    """Parse only the header of a mail into a message without content. `raw` is the mail or its beginning."""
    if regular := REGULAR.match(raw, 0, LONGEST_HEADER):
        message = ReceivedMessage(POLICY)
        message.mail = raw
        message.set_header(regular[0])
        return message
    return set_charset(parse_irregular(raw, ReceivedMessage, only_header=True), raw)


def set_charset(message: Message, raw: bytes) -> ReceivedMessage:
    """Set the charset of a message and its parts to the one declared in `raw`, the mail's bytes. Return the message."""
    assert isinstance(message, ReceivedMessage)
    if not raw.isascii() and (charset := charset_in(raw)):
        for part in message.walk():
            part.charset = charset
            part.__dict__.pop("_content_fields", None)
    return message


def charset_in(raw: bytes) -> str | None:
    """Return the first charset that a mail declares, such as "koi8-r", other than ASCII, UTF-8 and Latin-1.

    Return None if there is none.
    """
    labels = (
        match[1].decode("ascii") for match in islice(CHARSET.finditer(raw, 0, CHARSET_BYTES), MOST_CHARSETS)
    )
    return next((label for label in labels if codec_of(label) not in (None, "utf_8", "cp1252")), None)
