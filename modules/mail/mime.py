"""The parts of a mail, as bytes in lines that end with CRLF (RFC 2045 to 2047, 2183, 2231).

The email package's EmailMessage would make five copies of an attachment, and on Python 3.11 loses blanks of long
subjects, encodes long References and decodes file names that look like encoded words. Its encoders do the work here.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from mailapi import ApiError

from ..mail.addresses import CONTROL, folded

LONGEST_LINE = 998  # bytes without CRLF (RFC 5322, 2.1.1)
LONGEST_NAME = 255  # characters of a file's name
STEP = 57 * 10_000  # bytes that are encoded at once: whole lines
TYPE = re.compile(
    r'[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}(?>(?:; ?[\w.-]{1,60}=(?:[\w.+-]{1,60}|"[\w .:+/-]{1,60}"))*)',
    re.ASCII,
)
NOT_AS_IT_IS = re.compile(rb"^\.\r$|^[^\r\n]{79}", re.MULTILINE)  # lines that some relay would change

Part = Iterable[bytes]  # in pieces: its header fields, a blank line, its body


########## Parts ###################################################################################


def content(body: dict) -> Part:
    """Return what is below a mail's own header fields: the text in one or two forms, then the attachments.

    Takes `text`, `html` and `attachments` out of the body, so that no copy of them is held longer than it is needed.
    """
    forms = [
        text_part(body.pop(name), subtype)
        for name, subtype in (("text", "plain"), ("html", "html"))
        if body.get(name) is not None
    ]
    attachments = map(attachment, body.pop("attachments", None) or [])
    return joined("mixed", [joined("alternative", forms or [text_part(b"", "plain")]), *attachments])


def joined(subtype: str, parts: list[Part]) -> Part:
    """A multipart of parts that end with a line break, which then is the boundary's; one part alone is none."""
    if len(parts) == 1:
        return parts[0]
    boundary = secrets.token_hex(16)
    line, last = f"--{boundary}\r\n".encode(), f"--{boundary}--\r\n".encode()
    body = [piece for part in parts for piece in (line, *part)]
    head = [folded("Content-Type", f'multipart/{subtype}; boundary="{boundary}"')]
    if not all(piece.isascii() for piece in body):
        head.append(folded("Content-Transfer-Encoding", "8bit"))  # of a forwarded mail (RFC 2045, 6.4)
    return [*head, b"\r\n", *body, last]


def text_part(text: bytes, subtype: str) -> Part:
    """Text in seven bits and short lines: no relay has to change it, which would break a signature."""
    data, encoding = crlf(text), "7bit"
    del text
    if not data.isascii() or NOT_AS_IT_IS.search(data):
        foreign = len(data.translate(None, bytes(range(128))))
        data, encoding = (
            (binascii.b2a_qp(data), "quoted-printable")
            if foreign * 6 < len(data)
            else (in_base64(pieces(data)), "base64")
        )
    return part(f"text/{subtype}; charset=utf-8", encoding, data)


def attachment(given: dict) -> Part:
    """A file: `data` in base64, `content_type` or application/octet-stream, `filename` or none."""
    content_type = given["content_type"] or "application/octet-stream"
    filename, kind = file_name(given["filename"] or ""), content_type.partition(";")[0].lower()
    forwarded = kind == "message/rfc822"  # a mail, which must not be in base64 (RFC 2046, 5.2.1)
    if not TYPE.fullmatch(content_type) or kind.startswith(("multipart/", "message/")) and not forwarded:
        sentence = f"Not a content type of an attachment: {CONTROL.sub(' ', content_type)[:100]}."
        raise ApiError(sentence, audit="Not a content type of an attachment.")
    try:
        raw = from_base64(given["data"])
        body = checked_lines(b"".join(raw)) if forwarded else in_base64(raw)
    except ValueError:
        sentence = f"The data of attachment {filename or 'without a name'} is not base64."
        raise ApiError(sentence, audit="The data of an attachment is not base64.") from None
    encoding = "base64" if not forwarded else "7bit" if body.isascii() else "8bit"
    return part(content_type, encoding, body, folded("Content-Disposition", disposition(filename)))


def part(content_type: str, encoding: str, body: bytes, *more: bytes) -> Part:
    return [
        folded("Content-Type", content_type),
        *more,
        folded("Content-Transfer-Encoding", encoding),
        b"\r\n",
        body,
    ]


def plain(name: str, value: str | None) -> str:
    """Text as a header field may have it: nothing in it begins another line."""
    if value and CONTROL.search(value):
        raise ApiError(f"A line break or control character in {name}.")
    return (value or "").strip()


def file_name(name: str) -> str:
    """The last part of what may be a path; "" where there is none."""
    name = re.split(r"[/\\]", plain("filename", name))[-1].strip()
    if len(name) > LONGEST_NAME:
        raise ApiError(f"The name of an attachment is too long: {LONGEST_NAME} characters at most.")
    return "" if name in (".", "..") else name


def disposition(filename: str) -> str:
    """A file's name so that nobody misreads it: quoted if there is nothing special in it, else as RFC 2231 has it."""
    if re.fullmatch(r"[\w.+-][\w .+-]{0,49}|", filename, re.ASCII):
        return f'attachment; filename="{filename}"' if filename else "attachment"
    first, *others = re.findall(r"(?:%..|[^%]){1,16}", quote(filename, safe=""))
    if not others:
        return f"attachment; filename*=utf-8''{first}"
    numbered = enumerate([f"utf-8''{first}", *others])
    return "attachment; " + "; ".join(f"filename*{number}*={value}" for number, value in numbered)


########## Bytes ###################################################################################


def crlf(raw: bytes) -> bytes:
    """Lines that end with CRLF, the last one, too: a CR or LF alone is a line's end to some servers only."""
    raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


def checked_lines(raw: bytes) -> bytes:
    """The lines of a ready message: none too long for SMTP, and no NUL byte, where daemons would take it to end."""
    raw, start = crlf(raw), 0
    if b"\0" in raw:
        raise ApiError("The message has a NUL byte.")
    while len(raw) - start > LONGEST_LINE:
        end = raw.rfind(b"\n", start, start + LONGEST_LINE + 2)
        if end < 0:
            raise ApiError(f"The message has a line of more than {LONGEST_LINE} bytes.")
        start = end + 1
    return raw


def pieces(data: bytes) -> Iterator[bytes]:
    return (data[start : start + STEP] for start in range(0, len(data), STEP))


def in_base64(raw: Iterable[bytes]) -> bytearray:
    """Lines of base64; all pieces but the last are whole lines."""
    lines = bytearray()
    for piece in raw:
        lines += base64.encodebytes(piece).replace(b"\n", b"\r\n")
    return lines


def from_base64(data: bytes) -> Iterator[bytes]:
    """What base64 stands for, in pieces of STEP bytes; ValueError for anything else. It may have line breaks."""
    data = data.replace(b"\r", b"").replace(b"\n", b"")
    if len(data) % 4 or data.find(b"=", 0, -2) >= 0:
        raise ValueError("not whole, or padding in the middle")
    step = STEP // 3 * 4
    return (
        binascii.a2b_base64(data[start : start + step], strict_mode=True)
        for start in range(0, len(data), step)
    )
