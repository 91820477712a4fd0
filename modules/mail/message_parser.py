"""Parsing of received mail: by a fast parser if possible, and otherwise by the standard library's."""

import re
from email.feedparser import BufferedSubFile, BytesFeedParser  # type: ignore[attr-defined]  # typeshed lacks BufferedSubFile
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import Compat32
from functools import cached_property, partial
from itertools import islice

from mailapi import readable

from .charsets import codec_of, decode
from .content_fields import ContentField
from .header_block import REGULAR, header_size, is_complete, mended_header
from .header_text import raw_header
from .regular_parts import RegularParser
from .transfer_encodings import decode_content

MAX_BOUNDARY = 8192  # characters
# The charset of the mail's text, in which some mailers also write its header.
CHARSET = re.compile(rb"charset=[\"' ]?([\w.:+-]{1,60})", re.IGNORECASE)
META = re.compile(rb"<meta[\s/][^<>]*?charset\s*=[\s\"']*([\w.:+-]{1,60})", re.IGNORECASE)
META_BYTES = 4096  # bytes of HTML in which its charset is looked for
MOST_CHARSETS = 100  # of a mail that are looked at
CHARSET_BYTES = 65536  # bytes of a mail in which its charset is looked for


class ReceivedMessage(Message):
    """A received mail, or a part of one. It can also read malformed header fields such as Content-Type."""

    # A header of the usual form: its lines, each after a line feed, so that a field can be found without parsing all.
    header = header_in_lower_case = b""
    mail = b""  # of which this is the header
    body = b""  # the content as it is in a mail of the usual form, if it does not consist of parts

    def set_header(self, lines: bytes):
        self.header = b"\n" + lines
        self.header_in_lower_case = self.header.lower()

    @cached_property
    def charset(self) -> str | None:
        """Return the charset that the mail declares for its text, such as "koi8-r".

        Return None if it declares none, or only ASCII, UTF-8 or Latin-1.
        """
        return None if self.mail.isascii() else charset_in(self.mail)

    def content_field(self, name: str) -> ContentField:
        """Return the parsed header field `name`, such as "content-type" (in lower case), with its parameters."""
        fields = self.__dict__.setdefault("_content_fields", {})
        if name not in fields:
            fields[name] = ContentField(raw_header(self, name), self.charset)
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
        """Return the content as text for the field mail_body. If its charset is wrong, try UTF-8 (docs/wire.md F16)."""
        return decode(self.content(), self.get_content_charset(), guess=False)


class BoundedLines(BufferedSubFile):
    """An input buffer for the standard library's parser. It raises ValueError if a mail has too many parts.

    The limits are 10,000 parts and 10 levels of nesting.
    """

    parts = 0

    def push_eof_matcher(self, pred):
        self.parts += 1
        if len(self._eofstack) > 10 or self.parts > 10_000:
            raise ValueError("nested too deep, or too many parts")
        super().push_eof_matcher(pred)


class ReceivedPolicy(Compat32):
    """A policy for the standard library's parser that decodes header fields as UTF-8."""

    def header_fetch_parse(self, name, value):
        return readable(value.encode("utf-8", "surrogateescape"))


POLICY = ReceivedPolicy()


def head(raw: bytes) -> bytes:
    """Return the header of a mail with the empty line after it. If there is no empty line, return the whole mail."""
    return raw[: header_size(raw)]


def parse_message(raw: bytes, kind: type[ReceivedMessage] = ReceivedMessage) -> ReceivedMessage:
    """Parse a mail into an object of the class `kind`. If the parts are too malformed, parse only the header."""
    regular = RegularParser(raw, partial(kind, POLICY)).parse()
    # A message without header fields is false.
    return set_charset(parse_irregular(raw, kind) if regular is None else regular, raw)


def parse_irregular(raw: bytes, kind: type[ReceivedMessage]) -> Message:
    """Parse a mail by the standard library's parser, which is slower than RegularParser but accepts any mail."""
    size = header_size(raw)
    header = mended_header(raw[:size], is_complete(raw, size))
    parser = BytesFeedParser(kind, policy=POLICY)
    parser._input = BoundedLines()  # type: ignore[attr-defined]  # typeshed lacks it
    try:
        parser.feed(header)
        parser.feed(raw[size:])
        return parser.close()
    except Exception:  # the library raises many types on malformed mail
        return BytesHeaderParser(kind, policy=POLICY).parsebytes(header + raw[size:])


def parse_headers(raw: bytes) -> ReceivedMessage:
    """Parse only the header of a mail. `raw` is the mail or its beginning."""
    if regular := REGULAR.match(raw):
        message = ReceivedMessage(POLICY)
        message.mail = raw
        message.set_header(regular[0])
        return message
    size = header_size(raw)
    header = mended_header(raw[:size], is_complete(raw, size))
    return set_charset(BytesHeaderParser(ReceivedMessage, policy=POLICY).parsebytes(header), raw)


def set_charset(message: Message, raw: bytes) -> ReceivedMessage:
    """Set the charset of a message and all its parts to the one that the mail `raw` declares. Return the message."""
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
