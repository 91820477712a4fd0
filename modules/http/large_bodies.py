"""Reads large JSON bodies of requests, and decodes their long strings piece by piece to save memory.

A body and its fields together take at most three times the size of the body.
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

# Longer strings are set aside, in bytes: Python's JSON module takes thirty bytes for each escape in a string.
LONG = 16 * 1024
STEP = 64 * 1024  # bytes that are decoded at once
MOST_STRINGS = 100_000  # in a body


def find_auth(raw: bytes) -> dict | None:
    """Find the member `auth` of a JSON object without parsing all of it. Return None if there is none.

    `raw`: the JSON. The result may be wrong, since it may come from inside another member. `read_for_caller` checks it
    later.
    """
    for start in (raw.rfind(b'"auth"'), raw.find(b'"auth"')):
        member = raw[start + 6 : start + SMALL_BODY].decode(errors="replace").lstrip() if start >= 0 else ""
        with contextlib.suppress(ValueError, RecursionError):
            value = json.JSONDecoder(parse_constant=not_json).raw_decode(member[1:].lstrip())[0]
            if member[0] == ":" and isinstance(value, dict):
                return value
    return None


def read_for_caller(call: Call, chosen: Endpoint | None, raw: bytes, auth: dict | None) -> dict:
    """Check that the caller is logged in and may use the action. Then parse a large body, and return the dictionary.

    Access rules that need fields of the request are not checked. `chosen`: the action, or None. `raw`: the body.
    `auth`: the user name and password by which the caller logged in, if any. ApiError (HTTP 400) if the body's member
    `auth` is not the same.
    """
    call.app.identify(call)
    check_caller_rules(call, chosen)
    body = chosen.read_body(raw, call.config.max_body) if chosen else read_object(raw)
    if (body.get("auth") or {}) != (auth or {}):
        raise invalid("auth")
    refuse_forbidden_text(body)
    return body


def check_caller_rules(call: Call, chosen: Endpoint | None):
    """Raise ApiError if the caller breaks one of the action's access rules that need no fields of the request.

    `chosen`: the action. Do nothing if it is None.
    """
    for rule in chosen.allow if chosen else ():
        if not rule.of_fields and not rule.test(call):
            raise ApiError(call.in_generation(rule.refusal), code="not_allowed")


def read_large_object(raw: bytes, usual: int) -> dict:
    """Parse a JSON object. Its long strings become UTF-8 bytes, to save memory, and its short strings become str.

    `raw`: the JSON. `usual`: the most bytes that it may have outside long strings. ApiError with HTTP 413 if it has
    more, and with HTTP 400 if it is not a JSON object.
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
    return restore_strings(fields, set_aside)


def long_strings(raw: bytes) -> list[tuple[int, int]]:
    """Find the strings of more than 16 KiB in JSON. Return the positions of their content, as [(start, end), …].

    ApiError (HTTP 413) if `raw` has more than 100,000 strings.
    """
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
    r"""Decode the JSON string raw[start:end], without quotation marks, to UTF-8 bytes. ValueError if it is invalid.

    Lone surrogates (half characters such as "\ud800") are encoded, not refused.
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
    """Return how many bytes of a piece of a JSON string can be decoded without the next piece.

    An escape or a character that is cut off at the end of the piece is left out.
    """
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


def restore_strings(fields: dict, set_aside: dict[str, bytes]) -> dict:
    """Replace the placeholders in a parsed object by the long strings for which they stand, and return the object.

    Long strings are decoded apart from the object, to save memory. `set_aside`: {placeholder: string}. ApiError (HTTP
    413) if a placeholder is the key of a member.
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
