"""Headers that no standard allows, and that receivers must take: the rest of the header is still the header."""

import pytest
from mailapi_modules.mail import irregular_mail

import mailapi  # noqa: F401 what makes mailapi_modules importable
from support.counting import calls
from support.mails import deliver, multipart, part_of_type

BEFORE = b"From: Ann <ann@one.org>\r\n"
AFTER = b"Subject: Hello\r\nTo: bob@one.org\r\n\r\nText: of it.\r\n"
HEADERS = {
    "well made": BEFORE + AFTER,
    "blank before the colon": BEFORE.replace(b":", b" :", 1) + AFTER.replace(b"Subject:", b"Subject \t:", 1),
    "junk line": BEFORE + b"this is no field\r\n" + AFTER,
    "junk line with its continuation": BEFORE + b"junk\r\n\tgoes on\r\n" + AFTER,
    "junk line first": b"junk at first\r\n" + BEFORE + AFTER,
    "byte order mark": b"\xef\xbb\xbf" + BEFORE + AFTER,
    "empty line first": b"\r\n" + BEFORE + AFTER,
    "empty lines first": b"\n\n\n" + (BEFORE + AFTER).replace(b"\r\n", b"\n"),
    "mark and empty line": b"\xef\xbb\xbf\r\n" + BEFORE + AFTER,
    ">From": b">From ann Thu Jan  1 00:00:00 1970\r\n" + BEFORE + AFTER,
    "From": b"From ann Thu Jan  1 00:00:00 1970\r\n" + BEFORE + AFTER,
    ">From in the middle": BEFORE + b">From ann Thu Jan  1 00:00:00 1970\r\n" + AFTER,
    "no name": BEFORE + b": nothing\r\n" + AFTER,
    "control characters": BEFORE + b"\x00\x01\r\n" + AFTER,
    "continuation first": b" goes on\r\n" + BEFORE + AFTER,
    "carriage returns": (BEFORE + AFTER).replace(b"\r\n", b"\r"),
}


def mail_of(site, data: bytes) -> dict:
    mail_id = deliver(site, data=data)
    listed = site("mailbox/?get", user="bob")["mails"]
    mail = site("mailbox/?read", user="bob", mail_id=mail_id)["mail"]
    [summary] = [each for each in listed if each["mail_id"] == mail_id]
    assert all(summary[key] == mail[key] for key in ("mail_subject", "mail_from", "mail_to"))
    return mail


@pytest.mark.parametrize("data", HEADERS.values(), ids=HEADERS)
def test_the_rest_of_the_header_is_the_header(site, data):
    mail = mail_of(site, data)
    assert (mail["mail_from"], mail["mail_subject"]) == ("Ann <ann@one.org>", "Hello")
    assert (mail["mail_to"], mail["mail_body"].strip()) == ("bob@one.org", "Text: of it.")


@pytest.mark.parametrize("data", HEADERS.values(), ids=HEADERS)
def test_the_parts_after_such_a_header_are_parts(site, data):
    head, end = data.rsplit(b"To: bob@one.org", 1)
    line_end = end[: (len(end) - len(end.lstrip())) // 2]
    part = part_of_type(b"text/plain; charset=utf-8", b"one")
    body = multipart(part).replace(b"\r\n", line_end)
    assert mail_of(site, head + body)["mail_body"] == "one\n----\n"
    found = site("mailbox/?search", user="bob", text="one", subject="hello")["mails"]
    assert len(found) == 1


TEXTS = {
    "no header": (b"no header", "no header"),
    "no header in lines": (b"no header\r\nat all\r\n\r\nmore", "no header\r\nat all\r\n\r\nmore"),
    "empty header": (b"\r\nNote: this is text\r\n\r\nmore", "Note: this is text\r\n\r\nmore"),
    "text without an empty line before it": (b"X-A: b\r\nno field\r\nmore", "no field\r\nmore"),
    "a field in the text": (b"X-A: b\r\n\r\nSubject: text", "Subject: text"),
}


@pytest.mark.parametrize("data, text", TEXTS.values(), ids=TEXTS)
def test_text_is_no_header(site, data, text):
    mail = mail_of(site, data)
    assert (mail["mail_body"], mail["mail_subject"]) == (text, "")


UNITS = [
    b"junk\r\n",
    b"a : b\r\n",
    b"\r",
    b" \r\n",
    b">From x\r\n",
    b"\xef\xbb\xbf",
    b":\r\n",
    b"a",
    b" ",
    b"a :",
    b"\r\n ",
]


@pytest.mark.parametrize("unit", UNITS)
def test_hostile_headers_are_read_in_linear_time(unit):
    def read(size):
        raw = unit * size
        return irregular_mail.mended_header(raw[: irregular_mail.header_size(raw)], False)

    few, many = (calls(lambda size=size: read(size)) for size in (500, 2000))
    assert many <= 4.4 * few + 100
    assert len(read(2000)) <= 2 * 2000 * len(unit) + 10
