"""Passwords as a mail server stores them: {SCHEME} and a hash."""

import base64
import binascii
import ctypes
import hashlib
import hmac
import re
import secrets
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
    made = crypt(password, value) or "*"
    # "*0" and "*1" stand for a scheme that this system's library does not have.
    return made[0] != "*" and hmac.compare_digest(made, value)


def crypt(password: str, setting: str) -> str | None:
    """Hash a password with the system's crypt_r(3); None if that fails or the system has none."""
    library = crypt_library()
    if not library:
        return None
    # The largest struct crypt_data, old glibc's, has 131,232 bytes.
    data = ctypes.create_string_buffer(1 << 18)
    made = library.crypt_r(password.encode(), setting.encode(), data)
    return made and made.decode()


@cache
def crypt_library():
    """Load the library with crypt_r(3); Python's own module is gone from 3.13 on. None if there is none."""
    for name in ("libcrypt.so.1", "libcrypt.so.2", None):  # glibc and libxcrypt, libxcrypt alone, musl
        try:
            library = ctypes.CDLL(name)
            library.crypt_r.argtypes, library.crypt_r.restype = [ctypes.c_char_p] * 3, ctypes.c_char_p
            return library
        except (OSError, AttributeError):
            continue
    return None
