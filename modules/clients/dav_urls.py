"""Translates the URLs of mailapi's DAV proxy into those of the DAV server behind the proxy, and back.

Both URLs must identify the same resource. An ambiguous URL from a client is refused.
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
    """Return the path and query of the DAV server's URL for a client's request, such as "/bob/work/?export".

    `path`: the client's URL path after `dav/`. ApiError if the URL is ambiguous, for example by an encoded slash.
    """
    # `raw` is as the client sent it. In PATH_INFO, web servers omit the fragment, and some omit tabs and line ends.
    raw = environ.get("REQUEST_URI") or environ.get("RAW_URI") or ""
    query = environ.get("QUERY_STRING", "")
    if re.search(r"[\x00-\x20\x7f#]|^[^?]*%2[Ff]", raw) or re.search("[^!-~]|#", query):
        raise ApiError("Invalid path.", http=400)
    return dav.path + quote_path(path) + (query and "?" + query)


def quote_path(path: str) -> str:
    """Percent-encode a path, and put a slash before it: "bob/my file" gives "/bob/my%20file".

    ApiError if the path has a segment "." or "..", a control character, a backslash or U+FFFD (an invalid byte).
    """
    names = [segment.partition(";")[0] for segment in path.split("/")]
    if re.search(r"[\x00-\x1f\x7f\\\ufffd]", path) or {".", ".."}.intersection(names):
        raise ApiError("Invalid path.", http=400)
    return re.sub("/{2,}", "/", "/" + urllib.parse.quote(path, safe=SAFE))


def inside_url(dav: Dav, url: str, prefix: str, host: str) -> str:
    """Translate a URL in a client's header Destination or If to the DAV server's URL of the same resource.

    `prefix`: the URL path of mailapi's DAV proxy, such as "/api/dav", which the result contains, too. `host`: the
    request's header Host. ApiError if the URL is invalid or belongs to another server.
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
    # The DAV server removes the prefix, which it knows from the header X-Script-Name.
    return f"{dav.scheme}://{own_host}:{dav.port}{prefix}{quote_path(below[1:])}"


def same_host(authority: str, host: str) -> bool:
    """Return whether the host and port of a URL (`authority`) equal those of the request's header Host (`host`).

    The ports 80 and 443 and a missing port are taken for equal: behind a proxy, mailapi cannot know which one clients
    use.
    """
    (name, port), (own_name, own_port) = map(name_and_port, (authority, host))
    if name == own_name and port != own_port:
        warn_about_port()
    return (name, port) == (own_name, own_port)


def name_and_port(authority: str) -> tuple[str | None, int | None]:
    """Split "host:port" into the host and the port. The port is None if it is missing, 80 or 443."""
    parts = urllib.parse.urlsplit("//" + authority)
    return parts.hostname, None if parts.port in (80, 443) else parts.port


@lru_cache(maxsize=1)
def warn_about_port():
    """Log a warning, once: a client's header Destination was refused, as its port is not that of the header Host."""
    log.warning(
        "A Destination has another port than the Host header: does a proxy pass it on without the port? "
        "docs/how-to/nginx.md says how to pass it on."
    )


def inside_if(dav: Dav, condition: str, prefix: str, host: str) -> str:
    """Translate the URLs in a client's header If (RFC 4918 section 10.4) to the DAV server's URLs. Return the header.

    `condition`: the header as the client sent it. `prefix`: the URL path of mailapi's DAV proxy, such as "/api/dav".
    `host`: the request's header Host. URLs of other servers and invalid headers stay unchanged.
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
    """Translate a URL from the DAV server to the path by which clients reach the resource, such as "/api/dav/bob/".

    `prefix`: the URL path of mailapi's DAV proxy, such as "/api/dav". A URL of another server is returned unchanged.
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
