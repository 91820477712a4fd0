"""services/?send: the authors that a message shows are held against the out router, as in mailbox/?send."""

import base64
import email

import pytest

from support.every_service import SERVICE_MODULE
from support.site import Site

BOSS = "Rejected: boss@one.org does not store to user ann (router defined)."
ONE = "A message needs one From, and has one Sender at most."
OWN = "From: Ann <ann@one.org>\n"


@pytest.fixture
def sender(tmp_path, smtp_sink) -> Site:
    """ann may send from two addresses; root and dele, by any, from all."""
    site = Site(tmp_path, extra=SERVICE_MODULE, services=smtp_sink.setting)
    site.sql(
        "INSERT INTO addresses VALUES ('ann@one.org', 10, 'store', 'ann'), ('%@corp.org', 11, 'store', 'ann'),"
        " ('boss@one.org', 12, 'store', 'bob')"
    )
    site.sql(
        "INSERT INTO smtpd VALUES ('ann', 'defined', NULL), ('root', 'any', NULL), ('dele', 'handoff', 'mx')"
    )
    site.sink = smtp_sink.folder / "mail/new"
    for mail in site.sink.glob("*"):
        mail.unlink()
    return site


def send(site: Site, message: str | bytes, user="ann", **fields) -> str:
    """The status of a message that is handed over; the server has it only if that is ok."""
    before = len(list(site.sink.iterdir()))
    if isinstance(message, bytes):
        message, fields = base64.b64encode(message).decode(), fields | {"encoding": "base64"}
    answer = site(
        "services/?send",
        user=user,
        **{"sender": "ann@one.org", "recipients": ["to@else.example"], "message": message} | fields,
    )
    assert len(list(site.sink.iterdir())) - before == (answer["status"] == "ok")
    return answer["status"]


@pytest.mark.parametrize(
    "header",
    [
        OWN,
        "From: ann@one.org\nSender: sales@corp.org\n",
        "from : ANN@one.org\n",
        "From: ann@one.org, x@corp.org\n",
        "From: Team: ann@one.org, x@corp.org;\n",
        "From:\n =?utf-8?q?boss=40one.org?=\n <ann@one.org>\n",
        "Subject: no author at all\n",
        "Reply-To: boss@one.org\nTo: boss@one.org\n" + OWN,
    ],
)
def test_own_authors_pass(sender, header):
    for end in ("\n", "\r\n", "\r"):
        assert send(sender, (header + "\nFrom: boss@one.org\n\ntext").replace("\n", end)) == "ok"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("From: boss@one.org\n", BOSS),
        ("from\t: boss@one.org\n", BOSS),
        ("FROM:\n Boss\n <boss@one.org>\n", BOSS),
        ("From: ann@one.org, boss@one.org\nSender: ann@one.org\n", BOSS),
        (OWN + "Sender: boss@one.org\n", BOSS),
        ("Sender: boss@one.org\n", BOSS),
        ("From: Team: boss@one.org;\n", BOSS),
        ("From: (ann@one.org) boss@one.org\n", BOSS),
        ('From: "ann@one.org" <boss@one.org>\n', BOSS),
        ("Subject: x\n \nFrom: boss@one.org\n", BOSS),
        (OWN + "From: boss@one.org\n", ONE),
        ("From: boss@one.org\n" + OWN, ONE),
        (OWN + "Sender: ann@one.org\nSender: boss@one.org\n", ONE),
        ('From: "boss@one.org":;\n', "From and Sender must have an address."),
        ("From:\n", "From and Sender must have an address."),
        (OWN + "Sender: \n", "From and Sender must have an address."),
        ("From: Boss\n", "Not an address: Boss."),
        ("From: <@corp.org:boss@one.org>\n", "Not an address: <@corp.org:boss@one.org>."),
        ("From: =?utf-8?q?boss=40one.org?=\n", "Not an address: =?utf-8?q?boss=40one.org?=."),
        ("From: ann@one.org boss@one.org\n", "Not an address: ann@one.org boss@one.org."),
        ("From: boss@one.org\x0b\n", "A line break or control character in From."),
        (" From: boss@one.org\n", "Not a header line:  From: boss@one.org."),
        ("\nFrom: boss@one.org\n", "Not a header line: ."),
        ("\n" + OWN, "Not a header line: ."),
        ("From ann Mon Nov 2 2015\nFrom: boss@one.org\n", "Not a header line: From ann Mon Nov 2 2015."),
        ("Subject: x\nno field\nFrom: boss@one.org\n", "Not a header line: no field."),
        (
            "X: y\n" * 60_000 + "From: boss@one.org\n",
            "The header of the message is too long: 262144 bytes at most.",
        ),
        ("From: " + ", ".join(f"x{n}@corp.org" for n in range(11)) + "\n", "Too many authors: 10 at most."),
    ],
)
def test_other_authors_and_unclear_ones_are_refused(sender, header, status):
    for end in ("\n", "\r\n", "\r"):
        assert send(sender, (header + "\ntext").replace("\n", end)) == status
    assert send(sender, header.rstrip("\n") + "\n") == status, "without a body"
    assert send(sender, header.encode() + b"\ntext") == status


