"""Making of MIME parts for outgoing mail: texts and attachments, as bytes with CRLF (RFC 2045 to 2047, 2183, 2231).

The standard library's EmailMessage is not used: it makes five copies of an attachment. On Python 3.11 it also damages
long subjects, long References, and file names that look like encoded words.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from mailapi import ApiError

from .addresses import CONTROL, fold_field
from .outgoing import single_line

MAX_LINE = 998  # bytes without CRLF (RFC 5322, 2.1.1)
MAX_FILE_NAME = 255  # characters
CHUNK = 57 * 10_000  # bytes to encode at a time: whole lines of base64
CONTENT_TYPE = re.compile(
    r'[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}(?>(?:; ?[\w.-]{1,60}=(?:[\w.+-]{1,60}|"[\w .:+/-]{1,60}"))*)',
    re.ASCII,
)
FRAGILE_LINE = re.compile(rb"^\.\r$|^[^\r\n]{79}", re.MULTILINE)  # some mail servers change such lines

PartChunks = Iterable[bytes | bytearray]  # the chunks of its header fields, an empty line and its body


########## Parts ###################################################################################


def message_content(body: dict) -> PartChunks:
    """Return a MIME part with all texts and attachments of a new message.

    `body` has the request's fields. `text`, `html` and `attachments` are removed from it, to free their memory.
    """
    texts = [
        text_part(body.pop(name), subtype)
        for name, subtype in (("text", "plain"), ("html", "html"))
        if body.get(name) is not None
    ]
    attachments = map(attachment_part, body.pop("attachments", None) or [])
    return multipart("mixed", [multipart("alternative", texts or [text_part(b"", "plain")]), *attachments])


def multipart(subtype: str, parts: list[PartChunks]) -> PartChunks:
    """Return one MIME part of the type multipart/`subtype` that contains `parts`. Return a single part unchanged."""
    if len(parts) == 1:
        return parts[0]
    boundary = secrets.token_hex(16)
    delimiter, end = f"--{boundary}\r\n".encode(), f"--{boundary}--\r\n".encode()
    body = [chunk for part in parts for chunk in (delimiter, *part)]
    header = [fold_field("Content-Type", f'multipart/{subtype}; boundary="{boundary}"')]
    if not all(chunk.isascii() for chunk in body):
        header.append(fold_field("Content-Transfer-Encoding", "8bit"))  # for a forwarded mail (RFC 2045, 6.4)
    return [*header, b"\r\n", *body, end]


def text_part(text: bytes, subtype: str) -> PartChunks:
    """Return a MIME part of the type text/`subtype`, in ASCII and short lines, which no mail server has to change."""
    content_type, data = f"text/{subtype}; charset=utf-8", crlf(text)
    del text
    if data.isascii() and not FRAGILE_LINE.search(data):
        return mime_part(content_type, "7bit", data)
    non_ascii = len(data.translate(None, bytes(range(128))))
    if non_ascii * 6 < len(data):
        return mime_part(content_type, "quoted-printable", binascii.b2a_qp(data))
    return mime_part(content_type, "base64", encode_base64(chunks(data)))


def attachment_part(given: dict) -> PartChunks:
    """Return a MIME part for an attachment. Raise ApiError if the attachment is invalid.

    `given` is a dictionary {"filename": "a.pdf", "content_type": "application/pdf", "data": …}; `data` is base64.
    """
    content_type = given["content_type"] or "application/octet-stream"
    filename, kind = file_name(given["filename"] or ""), content_type.partition(";")[0].lower()
    forwarded = kind == "message/rfc822"  # base64 is not allowed for a mail (RFC 2046, 5.2.1)
    if (
        not CONTENT_TYPE.fullmatch(content_type)
        or kind.startswith(("multipart/", "message/"))
        and not forwarded
    ):
        sentence = f"Not a content type of an attachment: {CONTROL.sub(' ', content_type)[:100]}."
        raise ApiError(sentence, audit="Not a content type of an attachment.", field="attachments")
    try:
        raw = decode_base64(given["data"])
        body = checked_lines(b"".join(raw)) if forwarded else encode_base64(raw)
    except ValueError:
        sentence = f"The data of attachment {filename or 'without a name'} is not base64."
        audit = "The data of an attachment is not base64."
        raise ApiError(sentence, audit=audit, field="attachments") from None
    encoding = "base64" if not forwarded else "7bit" if body.isascii() else "8bit"
    return mime_part(
        content_type, encoding, body, fold_field("Content-Disposition", attachment_disposition(filename))
    )


def mime_part(content_type: str, encoding: str, body: bytes | bytearray, *fields: bytes) -> PartChunks:
    return [
        fold_field("Content-Type", content_type),
        *fields,
        fold_field("Content-Transfer-Encoding", encoding),
        b"\r\n",
        body,
    ]


def file_name(name: str) -> str:
    """Return the file name at the end of a path; "" if there is none. Raise ApiError if it is invalid or too long."""
    name = re.split(r"[/\\]", single_line("filename", name))[-1].strip()
    if len(name) > MAX_FILE_NAME:
        raise ApiError(f"The name of an attachment is too long: {MAX_FILE_NAME} characters at most.")
    return "" if name in (".", "..") else name


def attachment_disposition(filename: str) -> str:
    """Return the header value for an attachment, such as `attachment; filename="a.pdf"` (RFC 2183, 2231).

    A file name with special characters is encoded.
    """
    if re.fullmatch(r"[\w.+-][\w .+-]{0,49}|", filename, re.ASCII):
        return f'attachment; filename="{filename}"' if filename else "attachment"
    first, *others = re.findall(r"(?:%..|[^%]){1,16}", quote(filename, safe=""))
    if not others:
        return f"attachment; filename*=utf-8''{first}"
    numbered = enumerate([f"utf-8''{first}", *others])
    return "attachment; " + "; ".join(f"filename*{number}*={value}" for number, value in numbered)


########## Bytes ###################################################################################


def crlf(raw: bytes) -> bytes:
    """End each line of `raw`, also the last one, with CRLF. A lone CR or LF is a line end, too."""
    raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


def checked_lines(raw: bytes) -> bytes:
    """End each line of a message with CRLF. Raise ApiError if it has a NUL byte, or a line too long for SMTP."""
    raw, start = crlf(raw), 0
    if b"\0" in raw:
        raise ApiError("The message has a NUL byte.")
    while len(raw) - start > MAX_LINE:
        end = raw.rfind(b"\n", start, start + MAX_LINE + 2)
        if end < 0:
            raise ApiError(f"The message has a line of more than {MAX_LINE} bytes.")
        start = end + 1
    return raw


def chunks(data: bytes) -> Iterator[bytes]:
    return (data[start : start + CHUNK] for start in range(0, len(data), CHUNK))


def encode_base64(raw: Iterable[bytes]) -> bytearray:
    """Encode bytes as lines of base64. Each of the chunks in `raw` but the last must have a multiple of 57 bytes."""
    lines = bytearray()
    for chunk in raw:
        lines += base64.encodebytes(chunk).replace(b"\n", b"\r\n")
    return lines


def decode_base64(data: bytes) -> Iterator[bytes]:
    """Decode base64 with or without line breaks. Yield the bytes in chunks. Raise ValueError if it is invalid."""
    data = data.replace(b"\r", b"").replace(b"\n", b"")
    if len(data) % 4 or data.find(b"=", 0, -2) >= 0:
        raise ValueError("not whole, or padding in the middle")
    step = CHUNK // 3 * 4
    return (
        binascii.a2b_base64(data[start : start + step], strict_mode=True)
        for start in range(0, len(data), step)
    )
