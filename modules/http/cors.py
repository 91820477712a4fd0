"""CORS: which pages of other sites may send requests of the second wire. Browsers ask by OPTIONS, without credentials."""

ALLOWED_HEADERS = "Authorization, Content-Type"
SECONDS = "600"  # for which a browser remembers


def is_allowed_origin(cors_origin: str, environ: dict) -> bool:
    """Return whether the request names an Origin, and the setting cors_origin has it."""
    origin = environ.get("HTTP_ORIGIN")
    return bool(origin) and cors_origin in ("*", origin)


def preflight_headers(cors_origin: str, environ: dict, methods: list[str]) -> list[tuple[str, str]]:
    """Return the headers of the answer to OPTIONS; for a page of cors_origin with those of CORS."""
    headers = [("Allow", ", ".join(methods)), ("Cache-Control", "no-store"), ("Vary", "Origin")]
    if is_allowed_origin(cors_origin, environ):
        headers += [
            ("Access-Control-Allow-Origin", cors_origin),
            ("Access-Control-Allow-Methods", ", ".join(methods)),
            ("Access-Control-Allow-Headers", ALLOWED_HEADERS),
            ("Access-Control-Max-Age", SECONDS),
        ]
    return headers
