"""Transfer encodings of mail, written as RFC 2045 allows and as mailers write them. Answers are those of the RFC."""

import base64
import binascii

import pytest
from mailapi_modules.mail.transfer_encodings import decode_base64, decode_content

import mailapi  # noqa: F401 what makes mailapi_modules importable
from support.counting import calls
from support.mails import deliver, multipart

WRITTEN = [
    b"base64",
    b"BASE64",
    b"  base64  ",
    b"\tbase64\t",
    b'"base64"',
    b"base64;",
    b"base64 ; x=y",
    b"(comment) base64",
    b"base64 (a (nested) comment)",
    b"\r\n base64",
    b"(fold)\r\n\tbase64",
]


def mail_of(site, data: bytes) -> dict:
    return site("mailbox/?read", user="bob", mail_id=deliver(site, data=data))["mail"]


@pytest.mark.parametrize("written", WRITTEN)
def test_how_the_name_of_an_encoding_may_be_written(site, written):
    part = b"Content-Transfer-Encoding:" + written + b"\r\n\r\naGVsbG8="
    assert mail_of(site, part)["mail_body"] == "hello"
    quoted = part.replace(b"base64", b"quoted-printable").replace(b"BASE64", b"Quoted-Printable")
    assert mail_of(site, quoted.replace(b"aGVsbG8=", b"h=65llo"))["mail_body"] == "hello"


TEXT = b"Any text at all, long enough for a second line of base64: " * 2
WHOLE = base64.encodebytes(TEXT)
FOOTER = b"_______________________________________________\r\nList mailing list\r\nList@x.org\r\nhttps://x.org/list\r\n"
BASE64 = {
    "whole": (WHOLE, TEXT),
    "no padding": (WHOLE.rstrip(b"=\n"), TEXT),
    "one digit too many": (base64.b64encode(b"abc") + b"A", b"abc"),
    "cut off": (base64.b64encode(b"abcdef")[:6], b"abcd"),
    "pieces": (base64.b64encode(b"a") + base64.b64encode(b"bc") + base64.b64encode(b"def"), b"abcdef"),
    "pieces in lines": (base64.encodebytes(b"a") + b"\r\n" + base64.encodebytes(b"bc"), b"abc"),
    "other characters": (b"aGV!s\x00bG8=", b"hello"),
    "blanks": (b" aGVs bG8= \t\r\n", b"hello"),
    "footer after padding": (base64.encodebytes(b"a") + FOOTER, b"a"),
    "footer after no padding": (base64.encodebytes(b"abc") + b"\r\n" + FOOTER, b"abc"),
    "words after padding": (base64.encodebytes(b"a") + b"\r\nSent by my phone", b"a"),
    "sentence after no padding": (base64.encodebytes(b"abc") + b"Sent by my phone.\r\n", b"abc"),
    "one word after padding": (base64.encodebytes(b"a") + b"Unsubscribe\r\n", b"a"),
    "nothing": (b"", b""),
    "only padding": (b"====", b""),
}


@pytest.mark.parametrize("encoded, content", BASE64.values(), ids=BASE64)
def test_base64_gives_what_there_is(site, encoded, content):
    assert decode_base64(encoded) == content
    part = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encoded
    assert mail_of(site, part)["mail_body"] == content.decode()


@pytest.mark.parametrize("length", range(30))
def test_base64_of_any_length(length):
    content = bytes(range(length))
    encoded = base64.b64encode(content)
    assert decode_base64(encoded) == decode_base64(encoded.rstrip(b"=")) == content
    for end in range(len(encoded)):
        assert (
            content.startswith(decode_base64(encoded[:end]))
            and len(decode_base64(encoded[:end])) >= end * 3 // 4 - 2
        )


def uuencoded(content: bytes) -> bytes:
    lines = [binascii.b2a_uu(content[start : start + 45]) for start in range(0, len(content), 45)]
    return b"begin 644 x\n" + b"".join(lines) + b"`\nend\nafter it"


@pytest.mark.parametrize("name", [b"x-uuencode", b"uuencode", b"X-UUE"])
def test_uuencode(site, name):
    part = b"Content-Transfer-Encoding: " + name + b"\r\n\r\nbefore it\n" + uuencoded(TEXT)
    assert mail_of(site, part)["mail_body"] == TEXT.decode()


