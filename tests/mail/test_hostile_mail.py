"""Hostile mail through all that shows a mail: work in proportion to its size, and memory, too. No clock is read."""

import tracemalloc

import pytest
from mailapi_modules.mail import mail_page, message_parser, messages, parts, search

import mailapi  # noqa: F401 what makes mailapi_modules importable
from support.counting import calls

pytestmark = pytest.mark.slow

HTML = b"Content-Type: text/html\r\n\r\n"
MIXED = b"Content-Type: multipart/mixed; boundary=z\r\n\r\n"
NESTED = b"".join(
    b"Content-Type: multipart/alternative; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(9)
)
# What a mail begins with, and what follows again and again.
MAILS = {
    "junk": (b"Subject: x\r\n", b"junk\r\n"),
    "fields": (b"", b"a: b\r\n"),
    "empty lines": (b"", b"\r\n"),
    "carriage returns": (b"", b"\r"),
    "folds": (b"Subject: x", b"\r\n x"),
    "encoded words": (b"Subject: ", b"=?iso-2022-jp?b?GyRCJCIbKEI=?= "),
    "beginnings of words": (b"Subject: ", b"=?a"),
    "addresses": (b"From: ", b"a@b,"),
    "quotation marks": (b"From: ", b'"a'),
    "comments": (b"From: ", b"("),
    "angle brackets": (b"From: x", b"<"),
    "names": (b"From: ", b"a "),
    "parameters": (b"Content-Type: text/plain", b";a=b"),
    "quoted parameters": (b"Content-Type: text/plain", b'; a="('),
    "sections": (b"Content-Type: text/plain;", b"a*1*=x;"),
    "a long boundary": (
        b'Content-Type: multipart/mixed; boundary="' + b"b" * 4000 + b'"\r\n\r\n',
        b"--" + b"b" * 3999 + b"\r\n",
    ),
    "parts": (MIXED, b"--z\r\n\r\n"),
    "parts with style": (
        MIXED,
        b"--z\r\nContent-Type: text/html\r\n\r\n<style>p{}</style><a href=x>x</a>\r\n",
    ),
    "parts in a charset": (MIXED, b"--z\r\nContent-Type: text/plain; charset=gb2312\r\n\r\n\xff\xff\r\n"),
    "alternatives": (NESTED + MIXED, b"--z\r\nContent-Type: text/html\r\n\r\n<p>x\r\n"),
    "enclosed": (b"", b"Content-Type: message/rfc822\r\n\r\n"),
    "digest": (MIXED.replace(b"mixed", b"digest"), b"--z\r\n\r\nSubject: x\r\n\r\n"),
    "base64": (b"Content-Transfer-Encoding: base64\r\n\r\n", b"QQ==\r\n"),
    "padding": (b"Content-Transfer-Encoding: base64\r\n\r\n!", b"="),
    "uuencoded": (b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\n", b"#\n"),
    "flowed": (b"Content-Type: text/plain; format=flowed\r\n\r\n", b"> \n"),
    "calendar": (b"Content-Type: text/calendar\r\n\r\n", b"BEGIN:VEVENT\nSUMMARY;"),
    "less": (HTML, b"<"),
    "tags": (HTML, b"<p class='a b' id=x>"),
    "quotes": (HTML, b"<blockquote>x"),
    "lists": (HTML, b"<ul><li>x"),
    "cells": (HTML, b"<td>x"),
    "links": (HTML, b"<a href=https://x>y"),
    "references": (HTML, b"&#1"),
    "sheets": (HTML, b"<style>a{color:red}</style>"),
    "sheets without end": (HTML, b"<style>"),
    "blocks of CSS": (HTML + b"<style>", b"{"),
    "media": (HTML + b"<style>", b"@media x{"),
    "selectors": (HTML + b"<style>", b"a,"),
    "rules": (HTML + b"<style>", b"a{color:red}"),
    "functions": (HTML + b"<style>", b"a{background:rgb("),
}
MAILS |= {
    f"{charset} {unit!r}": (b"Content-Type: text/plain; charset=" + charset.encode() + b"\r\n\r\n", unit)
    for charset in (
        "gb2312",
        "big5",
        "iso-2022-jp",
        "euc-jp",
        "shift_jis",
        "utf-7",
        "utf-16",
        "koi8-r",
        "x-none",
    )
    for unit in (b"\xff", b"\x1b$B!!")
}


# Mails of which each line or piece was once an object of its own: of 25 MB, they took 5 GB and 1.4 GB.
SHORT_PIECES = {
    "flowed lines": (b"Content-Type: text/plain; format=flowed\r\n\r\n", b"\n"),
    "quoted flowed lines": (b"Content-Type: text/plain; format=flowed\r\n\r\n", b">\n"),
    "padded base64": (b"Content-Transfer-Encoding: base64\r\n\r\n!", b"AA="),
    "flowed lines of two": (b"Content-Type: text/plain; format=flowed\r\n\r\n", b"ab\n"),
    "zeros": (b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\n", b"_\n"),
    "kana": (b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b(I", b"! "),
    "EUC": (b"Content-Type: text/plain; charset=euc-jp\r\n\r\n", b"a\xa4\xa2"),
}


# Mails that only Python's parser can read. It makes an object of each line, which took 30 to 70 times their size.
MALFORMED = {
    "lines": (MIXED + b"--z\r\n\r\n", b"ab\n"),
    "lines that look like fields": (MIXED + b"--z\r\n\r\n\r\n", b"a:\n"),
    "empty lines": (MIXED + b"--z\r\n\r\n", b"\r\n"),
    "lines beyond ASCII": (MIXED + b"--z\r\n\r\n", b"\xff\n"),
    "lines before the parts": (MIXED, b"ab\r"),
    "lines after the parts": (MIXED + b"--z\r\n\r\n--y--\r\n--z--\r\n\r\n", b"ab\n"),
    "a mail in a mail": (b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n", b"ab\n"),
    "fields of a part": (MIXED + b"--z\r\n", b"a:\n"),
    "fields of a mail in a mail": (b"Content-Type: message/rfc822\r\n\r\n", b"a:\n"),
    "reports": (b"Content-Type: message/delivery-status\r\n\r\n", b"a:\n\n"),
}


def show(raw: bytes):
    row = {"mail_id": 1, "mail_submission": "1", "mail_data": raw}
    messages.mail_summary(row, "master")
    messages.mail_details(row, "master", more=True)
    search.Search({"text": "never"}).matches(raw)
    mail_page.mail_page(raw)
    for part in parts.parts(raw):
        part.description()


def peak_of(action, *arguments) -> int:
    """Return the most bytes that Python's objects take during action(*arguments)."""
    tracemalloc.start()
    try:
        action(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("begin, unit", MAILS.values(), ids=MAILS)
def test_work_and_memory_grow_as_the_mail_does(begin, unit):
    def mail(size: int) -> bytes:
        return begin + unit * (size // len(unit))

    show(mail(100))  # what is made once
    few, many = (calls(lambda size=size: show(mail(size))) for size in (8_000, 32_000))
    assert many <= 4.4 * few + 2000
    assert peak_of(show, mail(20_000)) <= 300 * 20_000


@pytest.mark.parametrize("begin, unit", SHORT_PIECES.values(), ids=SHORT_PIECES)
def test_short_pieces_of_a_mail_take_little_memory(begin, unit):
    raw = begin + unit * (600_000 // len(unit))
    row = {"mail_id": 1, "mail_submission": "1", "mail_data": raw}
    assert peak_of(messages.mail_details, row, "master", True) <= 20 * len(raw)


@pytest.mark.parametrize("begin, unit", MALFORMED.values(), ids=MALFORMED)
def test_malformed_mail_takes_little_memory(begin, unit):
    few, many = (peak_of(parts.parts, begin + unit * (size // len(unit))) for size in (300_000, 900_000))
    assert many - few <= 10 * 600_000


@pytest.mark.parametrize("unit", [b"a:\r\n", b"a :\r\n"])
def test_of_a_long_header_only_the_first_mebibyte_is_parsed(unit):
    begin, end = b"Subject: first\r\n", b"Last: field\r\n\r\ntext\r\n"
    few, many = (begin + unit * (size // len(unit)) + end for size in (1_200_000, 1_800_000))
    assert peak_of(parts.parts, many) - peak_of(parts.parts, few) <= 10 * 600_000
    message = message_parser.parse_message(many)
    assert message.field("subject") == message_parser.parse_headers(many).field("subject") == "first"
    assert message.content().endswith(b"Last: field\r\n\r\ntext\r\n")
