"""Translation of URLs between clients of mailapi's DAV proxy and the DAV server behind it.

Both URLs must name the same resource. A URL for which that is not certain is refused.
"""

import logging
import re
import urllib.parse
from functools import lru_cache

from mailapi import ApiError

from .dav import Dav

log = logging.getLogger("mailapi")

# Characters, beside letters, digits and -._, that a path has unencoded (RFC 3986 section 3.3).
SAFE = "/~@:+!$&'()*,;="
# A URL in a header: absolute, without user and password, or a path (RFC 4918 section 8.3).
URL = re.compile(r"(?:https?://([^/@]+))?(/(?!/).*)", re.IGNORECASE)
# Text that such a URL must not contain. %2F: WSGI decodes it in PATH_INFO, where it would look like a slash between names.
INVALID_IN_URL = re.compile(r"[^!-~]|[#?\\]|%(?![0-9A-Fa-f]{2})|%2[Ff]")
IF_TOKEN = re.compile(r'[ \t]+|[()]|[Nn][Oo][Tt]|\[(?:W/)?"[^"]*"\]|<[^<>]*>')


def request_target(dav: Dav, environ: dict, path: str) -> str:
    """Return the path and query on the DAV server for a client's request.

    `path` is the client's URL path after `dav/`. ApiError if it is ambiguous, for example by an encoded slash.
    """
    # `raw` is as the client sent it. In PATH_INFO, web servers omit the fragment, and some omit tabs and line ends.
    raw = environ.get("REQUEST_URI") or environ.get("RAW_URI") or ""
    query = environ.get("QUERY_STRING", "")
    if re.search(r"[\x00-\x20\x7f#]|^[^?]*%2[Ff]", raw) or re.search("[^!-~]|#", query):
        raise ApiError("Invalid path.", http=400)
    return dav.path + quote_path(path) + (query and "?" + query)


def quote_path(path: str) -> str:
    """Percent-encode the path of a resource on the DAV server, relative to the server's root in config.py.

    ApiError if it leads out of the root, or has a U+FFFD, which replaces bytes that are not UTF-8.
    """
    names = [segment.partition(";")[0] for segment in path.split("/")]
    if re.search(r"[\x00-\x1f\x7f\\\ufffd]", path) or {".", ".."}.intersection(names):
        raise ApiError("Invalid path.", http=400)
    return re.sub("/{2,}", "/", "/" + urllib.parse.quote(path, safe=SAFE))


def inside_url(dav: Dav, url: str, prefix: str, host: str) -> str:
    """Return the DAV server's URL for a resource, from the client's URL in the header Destination or If.

    `prefix` is the URL path under which clients reach the DAV server, such as /api/dav. The result keeps it, since the
    DAV server gets it in the header X-Script-Name, too. `host` is the header Host. ApiError for a URL of another
    server.
    """
    match = URL.fullmatch(url)
    try:
        if not match or INVALID_IN_URL.search(url):
            raise ValueError("not a URL of a header")
        path = urllib.parse.unquote(match[2], errors="strict")
        foreign = match[1] is not None and not same_host(match[1], host)
    except ValueError:
        raise ApiError("Invalid Destination.", http=400) from None
    if foreign or not path.startswith(urllib.parse.unquote(prefix) + "/"):
        raise ApiError("The destination is not on this server.", http=502)  # RFC 4918 section 9.9.4
    below = path.removeprefix(urllib.parse.unquote(prefix))
    own_host = f"[{dav.host}]" if ":" in dav.host else dav.host
    return f"{dav.scheme}://{own_host}:{dav.port}{prefix}{quote_path(below[1:])}"


def same_host(authority: str, host: str) -> bool:
    """Return whether the host and port in a URL (`authority`) are those of the client's header Host.

    A missing port equals both 80 and 443: behind a reverse proxy, mailapi cannot know which of them clients
    use.
    """
    (name, port), (own_name, own_port) = map(name_and_port, (authority, host))
    if name == own_name and port != own_port:
        warn_about_port()
    return (name, port) == (own_name, own_port)


def name_and_port(authority: str) -> tuple[str | None, int | None]:
    """Split "host:port" into both. The port is None if it is missing, 80 or 443."""
    parts = urllib.parse.urlsplit("//" + authority)
    return parts.hostname, None if parts.port in (80, 443) else parts.port


@lru_cache(maxsize=1)
def warn_about_port():
    """Log that a MOVE or COPY was refused, perhaps because of a port. This is logged only once."""
    log.warning(
        "A Destination has another port than the Host header: does a proxy pass it on without the port? "
        "docs/how-to/nginx.md says how to pass it on."
    )


def inside_if(dav: Dav, condition: str, prefix: str, host: str) -> str:
    """Replace the client's URLs in an If header by the corresponding URLs of the DAV server (RFC 4918 section 10.4).

    `prefix` is the URL path under which clients reach the DAV server, `host` is the header Host. URLs of
    other servers and invalid headers stay unchanged.
    """
    position, in_list, tokens = 0, False, []
    while position < len(condition):
        if not (token := IF_TOKEN.match(condition, position)):
            return condition
        text, position = token[0], token.end()
        in_list = text == "(" or in_list and text != ")"
        if text[0] == "<" and not in_list:  # inside a list it is a lock token
            try:
                text = f"<{inside_url(dav, text[1:-1], prefix, host)}>"
            except ApiError:
                pass
        tokens.append(text)
    return "".join(tokens)


def outside_url(dav: Dav, url: str, prefix: str) -> str:
    """Return the client's URL path for a URL that the DAV server has sent.

    `prefix` is the URL path under which clients reach the DAV server, such as /api/dav. A URL of another server is
    returned unchanged.
    """
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
