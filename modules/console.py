"""Console: a web page below console/ that lists all actions and fields, sends requests and shows the answers."""

import bottle

from mailapi import ApiError, Module, RequestHandler

from .http.page_headers import HEADERS, of_page
from .web.templates import read_file

TYPES = {"console.html": "text/html", "console.js": "text/javascript", "console.css": "text/css"}
SAFE = of_page("script-src 'self'", "style-src 'self'", "connect-src 'self'", "form-action 'none'")


class Console(Module):
    mounts = ("console",)

    def mount(self, handler: RequestHandler, path: str) -> bottle.HTTPResponse:
        """Return the response to a request below console/: the file console.html, console.js or console.css.

        `path` is the URL path after console/; "" means console.html. ApiError if the method is neither GET nor HEAD,
        or for other files.
        """
        if handler.environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            raise ApiError("Use GET.", http=405)
        if not path and not handler.environ["PATH_INFO"].endswith("/"):
            return bottle.HTTPResponse(b"", 303, [("Location", "console/")])
        name = path or "console.html"
        if name not in TYPES:
            raise ApiError("There is no such page.", http=404)
        headers = [("Content-Type", f"{TYPES[name]}; charset=UTF-8"), ("Cache-Control", "no-cache")]
        return bottle.HTTPResponse(read_file(f"console/{name}"), 200, HEADERS + SAFE + headers)
