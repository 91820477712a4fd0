"""JSON in large request bodies: a reader that decodes long strings piece by piece, so that they take little memory.

Python's own takes thirty bytes of memory for each escape in a string. Here, a body and its fields together take at
most three times the size of the body.
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
    """Find the member `auth` (name and password) of a JSON object without parsing all of it; None if there is none.

    It may find a wrong one, inside another member. Therefore read_for_caller, which parses the body after the
    log-in, compares the two.
    """
    for start in (raw.rfind(b'"auth"'), raw.find(b'"auth"')):
        member = raw[start + 6 : start + SMALL_BODY].decode(errors="replace").lstrip() if start >= 0 else ""
        with contextlib.suppress(ValueError, RecursionError):
            value = json.JSONDecoder(parse_constant=not_json).raw_decode(member[1:].lstrip())[0]
            if member[0] == ":" and isinstance(value, dict):
                return value
    return None


def read_for_caller(call: Call, chosen: Endpoint | None, raw: bytes, auth: dict | None) -> dict:
    """Parse a large body, after its sender has logged in and passed those access rules that need no fields.

    ApiError (HTTP 400) if its `auth` is not the one with which the sender has logged in.
    """
    call.app.identify(call)
    check_caller_rules(call, chosen)
    body = chosen.read_body(raw, call.config.max_body) if chosen else read_object(raw)
    if (body.get("auth") or {}) != (auth or {}):
        raise invalid("auth")
    refuse_forbidden_text(body)
    return body


def check_caller_rules(call: Call, chosen: Endpoint | None):
    """Raise ApiError for a caller whom the access rules that need no fields do not let pass."""
    for rule in chosen.allow if chosen else ():
        if not rule.of_fields and not rule.test(call):
            raise ApiError(call.in_generation(rule.refusal), code="not_allowed")


def read_large_object(raw: bytes, usual: int) -> dict:
    """Parse a JSON object; return its long strings as UTF-8 bytes, to save memory.

    ApiError: HTTP 400 if it is not an object, 413 if it has more than `usual` bytes besides its long strings.
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
        raise ApiError("Invalid JSON in request body.", http=400, code="invalid_json") from None
    return put_back(fields, set_aside)


def long_strings(raw: bytes) -> list[tuple[int, int]]:
    """Return the start and end position of each JSON string of more than LONG bytes, without its quotation marks."""
    # Without escaped quotation marks, each one that is left begins or ends a string.
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
    """Decode raw[start:end], the content of a JSON string, to UTF-8 bytes. ValueError if it is invalid.

    Lone surrogates are not refused here.
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
    """Return how many bytes of a piece of a JSON string can be decoded: an incomplete character at its end cannot."""
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
    """Replace the placeholders in a parsed object by the long strings that they stand for. Return the object.

    `set_aside` has the strings by placeholder. ApiError (HTTP 413) if a long string is a key.
    """
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
