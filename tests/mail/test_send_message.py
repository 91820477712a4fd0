"""mailbox/?send with a ready message."""

import base64
import re

import pytest

from support.outgoing import QUEUE_ROWS, queued_data, refusal_of, send_mail, sent_mail, text_of_part

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]


MESSAGE = (
    "Received: by a\r\nFrom: Ann <ann@one.org>\r\nTo: a@x.org, T: b@x.org;\r\nCc: c@x.org\r\n"
    "Bcc: d@x.org,\r\n e@x.org\r\n"
    "subject:  odd   blanks\r\n folded\r\nX-Odd:\r\n y\r\nDate: Mon, 2 Nov 2015 10:00:00 +0000\r\n"
    "Message-ID: <1@one.org>\r\nbcc : f@x.org\r\nResent-Bcc: g@x.org\r\n\r\nText.\r\n.\r\n"
)


def test_ready_message_is_queued_as_it_is_without_bcc(sending_site):
    message = MESSAGE.replace("Resent-Bcc: g@x.org\r\n", "")
    for form in (message, base64.b64encode(message.encode()).decode(), message.replace("\r\n", "\n")):
        assert len(send_mail(sending_site, message=form)["queue_ids"]) == 6
        assert [to for _, _, to in sending_site.sql(QUEUE_ROWS)] == [f"{letter}@x.org" for letter in "abcdef"]
        expected = re.sub(r"(?i)bcc ?:.*\r\n( .*\r\n)*", "", message)
        assert set(queued_data(sending_site)) == {expected.encode()} and "d@x.org" not in expected
        sending_site.sql("DELETE FROM outbox")


def test_eight_bits_stay_as_they_are(sending_site):
    raw = b'From: ann@one.org\r\nSubject: Gr\xfc\xdfe\r\nTo: "J\xc3\xb6rg" <j@x.org>\r\n\r\n'
    raw += bytes(range(1, 256)).replace(b"\r", b"") + b"\r\n"
    expected = raw.replace(b"\t\n\x0b", b"\t\r\n\x0b")
    assert send_mail(sending_site, message=base64.b64encode(raw).decode())["status"] == "ok"
    head, _, body = queued_data(sending_site)[0].partition(b"\r\n\r\n")
    assert expected.partition(b"\r\n\r\n")[2] == body and head.startswith(expected.partition(b"\r\n\r\n")[0])


def test_date_and_message_id_are_added_where_missing(sending_site):
    mail = sent_mail(sending_site, to=None, message="From: Ann <ann@one.org>\nTo: x@y.org\n\ntext")
    assert mail["Date"] and mail["Message-ID"].endswith("@one.org>") and text_of_part(mail) == "text\n"
    assert queued_data(sending_site)[-1].startswith(b"From: Ann <ann@one.org>\r\nTo: x@y.org\r\nDate: ")
    only_header = sent_mail(sending_site, message="From: ann@one.org")
    assert only_header["From"] == "ann@one.org" and only_header.get_payload() == ""


def test_envelope_of_a_ready_message_may_be_given(sending_site):
    assert send_mail(sending_site, sender="bounces@one.org", bcc="z@x.org", message=MESSAGE)["status"] == "ok"
    assert sending_site.sql(QUEUE_ROWS) == [(None, "bounces@one.org", "z@x.org")]
    assert b"To: a@x.org" in queued_data(sending_site)[0]
    several = "From: ann@one.org, bob@one.org\n{}To: x@y.org\n\n"
    assert refusal_of(sending_site, message=several.format("")) == "The message must be from one address."
    assert send_mail(sending_site, message=several.format("Sender: ann@one.org\n"))["status"] == "ok"
    assert sending_site.sql(QUEUE_ROWS)[-1][1] == "ann@one.org"


def test_lone_cr_and_lf_become_line_ends(sending_site):
    """One server's line end is another's blank: the way to smuggle a second mail past the first server."""
    body = "a\n.\nb\r.\rc\r\n.\n\r\nMAIL FROM:<x>\r\r\n"
    mail = sent_mail(sending_site, message=f"From: ann@one.org\nSubject: x\r\n\n{body}")
    body = b"\r\n\r\na\r\n.\r\nb\r\n.\r\nc\r\n.\r\n\r\nMAIL FROM:<x>\r\n\r\n"
    assert mail["Subject"] == "x" and queued_data(sending_site)[-1].endswith(body)


FROM = "From: ann@one.org\n"


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("text only", "The message has no header, and is not base64."),
        ("QUJD", "Not a header line: ABC."),
        ("Q", "The message has no header, and is not base64."),
        ("QQ==QQ==", "The message has no header, and is not base64."),
        ("Subject: x\nTo: a@b\n\n", "A message needs one From, and has one Sender at most."),
        (FROM + FROM + "\n", "A message needs one From, and has one Sender at most."),
        (FROM + "from : boss@one.org\n\n", "A message needs one From, and has one Sender at most."),
        (FROM + "Sender: a@b\nSender: c@d\n\n", "A message needs one From, and has one Sender at most."),
        ("\n" + FROM + "\n", "Not a header line: ."),
        (" folded\n" + FROM + "\n", "Not a header line:  folded."),
        ("From ann Mon Nov 2 2015\n" + FROM + "\n", "Not a header line: From ann Mon Nov 2 2015."),
        (FROM + "no\theader: here\n\n", "Not a header line: no\theader: here."),
        (FROM + "Sübject: x\n\n", "Not a header line: Sübject: x."),
        (FROM + "X: " + "x" * 996 + "\n\n", "The message has a line of more than 998 bytes."),
        (FROM + "\n" + "é" * 500, "The message has a line of more than 998 bytes."),
        (FROM + "X: y\n" * 60_000 + "\n", "The header of the message is too long: 262144 bytes at most."),
        (base64.b64encode(FROM.encode() + b"\n\0").decode(), "The message has a NUL byte."),
        (FROM + "To: a@x.org, nobody\n\n", "Not an address: nobody."),
        (FROM + "Cc: x\n\n", "Not an address: x."),
        (FROM + "Bcc: x\n\n", "Not an address: x."),
        ("From: Ann\nTo: a@b\n\n", "Not an address: Ann."),
        (base64.b64encode(FROM.encode() + b"To: \xff@x.org\n\n").decode(), "Not an address: \ufffd@x.org."),
        (FROM + "To: \x1b[2J@x.org\n\n", "A line break or control character in To."),
        (
            FROM + "Resent-To: b@x.org\nTo: a@x.org\n\n",
            "The message has Resent fields, so its recipients must be given.",
        ),
        (
            "From: " + ", ".join(f"a{n}@x.org" for n in range(11)) + "\nSender: a@b\nTo: x@y\n\n",
            "Too many authors: 10 at most.",
        ),
        (FROM + "\n", "No recipient is set."),
        (FROM + "To: nobody:;\n\n", "No recipient is set."),
    ],
)
def test_message_that_is_none_is_refused(sending_site, message, status):
    assert refusal_of(sending_site, message=message) == status


def test_sent_on_message_goes_to_whom_the_fields_name(sending_site):
    message = "Resent-From: ann@one.org\nResent-To: b@x.org\nResent-Bcc: s@x.org\nFrom: ann@one.org\nTo: a@x.org\n\nx"
    assert send_mail(sending_site, to="b@x.org", message=message)["status"] == "ok"
    assert (
        sending_site.sql(QUEUE_ROWS) == [(None, "ann@one.org", "b@x.org")]
        and b"s@x.org" not in queued_data(sending_site)[0]
    )
