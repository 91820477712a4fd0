"""URLs of the DAV server, as its clients see them and as it has to see them itself.

A URL that is passed on names the same bytes on both sides; one for which that cannot be promised is refused.
"""

import logging
import re
import urllib.parse
from functools import lru_cache

from mailapi import ApiError

from ..clients.dav import Dav

log = logging.getLogger("mailapi")

SAFE = (
    "/~@:+!$&'()*,;="  # beside letters, digits and -._: what stands in a path as it is (RFC 3986 section 3.3)
)
# Of a header: an absolute URL without user and password, or a path (RFC 4918 section 8.3).
URL = re.compile(r"(?:https?://([^/@]+))?(/(?!/).*)", re.IGNORECASE)
# What no such URL has, and a slash inside a name: in the request's own path WSGI does not tell it from the others.
NOT_IN_URL = re.compile(r"[^!-~]|[#?\\]|%(?![0-9A-Fa-f]{2})|%2[Ff]")
IF_TOKEN = re.compile(r'[ \t]+|[()]|[Nn][Oo][Tt]|\[(?:W/)?"[^"]*"\]|<[^<>]*>')


def request_target(dav: Dav, environ: dict, path: str) -> str:
    """Return a request's path and query for the DAV server; ApiError where what was asked for cannot be told."""
    # What came: servers cut the fragment off, and some leave out tabs and line ends.
    raw = environ.get("REQUEST_URI") or environ.get("RAW_URI") or ""
    query = environ.get("QUERY_STRING", "")
    if re.search(r"[\x00-\x20\x7f#]|^[^?]*%2[Ff]", raw) or re.search("[^!-~]|#", query):
        raise ApiError("Invalid path.", http=400)
    return dav.path + quoted(path) + (query and "?" + query)


def quoted(path: str) -> str:
    """Return a path below the DAV server's root, percent-encoded; ApiError where it could lead out of there, or has
    U+FFFD: the core puts that in the place of bytes that are not UTF-8."""
    names = [segment.partition(";")[0] for segment in path.split("/")]
    if re.search(r"[\x00-\x1f\x7f\\\ufffd]", path) or {".", ".."}.intersection(names):
        raise ApiError("Invalid path.", http=400)
    return re.sub("/{2,}", "/", "/" + urllib.parse.quote(path, safe=SAFE))


def inside_url(dav: Dav, url: str, prefix: str, host: str) -> str:
    """Return the URL of a header for the DAV server: its own host, the path as clients see it (X-Script-Name).

    host is the Host header of the request.
    """
    found = URL.fullmatch(url)
    try:
        if not found or NOT_IN_URL.search(url):
            raise ValueError("not a URL of a header")
        path = urllib.parse.unquote(found[2], errors="strict")
        foreign = found[1] is not None and not same_host(found[1], host)
    except ValueError:
        raise ApiError("Invalid Destination.", http=400) from None
    if foreign or not path.startswith(urllib.parse.unquote(prefix) + "/"):
        raise ApiError("The destination is not on this server.", http=502)  # RFC 4918 section 9.9.4
    below = path.removeprefix(urllib.parse.unquote(prefix))
    own_host = f"[{dav.host}]" if ":" in dav.host else dav.host
    return f"{dav.scheme}://{own_host}:{dav.port}{prefix}{quoted(below[1:])}"


def same_host(authority: str, host: str) -> bool:
    """Check that a URL's host and port are those of the Host header. The default ports count as none: which of them
    it is, the API cannot tell behind every proxy."""
    (name, port), (own_name, own_port) = map(name_and_port, (authority, host))
    if name == own_name and port != own_port:
        tell_of_port()
    return (name, port) == (own_name, own_port)


def name_and_port(authority: str) -> tuple[str | None, int | None]:
    parts = urllib.parse.urlsplit("//" + authority)
    return parts.hostname, None if parts.port in (80, 443) else parts.port


@lru_cache(maxsize=1)
def tell_of_port():
    """Say once what a MOVE or COPY may have failed for."""
    log.warning(
        "A Destination has another port than the Host header: does a proxy pass it on without the port? "
        "docs/deploy.md has proxies that do not."
    )


def inside_if(dav: Dav, condition: str, prefix: str, host: str) -> str:
    """Return the If header with the URLs of resources as the DAV server has to see them (RFC 4918 section 10.4).

    What names nothing on this server stays as it is, and so does a header that is none.
    """
    position, in_list, pieces = 0, False, []
    while position < len(condition):
        if not (token := IF_TOKEN.match(condition, position)):
            return condition
        piece, position = token[0], token.end()
        in_list = piece == "(" or in_list and piece != ")"
        if piece[0] == "<" and not in_list:  # in a list it is a lock
            try:
                piece = f"<{inside_url(dav, piece[1:-1], prefix, host)}>"
            except ApiError:
                pass
        pieces.append(piece)
    return "".join(pieces)


def outside_url(dav: Dav, url: str, prefix: str) -> str:
    """Return a URL of the DAV server as clients see it; one of elsewhere stays as it is."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port or dav.schemes.get(parts.scheme or dav.scheme)
    except ValueError:
        return url
    if parts.netloc and (parts.hostname, port) != (dav.host, dav.port) or parts.scheme and not parts.netloc:
        return url
    path = parts.path or "/" * bool(parts.netloc)
    if path.startswith("/") and not is_below(path, prefix):
        path = prefix + (path.removeprefix(dav.path) if is_below(path, dav.path) else path)
    return (
        path + (f"?{parts.query}" if parts.query else "") + (f"#{parts.fragment}" if parts.fragment else "")
    )


def is_below(path: str, folder: str) -> bool:
    return (path + "/").startswith(folder + "/")
