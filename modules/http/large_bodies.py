"""Large request bodies: JSON whose long strings are read in little memory.

Python's own parser takes thirty bytes of memory for each escape of a string. Here long strings are set aside, and
decoded a piece at a time into UTF-8 bytes: what is read of a body takes at most three times its size with it.
"""

import contextlib
import json
import secrets

from mailapi import SMALL_BODY, ApiError, not_json, read_object

LONG = 16 * 1024  # bytes of a string that is set aside
STEP = 64 * 1024  # bytes of it that are decoded at once
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


def read_large_object(raw: bytes, usual: int) -> dict:
    """Return the object of a body as mailapi.read_object does, its long strings as UTF-8 bytes.

    ApiError: HTTP 413 where there is more than `usual` bytes beside them, HTTP 400 where it is no JSON object.
    """
    spans = long_strings(raw)
    if len(raw) - sum(end - start for start, end in spans) > usual:
        raise ApiError("Request body too large.", http=413)
    key, pieces, position = secrets.token_hex(16), [], 0
    for number, (start, end) in enumerate(spans):
        pieces += raw[position:start], f"{key}{number}".encode()
        position = end
    found = read_object(b"".join([*pieces, raw[position:]]))
    if not spans:
        return found
    try:
        set_aside = {f"{key}{number}": decoded(raw, start, end) for number, (start, end) in enumerate(spans)}
    except ValueError:
        raise ApiError("Invalid JSON in request body.", http=400) from None
    return put_back(found, set_aside)


def long_strings(raw: bytes) -> list[tuple[int, int]]:
    """Return where the insides of the long strings are."""
    masked = raw.replace(b"\\\\", b"__").replace(
        b'\\"', b"__"
    )  # every quotation mark left begins or ends a string
    if masked.count(b'"') > 2 * MOST_STRINGS:
        raise ApiError("Request body too large.", http=413)
    spans, start = [], masked.find(b'"')
    while start >= 0 and (end := masked.find(b'"', start + 1)) >= 0:
        if end - start > LONG:
            spans.append((start + 1, end))
        start = masked.find(b'"', end + 1)
    return spans


def decoded(raw: bytes, start: int, end: int) -> bytes:
    """Return what the inside of a JSON string stands for; ValueError where it is none. Lone surrogates stay."""
    content = bytearray()
    while start < end:
        piece = raw[start : min(start + STEP, end)]
        if start + STEP < end:
            piece = piece[: whole(piece)]
        content += json.loads(f'"{piece.decode()}"').encode(errors="surrogatepass")
        start += len(piece)
    return bytes(content)


def whole(piece: bytes) -> int:
    """Return the size of a piece of a string without the character or escape at its end that may go on after it."""
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


def put_back(found: dict, set_aside: dict[str, bytes]) -> dict:
    """Return the object with its long strings in their places; none of them names a member."""
    todo: list = [found]
    while todo:
        holder = todo.pop()
        if isinstance(holder, dict) and not holder.keys().isdisjoint(set_aside):
            raise ApiError("Request body too large.", http=413)
        for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
            if isinstance(value, str) and value in set_aside:
                holder[key] = set_aside[value]
            elif isinstance(value, (dict, list)):
                todo.append(value)
    return found
