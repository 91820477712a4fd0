"""The files of the console, a web page for trying the API's actions: HTML, script and style sheet."""

import bottle

from mailapi import ApiError

from .page_headers import HEADERS, of_page
from .templates import read_file

TYPES = {"console.html": "text/html", "console.js": "text/javascript", "console.css": "text/css"}
SAFE = of_page("script-src 'self'", "style-src 'self'", "connect-src 'self'", "form-action 'none'")


def page_file(name: str) -> bottle.HTTPResponse:
    """Return the response with a file of the console, such as "console.js". ApiError (HTTP 404) for other names."""
    if name not in TYPES:
        raise ApiError("There is no such page.", http=404)
    headers = [("Content-Type", f"{TYPES[name]}; charset=UTF-8"), ("Cache-Control", "no-cache")]
    return bottle.HTTPResponse(read_file(f"console/{name}"), 200, HEADERS + SAFE + headers)
