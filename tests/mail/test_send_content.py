"""mailbox/?send: texts, attachments and subjects arrive as they were written, within limits."""

import base64
import email
import email.policy
import json
import re
import time

import pytest

from support.outgoing import (
    ONE_RECIPIENT,
    allow_sending,
    queued_data,
    refusal_of,
    send_mail,
    sent_mail,
    text_of_part,
)
from support.site import Site

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]


def test_text_alone(sending_site):
    mail = sent_mail(
        sending_site,
        subject="Grüße aus Köln",
        text="Hallo Jörg,\n\n.\n\u20ac 5\n",
        reply_to="Ann <ann@two.org>",
    )
    assert mail["Subject"] == "Grüße aus Köln" and mail["Reply-To"] == "Ann <ann@two.org>"
    assert mail["MIME-Version"] == "1.0"
    assert text_of_part(mail) == "Hallo Jörg,\n\n.\n€ 5\n" and mail.get_content_type() == "text/plain"
    assert abs(mail["Date"].datetime.timestamp() - time.time()) < 60
    assert re.fullmatch(r"<[^<>\s]+@one\.org>", mail["Message-ID"])
    assert queued_data(sending_site)[0].isascii(), "seven bits, so that no relay has to change it"
    assert sent_mail(sending_site)["Message-ID"] != mail["Message-ID"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "plain",
        "a\r\nb\rc\nd",
        "ü" * 5000,
        "word " * 1000,
        "日本語" * 400,
        ".\n..\n.x",
        "From me\n>From you\n",
        "trailing  \n\t\n",
        "=3D = ==\n",
        "\u2028\u0085\x0b\x0c x",
        "a" * 78 + "\n" + "b" * 77,
        "x" * 100_000,
        "\n" * 500,
    ],
)
@pytest.mark.parametrize("form", ["text", "html"])
def test_any_text_arrives_as_it_was_written(sending_site, text, form):
    mail = sent_mail(sending_site, **{form: text})
    expected = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n") + "\n"
    assert mail.get_payload(decode=True).decode().replace("\r\n", "\n") == expected
    assert mail.get_content_subtype() == ("plain" if form == "text" else "html")
    assert all(len(line) <= 78 for line in queued_data(sending_site)[-1].split(b"\r\n"))


def test_text_html_and_attachments(sending_site):
    files = {
        "a.txt": b"text\n",
        'ü "x".bin': bytes(range(256)) * 1000,
        "empty": b"",
        "..": b"\0",
        "=?utf-8?q?x?=.txt": b"1",
    }
    attachments = [
        {"filename": name, "data": base64.b64encode(data).decode()} for name, data in files.items()
    ]
    attachments[0]["content_type"] = "text/calendar; method=REQUEST; charset=utf-8"
    mail = sent_mail(sending_site, text="plain", html="<b>ü</b>", attachments=attachments)
    assert mail.get_content_type() == "multipart/mixed"
    body, *parts = mail.iter_parts()
    assert [part.get_content().strip() for part in body.iter_parts()] == ["plain", "<b>ü</b>"]
    assert body.get_content_type() == "multipart/alternative"
    assert [part.get_payload(decode=True) for part in parts] == list(files.values())
    assert [part.get_content_type() for part in parts] == ["text/calendar"] + ["application/octet-stream"] * 4
    assert parts[0]["Content-Type"].params["method"] == "REQUEST"
    assert all(part.get_content_disposition() == "attachment" for part in parts)
    assert [part.get_filename() for part in parts[:4]] == ["a.txt", 'ü "x".bin', "empty", None]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\x.exe", "x.exe"),
        ("a/b\\c", "c"),
        ("/", None),
        ("", None),
        (None, None),
        ("..", None),
        (".", None),
        (".profile", ".profile"),
        ("a;b=c.txt", "a;b=c.txt"),
        ("a'b%20.txt", "a'b%20.txt"),
        ("ü" * 255, "ü" * 255),
        ("日本語 の.txt", "日本語 の.txt"),
        ("\U0001f469\u200d\U0001f4bb.png", "\U0001f469\u200d\U0001f4bb.png"),
    ],
)
def test_name_of_an_attachment_is_no_path(sending_site, given, kept):
    (part,) = sent_mail(sending_site, attachments=[{"filename": given, "data": ""}]).iter_attachments()
    assert part.get_filename() == kept


