"""mailbox/?send: no field adds a line to a header, and what is of the wrong type or too long is refused."""

import json
import re

import pytest

from support.outgoing import ONE_RECIPIENT, refusal_of

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
def test_no_field_gets_another_line_into_the_header(sending_site, field, wrong):
    value = (
        [wrong]
        if field in ("to", "cc")
        else f'"{wrong}" <a@b.org>'
        if field in ("from", "reply_to")
        else wrong
    )
    assert (
        refusal_of(sending_site, **ONE_RECIPIENT | {field: value})
        == f"A line break or control character in {field}."
    )


@pytest.mark.parametrize("wrong", BREAKS)
def test_no_attachment_gets_another_line_into_the_header(sending_site, wrong):
    assert (
        refusal_of(sending_site, **ONE_RECIPIENT, attachments=[{"filename": wrong, "data": ""}])
        == "A line break or control character in filename."
    )
    sentence = refusal_of(
        sending_site, **ONE_RECIPIENT, attachments=[{"content_type": f"text/plain{wrong}", "data": ""}]
    )
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
def test_nul_byte_is_refused(sending_site, field):
    assert (
        sending_site("mailbox/?send", user="ann", check=400, **ONE_RECIPIENT | {field: "a\0b"})["status"]
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
def test_what_is_no_content_type_is_refused(sending_site, content_type):
    sentence = refusal_of(
        sending_site, **ONE_RECIPIENT, attachments=[{"content_type": content_type, "data": ""}]
    )
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
def test_what_is_not_base64_is_refused(sending_site, data):
    assert (
        refusal_of(sending_site, **ONE_RECIPIENT, attachments=[{"filename": "a", "data": data}])
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
def test_values_of_the_wrong_type_are_refused(sending_site, field, value):
    before = sending_site.dump()
    body = json.dumps(ONE_RECIPIENT | {field: value, "auth": {"user_name": "ann", "password": "pw"}}).encode()
    status = sending_site.raw("mailbox/?send", body, 400)["status"]
    assert status.startswith(f"Invalid value for {field}") or "Infinity" in body.decode()
    assert sending_site.dump() == before


def test_long_fields_are_refused(sending_site):
    assert refusal_of(sending_site, **ONE_RECIPIENT, subject="x" * 40_000) == "The subject is too long."
    assert refusal_of(sending_site, **ONE_RECIPIENT, attachments=[{"filename": "x" * 256, "data": ""}]) == (
        "The name of an attachment is too long: 255 characters at most."
    )
    assert refusal_of(sending_site, to="x" * 250 + "@x.org").startswith("Not an address: xxx")
