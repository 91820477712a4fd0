"""The bodies of forms: as application/x-www-form-urlencoded, and as multipart/form-data with files (RFC 7578)."""

import re
import urllib.parse

from mailapi import SMALL_BODY, ApiError, RequestHandler, body_length, body_limit, raw_body

from .visitor import Fields

MOST_FIELDS = 2000
MOST_TEXT = 2**20  # bytes of all fields that are no files: as text, they take up to 16 times their size
BOUNDARY = re.compile(r'multipart/form-data;\s*boundary="?([^\s";]{1,70})"?\s*\Z', re.ASCII)
NAME = re.compile(
    rb'(?i)content-disposition: *form-data; *name="([^"\r\n]{0,200})"(?:; *filename="([^"\r\n]*)")?'
)
CONTENT_TYPE = re.compile(rb"(?i)\r\ncontent-type: *([\w.+-]{1,80}/[\w.+-]{1,80})")


def read_form(handler: RequestHandler, trusted: bool) -> Fields:
    """Read the fields of the form in the request's body. ApiError if it is too large, incomplete, or not a form.

    trusted: the visitor has a session. Only then may a form with files have more than SMALL_BODY bytes. A
    form without files never may, since each encoded byte of it (%41) takes memory for an object.
    """
    environ, app = handler.environ, handler.app
    length, found = body_length(environ), BOUNDARY.match(environ.get("CONTENT_TYPE", ""))
    most = body_limit("max_message", app.config) if trusted and found else SMALL_BODY
    if most > SMALL_BODY and (length is None or length > SMALL_BODY):
        handler.reserved = app.large_bodies.take(6 * (length or most))
    raw = raw_body(environ, length, most)
    if found:
        return multipart(raw, found[1].encode())
    try:
        text = raw.decode("ascii", "replace")
        return Fields(urllib.parse.parse_qsl(text, True, errors="replace", max_num_fields=MOST_FIELDS))
    except ValueError:
        raise ApiError("Too many fields in the query.", http=400) from None


def multipart(raw: bytes, boundary: bytes) -> Fields:
    """Parse a body of the type multipart/form-data as fields and files. File fields without a file are left out.

    ApiError if the fields other than files have more than MOST_TEXT bytes.
    """
    pairs, files, texts = [], [], 0
    for part in (b"\r\n" + raw).split(b"\r\n--" + boundary, MOST_FIELDS)[1:-1]:
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
    """Decode a file's name: %22, %0D and %0A, as browsers write them, become quotation mark, CR and LF."""
    return re.sub("%(22|0D|0A)", lambda found: chr(int(found[1], 16)), field_text(name))
