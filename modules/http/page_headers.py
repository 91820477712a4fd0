"""HTTP headers that protect web pages against attacks, such as Content-Security-Policy."""

HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    # With no-referrer, browsers would send no Origin with a form.
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]


def of_page(*allowed: str) -> list[tuple[str, str]]:
    """Return the HTTP headers that let a page load only what `allowed` permits, and forbid other pages to frame it.

    `allowed` has directives of Content-Security-Policy, such as "script-src 'self'".
    """
    policy = ("default-src 'none'", *allowed, "base-uri 'none'", "frame-ancestors 'none'")
    trusted_types = ("require-trusted-types-for 'script'", "trusted-types 'none'")
    return [
        ("Content-Security-Policy", "; ".join(policy + trusted_types)),
        ("X-Frame-Options", "DENY"),
    ]
