"""Panel: web pages for administrators, delegates and users, below panel/ (docs/panel.md)."""

import bottle

from mailapi import Module, RequestHandler

from .web.pages import answer


class Panel(Module):
    mounts = ("panel",)
    mount_max_body = "max_message"

    def mount(self, handler: RequestHandler, path: str) -> bottle.HTTPResponse:
        """Return the response to a request for a page of the panel. `path` is the URL path after panel/."""
        return answer(handler, path)
