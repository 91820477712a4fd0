"""JSONP: an answer as JavaScript that calls a function of the client (docs/wire.md F20)."""

import re

from mailapi import ApiError


def read_callback(callback: str) -> str:
    """Check the query key `callback`, and return it. ApiError (HTTP 400) if it is not a function name."""
    if not re.fullmatch(r"[A-Za-z_$][\w$.]{0,127}", callback, re.ASCII):
        raise ApiError("Invalid callback.", http=400)
    return callback


def jsonp(callback: str, payload: str) -> str:
    """Return JavaScript that calls the function `callback` with `payload` as a quoted string."""
    payload = payload.replace("\\", "\\\\").replace("'", "\\'")
    return f"{callback}('{payload}')".replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