def test_mail_is_forwarded_as_an_attachment(sending_site):
    original = "From: x@y\r\nSubject: ü\r\n\r\n" + "z" * 998 + "\r\nend"
    for raw in (original, original.replace("ü", "u")):
        data = base64.b64encode(raw.encode()).decode()
        attached = {"filename": "x.eml", "content_type": "message/rfc822", "data": data}
        (part,) = sent_mail(sending_site, attachments=[attached]).iter_attachments()
        assert part["Content-Transfer-Encoding"] == ("7bit" if raw.isascii() else "8bit")
        outer = queued_data(sending_site)[-1].partition(b"\r\n\r\n")[0]
        assert (b"Content-Transfer-Encoding: 8bit" in outer) is not raw.isascii()
        assert raw.encode() + b"\r\n--" in queued_data(sending_site)[-1]
    data = base64.b64encode(b"x" * 999).decode()
    assert refusal_of(
        sending_site, **ONE_RECIPIENT, attachments=[{"content_type": "message/rfc822", "data": data}]
    ) == ("The message has a line of more than 998 bytes.")


def test_answer_is_part_of_its_thread(sending_site):
    mail = sent_mail(
        sending_site, in_reply_to="<c@x.org>", references="<a@x.org>\t<b@x.org>".replace("\t", " ")
    )
    assert (mail["In-Reply-To"], mail["References"]) == ("<c@x.org>", "<a@x.org> <b@x.org> <c@x.org>")
    mail = sent_mail(sending_site, in_reply_to="<a@x.org>", references="<a@x.org>")
    assert mail["References"] == "<a@x.org>"
    long = " ".join(f"<{'x' * 120}{number}@x.org>" for number in range(50))
    assert (
        sent_mail(sending_site, in_reply_to="<a@x.org>", references=long)["References"] == long + " <a@x.org>"
    )
    for wrong in (
        "a@x.org",
        "<a@x.org",
        "<a b@x.org>",
        "<>",
        "<a>, <b>",
        "<ü@x.org>",
        "x" * 40_000,
        f"<{'x' * 901}>",
    ):
        assert re.fullmatch(
            "Not a message id: .*[.]", refusal_of(sending_site, **ONE_RECIPIENT, in_reply_to=wrong), re.DOTALL
        )


@pytest.mark.parametrize(
    "subject",
    [
        "0",
        "plain",
        "a  b   c",
        "word " * 100,
        "x" * 500,
        "ü" * 500,
        "=?utf-8?q?x?=",
        "a\tb",
        "日本 \U0001f389 " * 60,
        'Re: "x" <y> (z), ;:',
        "a" * 74 + " " + "b" * 75 + " c",
        '"' + "long quoted text " * 80 + '"@',
        "ends in =",
        "\u00ad\u200b",
    ],
)
def test_any_subject_arrives_as_it_was_written(sending_site, subject):
    mail = sent_mail(sending_site, subject=subject)
    field = re.search(rb"Subject:.*?\r\n(?=\S)", queued_data(sending_site)[-1], re.DOTALL)[0]
    assert all(len(line) <= 76 for line in field.split(b"\r\n"))
    raw = field.decode().removeprefix("Subject:").replace("\r\n", "").strip()
    assert str(email.header.make_header(email.header.decode_header(raw))) == subject.strip()
    assert mail["Subject"] is not None


