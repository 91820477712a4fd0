"""What a mail says: its headers, its text and its parts, from bytes that anybody may have sent."""

import codecs
import encodings
import html
import re
from binascii import a2b_base64, a2b_qp
from email.feedparser import BufferedSubFile, BytesFeedParser
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import Compat32

from mailapi import number, readable

BLANK_LINE = re.compile(rb"\n\r?\n")


def listed(mail: dict, source_name: str) -> dict:
    """A mail as a list has it: its row and its headers, without mail_data."""
    message = headers_of(head(data(mail)))
    headers = {f"mail_{name}": header(message, name) for name in ("subject", "from", "to", "date")}
    row = mail | {"mail_submission": number(mail["mail_submission"]), "mail_data": None}
    return row | headers | {"mail_sourcedb": source_name}


def shown(mail: dict, source_name: str) -> dict:
    """A mail as it is read: its row, headers and text."""
    message = parsed(data(mail))
    headers = {f"mail_{name}": header(message, name) for name in ("from", "to", "subject")}
    row = mail | {"mail_submission": number(mail["mail_submission"]), "mail_data": readable(data(mail))}
    return row | {"mail_sourcedb": source_name} | headers | {"mail_body": body(message)}


def data(mail: dict) -> bytes:
    return mail["mail_data"] or b""


def head(raw: bytes) -> bytes:
    """The headers of a mail, or of its beginning."""
    return raw[: end.end()] if (end := BLANK_LINE.search(raw)) else raw


class Shallow(BufferedSubFile):
    """A mail's lines; each is held against every boundary around it, so the depth has an end. So has the number of
    parts: a mail can have one in every few bytes."""

    parts = 0

    def push_eof_matcher(self, pred):
        self.parts += 1
        if len(self._eofstack) > 10 or self.parts > 10_000:
            raise ValueError("nested too deep, or too many parts")
        super().push_eof_matcher(pred)


class ShortParameters(Compat32):
    """Looking for a parameter takes time that grows with the square of the header's length. A header is UTF-8."""

    def header_source_parse(self, sourcelines):
        name, value = super().header_source_parse(sourcelines)
        return name, value[:4096] if name.lower().startswith("content-") else value

    def header_fetch_parse(self, name, value):
        return readable(value.encode("utf-8", "surrogateescape"))


POLICY = ShortParameters()


def parsed(raw: bytes, kind: type[Message] = Message) -> Message:
    """A message; one that the library cannot take apart only by its headers."""
    forget_unknown_charsets()
    parser = BytesFeedParser(kind, policy=POLICY)
    parser._input = Shallow()
    try:
        parser.feed(raw)
        return parser.close()
    except Exception:  # whatever it raises on what somebody sent
        return headers_of(raw, kind)


def headers_of(raw: bytes, kind: type[Message] = Message) -> Message:
    return BytesHeaderParser(kind, policy=POLICY).parsebytes(raw)


def body(message: Message) -> str:
    """The text of a mail, as docs/wire.md section 4 has it for mail_body."""
    if not message.is_multipart():
        return content(message)
    plain = [
        part for part in message.walk() if not part.is_multipart() and part.get_content_type() == "text/plain"
    ]
    return "".join(f"{written}\n----\n" for part in plain if (written := content(part)).strip())


def forget_unknown_charsets():
    """Make Python forget the charsets that it was asked for and does not have: it keeps every name that mails make up."""
    names = getattr(encodings, "_cache", {})
    if len(names) > MOST_CHARSETS:
        for name in [name for name, found in list(names.items()) if found is None]:
            names.pop(name, None)


def content(part: Message) -> str:
    """A part's text: transfer encoding undone, charset applied."""
    try:
        return decoded(payload(part), part.get_content_charset())
    except Exception:  # the library's, on parameters that are none
        del part["Content-Type"]
        return decoded(payload(part), None)


def payload(part: Message) -> bytes:
    return part.get_payload(decode=True) or b""


MOST_CHARSETS = 1000  # that Python knows or remembers not to know; it has some 150
# Python's own, no charsets of mail: they cost quadratic time or make text that is none.
NO_CHARSETS = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"}
SURROGATES = re.compile("[\ud800-\udfff]")


def decoded(raw: bytes, charset: str | None) -> str:
    """Bytes as text: by the declared charset if they fit it, else as UTF-8, what remains as U+FFFD (F16)."""
    for name in (charset or "utf-8", "utf-8"):
        try:
            if codecs.lookup(name).name.replace("-", "_") not in NO_CHARSETS:
                return SURROGATES.sub("\ufffd", raw.decode(name))
        except (LookupError, ValueError):
            continue
    return readable(raw)


WORD = re.compile(r"=\?([^?\s]+)\?([bBqQ])\?([^?]*)\?=")
WORDS = re.compile(r"(?:=\?[^?\s]+\?[bBqQ]\?[^?]*\?=\s*)*=\?[^?\s]+\?[bBqQ]\?[^?]*\?=")


def header(message: Message, name: str) -> str:
    """A header's value, unfolded and decoded (RFC 5322, RFC 2047, docs/wire.md F31); "" where there is none."""
    value = next((v for n, v in message.raw_items() if n.lower() == name), "")
    return unfolded(value)


def unfolded(value: str) -> str:
    value = re.sub(r"\r?\n(?=[ \t])", "", value).strip()
    return WORDS.sub(decoded_words, readable(value.encode("utf-8", "surrogateescape")))


def decoded_words(found: re.Match) -> str:
    """Encoded words without the blanks between them; a character may be split over two of them."""
    chunks: list[tuple[str, list]] = []
    for charset, encoding, word in WORD.findall(found[0]):
        charset = charset.partition("*")[0].lower()  # RFC 2231 adds a language
        try:
            raw = (
                a2b_qp(word.encode(), header=True) if encoding in "qQ" else a2b_base64(word.encode() + b"==")
            )
        except ValueError:
            return found[0]
        if not chunks or chunks[-1][0] != charset:
            chunks.append((charset, []))
        chunks[-1][1].append(raw)
    return "".join(decoded(b"".join(raw), charset) for charset, raw in chunks)


INLINE_TAGS = re.compile("</?(?:a|b|i|u|em|strong|span|font)(?: [^<>]*)?>", re.IGNORECASE)


def said(raw: bytes) -> str:
    """All that a person reads in a mail's text: what is plain, and HTML without its tags."""
    texts = []
    for part in parsed(raw).walk():
        if not part.is_multipart() and (kind := part.get_content_type()) in ("text/plain", "text/html"):
            texts.append(content(part) if kind == "text/plain" else untagged(content(part)))
    return " ".join(texts)


def untagged(source: str) -> str:
    source = re.sub("<[^<>]*>", " ", INLINE_TAGS.sub("", source))
    return html.unescape(re.sub("&#[xX]?0*[0-9a-fA-F]{8,}", "", source))  # Python counts all the digits
