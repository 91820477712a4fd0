"""The files of the console: one page of HTML, a script and a style sheet, with a strict policy."""

import bottle

from mailapi import ApiError

from .templates import read_file

TYPES = {"console.html": "text/html", "console.js": "text/javascript", "console.css": "text/css"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


def page_file(name: str) -> bottle.HTTPResponse:
    """Return one of the files; ApiError (HTTP 404) if there is none of this name."""
    if name not in TYPES:
        raise ApiError("There is no such page.", http=404)
    headers = [
        ("Content-Type", f"{TYPES[name]}; charset=UTF-8"),
        ("Content-Security-Policy", POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-cache"),
    ]
    return bottle.HTTPResponse(read_file(f"console/{name}"), 200, headers)