def test_message_size_has_a_limit(tmp_path):
    site = allow_sending(Site(tmp_path, max_message=100_000, max_body=10_000))
    assert send_mail(site, **ONE_RECIPIENT, text="x" * 90_000)["status"] == "ok"
    assert (
        refusal_of(site, **ONE_RECIPIENT, text="a" * 70_000 + "=" * 16_000)
        == "The message is too large: 100000 bytes at most."
    )
    assert (
        site("mailbox/?send", user="ann", check=413, **ONE_RECIPIENT, text="x" * 100_000)["status"]
        == "Request body too large."
    )
    people = [f"p{number}@x.org" for number in range(9)]
    assert (
        refusal_of(site, to=people, text="x" * 90_000) == "The message is too large for so many recipients."
    )
    assert len(send_mail(site, to=people[:8], text="x" * 90_000)["queue_ids"]) == 8
    assert site("users/?get", check=413, padding="x" * 10_000)["status"] == "Request body too large."


def test_a_large_body_may_hold_much_text_but_not_much_else(tmp_path):
    """30 MB of brackets would take a gigabyte of memory, whoever sends them."""
    site = allow_sending(Site(tmp_path, max_message=2_000_000, max_body=100_000))
    head, auth = b'{"to": "x@else.example", "text": "', b'", "auth": {"user_name": "ann", "password": "pw"}'
    for text in (b"x" * 1_000_000, b'\\"\\\\\\u00fc' * 90_000, "ü🎉".encode() * 150_000, b"a, [{:" * 150_000):
        assert site.raw("mailbox/?send", head + text + auth + b"}")["status"] == "ok"
        expected = json.loads(b'"' + text + b'"')
        mail = email.message_from_bytes(queued_data(site)[-1], policy=email.policy.SMTP)
        assert text_of_part(mail).removesuffix("\n") == expected
        site.sql("DELETE FROM outbox")
    for more in (b"[]," * 300_000, b'"",' * 300_000, b"1," * 300_000, b" " * 300_000, b'{"":' * 80_000):
        body = head + auth + b', "x": [' + more + b"1]}"
        assert site.raw("mailbox/?send", body, 413)["status"] == "Request body too large."
    long, browser = b"x" * 80_000, site.browser()
    browser.post("/", head + auth + b"}")
    for wrong in (
        b'{"a": "' + long,
        b'{"a": "' + long + b"\\",
        b'{"a": "' + long + b'"',
        b"[" + b'"' + long + b'"]',
        long,
        b'{"a": "' + long + b'" "b"}',
        b'{"a": "' + long + b'\n"}',
        b'{"a":' + b'"' * 90_000,
        b'\\"' * 45_000,
        b'{"a": "' + long + b"\0" + b'"}',
        b'{"a": "' + long + b'"}' + b'"x',
    ):
        assert site.raw("mailbox/?send", wrong)["status"] == "Username is not set!"
        assert (
            browser.post("/mailbox/?send", wrong, status=400).json["status"]
            == "Invalid JSON in request body."
        )
    mixed = {
        "to": ["x@else.example"],
        "attachments": [{"data": "QUJD" * 50_000, "filename": "a"}],
        "x": ["Q" * 100_000],
        "auth": {"user_name": "ann", "password": "pw"},
        "subject": "é",
        "text": "Q" * 100_000,
    }
    assert site.raw("mailbox/?send", json.dumps(mixed, ensure_ascii=False).encode())["status"] == "ok"
    body, part = email.message_from_bytes(queued_data(site)[-1], policy=email.policy.SMTP).iter_parts()
    assert part.get_payload(decode=True) == b"ABC" * 50_000 and text_of_part(body) == "Q" * 100_000


@pytest.mark.parametrize("size", [0, 1, 2, 3, 56, 57, 58, 569_999, 570_000, 570_001, 1_140_000, 1_140_002])
def test_attachments_of_any_length(sending_site, size):
    raw = bytes(number % 251 for number in range(size))
    for data in (
        base64.b64encode(raw).decode(),
        base64.encodebytes(raw).decode(),
        base64.encodebytes(raw).decode().replace("\n", "\r\n"),
    ):
        (part,) = sent_mail(sending_site, attachments=[{"data": data}]).iter_attachments()
        assert part.get_payload(decode=True) == raw
        sending_site.sql("DELETE FROM outbox")
