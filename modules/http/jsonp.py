"""JSONP: wraps the JSON of an answer in a call of a JavaScript function (docs/wire.md F20)."""

import re

from mailapi import ApiError


def read_callback(callback: str) -> str:
    """Return `callback` if it is the name of a JavaScript function. ApiError (HTTP 400) if it is not."""
    if not re.fullmatch(r"[A-Za-z_$][\w$.]{0,127}", callback, re.ASCII):
        raise ApiError("Invalid callback.", http=400)
    return callback


def jsonp(callback: str, payload: str) -> str:
    """Return JavaScript that calls the function `callback` with the text `payload`, such as "f('{...}')"."""
    payload = payload.replace("\\", "\\\\").replace("'", "\\'")
    return f"{callback}('{payload}')".replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
