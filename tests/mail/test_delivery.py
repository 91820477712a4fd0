"""Mails that mailbox/?send queues, with real parts: dispatched over SMTP, read by another parser, signed; and its memory."""

import base64
import json
import os
import re
import smtplib
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing

import dkim
import fast_mail_parser
import pytest
from aiosmtpd.controller import Controller
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.instances import free_port, require_program, running_instance
from support.outgoing import allow_sending, queued_data, send_mail
from support.site import MODULES, ROOT, Site

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 500
MAILS = [  # the fields of one mail each
    {"to": "x@else.example", "subject": "plain", "text": "Hello.\n\n.\n..\n.leading dots\n"},
    {
        "to": 'Jörg <j@bücher.example>, "Lee, Ann" <l@x.org>',
        "cc": "Team: a@x.org, b@x.org;",
        "bcc": "secret@x.org",
        "subject": "Grüße  aus Köln " * 9,
        "text": "Zeile ü\n" * 50,
        "html": "<p>ü</p>",
        "reply_to": "Ann <ann@two.org>",
    },
    {
        "to": "用户@例子.广告",
        "subject": "\U0001f389 " * 40,
        "text": "日本語\n" * 200,
        "in_reply_to": f"<{'x' * 150}@x.org>",
        "references": " ".join(f"<{n}.{'y' * 60}@x.org>" for n in range(30)),
    },
    {
        "bcc": "x@else.example",
        "html": "<br>" * 3000,
        "attachments": [
            {"filename": "Bild ü.jpg", "content_type": "image/jpeg", "data": base64.b64encode(JPEG).decode()},
            {"filename": "a;b.txt", "content_type": "text/plain; charset=utf-8", "data": "w7w="},
        ],
    },
    {
        "message": base64.b64encode(
            b"From: ann@one.org\r\nTo: x@else.example\r\nSubject: 8 bits \xfc \xe2\x82\xac\r\n"
            b"Content-Type: text/plain; charset=latin-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
            + bytes(range(128, 256))
            + b"\r\n.\r\n..\r\n"
            + b"z" * 998
            + b"\r\n"
        ).decode()
    },
]


class Inbox:
    """What a real SMTP server took: sender, recipients, bytes."""

    def __init__(self):
        self.taken = []

    async def handle_DATA(self, server, session, envelope):
        self.taken.append(
            (envelope.mail_from, envelope.rcpt_tos, envelope.original_content, envelope.mail_options)
        )
        return "250 taken"


@pytest.fixture(scope="module")
def server():
    controller = Controller(
        Inbox(), hostname="127.0.0.1", port=free_port(), enable_SMTPUTF8=True, data_size_limit=50 * 2**20
    )
    controller.start()
    yield controller
    controller.stop()


def dispatch(path, port: int, change=lambda data: data):
    """Deliver the outbox as the dispatch daemon does: the envelope from the row, the bytes of mail_data."""
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as connection,
        smtplib.SMTP("127.0.0.1", port) as smtp,
    ):
        columns = "mail_id, mail_envelopefrom, mail_envelopeto, CAST(mail_data AS BLOB)"
        for mail_id, sender, recipient, data in connection.execute(
            f"SELECT {columns} FROM outbox"
        ).fetchall():
            data = change(data)
            head = data.partition(b"\r\n\r\n")[0]
            options = [] if data.isascii() else ["BODY=8BITMIME"]
            options += [] if (sender + recipient).isascii() and head.isascii() else ["SMTPUTF8"]
            smtp.command_encoding = "utf-8"
            assert smtp.sendmail(sender, [recipient], data, options) == {}
            connection.execute("DELETE FROM outbox WHERE mail_id = ?", (mail_id,))


@pytest.fixture
def ready(site) -> Site:
    return allow_sending(site)


def queue(site: Site, fields: dict) -> list[bytes]:
    answer = send_mail(site, **fields)
    assert answer["status"] == "ok", answer["status"]
    return queued_data(site)


