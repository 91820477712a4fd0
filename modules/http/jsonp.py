"""JSONP: wraps the JSON of an answer in a call of a JavaScript function (docs/wire.md F20)."""

import re

from mailapi import ApiError, RequestHandler


def requested_callback(handler: RequestHandler, callback: str) -> str:
    """Return the `callback` of a request like read_callback(). Its refusal has the schema version, as every answer."""
    try:
        return read_callback(callback, handler.environ)
    except ApiError:
        number = handler.app.generation().number
        handler.frame |= {"api_version": number, "schema_version": number}
        raise


def read_callback(callback: str, environ: dict) -> str:
    """Return `callback` if it is the name of a JavaScript function. ApiError (HTTP 400) if it is not.

    If a page of another origin may have sent the request, its origin is put into `environ` as HTTP_ORIGIN. So the
    session cookie does not count.
    """
    # Over plain HTTP browsers load a script without Sec-Fetch-Site and Origin. Then only Referer names the page, and a
    # page can leave it out. Other programs than browsers send none of them.
    from_browser = "HTTP_REFERER" in environ or environ.get("HTTP_USER_AGENT", "").startswith("Mozilla/")
    if environ["REQUEST_METHOD"] in ("GET", "HEAD") and "HTTP_SEC_FETCH_SITE" not in environ and from_browser:
        environ.setdefault("HTTP_ORIGIN", environ.get("HTTP_REFERER", "null"))
    if not re.fullmatch(r"[A-Za-z_$][\w$.]{0,127}", callback, re.ASCII):
        raise ApiError("Invalid callback.", http=400)
    return callback


def jsonp(callback: str, payload: str) -> str:
    """Return JavaScript that calls the function `callback` with the text `payload`, such as "f('{...}')"."""
    payload = payload.replace("\\", "\\\\").replace("'", "\\'")
    return f"{callback}('{payload}')".replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
