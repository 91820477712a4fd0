"""The HTTP responses of the panel: pages, redirects and files, with headers that protect against attacks."""

import hashlib
import re
from functools import lru_cache

import bottle

from mailapi import File

from ..http.page_headers import HEADERS, of_page
from .navigation import navigation
from .templates import link, read_file, render
from .texts import LANGUAGES
from .visitor import Visitor

SAFE = of_page(
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "frame-src 'self'",
    "form-action 'self'",
)
# The HTML of a mail, in a frame of its own: no scripts, no forms, and nothing is loaded. Links open in a new window.
MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)
NOT_STORED = [("Cache-Control", "no-store")]
STATIC = {"panel.css": "text/css", "panel.js": "text/javascript", "icon.svg": "image/svg+xml"}
DONE = "panel_done"  # the cookie with what the next page says was done; the browser deletes it after a minute
SECRET = "panel_secret"  # the cookie with the secret of a new token or device, for the one page that shows it


@lru_cache(maxsize=1)
def version() -> str:
    """Return a hash of all static files. Pages add it to the URLs of these files, for the caches of browsers."""
    return hashlib.sha256(b"".join(read_file(f"static/{name}") for name in STATIC)).hexdigest()[:12]


def static_file(name: str) -> bottle.HTTPResponse:
    """Return a response with a static file, such as "panel.css", which browsers keep for a year."""
    headers = [
        ("Content-Type", f"{STATIC[name]}; charset=UTF-8"),
        ("Cache-Control", "max-age=31536000, immutable"),
    ]
    return bottle.HTTPResponse(read_file(f"static/{name}"), 200, HEADERS + headers)


def page(visitor: Visitor, name: str, http: int = 200, **values) -> bottle.HTTPResponse:
    """Return a response with a page: the template `name`, filled with `values`.

    `http` is the HTTP status.
    """
    headers = [
        ("Content-Type", "text/html; charset=UTF-8"),
        *SAFE,
        ("Content-Language", visitor.t.language),
        ("Vary", "Cookie, Accept-Language"),
    ]
    done = cookie(visitor, DONE)
    if done:
        headers.append(set_cookie(visitor, DONE, "", 0))
    shared = {
        "visitor": visitor,
        "t": visitor.t,
        "version": version(),
        "done_sentence": done_sentence(visitor, done),
        "navigation": navigation(visitor),
        "here": link(visitor.path, **visitor.query.without()),
        "languages": LANGUAGES.values(),
    }
    html = render(name, **shared, **values)
    return response(visitor, html.encode(errors="replace"), http, headers)


def done_sentence(visitor: Visitor, done: str) -> str:
    key, _, number = done.partition(".")
    return visitor.t.texts.get(f"done_{key}", "").format(number if number.isdecimal() else "")


def mail_html(visitor: Visitor, html: str) -> bottle.HTTPResponse:
    """Return a response with the sanitized HTML of a mail, for a frame in which nothing runs or loads."""
    headers = [
        ("Content-Type", "text/html; charset=UTF-8"),
        ("Content-Security-Policy", MAIL_POLICY),
        ("X-Frame-Options", "SAMEORIGIN"),
    ]
    # With tabindex the keyboard reaches a mail without a link, too, and scrolls it.
    start = '<!DOCTYPE html><html><head><meta charset="UTF-8"><title>Mail</title></head><body tabindex="0">'
    return response(visitor, f"{start}{html}</body></html>".encode(errors="replace"), 200, headers)


def download(visitor: Visitor, file: File) -> bottle.HTTPResponse:
    """Return a response with a file that the browser saves."""
    return response(visitor, file.content, 200, file.headers())


def redirect(visitor: Visitor, target: str, done: str = "", secret: str = "") -> bottle.HTTPResponse:
    """Return a redirect (HTTP 303) to `target`, a URL relative to this page.

    `done` is the name of the message to show there, such as "saved", or "people_imported.12" with a number.
    `secret` is a new password or token to show there once. A script's request gets HTTP 201 instead of 303.
    """
    headers = [("Location", target)]
    if done:
        headers.append(set_cookie(visitor, DONE, done, 60))
    if secret:
        headers.append(set_cookie(visitor, SECRET, f"{visitor.token[:16]}.{secret}", 60))
    # XMLHttpRequest would follow a redirect, so that nobody would see the message.
    return response(visitor, b"", 201 if visitor.form("by") == "script" else 303, headers)


def response(visitor: Visitor, payload: bytes, http: int, headers: list) -> bottle.HTTPResponse:
    """Return a response with `payload` as its body, and the cookies of the session. Caches may not store it.

    `headers` has pairs (name, value) to add.
    """
    environ, handler = visitor.environ, visitor.handler
    cookies = [(name, value) for name, value in handler.headers if name in ("Set-Cookie", "Retry-After")]
    headers = [*HEADERS, *NOT_STORED, *headers, *cookies, ("Content-Length", str(len(payload)))]
    # The rest of the request's body is read after the response was sent.
    body = payload if "mailapi.body_read" in environ else handler.app.bodies.Unread(payload, environ)
    return bottle.HTTPResponse(body, http, headers)


def set_cookie(visitor: Visitor, name: str, value: str, seconds: int) -> tuple[str, str]:
    """Return the header ("Set-Cookie", …) for a cookie of the panel that lives for `seconds`.

    With 0 seconds, the browser deletes the cookie.
    """
    secure = "; Secure" if visitor.app.cookies.scheme(visitor.environ) == "https" else ""
    # Without the attribute Path, browsers limit a cookie to the folder of the page.
    return "Set-Cookie", f"{name}={value}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"


def secret_to_show(visitor: Visitor) -> str:
    """Return the new password or token to show on this page, or "". Delete it, so that it is shown only once."""
    sent = cookie(visitor, SECRET)
    if sent:
        visitor.handler.headers.append(set_cookie(visitor, SECRET, "", 0))
    session, _, secret = sent.partition(".")
    return secret if session == visitor.token[:16] and re.fullmatch(r"[\w-]{8,80}", secret, re.ASCII) else ""


def cookie(visitor: Visitor, name: str) -> str:
    """Return the value of a cookie in the request, or "" if there is none of this name."""
    sent = [part.strip().partition("=") for part in visitor.environ.get("HTTP_COOKIE", "")[:8000].split(";")]
    return next((value for key, _, value in sent if key == name), "")