@pytest.mark.parametrize("fields", MAILS)
def test_what_is_queued_arrives_byte_for_byte(ready, server, fields):
    queued = queue(ready, fields)
    envelopes = ready.sql("SELECT mail_envelopefrom, mail_envelopeto FROM outbox")
    server.handler.taken.clear()
    dispatch(ready.dbpath, server.port)
    taken = server.handler.taken
    assert [(sender, *recipients) for sender, recipients, *_ in taken] == envelopes and len(queued) == len(
        envelopes
    )
    assert [data for _, _, data, _ in taken] == queued and ready.sql("SELECT * FROM outbox") == []
    ascii_only = all(all(map(str.isascii, row)) for row in envelopes) and "message" not in fields
    assert all(("SMTPUTF8" in options) is not ascii_only for *_, options in taken), (
        "asked for only where it is needed"
    )


########## Read by others ##########################################################################


def test_another_parser_reads_what_was_written(ready):
    for fields in MAILS[:4]:
        data = queue(ready, fields)[0]
        ready.sql("DELETE FROM outbox")
        read = fast_mail_parser.parse_email(data)
        assert read.subject == fields.get("subject", "").strip() and read.warnings == []
        assert [text.replace("\r\n", "\n").strip() for text in read.text_plain] == [
            text.strip() for text in [fields.get("text")] if text
        ]
        assert [text.replace("\r\n", "\n").strip() for text in read.text_html] == [
            text for text in [fields.get("html")] if text
        ]
        assert [(one.filename, one.mimetype.partition(";")[0]) for one in read.attachments] == [
            (one["filename"], one["content_type"].partition(";")[0]) for one in fields.get("attachments", [])
        ]
        assert [bytes(one.content) for one in read.attachments] == [
            base64.b64decode(one["data"]) for one in fields.get("attachments", [])
        ]
        assert "Bcc" not in read.headers and read.from_.address == "ann@one.org"
        if "references" in fields:
            assert read.headers["References"] == [f"{fields['references']} {fields['in_reply_to']}"]
    names = [("Jörg", "j@xn--bcher-kva.example"), ("Lee, Ann", "l@x.org")]
    read = fast_mail_parser.parse_email(queue(ready, MAILS[1])[0])
    assert [(one.display_name, one.address) for one in read.to] == names
    assert [one.address for one in read.cc] == ["a@x.org", "b@x.org"] and read.reply_to[
        0
    ].address == "ann@two.org"


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=80)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=300)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(subject=WORDS, name=WORDS, text=TEXTS, html=TEXTS, filename=WORDS, content=st.binary(max_size=300))
def test_another_parser_reads_anything(ready, subject, name, text, html, filename, content):
    ready.sql("DELETE FROM outbox")
    data = queue(
        ready,
        {
            "to": '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '" <x@else.example>',
            "subject": subject,
            "text": text,
            "html": html,
            "attachments": [{"filename": filename, "data": base64.b64encode(content).decode()}],
        },
    )[0]
    read = fast_mail_parser.parse_email(data)
    assert read.subject.split() == subject.split()
    assert (read.to[0].display_name or "").split() == name.split() and read.to[0].address == "x@else.example"
    parts = [
        leaf for leaf in fast_mail_parser.walk(fast_mail_parser.parse_email_tree(data)) if not leaf.children
    ]
    shown = [bytes(leaf.content) for leaf in parts]
    assert [part.replace(b"\r\n", b"\n").removesuffix(b"\n") for part in shown[:2]] == [
        written.encode().removesuffix(b"\n") for written in (text, html)
    ]
    assert shown[2] == content
    assert all(len(line) <= 998 for line in data.split(b"\r\n"))


########## Signatures ##############################################################################


@pytest.fixture(scope="module")
def key(tmp_path_factory) -> tuple[bytes, bytes]:
    """A key to sign with, and what DNS has of it."""
    file = tmp_path_factory.mktemp("key") / "key.pem"
    subprocess.run(
        [require_program("openssl"), "genrsa", "-traditional", "-out", file, "2048"],
        check=True,
        capture_output=True,
    )
    public = subprocess.run(
        ["openssl", "rsa", "-in", file, "-pubout", "-outform", "DER"], check=True, capture_output=True
    ).stdout
    return file.read_bytes(), b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)


