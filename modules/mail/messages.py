"""Reader of headers and texts in received mail, for bytes that anybody may have sent."""

import codecs
import encodings
import html
import re
from binascii import a2b_base64, a2b_qp
from email.feedparser import BufferedSubFile, BytesFeedParser  # type: ignore[attr-defined]  # typeshed lacks BufferedSubFile
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import Compat32

from mailapi import number, readable

BLANK_LINE = re.compile(rb"\n\r?\n")


LONGEST_IN_LIST = 1000  # characters of a header field; anybody can send thousands of mails with long ones


def mail_summary(mail: dict, source_name: str) -> dict:
    """Return a mail as it appears in lists: its columns and main headers, but not its text.

    `source_name` becomes mail_sourcedb, e.g. "master".
    """
    message = parse_headers(head(mail_bytes(mail)))
    headers = {
        f"mail_{name}": header(message, name)[:LONGEST_IN_LIST] for name in ("subject", "from", "to", "date")
    }
    row = mail | {"mail_submission": number(mail["mail_submission"]), "mail_data": None}
    return row | headers | {"mail_sourcedb": source_name}


def mail_details(mail: dict, source_name: str) -> dict:
    """Return a mail as mailbox/?read does: its columns, main headers, text, and the raw mail in mail_data.

    `source_name` becomes mail_sourcedb, e.g. "master".
    """
    message = parse_message(mail_bytes(mail))
    headers = {f"mail_{name}": header(message, name) for name in ("from", "to", "subject")}
    row = mail | {"mail_submission": number(mail["mail_submission"]), "mail_data": readable(mail_bytes(mail))}
    return row | {"mail_sourcedb": source_name} | headers | {"mail_body": body_text(message)}


def mail_bytes(mail: dict) -> bytes:
    return mail["mail_data"] or b""


def head(raw: bytes) -> bytes:
    """Return the header of a mail, up to the first empty line. Without an empty line, return all of it."""
    return raw[: end.end()] if (end := BLANK_LINE.search(raw)) else raw


class BoundedLines(BufferedSubFile):
    """The lines of a mail, for the standard library's parser, with a limit on its parts.

    The parser compares each line with every enclosing boundary. ValueError: parts are nested more than 10 deep, or
    there are more than 10,000.
    """

    parts = 0

    def push_eof_matcher(self, pred):
        self.parts += 1
        if len(self._eofstack) > 10 or self.parts > 10_000:
            raise ValueError("nested too deep, or too many parts")
        super().push_eof_matcher(pred)


class BoundedPolicy(Compat32):
    """An email policy that decodes header fields as UTF-8, and cuts off Content-* fields at 4096 characters.

    The library takes quadratic time to find the parameters of such a field.
    """

    def header_source_parse(self, sourcelines):
        name, value = super().header_source_parse(sourcelines)
        return name, value[:4096] if name.lower().startswith("content-") else value

    def header_fetch_parse(self, name, value):
        return readable(value.encode("utf-8", "surrogateescape"))


POLICY = BoundedPolicy()


def parse_message(raw: bytes, kind: type[Message] = Message) -> Message:
    """Parse a message as an object of the class `kind`. If the library fails on its parts, parse only its headers."""
    drop_unknown_charsets()
    parser = BytesFeedParser(kind, policy=POLICY)
    parser._input = BoundedLines()  # type: ignore[attr-defined]  # typeshed lacks it
    try:
        parser.feed(raw)
        return parser.close()
    except Exception:  # the library raises many types on malformed mail
        return parse_headers(raw, kind)


def parse_headers(raw: bytes, kind: type[Message] = Message) -> Message:
    return BytesHeaderParser(kind, policy=POLICY).parsebytes(raw)


def body_text(message: Message) -> str:
    """Return the readable text of a mail, for mail_body: its text, or all text/plain parts (docs/wire.md section 4)."""
    if not message.is_multipart():
        return part_text(message)
    plain = [
        part for part in message.walk() if not part.is_multipart() and part.get_content_type() == "text/plain"
    ]
    return "".join(f"{text}\n----\n" for part in plain if (text := part_text(part)).strip())


