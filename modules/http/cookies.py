"""Reads and sets the session cookie PHPSESSID. The cookie is ignored if a page of another site sent the request."""

import re
import urllib.parse

from mailapi import log

from .addresses import is_trusted

COOKIE = re.compile(r"(?:^|;)\s*PHPSESSID=([A-Za-z0-9_-]{1,128})")


class Cookies:
    """Reads the session cookie from requests, and makes the header that sets it.

    `proxies`: the IP networks of the trusted proxies.
    """

    def __init__(self, proxies: list):
        self.proxies = proxies
        self.origin_logged = False

    def scheme(self, environ: dict) -> str:
        """Return the scheme of the URL that the client requested, "http" or "https".

        A trusted proxy sends it in the header X-Forwarded-Proto. Without that header, the server's own scheme is
        returned.
        """
        forwarded = environ.get("HTTP_X_FORWARDED_PROTO")
        if forwarded and is_trusted(environ.get("REMOTE_ADDR", ""), self.proxies):
            return forwarded
        return environ.get("wsgi.url_scheme", "http")

    def is_cross_site(self, environ: dict) -> bool:
        """Return whether a page of another origin (scheme, host and port) sent the request (docs/wire.md F42)."""
        if site := environ.get("HTTP_SEC_FETCH_SITE"):
            return site not in ("same-origin", "none")
        if (sent_by := environ.get("HTTP_ORIGIN")) is None:
            return False
        origin, own = origin_of(sent_by), origin_of(f"{self.scheme(environ)}://{own_host(environ)}")
        if origin and own and origin[1] == own[1] and origin != own:
            self.log_origins(origin, own)
        return origin is None or origin != own

    def log_origins(self, origin: tuple, own: tuple):
        """Log, once, that a cookie was ignored because the page has another scheme or port than the request's URL.

        `origin`: (scheme, host, port) of the page that sent the request. `own`: the same of the request's URL.
        """
        if not self.origin_logged:
            self.origin_logged = True
            log.warning(
                "a session cookie was ignored: the page is at %s://%s:%s, and the request came for %s://%s:%s; "
                "a proxy must pass Host with its port, and X-Forwarded-Proto",
                *origin,
                *own,
            )

    def read(self, environ: dict) -> str | None:
        """Return the session id in the request's cookie; None without one, or if another site sent the request."""
        found = COOKIE.search(environ.get("HTTP_COOKIE", ""))
        return found[1] if found and not self.is_cross_site(environ) else None

    def header(self, environ: dict, token: str, expiry: str = "") -> tuple[str, str]:
        """Return the header that sets the session cookie: ("Set-Cookie", "PHPSESSID=...; Path=/; HttpOnly; ...").

        `token`: the session id. `expiry`: text to append to the cookie. For example, "; Max-Age=0" deletes the cookie.
        """
        script_name = environ.get("SCRIPT_NAME", "").rstrip("/")
        path = "/"
        if script_name:
            path = urllib.parse.quote(script_name.encode("latin-1", "replace"), safe="/!$&'()*+,:=@~") + "/"
        secure = "; Secure" if self.scheme(environ) == "https" else ""
        return ("Set-Cookie", f"PHPSESSID={token}; Path={path}; HttpOnly; SameSite=Lax{secure}{expiry}")


def own_host(environ: dict) -> str:
    """Return the host in the URL that the client requested, such as "mail.example" or "mail.example:8080"."""
    host = environ.get("HTTP_HOST") or "{SERVER_NAME}:{SERVER_PORT}".format_map(environ)
    if "uwsgi.version" in environ and not re.search(r":[0-9]{1,5}\Z", host):  # uWSGI cuts the port off
        host += ":{SERVER_PORT}".format_map(environ)
    return host


def origin_of(url: str) -> tuple | None:
    """Return the origin of a URL (RFC 6454), such as ("https", "mail.example", 443). Return None for other text."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        return (parts.scheme, parts.hostname, port) if parts.hostname else None
    except (ValueError, KeyError):
        return None
