"""Large request bodies: JSON whose long strings are read in little memory.

Python's own parser takes thirty bytes of memory for each escape of a string. This one sets long strings aside and
decodes them piece by piece into UTF-8 bytes. A body and its fields together take at most three times the body's size.
"""

import contextlib
import json
import secrets

from mailapi import (
    SMALL_BODY,
    ApiError,
    Call,
    Endpoint,
    invalid,
    not_json,
    read_object,
    refuse_forbidden_text,
)

LONG = 16 * 1024  # bytes; longer strings are set aside
STEP = 64 * 1024  # bytes that are decoded at once
MOST_STRINGS = 100_000  # in a body


def find_auth(raw: bytes) -> dict | None:
    """Return the member `auth` of a large body without parsing the body: the last one, or else the first.

    Once its sender is let in, the body is read as a whole, and must have the same `auth`.
    """
    for start in (raw.rfind(b'"auth"'), raw.find(b'"auth"')):
        member = raw[start + 6 : start + SMALL_BODY].decode(errors="replace").lstrip() if start >= 0 else ""
        with contextlib.suppress(ValueError, RecursionError):
            value = json.JSONDecoder(parse_constant=not_json).raw_decode(member[1:].lstrip())[0]
            if member[0] == ":" and isinstance(value, dict):
                return value
    return None


def read_for_caller(call: Call, chosen: Endpoint | None, raw: bytes, auth: dict | None) -> dict:
    """Return the body's object, for callers who pass the access rules that need no fields."""
    call.app.identify(call)
    for rule in chosen.allow if chosen else ():
        if not rule.of_fields and not rule.test(call):
            raise ApiError(call.in_generation(rule.refusal))
    body = chosen.read_body(raw, call.config.max_body) if chosen else read_object(raw)
    if (body.get("auth") or {}) != (auth or {}):
        raise invalid("auth")
    refuse_forbidden_text(body)
    return body


def read_large_object(raw: bytes, usual: int) -> dict:
    """Return the object of a body as mailapi.read_object does, its long strings as UTF-8 bytes.

    ApiError: HTTP 413 where the rest has more than `usual` bytes, HTTP 400 where the body is no JSON object.
    """
    spans = long_strings(raw)
    if len(raw) - sum(end - start for start, end in spans) > usual:
        raise ApiError("Request body too large.", http=413)
    key, position = secrets.token_hex(16), 0
    pieces: list[bytes] = []
    for number, (start, end) in enumerate(spans):
        pieces += raw[position:start], f"{key}{number}".encode()
        position = end
    fields = read_object(b"".join([*pieces, raw[position:]]))
    if not spans:
        return fields
    try:
        set_aside = {f"{key}{number}": decoded(raw, start, end) for number, (start, end) in enumerate(spans)}
    except ValueError:
        raise ApiError("Invalid JSON in request body.", http=400) from None
    return put_back(fields, set_aside)


def long_strings(raw: bytes) -> list[tuple[int, int]]:
    """Return the start and end of each long string, without its quotation marks."""
    # After this every quotation mark begins or ends a string.
    masked = raw.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    if masked.count(b'"') > 2 * MOST_STRINGS:
        raise ApiError("Request body too large.", http=413)
    spans, start = [], masked.find(b'"')
    while start >= 0 and (end := masked.find(b'"', start + 1)) >= 0:
        if end - start > LONG:
            spans.append((start + 1, end))
        start = masked.find(b'"', end + 1)
    return spans


def decoded(raw: bytes, start: int, end: int) -> bytes:
    """Return the value of a JSON string from its content between the quotation marks; lone surrogates stay.

    ValueError where the content is invalid.
    """
    content = bytearray()
    while start < end:
        piece = raw[start : min(start + STEP, end)]
        if start + STEP < end:
            piece = piece[: complete_size(piece)]
        content += json.loads(f'"{piece.decode()}"').encode(errors="surrogatepass")
        start += len(piece)
    return bytes(content)


def complete_size(piece: bytes) -> int:
    """Return the size of a piece of a string without a character or escape that may be cut at its end."""
    end = len(piece)
    for _ in range(3):
        end -= piece[end - 1] & 0xC0 == 0x80
    end -= piece[end - 1] >= 0xC0
    masked = piece.replace(b"\\\\", b"__")
    escape = masked.rfind(b"\\", end - 6, end)
    if escape >= 0 and end - escape < (6 if masked[escape + 1 : escape + 2] == b"u" else 2):
        end = escape
    if masked[end - 6 : end - 4] == b"\\u" and masked[end - 4 : end - 2].lower() in (
        b"d8",
        b"d9",
        b"da",
        b"db",
    ):
        end -= 6  # the first half of a character beyond 16 bits
    return end


def put_back(fields: dict, set_aside: dict[str, bytes]) -> dict:
    """Return the object with its long strings in their places; ApiError where one of them is a key."""
    todo: list = [fields]
    while todo:
        container = todo.pop()
        if isinstance(container, dict) and not container.keys().isdisjoint(set_aside):
            raise ApiError("Request body too large.", http=413)
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(value, str) and value in set_aside:
                container[key] = set_aside[value]
            elif isinstance(value, (dict, list)):
                todo.append(value)
    return fields
