"""Decoding of the values of header fields in received mail to text (RFC 2047, docs/wire.md F31)."""

import re
from binascii import a2b_base64, a2b_qp

from .charsets import decode

ENCODED_WORD = re.compile(r"=\?([^?\s]+)\?([bBqQ])\?([^?]*)\?=")
ENCODED_WORDS = re.compile(r"(?:=\?[^?\s]+\?[bBqQ]\?[^?]*\?=\s*)*=\?[^?\s]+\?[bBqQ]\?[^?]*\?=")
FOLD = re.compile(r"\r?\n(?=[ \t])")
LINE_BREAK = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Characters that change the direction of the text around them: they could show an address as another one.
DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069]")


def decoded_line(value: str, charset: str | None = None) -> str:
    """Decode the value of a header field to one line of text: `=?utf-8?q?B=C3=BC?=` becomes `Bü`.

    Bytes beyond ASCII are decoded as UTF-8, or by the mail's `charset` if they are not UTF-8.
    """
    return one_line(decoded(FOLD.sub("", value).strip(), charset))


def decoded(value: str, charset: str | None = None) -> str:
    """Decode the encoded words in the value of a header field, and its bytes beyond ASCII.

    The bytes are decoded as UTF-8, or by the mail's `charset` if they are not UTF-8.
    """
    if not value.isascii():
        value = decode(value.encode("utf-8", "surrogateescape"), None, charset)
    return ENCODED_WORDS.sub(decode_words, value)


def one_line(text: str) -> str:
    """Replace line breaks in a text by spaces, and remove characters that change the direction of writing."""
    return DIRECTIONS.sub("", LINE_BREAK.sub(" ", text))


def decode_words(match: re.Match) -> str:
    """Return the decoded text of adjacent encoded words such as `=?utf-8?q?B=C3=BC?= =?utf-8?q?cher?=` (RFC 2047).

    `match` is a match of ENCODED_WORDS. Words that cannot be decoded are returned unchanged.
    """
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