def drop_unknown_charsets():
    """Remove unknown charset names from the cache of Python's module encodings, when it has more than MAX_CHARSETS.

    Python never removes them, and received mail can contain any number of invented names.
    """
    names = getattr(encodings, "_cache", {})
    if len(names) > MAX_CHARSETS:
        for name in [name for name, codec in list(names.items()) if codec is None]:
            names.pop(name, None)


def part_text(part: Message) -> str:
    """Return the text of a MIME part, decoded from its transfer encoding and charset."""
    try:
        return decode(payload(part), part.get_content_charset())
    except Exception:  # the library raises many types on malformed parameters
        del part["Content-Type"]
        return decode(payload(part), None)


def payload(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


MAX_CHARSETS = 1000  # in the cache, unknown ones included; Python has some 150
# Codecs of Python that are no charsets: they take quadratic time, or return surrogates.
UNSAFE_CODECS = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"}
SURROGATES = re.compile("[\ud800-\udfff]")


def decode(raw: bytes, charset: str | None) -> str:
    """Decode bytes by the charset that the mail declares, or else as UTF-8 (docs/wire.md F16).

    Bytes that are invalid in both become U+FFFD.
    """
    for name in (charset or "utf-8", "utf-8"):
        try:
            if codecs.lookup(name).name.replace("-", "_") not in UNSAFE_CODECS:
                return SURROGATES.sub("\ufffd", raw.decode(name))
        except (LookupError, ValueError):
            continue
    return readable(raw)


ENCODED_WORD = re.compile(r"=\?([^?\s]+)\?([bBqQ])\?([^?]*)\?=")
ENCODED_WORDS = re.compile(r"(?:=\?[^?\s]+\?[bBqQ]\?[^?]*\?=\s*)*=\?[^?\s]+\?[bBqQ]\?[^?]*\?=")


def header(message: Message, name: str) -> str:
    """Return the value of a header field, unfolded and decoded, or "" if it is missing (RFC 2047, docs/wire.md F31).

    `name` is in lower case.
    """
    value = next((value for field, value in message.raw_items() if field.lower() == name), "")
    return unfold(value)


def unfold(value: str) -> str:
    value = re.sub(r"\r?\n(?=[ \t])", "", value).strip()
    return ENCODED_WORDS.sub(decode_words, readable(value.encode("utf-8", "surrogateescape")))


def decode_words(match: re.Match) -> str:
    """Decode a run of encoded words (RFC 2047) as one text: a character may be split over two words."""
    chunks: list[tuple[str, list]] = []
    for charset, encoding, word in ENCODED_WORD.findall(match[0]):
        charset = charset.partition("*")[0].lower()  # RFC 2231 adds a language
        try:
            raw = (
                a2b_qp(word.encode(), header=True) if encoding in "qQ" else a2b_base64(word.encode() + b"==")
            )
        except ValueError:
            return match[0]
        if not chunks or chunks[-1][0] != charset:
            chunks.append((charset, []))
        chunks[-1][1].append(raw)
    return "".join(decode(b"".join(raw), charset) for charset, raw in chunks)


INLINE_TAGS = re.compile("</?(?:a|b|i|u|em|strong|span|font)(?: [^<>]*)?>", re.IGNORECASE)


def searchable_text(raw: bytes) -> str:
    """Return the text that a search looks through: all text/plain parts, and text/html parts without their tags."""
    texts = []
    for part in parse_message(raw).walk():
        if not part.is_multipart() and (kind := part.get_content_type()) in ("text/plain", "text/html"):
            texts.append(part_text(part) if kind == "text/plain" else strip_tags(part_text(part)))
    return " ".join(texts)


def strip_tags(source: str) -> str:
    source = re.sub("<[^<>]*>", " ", INLINE_TAGS.sub("", source))
    # Without references longer than any character's: unescape would convert all their digits.
    return html.unescape(re.sub("&#[xX]?0*[0-9a-fA-F]{8,}", "", source))
