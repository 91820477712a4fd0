"""Console: a web page below console/ that lists all actions and fields, sends requests and shows the answers."""

import bottle

from mailapi import ApiError, Module, RequestHandler

from .web.console_files import page_file


class Console(Module):
    mounts = ("console",)

    def mount(self, handler: RequestHandler, path: str) -> bottle.HTTPResponse:
        """Return the file console.html, console.js or console.css; for "" return console.html.

        `path` is the URL path after console/. ApiError if the method is neither GET nor HEAD, or for other files.
        """
        if handler.environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            raise ApiError("Use GET.", http=405)
        if not path and not handler.environ["PATH_INFO"].endswith("/"):
            return bottle.HTTPResponse(b"", 303, [("Location", "console/")])
        return page_file(path or "console.html")
