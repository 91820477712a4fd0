"""Decoding of base64 and other transfer encodings (RFC 2045), also of damaged content."""

import re
from binascii import Error, a2b_base64, a2b_qp, a2b_uu
from collections.abc import Iterator

WHOLE_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
LINE = re.compile(rb"[^\r\n]+")
WHITE_SPACE = b" \t\r\n\v\f"
NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]+")
# The line that ends the content: the one above a mailing list's footer, or a line of words.
FOOTER = re.compile(rb"_{5}|-{5}|={5}|\*{5}")
WORDS = re.compile(rb"[^ \t]+[ \t]+[^ \t]")
PADDED_LINE = re.compile(rb"[A-Za-z0-9+/=]+")
DIGITS_OR_PADDING = re.compile(rb"[^=]+|=+")
UUENCODE = ("uuencode", "x-uuencode", "uue", "x-uue")


def lines_of(raw: bytes) -> Iterator[bytes]:
    """Yield each line that is not empty, without its end. A list of short lines would take 20 times their size.

    Of uuencoded content, a2b_uu takes an empty line for 32 zeros.
    """
    return (match[0] for match in LINE.finditer(raw))


def decode_content(raw: bytes, encoding: str) -> bytes:
    """Decode the content of a MIME part. Return it unchanged if the encoding is unknown.

    `encoding`: such as "base64", in lower case.
    """
    if encoding in ("quoted-printable", "quotedprintable"):
        return a2b_qp(raw)
    if encoding in ("base64", "base-64"):
        return decode_base64(raw)
    return decode_uu(raw) if encoding in UUENCODE else raw


def decode_base64(raw: bytes) -> bytes:
    """Decode base64, even if it is damaged. Invalid characters, and a mailing list's footer at the end, are ignored."""
    whole = raw.translate(None, WHITE_SPACE)
    if WHOLE_BASE64.fullmatch(whole):
        return decode_digits(whole)
    content, digits, padded = bytearray(), bytearray(), False
    for line in map(bytes.strip, lines_of(raw)):
        if line and ends_base64(line, padded):
            break
        for match in DIGITS_OR_PADDING.finditer(NOT_BASE64.sub(b"", line)):
            if match[0].startswith(b"="):
                content += decode_digits(digits)
                digits.clear()
            else:
                digits += match[0]
        padded = line.endswith(b"=") or padded and not line
    return bytes(content + decode_digits(digits))


def ends_base64(line: bytes, padded: bool) -> bool:
    """Return whether `line` comes after the end of the base64, for example because a mailing list's footer begins.

    `padded`: whether the line before ended with padding.
    """
    if padded and (len(line) % 4 or not PADDED_LINE.fullmatch(line)):
        return True
    words = WORDS.match(line) and NOT_BASE64.search(line.translate(None, WHITE_SPACE))
    return bool(words or FOOTER.match(line))


def decode_digits(digits: bytes | bytearray) -> bytes:
    """Decode base64 with or without padding at its end. A surplus digit at the end is dropped."""
    digits = digits.rstrip(b"=")
    return a2b_base64(digits[: len(digits) - (len(digits) % 4 == 1)] + b"==")


def decode_uu(raw: bytes) -> bytes:
    """Decode uuencoded content between the lines "begin" and "end". Without a line "begin", return `raw` unchanged.

    Also return it unchanged if the content would be longer: a line of one character can stand for 63 zeros.
    """
    lines = lines_of(raw)
    if not any(line.startswith(b"begin ") for line in lines):
        return raw
    content = bytearray()
    for line in lines:
        if line.rstrip() == b"end":
            break
        try:
            content += a2b_uu(line)
        except Error:  # too long a line, as some encoders write it
            length = ((line[0] - 32 & 63) * 4 + 5) // 3
            try:
                content += a2b_uu(line[:length])
            except Error:
                continue
        if len(content) > len(raw):
            return raw
    return bytes(content)
