"""CORS: which web pages of other sites may send requests of the form MODULE/ACTION (the second wire).

Before such a request, browsers ask for permission by OPTIONS, without credentials.
"""

ALLOWED_HEADERS = "Authorization, Content-Type"
SECONDS = "600"  # for which a browser remembers


def is_allowed_origin(cors_origin: str, environ: dict) -> bool:
    """Return whether a page that the setting `cors_origin` allows sent the request, as its header Origin says.

    `cors_origin`: the only allowed origin, or "*" for all.
    """
    origin = environ.get("HTTP_ORIGIN")
    return bool(origin) and cors_origin in ("*", origin)


def preflight_headers(cors_origin: str, environ: dict, methods: list[str]) -> list[tuple[str, str]]:
    """Return the headers of the answer to an OPTIONS request, as pairs of name and value.

    `methods`: the HTTP methods that the URL accepts. Pages that the setting `cors_origin` allows also get the headers
    Access-Control-*.
    """
    headers = [("Allow", ", ".join(methods)), ("Cache-Control", "no-store"), ("Vary", "Origin")]
    if is_allowed_origin(cors_origin, environ):
        headers += [
            ("Access-Control-Allow-Origin", cors_origin),
            ("Access-Control-Allow-Methods", ", ".join(methods)),
            ("Access-Control-Allow-Headers", ALLOWED_HEADERS),
            ("Access-Control-Max-Age", SECONDS),
        ]
    return headers
