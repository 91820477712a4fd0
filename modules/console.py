"""Console: a page that lists all actions with their fields, sends requests and shows the answers, below console/."""

import bottle

from mailapi import ApiError, Module, RequestHandler

from .web.console_files import page_file


class Console(Module):
    mounts = ("console",)

    def mount(self, handler: RequestHandler, path: str) -> bottle.HTTPResponse:
        """Return a file of the console's page. `path` is the file's name, the URL path after console/.

        The page reads openapi.json and sends its requests to the API, which decides who may do what.
        """
        if handler.environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            raise ApiError("Use GET.", http=405)
        if not path and not handler.environ["PATH_INFO"].endswith("/"):
            return bottle.HTTPResponse(b"", 303, [("Location", "console/")])
        return page_file(path or "console.html")
