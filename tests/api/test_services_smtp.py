"""The smtp service: messages are handed over by whom the out router lets."""

import base64
import email
import json

import pytest

from support.services import hand_over

pytestmark = pytest.mark.slow


def test_a_message_is_handed_over(site_with_empty_sink):
    assert (
        hand_over(
            site_with_empty_sink, recipients=["to@else.example", "two@else.example"], sender="sales@corp.org"
        )["status"]
        == "ok"
    )
    [mail] = [email.message_from_bytes(file.read_bytes()) for file in site_with_empty_sink.sink.iterdir()]
    assert (mail["Subject"], mail["X-MailFrom"]) == ("hello", "sales@corp.org")
    assert mail["X-RcptTo"] == "to@else.example, two@else.example" and mail.get_payload() == "text\n"


def test_all_recipients_or_none(site_with_empty_sink):
    answer = hand_over(site_with_empty_sink, recipients=["to@else.example", "refused@else.example"])
    assert answer["status"] == "The smtp service refused refused@else.example: 550 5.1.1 No such user"
    assert list(site_with_empty_sink.sink.iterdir()) == []


@pytest.mark.parametrize(
    "address", ["bob@one.org", "ann@two.org", "x@drop.org", "%@corp.org%", "_nn@one.org"]
)
def test_only_ones_own_addresses_send(site_with_empty_sink, address):
    assert (
        hand_over(site_with_empty_sink, sender=address)["status"] == "Not allowed to send from this address."
    )
    assert list(site_with_empty_sink.sink.iterdir()) == []


@pytest.mark.parametrize(
    ("router", "status"),
    [
        ("any", "ok"),
        ("handoff", "ok"),
        ("drop", "Not allowed to send from this address."),
        ("reject", "Not allowed to send from this address."),
        (None, "Not allowed to send from this address."),
    ],
)
def test_the_out_router_decides(site_with_empty_sink, router, status):
    site_with_empty_sink.sql("DELETE FROM smtpd WHERE smtpd_user = 'bob'")
    if router:
        site_with_empty_sink.sql("INSERT INTO smtpd VALUES ('bob', ?, 'relay.example')", router)
    answer = site_with_empty_sink(
        "services/?send", user="bob", sender="x@y.org", recipients=["to@else.example"], message="x"
    )
    assert answer["status"] == status and len(list(site_with_empty_sink.sink.iterdir())) == (status == "ok")


@pytest.mark.parametrize("field", ["sender", "recipients"])
@pytest.mark.parametrize(
    "address",
    [
        "a@one.org>\r\nRCPT TO:<x@y",
        "a@one.org> SIZE=1",
        "<a@one.org>",
        "a b@one.org",
        "a@one.org\n",
        "a@one.org\x7f",
        "x" * 250 + "@one.org",
        "a@one.org\u2028",
    ],
)
def test_no_address_is_a_command(site_with_empty_sink, field, address):
    answer = site_with_empty_sink(
        "services/?send",
        user="ann",
        check=400,
        message="x",
        **{
            "sender": "ann@one.org",
            "recipients": ["to@else.example"],
            field: address if field == "sender" else [address],
        },
    )
    assert (
        answer["status"] == f"Invalid value for {field}." and list(site_with_empty_sink.sink.iterdir()) == []
    )


@pytest.mark.parametrize("end", ["\n.\n", "\r\n.\r\n", "\r.\r", "\n.\r\n", "\r\n.\n"])
def test_no_message_is_two(site_with_empty_sink, end):
    body = (
        f"Subject: one\n\nfirst{end}MAIL FROM:<root@one.org>\nRCPT TO:<x@y.z>\nDATA\nSubject: two\n\nsecond"
    )
    assert hand_over(site_with_empty_sink, message=body)["status"] == "ok"
    [mail] = [file.read_bytes() for file in site_with_empty_sink.sink.iterdir()]
    assert b"second" in mail and mail.count(b"X-MailFrom") == 1 and b"\n.\n" in mail


def test_eight_bits_and_base64_arrive_as_they_are(site_with_empty_sink):
    raw = "Subject: ä\r\nContent-Transfer-Encoding: 8bit\r\n\r\n".encode() + bytes(range(128, 256)) + b"\r\n"
    assert (
        hand_over(site_with_empty_sink, message=base64.b64encode(raw).decode(), encoding="base64")["status"]
        == "ok"
    )
    [mail] = [file.read_bytes() for file in site_with_empty_sink.sink.iterdir()]
    assert bytes(range(128, 256)) in mail


def test_a_large_message_is_handed_over(site_with_empty_sink):
    assert (
        hand_over(site_with_empty_sink, message="Subject: large\n\n" + "x" * 70 + ("\n" + "x" * 70) * 30_000)[
            "status"
        ]
        == "ok"
    )
    [mail] = [file.stat().st_size for file in site_with_empty_sink.sink.iterdir()]
    assert mail > 2_000_000


def test_what_was_written_is_not_in_the_audit(site_with_empty_sink, site_without_filters):
    hand_over(site_with_empty_sink, sender="bob@one.org", message="Subject: secret-one\n\nsecret-two")
    site_without_filters(
        "services/?sieve_put", user="bob", script_name="kept", script="# secret-three\nkeep;"
    )
    for site, action, target in (
        (site_with_empty_sink, "send", "bob@one.org ['to@else.example']"),
        (site_without_filters, "sieve_put", "kept"),
    ):
        rows = site("audit/?get", audit_module="services", audit_action=action)["audit"]
        assert rows[0]["audit_target"] == target and "secret-" not in json.dumps(rows)


def test_what_is_missing_to_send(site_with_empty_sink):
    assert hand_over(site_with_empty_sink, sender="")["status"] == "Sender is not set."
    assert hand_over(site_with_empty_sink, recipients=[])["status"] == "No recipient is set."
    assert hand_over(site_with_empty_sink, message="")["status"] == "No message is set."
    answer = site_with_empty_sink(
        "services/?send", user="ann", check=400, sender="ann@one.org", recipients=[""], message="x"
    )
    assert answer["status"] == "Invalid value for recipients."
