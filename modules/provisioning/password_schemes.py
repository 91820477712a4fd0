"""Hashes of passwords as mail servers store them: {SCHEME}HASH, such as {SSHA256}… or {SHA512-CRYPT}…."""

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
    """Return the salted hash of a password, "{SSHA256}…".

    If `password` is None, return the hash of a random password that nobody knows.
    """
    salt = secrets.token_bytes(32)
    password = password or secrets.token_urlsafe(32)
    digest = hashlib.sha256(password.encode() + salt).digest()
    return "{SSHA256}" + base64.b64encode(digest + salt).decode()


def verify(password: str, stored: str | None) -> bool:
    """Return whether `stored`, such as "{SSHA256}…" or "{SHA512-CRYPT}$6$…", is the hash of a password.

    Return False for an unsupported scheme.
    """
    match = STORED.fullmatch(stored or "")
    scheme, value = match.groups() if match else ("", "")
    if scheme in CRYPTED and value.startswith(CRYPTED[scheme]) and "\0" not in password:
        return verify_crypt(password, value)
    make_digest = SALTED.get(scheme)
    # An unsupported scheme takes as much time as a supported one.
    digest, salt = split_digest(value, make_digest) if make_digest else (b"", b"")
    given = (make_digest or hashlib.sha256)(password.encode() + salt).digest()
    return hmac.compare_digest(given, digest)


def split_digest(value: str, make_digest: Callable) -> tuple[bytes, bytes]:
    """Decode a salted hash from base64, and return (digest, salt); (b"", b"") if it is invalid or has no salt.

    `make_digest` is the hash function, such as hashlib.sha256.
    """
    try:
        raw = base64.b64decode(value, validate=True)
    except binascii.Error:
        raw = b""
    size = make_digest().digest_size
    return (raw[:size], raw[size:]) if len(raw) > size else (b"", b"")


def verify_crypt(password: str, value: str) -> bool:
    """Return whether `value`, such as "$6$SALT$…", is the hash of a password by crypt(3)."""
    made = crypt(password, value) or "*"
    # "*0" and "*1" stand for a scheme that this system's library does not have.
    return made[0] != "*" and hmac.compare_digest(made, value)


def crypt(password: str, setting: str) -> str | None:
    """Return the hash of a password by crypt_r(3) of the C library; None if it fails or is missing.

    `setting` begins with method and salt, such as "$6$SALT".
    """
    library = crypt_library()
    if not library:
        return None
    # The largest struct crypt_data, old glibc's, has 131,232 bytes.
    data = ctypes.create_string_buffer(1 << 18)
    made = library.crypt_r(password.encode(), setting.encode(), data)
    return made and made.decode()


@cache
def crypt_library():
    """Return the C library that has crypt_r(3), loaded by ctypes; None if there is none."""
    # Python's own module for it was removed in 3.13.
    for name in ("libcrypt.so.1", "libcrypt.so.2", None):  # glibc and libxcrypt, libxcrypt alone, musl
        try:
            library = ctypes.CDLL(name)
            library.crypt_r.argtypes, library.crypt_r.restype = [ctypes.c_char_p] * 3, ctypes.c_char_p
            return library
        except (OSError, AttributeError):
            continue
    return None