HEADERS = [
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"message-id",
    b"references",
    b"mime-version",
    b"content-type",
]


@pytest.mark.parametrize("canonical", [(b"simple", b"simple"), (b"relaxed", b"relaxed")])
@pytest.mark.parametrize("fields", MAILS[:4])
def test_a_signature_holds_all_the_way(ready, server, key, fields, canonical):
    """Made of what is queued, checked of what arrives; relaxed also after a relay folded every field anew."""
    private, public = key

    def signed(data: bytes) -> bytes:
        return (
            dkim.sign(data, b"s", b"one.org", private, canonicalize=canonical, include_headers=HEADERS) + data
        )

    queue(ready, fields)
    server.handler.taken.clear()
    dispatch(ready.dbpath, server.port, change=signed)
    arrived = [data for _, _, data, _ in server.handler.taken]
    verified = [dkim.verify(data, dnsfunc=lambda *_, **__: public) for data in arrived]
    assert verified and all(verified)
    again = [dkim.verify(refolded(data), dnsfunc=lambda *_, **__: public) for data in arrived]
    assert all(again) is (canonical[0] == b"relaxed") or all(refolded(data) == data for data in arrived)
    forged = [data.replace(b"From: ", b"From: x") for data in arrived]
    assert not any(dkim.verify(data, dnsfunc=lambda *_, **__: public) for data in forged)


def refolded(data: bytes) -> bytes:
    """The mail with its fields in as few lines as 998 bytes allow, the signature's own left alone."""
    head, blank, body = data.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", head)
    unfolded = [
        field if field.startswith(b"DKIM") else re.sub(rb"\r\n([ \t])", rb"\1", field) for field in fields
    ]
    return b"\r\n".join(new if len(new) < 998 else old for old, new in zip(fields, unfolded)) + blank + body


########## Memory ##################################################################################


MOST = 200  # MB


@pytest.mark.sqlite
def test_25_mb_are_sent_in_less_than_200_mb(tmp_path):
    """The most that the process of `mailapi serve` ever had, for mails of each shape; and it gives the memory back."""
    site = allow_sending(Site(tmp_path))
    (tmp_path / "config.py").write_text(f'dbpath = "master.db3"\nmodulelist = {MODULES!r}\n')
    port, size = free_port(), 25 * 1024 * 1024
    data = base64.b64encode(os.urandom(size)).decode()
    mails = [
        {"attachments": [{"filename": "x.bin", "data": data}], "subject": "Grüße \U0001f389"},
        {"attachments": [{"data": base64.encodebytes(base64.b64decode(data)).decode()}]},
        {"attachments": [{"data": data[: len(data) // 8 * 4]}] * 2},
        {"message": "From: ann@one.org\n\n" + ("x" * 76 + "\n") * (size // 77)},
    ]
    command = [sys.executable, ROOT / "mailapi.py", "serve", "--listen", f"127.0.0.1:{port}"]
    with running_instance(command, tmp_path, port) as process:
        for fields in [*mails, mails[0]]:
            body = fields | {
                "to": "x@else.example, y@else.example",
                "auth": {"user_name": "ann", "password": "pw"},
            }
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/mailbox/?send", json.dumps(body, ensure_ascii=False).encode()
            )
            with urllib.request.urlopen(request, timeout=120) as answer:
                assert json.load(answer)["status"] == "ok"
        peak, now = memory(process, "VmHWM"), memory(process, "VmRSS")
    assert site.sql("SELECT COUNT(*), MIN(LENGTH(mail_data)) > ? FROM outbox", size) == [(10, 1)]
    assert peak < MOST and now < 100, (peak, now)


def memory(process, name: str) -> int:
    """MB of a process, from the kernel's books."""
    with open(f"/proc/{process.pid}/status") as status:
        return int(re.search(rf"{name}:\s+(\d+) kB", status.read())[1]) // 1024
