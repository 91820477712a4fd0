"""Attachments in winmail.dat, in files that are written here as [MS-OXTNEF] says."""

import base64
import json
import mimetypes
import urllib.parse
from struct import pack

import pytest
from mailapi_modules.mail.tnef import MAX_ATTACHMENTS, tnef_attachments

import mailapi  # noqa: F401 what makes mailapi_modules importable
from support.counting import calls
from support.mails import deliver, multipart, part_of_type


def attribute(level: int, number: int, kind: int, value: bytes) -> bytes:
    """Section 2.1.3.1: level, id and type, length, value, checksum."""
    return pack("<BHHL", level, number, kind, len(value)) + value + pack("<H", sum(value) & 0xFFFF)


def attachment(name: bytes, data: bytes) -> bytes:
    return (
        attribute(2, 0x9002, 6, bytes(14))
        + attribute(2, 0x8010, 1, name + b"\0")
        + attribute(2, 0x800F, 6, data)
    )


START = pack("<LH", 0x223E9F78, 1) + attribute(1, 0x9006, 8, pack("<L", 0x10000))
CODEPAGE = attribute(1, 0x9007, 6, pack("<LL", 1252, 0))
FILES = (
    START
    + CODEPAGE
    + attachment(b"Gr\xfc\xdfe.pdf", b"%PDF")
    + attachment(b"x.html", b"<script>alert(1)</script>")
)


def winmail(content: bytes, kind: bytes = b"application/ms-tnef") -> bytes:
    part = part_of_type(kind, base64.encodebytes(content), b"base64")
    return multipart(
        part_of_type(b"text/plain", b"hello"),
        b"Content-Disposition: attachment; filename=winmail.dat\r\n" + part,
    )


@pytest.mark.parametrize("kind", [b"application/ms-tnef", b"application/octet-stream"])
def test_its_attachments_are_parts(site, kind):
    mail_id = deliver(site, data=winmail(FILES, kind))
    listed = site("mailbox/?parts", user="bob", mail_id=mail_id)["mail_parts"]
    assert [(part["part"], part["filename"], part["size"]) for part in listed[1:]] == [
        (2, "winmail.dat", len(FILES)),
        (3, "Grüße.pdf", 4),
        (4, "x.html", 25),
    ]
    assert all(part["attached"] for part in listed[1:]) and listed[2]["content_type"] == "application/pdf"
    for number, kind, content in ((3, "application/pdf", b"%PDF"), (4, "application/octet-stream", None)):
        fields = {"mail_id": mail_id, "part": number, "auth": {"user_name": "bob", "password": "pw"}}
        response = site.browser().post("/mailbox/?attachment", json.dumps(fields))
        assert response.headers["Content-Type"] == kind and response.body == (content or response.body)
    assert site("mailbox/?html", user="bob", mail_id=mail_id)["mail_html"] == ""


@pytest.mark.parametrize(
    "content, names",
    [
        (b"", []),
        (b"no TNEF", []),
        (START, []),
        (FILES[:-1], ["Grüße.pdf", "x.html"]),
        (FILES[: len(FILES) - 40], ["Grüße.pdf", "attachment-2"]),
        (
            START + attachment(b"", b"x") + attachment(b"../\xe2\x80\xae.exe", b""),
            ["attachment-1", "../\u202e.exe"],
        ),
        (
            START
            + attribute(1, 0x9007, 6, b"")
            + attribute(2, 0x8010, 1, b"x")
            + attribute(2, 0x800F, 6, b"x"),
            [],
        ),
        (START + pack("<BHHL", 2, 0x9002, 6, 2**32 - 1), []),
        (START + attachment(b"x", b"") * (MAX_ATTACHMENTS + 9), ["x"] * MAX_ATTACHMENTS),
    ],
    ids=range(9),
)
def test_damaged_files_give_what_there_is(site, content, names):
    assert [name for name, _ in tnef_attachments(content)] == names
    assert site("mailbox/?parts", user="bob", mail_id=deliver(site, data=winmail(content)))["status"] == "ok"


@pytest.mark.parametrize("name", ["//[x", "http://[x.pdf", "//a\u2100b/x.png", "a/b#c?.pdf"])
def test_no_name_is_taken_for_a_url(site, monkeypatch, name):
    """Python 3.13 parses the name as a URL, and raises ValueError: the mail could not be opened (HTTP 500)."""
    guess = mimetypes.guess_type

    def parsed(url):
        urllib.parse.urlsplit(url)
        return guess(url)

    monkeypatch.setattr(mimetypes, "guess_type", parsed)
    mail_id = deliver(
        site,
        data=winmail(START + attribute(1, 0x9007, 6, pack("<L", 65001)) + attachment(name.encode(), b"x")),
    )
    [*_, part] = site("mailbox/?parts", user="bob", mail_id=mail_id)["mail_parts"]
    kinds = {"pdf": "application/pdf", "png": "image/png"}
    assert (part["filename"], part["content_type"]) == (
        name,
        kinds.get(name[-3:], "application/octet-stream"),
    )


@pytest.mark.parametrize("unit", [b"\0", b"\xff", attribute(2, 0x9002, 6, b""), attachment(b"x", b"y")])
def test_hostile_files_are_read_in_linear_time(unit):
    few, many = (calls(lambda size=size: tnef_attachments(START + unit * size)) for size in (100, 400))
    assert many <= 4.4 * few + 100
