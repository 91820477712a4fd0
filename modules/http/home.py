"""The HTML page at the API's URL. It shows what mailapi is, who is logged in, and links to other pages."""

import base64
import hashlib
import html

import bottle

from mailapi import ApiError, Call, RequestHandler, __version__

from .page_headers import HEADERS, of_page

STYLE = (
    ":root{color-scheme:light dark}body{font:1.1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:3rem auto;"
    "padding:0 1rem}li{margin:.4rem 0}"
)
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
SAFE = of_page(f"style-src 'sha256-{STYLE_HASH}'", "form-action 'none'")
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>mailapi</title><style>{style}</style></head>
<body><main><h1>mailapi {version}</h1>
<p>The HTTP control plane of this mail server: programs call it to manage users, addresses, routing and mail.</p>
<p>{who}</p>
<ul>
{links}
</ul></main></body></html>
"""
# Path of a link → its text, and the path of the module that must be configured; "" for none.
LINKS = {
    "panel/": ("The panel: pages for administrators, delegates and users", "panel"),
    "console/": ("The console: every action with its fields, to try it out", "console"),
    "openapi.json": ("openapi.json: the same for programs, in OpenAPI 3.1", ""),
}


class HomeHandler(RequestHandler):
    """The handler of a request for the HTML page at the API's URL."""

    def process(self) -> dict:
        """Set the HTML page as the response. Return the JSON object that the audit records."""
        name = self.logged_in()
        who = (
            f"You are logged in as <strong>{html.escape(name)}</strong>."
            if name
            else "You are not logged in."
        )
        links = "\n".join(
            f'<li><a href="{path}">{text}</a></li>'
            for path, (text, module) in LINKS.items()
            if not module or module in self.app.modules
        )
        content = PAGE.format(style=STYLE, version=__version__, who=who, links=links).encode()
        headers = [
            *HEADERS,
            *SAFE,
            ("Content-Type", "text/html; charset=UTF-8"),
            ("Cache-Control", "no-store"),
            ("Vary", "Accept, Cookie"),
            ("Content-Length", str(len(content))),
        ]
        self.mounted_response = bottle.HTTPResponse(content, 200, headers)
        return self.frame

    def logged_in(self) -> str:
        """Return the name of the user whom the session cookie logs in. Return "" if there is no valid session."""
        try:
            call = Call(self.app, self.app.generation(), {}, {})
            self.use_session(call)
            self.app.identify(call)
        except ApiError:
            return ""
        return call.user_name or ""


def handler_for(environ: dict) -> type[RequestHandler]:
    """Return the class that handles a browser's request to the API's URL.

    This is HomeHandler for a GET or HEAD without a query, and RequestHandler for any other request.
    """
    names_action = environ["REQUEST_METHOD"] not in ("GET", "HEAD") or environ.get("QUERY_STRING")
    return RequestHandler if names_action else HomeHandler
