"""Mail of the usual form is read by a fast parser, and all other mail by Python's: both read the same of it."""

import random
from collections.abc import Callable

import pytest
from mailapi_modules.mail.content_fields import ContentField
from mailapi_modules.mail.irregular_mail import parse_irregular
from mailapi_modules.mail.message_parser import (
    ReceivedMessage,
    parse_headers,
    parse_message,
    set_charset,
)

import mailapi  # noqa: F401 what makes mailapi_modules importable
from support.counting import calls

NAMES = ("subject", "from", "to", "date", "content-type")
VALUES = ["Hi", "grüße", "=?utf-8?q?=C3=BC?=", "a\r\n b", "Ann <ann@b.example>", "", "\tx \r\n\t", "a\x0bb"]
TYPES = ["text/plain", "text/html; charset=koi8-r", "a/b", "x", "message/rfc822", '"message/rfc822"']
ODD = [
    "",
    "\r",
    "\r\n",
    "--b",
    "--b--",
    " c\r\n",
    "Subject : s\r\n",
    "junk\r\n",
    "\r\n--b\r\n",
    "From x\r\n",
    "\x80",
]


class Mails:
    """Random mails, most of them of the usual form. `seed` makes them the same each time."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.pick: Callable = self.random.choice

    def mail(self) -> bytes:
        text = self.part(0)
        for _ in range(self.pick([0, 0, 1])):
            at = self.random.randrange(len(text) + 1)
            text = text[:at] + self.pick(ODD) + text[at:]
        return self.pick([text, text.replace("\r\n", "\n")]).encode(
            self.pick(["utf-8", "latin-1"]), "replace"
        )

    def part(self, depth: int) -> str:
        fields = [
            f"{self.pick(NAMES[:4]).title()}:{self.pick([' ', ''])}{self.pick(VALUES)}\r\n" for _ in range(3)
        ]
        if depth > 3 or self.pick([True, False]):
            kind = f"Content-Type: {self.pick(TYPES[:4] * 5 + TYPES[4:])}\r\n"
            return "".join([*fields, kind, "\r\n", self.pick([*VALUES, "--b1x\r\n", "--\r\n", "begin\r\n"])])
        boundary = self.pick(["b", "b1", "b x"])
        parts = [f"--{boundary}\r\n{self.part(depth + 1)}\r\n" for _ in range(self.pick([0, 1, 2, 3]))]
        kind = f'Content-Type: multipart/{self.pick(["mixed"] * 9 + ["digest"])}; boundary="{boundary}"\r\n'
        return "".join([*fields, kind, "\r\n", *parts, f"--{boundary}--\r\n"])


def read(message: ReceivedMessage) -> list:
    """Return what answers say of a message: of each part the header, the type, the charset and the content."""
    return [
        (
            part.is_multipart(),
            part.get_content_type(),
            part.charset,
            [part.field(name) for name in NAMES],
            None if part.is_multipart() else (part.content(), part.text(), part.readable_text()),
        )
        for part in message.walk()
    ]


def test_random_mail_is_read_as_by_the_library():
    mails, regular, multipart = Mails(seed=1), 0, 0
    for _ in range(4000):
        raw = mails.mail()
        message, expected = parse_message(raw), set_charset(parse_irregular(raw, ReceivedMessage), raw)
        assert read(message) == read(expected), raw
        if message.header:
            only_header = parse_headers(raw)
            assert [only_header.field(name) for name in NAMES] == [expected.field(name) for name in NAMES]
        regular += bool(message.header)
        multipart += bool(message.header) and message.is_multipart()
    assert regular > 1000 and multipart > 300


def test_a_close_boundary_without_an_open_one_is_left_to_the_library():
    message = parse_message(b'Content-Type: multipart/mixed; boundary="b"\n\n--b--\n\n--b\n\nx\n--b--\n')
    assert not message.is_multipart() and not message.header


def test_a_part_is_without_the_line_end_before_its_boundary():
    message = parse_message(
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nx\r\n\r\n--b--\r\n'
    )
    assert [part.content() for part in message.walk()] == [b"", b"x\r\n"]


def test_the_length_of_a_part_costs_no_calls():
    start = (
        b'Subject: x\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: a/b\r\n\r\n'
    )
    short, long = (start + b"QUJD\r\n" * lines + b"--b--\r\n" for lines in (10, 100_000))
    assert (
        calls(lambda: parse_message(long)) <= calls(lambda: parse_message(short)) + 2
    )  # the first one compiles


def test_a_boundary_of_dashes_is_not_looked_for_at_every_dash():
    start = b'Content-Type: multipart/mixed; boundary="' + b"-" * 1000 + b'"\r\n\r\n'
    short, long = (start + b"-" * length + b"\r\n" for length in (1_000, 1_000_000))
    parse_message(short)  # the first one compiles
    assert calls(lambda: parse_message(long)) <= calls(lambda: parse_message(short)) + 5 * 1000


@pytest.mark.parametrize("boundary", ['"ü"', "*=utf-8''%C3%BC", "*=us-ascii''b%0Ac", "*=us-ascii''b%0D%0Ac"])
def test_a_boundary_that_the_library_finds_in_no_line_is_left_to_it(boundary):
    equals = "" if boundary.startswith("*") else "="
    name = ContentField(f"a/b; boundary{equals}{boundary}".encode().decode("ascii", "surrogateescape"))
    line = f"--{name.parameters['boundary']}"
    raw = f"Content-Type: multipart/mixed; boundary{equals}{boundary}\n\n{line}\n\nx\n{line}--\n".encode()
    assert read(parse_message(raw)) == read(set_charset(parse_irregular(raw, ReceivedMessage), raw))


PARAMETERS = ["; charset=utf-8", ';name="b c"', "; Charset = x", "; a=b;", ';\tname=" ü"', "; a*0=b"]
TOKENS = ["text/plain", "=", ";", '"', " ", "\t", "(", ")", "\\", "*0", "=?", "ü"]


def test_random_content_fields_are_read_as_fields_of_any_form():
    pick, simple = random.Random(1), 0
    for _ in range(20_000):
        pieces = ["Text/Plain", *pick.choices(PARAMETERS, k=pick.randrange(4))]
        pieces.insert(pick.randrange(5), pick.choice(TOKENS + [""] * 12))
        raw = "".join(pieces)
        field, expected = ContentField(raw), ContentField("")
        expected.read(raw, None)
        assert (field.value, field.parameters) == (expected.value, expected.parameters), raw
        simple += bool(field.parameters) and not hasattr(field, "charset")
    assert simple > 1000
