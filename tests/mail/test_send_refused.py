"""mailbox/?send: no field adds a line to a header, and what is of the wrong type or too long is refused."""

import json
import re

import pytest

from support.outgoing import TO, refused

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]


BREAKS = [
    "x\r\nBcc: y@z.org",
    "x\nBcc: y@z.org",
    "x\rBcc: y@z.org",
    "\r\n\r\nbody",
    "x\x0bBcc: y@z.org",
    "x\x1b[2J",
    "x\u2028Bcc: y",
    "a@b.org\r\n",
    "\n",
]


@pytest.mark.parametrize("wrong", BREAKS)
@pytest.mark.parametrize(
    "field", ["from", "to", "cc", "bcc", "reply_to", "subject", "in_reply_to", "references"]
)
def test_no_field_gets_another_line_into_the_header(ready, field, wrong):
    value = (
        [wrong]
        if field in ("to", "cc")
        else f'"{wrong}" <a@b.org>'
        if field in ("from", "reply_to")
        else wrong
    )
    assert refused(ready, **TO | {field: value}) == f"A line break or control character in {field}."


@pytest.mark.parametrize("wrong", BREAKS)
def test_no_attachment_gets_another_line_into_the_header(ready, wrong):
    assert (
        refused(ready, **TO, attachments=[{"filename": wrong, "data": ""}])
        == "A line break or control character in filename."
    )
    sentence = refused(ready, **TO, attachments=[{"content_type": f"text/plain{wrong}", "data": ""}])
    assert re.fullmatch(r"Not a content type of an attachment: [^\r\n\x1b]+\.", sentence)


@pytest.mark.parametrize(
    "field",
    [
        "from",
        "to",
        "cc",
        "bcc",
        "reply_to",
        "subject",
        "in_reply_to",
        "references",
        "text",
        "html",
        "message",
    ],
)
def test_nul_byte_is_refused(ready, field):
    assert (
        ready("mailbox/?send", user="ann", check=400, **TO | {field: "a\0b"})["status"]
        == f"Invalid value for {field}."
    )


@pytest.mark.parametrize(
    "content_type",
    [
        "text",
        "/",
        "text/",
        "multipart/mixed",
        "Multipart/Mixed; boundary=x",
        "message/partial; id=x",
        "message/external-body",
        "text/plain; x",
        "text/plain;",
        'text/plain; x="a"b"',
        "text/plain; x=y z",
        "text/ü",
        "text/plain; charset=ü",
        "x" * 200 + "/y",
        "text/plain" + "; a=b" * 5 + ";",
        "text/plain\t",
        "text /plain",
    ],
)
def test_what_is_no_content_type_is_refused(ready, content_type):
    sentence = refused(ready, **TO, attachments=[{"content_type": content_type, "data": ""}])
    assert sentence.startswith("Not a content type of an attachment: ")


@pytest.mark.parametrize(
    "data",
    [
        "Q",
        "QQ",
        "QQ=",
        "QQ==QQ==",
        "Q Q==",
        "QUJD=",
        "Q\u00e9==",
        "====",
        "=",
        "a_-b",
        "data:text/plain;base64,QUJD",
        "QUJD" * 200_000 + "*",
        "QUI=" + "QUJD" * 200_000,
        "QUJD" * 189_999 + "QUI=" + "QUJD" * 10,
    ],
)
def test_what_is_not_base64_is_refused(ready, data):
    assert (
        refused(ready, **TO, attachments=[{"filename": "a", "data": data}])
        == "The data of attachment a is not base64."
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("to", {"a": "b"}),
        ("to", [["a@b"]]),
        ("to", True),
        ("subject", ["x"]),
        ("text", {}),
        ("attachments", {"data": ""}),
        ("attachments", "x"),
        ("attachments", [1]),
        ("attachments", [[]]),
        ("attachments", [{}]),
        ("attachments", [{"filename": "a"}]),
        ("attachments", [{"data": 1.5e300 * 1e300}]),
        ("message", True),
        ("attachments", [None]),
    ],
)
def test_values_of_the_wrong_type_are_refused(ready, field, value):
    before = ready.dump()
    body = json.dumps(TO | {field: value, "auth": {"user_name": "ann", "password": "pw"}}).encode()
    status = ready.raw("mailbox/?send", body, 400)["status"]
    assert status.startswith(f"Invalid value for {field}") or "Infinity" in body.decode()
    assert ready.dump() == before


def test_long_fields_are_refused(ready):
    assert refused(ready, **TO, subject="x" * 40_000) == "The subject is too long."
    assert refused(ready, **TO, attachments=[{"filename": "x" * 256, "data": ""}]) == (
        "The name of an attachment is too long: 255 characters at most."
    )
    assert refused(ready, to="x" * 250 + "@x.org").startswith("Not an address: xxx")
