"""Hands DAV requests over to the DAV server and its answers back, piece by piece as they come.

Only the path below dav/ and the headers named here get through: the server, the port and who asks are never the
client's to say.
"""

import contextlib
import re
import tempfile
import urllib.parse

import bottle

from mailapi import ApiError, Call, Unread, body_length

from ..clients.base import ServiceDown
from ..clients.dav import Dav
from ..clients.dav_urls import inside_if, inside_url, outside_url, request_target
from ..clients.deadline import Deadline

READS = ("GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT")
PAUSE = 30  # seconds without progress after which either side is given up
MOST_BODY = 32 * 1024 * 1024  # bytes of a request's body
MOST_IN_MEMORY = (
    1024 * 1024
)  # bytes of one whose length was not announced that are kept there; more goes to a file
PIECE = 64 * 1024
REQUEST_HEADERS = (
    "Accept",
    "Accept-Charset",
    "Accept-Encoding",
    "Accept-Language",
    "Brief",
    "Cache-Control",
    "Content-Encoding",
    "Content-Language",
    "Depth",
    "If",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Schedule-Tag-Match",
    "If-Unmodified-Since",
    "Lock-Token",
    "Overwrite",
    "Prefer",
    "Range",
    "Schedule-Reply",
    "Timeout",
    "User-Agent",
)
NOT_PASSED_BACK = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "set-cookie",
    "www-authenticate",
    "server",
    "date",
}
# A page that somebody keeps on the DAV server must not run with the rights of this origin.
HARMLESS = [("Content-Security-Policy", "default-src 'none'; sandbox"), ("X-Content-Type-Options", "nosniff")]


def forward(dav: Dav, environ: dict, path: str, call: Call) -> bottle.HTTPResponse:
    """The DAV server's answer to the request, of which path is what follows the slash after dav."""
    method, prefix = environ["REQUEST_METHOD"], prefix_of(environ)
    if not re.fullmatch("[A-Z]{1,20}", method) or method in ("CONNECT", "TRACE"):
        raise ApiError("Unknown method.", http=405)
    target, host = request_target(dav, environ, path), environ.get("HTTP_HOST", "")
    headers = request_headers(environ) | {"X-Script-Name": prefix, "Connection": "close"}
    if destination := environ.get("HTTP_DESTINATION"):
        headers["Destination"] = inside_url(dav, destination, prefix, host)
    if "If" in headers:
        headers["If"] = inside_if(dav, headers["If"], prefix, host)
    try:
        headers |= dav.credentials(call.user_name, call.password)
        with contextlib.ExitStack() as stack:
            body = stack.enter_context(body_of(environ))
            connection = stack.enter_context(dav.talk(PAUSE, most=float("inf")))
            if body:
                body.deadline, headers["Content-Length"] = connection.deadline, str(body.left)
            answer = dav.request(connection, method, target, headers, body)
            if answer.status == 401 or answer.status < 200:
                raise ServiceDown(
                    dav.kind, "it refused the log-in" if answer.status == 401 else "it is no DAV server"
                )
            found, pieces = answer_headers(dav, answer, prefix), Pieces(answer, connection.deadline)
            if body and body.left:
                stack.callback(Unread(b"", environ).close)
            pieces.stack = stack.pop_all()
    except ServiceDown as down:
        raise ApiError(down.status, http=502, audit=down.audit) from None
    if not pieces.first:  # Bottle would not close it
        pieces.close()
    return bottle.HTTPResponse(pieces if pieces.first else b"", answer.status, found + HARMLESS)


def prefix_of(environ: dict) -> str:
    """The path under which clients find the DAV server."""
    mount = environ.get("SCRIPT_NAME", "").rstrip("/").encode("latin-1", "replace")
    return urllib.parse.quote(mount, safe="/~@:+") + "/dav"


def request_headers(environ: dict) -> dict[str, str]:
    """The headers that concern the DAV server, but for those that are meant for us only (RFC 9110 section 7.6.1)."""
    hop = {name.strip().lower() for name in environ.get("HTTP_CONNECTION", "").split(",")}
    given = {name: environ.get("HTTP_" + name.upper().replace("-", "_")) for name in REQUEST_HEADERS}
    given["Content-Type"] = environ.get("CONTENT_TYPE")
    return {name: value for name, value in given.items() if value and name.lower() not in hop}


@contextlib.contextmanager
def body_of(environ: dict):
    """The request's body, or None; one of unknown length is read first, since many servers want to know it."""
    length, source = body_length(environ), environ["wsgi.input"]
    if length and length > MOST_BODY:
        raise ApiError("Request body too large.", http=413)
    with tempfile.SpooledTemporaryFile(MOST_IN_MEMORY) as spool:
        if length is None:
            while piece := source.read(PIECE):
                if spool.write(piece) and spool.tell() > MOST_BODY:
                    raise ApiError("Request body too large.", http=413)
            length, source = spool.tell(), spool
            spool.seek(0)
        yield Upload(source, length) if length else None


class Upload:
    """A body as http.client sends it: exactly as much as was announced, for as long as it moves on."""

    deadline: Deadline

    def __init__(self, source, length: int):
        self.source, self.left = source, length

    def read(self, size: int) -> bytes:
        piece = self.source.read(min(size, self.left))
        if self.left and not piece:
            raise ApiError("The request body ended early.", http=400)
        self.left -= len(piece)
        self.deadline.renew(PAUSE)
        return piece


class Pieces:
    """The answer's body as it comes; closing it lets the connection go."""

    stack: contextlib.ExitStack

    def __init__(self, answer, deadline: Deadline):
        self.answer, self.deadline = answer, deadline
        self.first = self.next_piece()  # while a failure can still be told

    def next_piece(self) -> bytes:
        self.deadline.renew(PAUSE)
        piece = self.answer.read1(PIECE)
        if not piece and self.answer.length:
            raise EOFError("it broke off")
        return piece

    def __iter__(self):
        piece, self.first = self.first, b""
        while piece:
            yield piece
            piece = self.next_piece()

    def close(self):
        self.stack.close()


def answer_headers(dav: Dav, answer, prefix: str) -> list[tuple[str, str]]:
    """The answer's headers, but for those of the connection, of log-ins and of other origins."""
    drop = NOT_PASSED_BACK | {
        name.strip().lower() for name in answer.headers.get("Connection", "").split(",")
    }
    passed = []
    for name, value in answer.headers.items():
        if name.lower() in drop or name.lower().startswith("access-control-"):
            continue
        value = " ".join(value.encode("latin-1", "replace").decode(errors="replace").split())
        is_url = name.lower() in ("location", "content-location")
        passed.append((name, outside_url(dav, value, prefix) if is_url else value))
    return passed
