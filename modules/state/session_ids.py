"""The format of session ids, the text in the session cookie, and the codes in them that prove that mailapi made them.

An id consists of the user's name, the time of the log-in, random bits, and two codes. The codes are keyed hashes
(BLAKE2b, RFC 7693), whose key is in the state database. One of them also depends on the user's stored password.
"""

import base64
import hashlib
from functools import lru_cache

# The bytes of an id; PHP takes ids of at most 128 characters (docs/wire.md F41), in base 32 these are 80 bytes.
VERSION, TIME, RANDOM, CHECK, CODE = 1, 6, 8, 6, 16
START = VERSION + TIME + RANDOM
FIXED = START + CHECK + CODE
LONGEST_NAME = 80 - FIXED
WITH_NAME, WITH_HASH = b"\1", b"\2"  # the version: the id ends with the user's name, or with its hash


def encoded(raw: bytes) -> str:
    return base64.b32hexencode(raw).decode().rstrip("=").lower()


def decoded(token: str) -> bytes | None:
    """Decode a session id to bytes. Return None if the text `token` is not in the format of an id.

    The bytes are a version, the time, random bits, two keyed hashes (`check_of`, `code_of`), and the user name. The
    hashes are not checked.
    """
    try:
        number = int(token, 32) if token.isalnum() else 0
    except ValueError:
        return None
    size, unused = divmod(5 * len(token), 8)
    if size <= FIXED or unused > 4 or number & ((1 << unused) - 1) or token != token.lower():
        return None  # an id can be written in one way only
    raw = (number >> unused).to_bytes(size, "big")
    return raw if raw[:VERSION] in (WITH_NAME, WITH_HASH) else None


@lru_cache(maxsize=100)
def hash_of(data: bytes) -> str:
    """Return the hexadecimal hash that the database stores in place of `data`, a user name or a decoded session id."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


@lru_cache(maxsize=1000)
def digest_of(authdata: str | bytes) -> bytes:
    """Return a hash of a user's stored password (user_authdata), to compute codes from it. It is never stored."""
    data = authdata if isinstance(authdata, bytes) else authdata.encode(errors="surrogatepass")
    return hashlib.blake2b(data, digest_size=32, person=b"mailapi authdata").digest()


def code_of(key: bytes, signed: bytes, authdata: str | bytes) -> bytes:
    """Compute the code in a session id that depends on the user's password: a keyed hash of 16 bytes.

    If the code in the id is another one, the password has changed since the log-in. `key`: the secret key. `signed`:
    the id's version, time, random bits and user name. `authdata`: the stored password (user_authdata).
    """
    data = digest_of(authdata) + signed
    return hashlib.blake2b(data, key=key, digest_size=CODE, person=b"mailapi code").digest()


@lru_cache(maxsize=100)
def check_of(key: bytes, signed: bytes) -> bytes:
    """Compute the code in a session id that proves that mailapi made the id.

    `key`: the secret key. `signed`: the id without this code.
    """
    return hashlib.blake2b(signed, key=key, digest_size=CHECK, person=b"mailapi check").digest()


def next_code_of(key: bytes, authdata: str | bytes) -> bytes:
    """Compute the code to store for a session in which the user sets a new password, so that the session stays valid.

    The code in the id depends on the former password. `key`: the secret key. `authdata`: the new stored password
    (user_authdata).
    """
    return hashlib.blake2b(digest_of(authdata), key=key, digest_size=CODE, person=b"mailapi next").digest()
