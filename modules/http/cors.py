"""CORS: lets web pages of other sites send requests of the form MODULE/ACTION, if the setting `cors_origin` allows it.

Before such a request, browsers ask for permission by an OPTIONS request without credentials.
"""

ALLOWED_HEADERS = "Authorization, Content-Type"
SECONDS = "600"  # for which a browser remembers


def is_allowed_origin(cors_origin: str, environ: dict) -> bool:
    """Return whether the setting `cors_origin` allows the web page that sent the request.

    `cors_origin`: the only allowed origin, or "*" for all. The page's origin is in the header Origin.
    """
    origin = environ.get("HTTP_ORIGIN")
    return bool(origin) and cors_origin in ("*", origin)


def preflight_headers(cors_origin: str, environ: dict, methods: list[str]) -> list[tuple[str, str]]:
    """Return the headers of the answer to an OPTIONS request, as [(name, value), …].

    `methods`: the HTTP methods that the URL accepts, such as ["POST"]. The headers Access-Control-* are only for pages
    that the setting `cors_origin` allows.
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