def test_empty_lines_among_uuencoded_ones_are_no_content():
    """As which the blank that stands for no bytes arrives: each file ended with 32 zeros then."""
    raw = uuencoded(TEXT).replace(b"`\nend", b"\r\n\nend").replace(b"\n", b"\n\n", 2)
    assert decode_content(raw, "x-uuencode") == TEXT


@pytest.mark.parametrize("line", [b"_", b"\xff", b"M", b"_" * 10])
def test_uuencoded_content_is_not_longer_than_its_part(line):
    """A short line stands for zeros, as trailing blanks get lost: 4 MB of them were 60 MB, and `?read` took 900 MB."""
    raw = b"begin 644 x\n" + (line + b"\n") * 1000 + b"end\n"
    assert decode_content(raw, "x-uuencode") == raw
    few_zeros = b"begin 644 x\nM\n" + uuencoded(TEXT).partition(b"\n")[2]
    assert decode_content(few_zeros, "x-uuencode") == bytes(45) + TEXT


@pytest.mark.parametrize(
    "unit", [b"=", b"QQ==", b"QQ==\n", b"\n", b"!", b"_", b"a b", b"A\n", b"=\n", b"____\n"]
)
def test_hostile_base64_is_decoded_in_linear_time(unit):
    few, many = (calls(lambda size=size: decode_base64(unit * size)) for size in (500, 2000))
    assert many <= 4.4 * few + 100


########## Content fields (RFC 2045, 2231) #########################################################


FIELDS = {
    b"text/plain (a comment); charset=koi8-r": "Привет",
    b"text/plain; charset=koi8-r (a (nested; comment))": "Привет",
    b'text/plain; (c) charset (c) = (c) "koi8-r" (c)': "Привет",
    b"text/plain;\r\n\tcharset=\r\n koi8-r": "Привет",
    b"text/plain; charset=koi8-r; charset=utf-8": "Привет",
    b"text/plain; charset*0=koi; charset*1=8-r": "Привет",
    b"text/plain; charset*=us-ascii'en'koi8%2Dr": "Привет",
    b'text/plain; charset="koi8\\-r"': None,
    b"TEXT / PLAIN; CHARSET=KOI8-R": "Привет",
    b";charset=koi8-r": "Привет",
    b"text/plain charset=koi8-r": None,
    b'text/plain; x="; charset=utf-8"; charset=koi8-r': "Привет",
}


@pytest.mark.parametrize("field, text", FIELDS.items(), ids=range(len(FIELDS)))
def test_how_a_charset_may_be_declared(site, field, text):
    data = b"Content-Type: " + field + b"\r\n\r\n" + "Привет".encode("koi8-r")
    shown = mail_of(site, data)["mail_body"]
    assert shown == text if text else isinstance(shown, str)


def boundary_mail(declared: bytes, used: bytes) -> bytes:
    head = b"Content-Type: multipart/mixed; boundary=" + declared + b"\r\n\r\n"
    return head + b"--" + used + b"\r\n\r\none\r\n--" + used + b"\r\n\r\ntwo\r\n--" + used + b"--\r\n"


LONG = b"b" * 4096


@pytest.mark.parametrize(
    "declared, used",
    [
        (b"zz", b"zz"),
        (b'"z z"', b"z z"),
        (b'"a\r\n b"', b"a b"),
        (b'"a\r\n\tb"', b"a\tb"),
        (b'"ab\r\n "', b"ab"),
        (b'"ab "', b"ab"),
        (b'"a\\"b"', b'a"b'),
        (b"ab (a comment)", b"ab"),
        (b'"' + LONG + b'"', LONG),
        (LONG[:70] + b"; x=" + LONG, LONG[:70]),
    ],
    ids=range(10),
)
def test_boundaries(site, declared, used):
    assert mail_of(site, boundary_mail(declared, used))["mail_body"] == "one\n----\ntwo\n----\n"


def test_all_of_a_thousand_parts_are_listed(site):
    mail_id = deliver(site, data=multipart(*[b"\r\n%d" % number for number in range(1200)]))
    assert len(site("mailbox/?parts", user="bob", mail_id=mail_id)["mail_parts"]) == 1200
