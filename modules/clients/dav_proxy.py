"""A reverse proxy for the DAV server, which streams requests and responses.

Only the path after `dav/` and certain headers are passed on. So a client cannot choose the server, its port or the
user.
"""

import contextlib
import re
import tempfile
import urllib.parse
from collections.abc import Iterator

import bottle

from mailapi import ApiError, Call, body_length

from ..http.bodies import Unread
from ..http.cookies import own_host
from .base import ServiceDown
from .dav import Dav
from .dav_urls import inside_if, inside_url, outside_url, request_target
from .deadline import Deadline

READ_METHODS = ("GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT")
IDLE_SECONDS = 30  # after which an exchange ends if neither client nor server has sent anything
MAX_BODY = 32 * 1024 * 1024  # bytes of a request's body
MAX_IN_MEMORY = 1024 * 1024  # bytes of a body without Content-Length; larger ones are written to a file
CHUNK = 64 * 1024  # bytes
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
DROPPED_RESPONSE_HEADERS = {
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
# Stored pages must not run scripts with the rights of this origin.
SANDBOX_HEADERS = [
    ("Content-Security-Policy", "default-src 'none'; sandbox"),
    ("X-Content-Type-Options", "nosniff"),
]


def forward(dav: Dav, environ: dict, path: str, call: Call) -> bottle.HTTPResponse:
    """Send a client's request to the DAV server, and return the DAV server's response. Its body is streamed.

    `environ`: the WSGI environment. `path`: the URL path after `dav/`. `call`: contains the client's user name and
    password. ApiError if the request is refused, with HTTP 502 if the DAV server fails.
    """
    assert call.user_name is not None  # only the command line acts without a user
    method, prefix = environ["REQUEST_METHOD"], public_prefix(environ)
    if not re.fullmatch("[A-Z]{1,20}", method) or method in ("CONNECT", "TRACE"):
        raise ApiError("Unknown method.", http=405)
    target, host = request_target(dav, environ, path), own_host(environ)
    headers = request_headers(environ) | {"X-Script-Name": prefix, "Connection": "close"}
    if destination := environ.get("HTTP_DESTINATION"):
        headers["Destination"] = inside_url(dav, destination, prefix, host)
    if "If" in headers:
        headers["If"] = inside_if(dav, headers["If"], prefix, host)
    try:
        headers |= dav.credentials(call.user_name, call.password)
        with contextlib.ExitStack() as stack:
            body = stack.enter_context(upload_of(environ))
            stack.enter_context(dav.requests.of(call.user_name))
            connection = stack.enter_context(dav.conversation(IDLE_SECONDS, max_bytes=float("inf")))
            if body:
                body.deadline, headers["Content-Length"] = connection.deadline, str(body.remaining)
            response = stack.enter_context(dav.request(connection, method, target, headers, body))
            if response.status == 401 or response.status < 200:
                refused = response.status == 401
                raise ServiceDown(dav.kind, "it refused the log-in" if refused else "it is no DAV server")
            response_headers = passed_headers(dav, response, prefix)
            chunks = ResponseBody(response, connection.deadline)
            if body and body.remaining:
                stack.callback(Unread(b"", environ).close)
            chunks.stack = stack.pop_all()
    except ServiceDown as down:
        raise ApiError(down.status, http=502, audit=down.audit) from None
    if not chunks.first:  # Bottle would not close an empty body
        chunks.close()
    return bottle.HTTPResponse(
        chunks if chunks.first else b"", response.status, response_headers + SANDBOX_HEADERS
    )


def public_prefix(environ: dict) -> str:
    """Return the URL path below which clients reach the DAV server through mailapi, such as "/api/dav"."""
    mount = environ.get("SCRIPT_NAME", "").rstrip("/").encode("latin-1", "replace")
    return urllib.parse.quote(mount, safe="/~@:+") + "/dav"


def request_headers(environ: dict) -> dict[str, str]:
    """Return the headers of a client's request to pass on to the DAV server, such as {"Depth": "1"}.

    Headers that the header Connection names are left out (RFC 9110 section 7.6.1).
    """
    hop_by_hop = {name.strip().lower() for name in environ.get("HTTP_CONNECTION", "").split(",")}
    given = {name: environ.get("HTTP_" + name.upper().replace("-", "_")) for name in REQUEST_HEADERS}
    given["Content-Type"] = environ.get("CONTENT_TYPE")
    return {name: value for name, value in given.items() if value and name.lower() not in hop_by_hop}


@contextlib.contextmanager
def upload_of(environ: dict) -> Iterator["Upload | None"]:
    """Yield the body of a client's request as an Upload, for a `with` block. Yield None if the request has no body.

    A body without Content-Length is read as a whole first, since many DAV servers need the length. ApiError if the
    body has more than 32 MiB.
    """
    length, source = body_length(environ), environ["wsgi.input"]
    if length and length > MAX_BODY:
        raise ApiError("Request body too large.", http=413)
    with tempfile.SpooledTemporaryFile(MAX_IN_MEMORY) as spool:
        if length is None:
            while chunk := source.read(CHUNK):
                if spool.write(chunk) and spool.tell() > MAX_BODY:
                    raise ApiError("Request body too large.", http=413)
            length, source = spool.tell(), spool
            spool.seek(0)
        yield Upload(source, length) if length else None


class Upload:
    """The body of a client's request, as a file object that http.client reads and sends to the DAV server.

    `source`: the file with the body. `length`: the bytes to read. ApiError if it ends before. Each read extends the
    time limit of the connection, `deadline`.
    """

    deadline: Deadline

    def __init__(self, source, length: int):
        self.source, self.remaining = source, length

    def read(self, size: int) -> bytes:
        chunk = self.source.read(min(size, self.remaining))
        if self.remaining and not chunk:
            raise ApiError("The request body ended early.", http=400)
        self.remaining -= len(chunk)
        self.deadline.renew(IDLE_SECONDS)
        return chunk


class ResponseBody:
    """The body of the DAV server's response, as an iterator over bytes. `close` also closes the connection.

    `deadline`: the limits of the connection. Each read extends its time limit.
    """

    stack: contextlib.ExitStack

    def __init__(self, response, deadline: Deadline):
        self.response, self.deadline = response, deadline
        self.first = self.next_chunk()  # before the status line is sent: a failure can still be answered

    def next_chunk(self) -> bytes:
        self.deadline.renew(IDLE_SECONDS)
        chunk = self.response.read1(CHUNK)
        if not chunk and self.response.length:
            raise EOFError("it broke off")
        return chunk

    def __iter__(self):
        chunk, self.first = self.first, b""
        while chunk:
            yield chunk
            chunk = self.next_chunk()

    def close(self):
        self.stack.close()


def passed_headers(dav: Dav, response, prefix: str) -> list[tuple[str, str]]:
    """Return the headers of the DAV server's response to pass on to the client, as [(name, value), …].

    Headers about the connection, the log-in and CORS are left out. A URL of the DAV server, as in Location, becomes
    the path by which clients reach it. `prefix`: the URL path of mailapi's DAV proxy, such as "/api/dav". ServiceDown
    if the response has no clear length.
    """
    dropped = DROPPED_RESPONSE_HEADERS | {
        name.strip().lower() for name in response.headers.get("Connection", "").split(",")
    }
    if response.chunked:
        dropped |= {"content-length"}  # it does not count then (RFC 9112 section 6.3)
    elif not re.fullmatch(r"([0-9]{1,18})(,\1)*|", ",".join(response.headers.get_all("Content-Length", []))):
        raise ServiceDown(dav.kind, "it sends an invalid Content-Length")
    passed = []
    for name, value in response.headers.items():
        if name.lower() in dropped or name.lower().startswith("access-control-"):
            continue
        text = value.encode("latin-1", "replace").decode(errors="replace")
        value = " ".join(text.replace("\0", " ").split())
        is_url = name.lower() in ("location", "content-location")
        passed.append((name, outside_url(dav, value, prefix) if is_url else value))
    return passed