def test_what_cannot_be_read_as_text_is_refused(sender):
    assert send(sender, b"From: \xe4@one.org\n\ntext") == "Not an address: \ufffd@one.org."
    assert send(sender, b"From\xa0: boss@one.org\n\ntext").startswith("Not a header line: From")
    assert send(sender, b"Subject: \0\nFrom: ann@one.org\n\ntext") == "The message has a NUL byte."
    assert send(sender, OWN.encode() + b"Subject: \xfc\n\n\xfc") == "ok"


def test_mailbox_send_refuses_the_same_authors(sender):
    for header in (
        "From: boss@one.org\n",
        OWN + "Sender: boss@one.org\n",
        OWN + "From: boss@one.org\n",
        'From: "boss@one.org":;\n',
        "From: Boss\n",
    ):
        message = header + "\ntext"
        fields = {"from": "ann@one.org", "to": "to@else.example"}
        assert (
            sender("mailbox/?send", user="ann", message=message, **fields)["status"]
            == send(sender, message)
            != "ok"
        )


@pytest.mark.parametrize("user", ["root", "dele"])
def test_other_routers_pass_what_they_passed(sender, user):
    for message in (
        "From: boss@one.org\n\ntext",
        "no header",
        OWN + "From: boss@one.org\n\n",
        "From: Boss\n\n",
    ):
        assert send(sender, message, user, sender="x@y.org") == "ok"


def test_routers_of_the_daemons_own_kind_pass_as_any(sender):
    """One that the SMTP daemon does not know is any to it (docs/wire.md F45)."""
    sender.sql("UPDATE smtpd SET smtpd_router = 'teleport' WHERE smtpd_user = 'ann'")
    assert send(sender, "From: boss@one.org\n\ntext", sender="boss@one.org") == "ok"


def test_recipients_have_a_limit(sender, monkeypatch):
    monkeypatch.setattr(sender.app.config, "max_recipients", 3)
    recipients = [f"to{number}@else.example" for number in range(4)]
    assert send(sender, OWN, recipients=recipients) == "Too many recipients: 3 at most."
    assert send(sender, OWN, recipients=recipients[:3]) == "ok"


def test_message_arrives_as_it_came(sender):
    """Its sender has named the recipients: fields that mailbox/?send would take out or add stay as they are."""
    assert send(sender, OWN + "Bcc: x@y.org\n\ntext\n") == "ok"
    [mail] = [email.message_from_bytes(file.read_bytes()) for file in sender.sink.iterdir()]
    assert mail["Bcc"] == "x@y.org" and mail["From"] == "Ann <ann@one.org>" and mail["Date"] is None
