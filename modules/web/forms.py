"""Parsers for submitted forms: application/x-www-form-urlencoded, and multipart/form-data (RFC 7578)."""

import re
import urllib.parse

from mailapi import SMALL_BODY, ApiError, RequestHandler, body_length, body_limit, raw_body

from .visitor import Fields

MOST_FIELDS = 2000
MOST_BEFORE_LOG_IN = 4 * SMALL_BODY  # bytes of a form with files that are read of a user who is not logged in
MOST_TEXT = 2**20  # bytes of all fields that are no files: as text, they take up to 16 times their size
BOUNDARY = re.compile(r'multipart/form-data;\s*boundary="?([^\s";]{1,70})"?\s*\Z', re.ASCII)
NAME = re.compile(
    rb'(?i)content-disposition: *form-data; *name="([^"\r\n]{0,200})"(?:; *filename="([^"\r\n]*)")?'
)
CONTENT_TYPE = re.compile(rb"(?i)\r\ncontent-type: *([\w.+-]{1,80}/[\w.+-]{1,80})")


def read_form(handler: RequestHandler, trusted: bool) -> Fields:
    """Read the submitted form. ApiError if it is too large or incomplete, or has too many fields.

    The limit is SMALL_BODY bytes. It is higher for forms with files if the user is logged in (`trusted`). If a user
    who is not logged in sends a larger form with files, only the fields in its first MOST_BEFORE_LOG_IN bytes are
    read. ApiError if these end within a text.
    """
    environ, app = handler.environ, handler.app
    length, found = body_length(environ), BOUNDARY.match(environ.get("CONTENT_TYPE", ""))
    most = SMALL_BODY  # each encoded byte of other forms (%41) takes memory for an object
    if found:
        most = body_limit("max_message", app.config) if trusted else MOST_BEFORE_LOG_IN
    if most > SMALL_BODY and (length is None or length > SMALL_BODY):
        handler.reserved = app.large_bodies.take(6 * min(length or most, most))
    if not found:
        return urlencoded(raw_body(environ, length, most).decode("ascii", "replace"))
    boundary = found[1].encode()
    if trusted or not length or length <= most:
        return multipart(raw_body(environ, length, most), boundary)
    raw = raw_body(environ, most, most)
    del environ["mailapi.body_read"]  # so that the rest is read after the response was sent
    environ["CONTENT_LENGTH"] = str(length - most)
    if ends_in_text(raw, boundary):
        raise ApiError("Request body too large.", http=413)
    return multipart(raw, boundary)


def ends_in_text(raw: bytes, boundary: bytes) -> bool:
    """Return whether the beginning of a multipart/form-data body ends within a field that is no file."""
    head, blank, _ = raw.rpartition(b"\r\n--" + boundary)[2].partition(b"\r\n\r\n")
    found = NAME.search(head)
    return bool(blank and found and found[2] is None)


def urlencoded(text: str) -> Fields:
    """Parse fields such as "user_name=bob&change=check". ApiError if there are more than MOST_FIELDS."""
    try:
        return Fields(urllib.parse.parse_qsl(text, True, errors="replace", max_num_fields=MOST_FIELDS))
    except ValueError:
        raise ApiError("Too many fields in the query.", http=400) from None


def multipart(raw: bytes, boundary: bytes) -> Fields:
    """Parse a multipart/form-data body. ApiError if it has more than MOST_FIELDS fields or MOST_TEXT bytes of texts.

    Texts are all fields but the files. File inputs in which no file was chosen are left out, and so is a field that
    is not followed by the boundary.
    """
    pairs, files, texts = [], [], 0
    _, *parts = (b"\r\n" + raw).split(b"\r\n--" + boundary, MOST_FIELDS + 2)
    if len(parts) > MOST_FIELDS + 1:
        raise ApiError("Too many fields in the query.", http=400)
    for part in parts[:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        if not (found := NAME.search(head)):
            continue
        name = field_text(found[1])
        if found[2] is None:
            texts += len(content)
            if texts > MOST_TEXT:
                raise ApiError("Request body too large.", http=413)
            pairs.append((name, field_text(content)))
        elif found[2] or content:
            kind = CONTENT_TYPE.search(head)
            files.append(
                (
                    name,
                    {
                        "filename": decoded_name(found[2]),
                        "content": content,
                        "type": kind[1].decode() if kind else "",
                    },
                )
            )
    return Fields(pairs, files)


def field_text(value: bytes) -> str:
    return value.decode(errors="replace")


def decoded_name(name: bytes) -> str:
    """Decode the name of an uploaded file: replace %22, %0D and %0A by quotation mark, CR and LF."""
    return re.sub("%(22|0D|0A)", lambda found: chr(int(found[1], 16)), field_text(name))
