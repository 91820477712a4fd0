"""Passwords as a mail server stores them (PROVISIONING: {SSHA256} with a salt of 32 bytes)."""

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from mailapi_modules.provisioning import password_schemes as schemes

import mailapi  # noqa: F401  so that mailapi_modules is found

EXAMPLE = "{SSHA256}diItlPkdWkA18C2u6tAkeX58S1wkmp2zxvjDxgSk0k2+cZ06mCoHNA+j+LZiHAxz3qZ0goVeCkSvc6AMNxgryw=="
# Of openssl passwd -6 -salt saltsalt test
CRYPTED = (
    "{SHA512-CRYPT}$6$saltsalt$JcVDtuB6d1BHhCd5RPBh8g8xX/1C"
    "bY8EU2PN0MTaj2/Mypw4P./C6dN4j0HALhzBDTocyW1Jm.gYaTPjFGCV40"
)


def salted(scheme: str, digest: str, password: str, salt: bytes = b"12345678") -> str:
    return (
        f"{{{scheme}}}"
        + base64.b64encode(hashlib.new(digest, password.encode() + salt).digest() + salt).decode()
    )


def test_the_example_is_test():
    assert schemes.verify("test", EXAMPLE)
    for wrong in ("Test", "test ", "", "tes", EXAMPLE, "test\0"):
        assert not schemes.verify(wrong, EXAMPLE)


@pytest.mark.parametrize(
    ("scheme", "digest"), [("SSHA256", "sha256"), ("SSHA512", "sha512"), ("SSHA", "sha1")]
)
def test_salted_schemes(scheme, digest):
    stored = salted(scheme, digest, "pässword")
    assert schemes.verify("pässword", stored) and not schemes.verify("password", stored)
    assert schemes.verify("x", salted(scheme, digest, "x", b"1"))
    assert not schemes.verify("x", salted(scheme, digest, "x", b""))  # no salt: another scheme


def test_new_ones_are_ssha256_with_a_salt_of_32_bytes():
    made = {schemes.make("pw") for _ in range(20)}
    assert len(made) == 20
    for stored in made:
        raw = base64.b64decode(stored.removeprefix("{SSHA256}"), validate=True)
        assert len(raw) == 64 and hashlib.sha256(b"pw" + raw[32:]).digest() == raw[:32]
        assert schemes.verify("pw", stored) and len(stored) == len(EXAMPLE)


@pytest.mark.parametrize("none", [None, ""])
def test_without_a_password_nobody_gets_in(none):
    stored = schemes.make(none)
    assert stored.startswith("{SSHA256}") and len(stored) == len(EXAMPLE)
    assert not schemes.verify("", stored) and not schemes.verify("None", stored)
    assert schemes.make(none) != stored


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        "test",
        "{PLAIN}test",
        "{PLAIN-MD5}098f6bcd4621d373cade4e832627b4f6",
        "{CLEARTEXT}test",
        "{MD5}CY9rzUYh03PK3k6DJie09g==",
        "{SHA256}n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
        "{SSHA256}",
        "{SSHA256}*",
        "{SSHA256}not base64",
        "{SSHA256}dGVzdA==",
        "{ssha256}" + EXAMPLE[9:],
        EXAMPLE + "\n",
        " " + EXAMPLE,
        EXAMPLE[9:],
        "{SSHA512}" + EXAMPLE[9:],
        "{SSHA}" + EXAMPLE[9:],
        "{CRYPT}",
        "{CRYPT}*",
        "{CRYPT}!",
        "{CRYPT}$",
        "{CRYPT}$6$",
        "{CRYPT}$9$unknown$x",
        "{CRYPT}3TGqa1J7pzzFs",
        "{SHA512-CRYPT}$1$saltsalt$x",
        "{" * 100000,
    ],
)
def test_everything_else_is_refused(stored):
    assert schemes.verify("test", stored) is False


@pytest.mark.parametrize(
    "setting",
    ["$1$saltsalt", "$5$saltsalt", "$6$saltsalt", "$6$rounds=1000$saltsalt", "$2b$04$" + "s" * 21 + "u"],
)
def test_crypt_by_the_system(setting):
    made = schemes.crypt("test", setting)
    assert made and made.startswith(setting), "this system has no crypt_r(3)"
    assert schemes.verify("test", "{CRYPT}" + made)
    assert not schemes.verify("Test", "{CRYPT}" + made) and not schemes.verify("test\0", "{CRYPT}" + made)


def test_a_scheme_in_braces_takes_its_own_hashes_only():
    assert schemes.verify("test", CRYPTED) and not schemes.verify("test", CRYPTED.replace("SHA512", "SHA256"))


def test_crypt_in_many_threads_at_once():
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda number: schemes.crypt(f"pw{number % 4}", "$6$saltsalt"), range(64)))
    assert len(set(made)) == 4 and made == made[:4] * 16


def test_without_crypt_its_schemes_are_refused(monkeypatch):
    monkeypatch.setattr(schemes, "crypt_library", lambda: None)
    assert schemes.verify("test", CRYPTED) is False
