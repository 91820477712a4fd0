"""Passwords as a mail server stores them: {SCHEME} and a hash."""

import base64
import binascii
import hashlib
import hmac
import importlib
import re
import secrets
import warnings
from collections.abc import Callable
from functools import cache

SALTED = {"SSHA256": hashlib.sha256, "SSHA512": hashlib.sha512, "SSHA": hashlib.sha1}
CRYPTED = {"CRYPT": "$", "SHA512-CRYPT": "$6$", "SHA256-CRYPT": "$5$", "MD5-CRYPT": "$1$", "BLF-CRYPT": "$2"}
STORED = re.compile(r"\{([A-Z0-9-]{1,20})\}([!-~]+)")


def make(password: str | None) -> str:
    """Return the stored form of a password: {SSHA256} with a salt of 32 bytes; for None, that of a random password."""
    salt = secrets.token_bytes(32)
    password = password or secrets.token_urlsafe(32)
    digest = hashlib.sha256(password.encode() + salt).digest()
    return "{SSHA256}" + base64.b64encode(digest + salt).decode()


def verify(password: str, stored: str | None) -> bool:
    """Return whether a password matches its stored form. An unsupported scheme costs the same work."""
    match = STORED.fullmatch(stored or "")
    scheme, value = match.groups() if match else ("", "")
    if scheme in CRYPTED and value.startswith(CRYPTED[scheme]) and "\0" not in password:
        return verify_crypt(password, value)
    make_digest = SALTED.get(scheme)
    digest, salt = split_digest(value, make_digest) if make_digest else (b"", b"")
    given = (make_digest or hashlib.sha256)(password.encode() + salt).digest()
    return hmac.compare_digest(given, digest)


def split_digest(value: str, make_digest: Callable) -> tuple[bytes, bytes]:
    """Return digest and salt; both empty if there is no salt, or no digest of the right length."""
    try:
        raw = base64.b64decode(value, validate=True)
    except binascii.Error:
        raw = b""
    size = make_digest().digest_size
    return (raw[:size], raw[size:]) if len(raw) > size else (b"", b"")


def verify_crypt(password: str, value: str) -> bool:
    """Return whether a password matches a hash of crypt(3)."""
    platform = crypt_module()
    try:
        made = platform and platform.crypt(password, value)
    except OSError:  # a scheme that this platform's library does not have
        made = None
    return bool(made) and made[0] != "*" and hmac.compare_digest(made, value)


@cache
def crypt_module():
    """Return a module with the system's crypt(3): Python's own, or its successor from PyPI; None if there is none."""
    for name in ("crypt", "crypt_r"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                return importlib.import_module(name)
        except ImportError:
            continue
    return None
