"""mailbox/?send: who may send as whom, what is queued, and what is not a mail (docs/wire.md section 6)."""

import base64
import email
import email.policy
import json
import re
import subprocess
import sys
import time

import pytest

from support.outgoing import ROWS, data_of, let_send, send
from support.site import ROOT, Site, authdata

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]

RECORDED = ROOT / "tests/conformance/routing.jsonl"
SHARED = ROOT.parent / "shared/conformance/routing.jsonl"
TO = {"to": "x@else.example"}


@pytest.fixture
def ready(site) -> Site:
    return let_send(site)


def sent(site: Site, **fields) -> email.message.EmailMessage:
    """The mail that these fields queue, read by the standard library; it is what will go over the wire."""
    answer = send(site, **TO | fields)
    assert answer["status"] == "ok", answer["status"]
    data = data_of(site)[-1]
    lines = data.split(b"\r\n")
    assert lines[-1] == b"" and all(len(line) <= 998 and not set(line) & set(b"\r\n\0") for line in lines)
    return email.message_from_bytes(data, policy=email.policy.SMTPUTF8)


def content(part: email.message.EmailMessage) -> str:
    """The text of a part with the line ends that it was written with."""
    return part.get_content().replace("\r\n", "\n")


def refused(site: Site, user="ann", **fields) -> str:
    """The sentence for a mail that is not sent; nothing is queued."""
    before = site.dump()
    answer = send(site, user, **fields)
    assert site.dump() == before and "queue_ids" not in answer and answer["status"] != "ok"
    return answer["status"]


########## Who may send as whom ####################################################################


@pytest.mark.parametrize("file", [RECORDED, SHARED], ids=["selected", "all"])
def test_the_queue_is_as_the_smtp_daemon_left_it(tmp_path, file):
    """Every recorded decision about outgoing mail, sent through the API instead."""
    if not file.exists():
        pytest.skip("the recordings are not beside the project")
    seen = set()
    for number, scenario in enumerate(map(json.loads, file.read_text().splitlines())):
        (tmp_path / str(number)).mkdir()
        site = Site(tmp_path / str(number))
        for user in scenario["users"]:
            site.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", user, authdata("pw"))
        for row in scenario["addresses"]:
            site.sql("INSERT INTO addresses VALUES (?, ?, ?, ?)", *row)
        for row in scenario["smtpd"]:
            site.sql("INSERT INTO smtpd VALUES (?, ?, ?)", *row)
        for test in scenario["tests"]:
            if test["address_routing"] == "outrouter":
                answer = send(
                    site, test["smtpd_user"], sender=test["address_expression"], to=test["recipient"]
                )
                queued, decision = site.sql(ROWS), test["decision"]
                assert queued == ([tuple(decision["queued"].values())] if decision["queued"] else [])
                assert (answer["status"] == "ok") is decision["accepted"]
                assert len(answer.get("queue_ids", [])) == len(queued)
                site.sql("DELETE FROM outbox")
                seen.add((bool(queued), decision["accepted"]))
    assert seen == {(True, True), (False, True), (False, False)}


NONE, ANY = "Rejected: user ann may not send.", (None, "ann@one.org", "x@else.example")
ROUTERS = [  # router, route → the sentence or the row for a sender that stores to ann, and for one that does not
    (None, None, NONE, NONE),
    ("any", None, ANY, (None, "else@two.org", "x@else.example")),
    ("defined", None, ANY, "Rejected: else@two.org does not store to user ann (router defined)."),
    ("handoff", "mx.example", ("mx.example", *ANY[1:]), ("mx.example", "else@two.org", "x@else.example")),
    ("handoff", None, *["Rejected: the router handoff has no route."] * 2),
    ("reject", None, *["Rejected by the router reject."] * 2),
    ("drop", None, None, None),
    ("teleport", None, ANY, (None, "else@two.org", "x@else.example")),  # docs/wire.md F45
]


@pytest.mark.parametrize(("router", "route", "own", "foreign"), ROUTERS)
def test_out_router_of_the_caller_decides(either, router, route, own, foreign):
    let_send(either, router, route)
    for sender, expected in (("ann@one.org", own), ("else@two.org", foreign)):
        if isinstance(expected, str):
            assert refused(either, sender=sender, **TO) == expected
        else:
            answer = send(either, sender=sender, **TO)
            assert answer["status"] == "ok" and len(answer["queue_ids"]) == (expected is not None)
            assert either.sql(ROWS) == ([expected] if expected else [])
            either.sql("DELETE FROM outbox")


def test_row_is_as_the_schema_documents_it(ready):
    answer = send(ready, **TO, text="ü")
    ((mail_id, submission, submitter, kind),) = ready.sql(
        "SELECT mail_id, mail_submission, mail_submitter, typeof(mail_data) FROM outbox"
    )
    assert answer["queue_ids"] == [mail_id] and submitter == "ann" and kind == "text"
    assert abs(submission - time.time()) < 60 and type(submission) is int


def test_defined_counts_every_address_that_the_header_shows(either):
    let_send(either, "defined")
    message = "From: {}\nTo: x@else.example\n\ntext"
    assert send(either, message=message.format("ann@one.org"))["status"] == "ok"
    for header in (
        "boss@one.org",
        "Boss <boss@one.org>\nSender: ann@one.org",
        "ann@one.org\nSender: boss@one.org",
    ):
        sentence = "Rejected: boss@one.org does not store to user ann (router defined)."
        assert refused(either, sender="ann@one.org", message=message.format(header)) == sentence


def test_defined_knows_a_domain_in_either_spelling(site):
    let_send(site, "defined")
    for stored, sender in (
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ("ann@xn--tst-qla.org", "ann@täst.org"),
    ):
        site.sql("INSERT INTO addresses VALUES (?, NULL, 'store', 'ann')", stored)
        assert send(site, sender=sender, **TO)["status"] == "ok"
    assert site.sql("SELECT mail_envelopefrom FROM outbox ORDER BY mail_id") == [
        ("ann@xn--bcher-kva.example",),
        ("ann@xn--tst-qla.org",),
    ]


def test_permission_of_others_does_not_count(site):
    """An administrator may change who sends what; sending, they are a user like any other."""
    let_send(site, "any")
    for user in ("root", "dele"):
        assert refused(site, user, sender="ann@one.org", **TO) == f"Rejected: user {user} may not send."


@pytest.mark.parametrize(
    ("addresses", "default"),
    [
        (["ann@one.org"], "ann@one.org"),
        (["ann@one.org", "%@two.org"], "ann@one.org"),
        (["ann_lee@one.org"], "ann_lee@one.org"),
        (["ann@one.org", "ann@two.org"], None),
        (["%@one.org"], None),
        (["ann"], None),
        ([], None),
        (["ann@one.org", "ann"], "ann@one.org"),
        (["no address@one.org"], None),
    ],
)
def test_without_from_it_is_the_only_address_of_the_caller(site, addresses, default):
    site.sql("INSERT INTO smtpd VALUES ('ann', 'any', NULL)")
    for address in addresses:
        site.sql("INSERT INTO addresses VALUES (?, NULL, 'store', 'ann')", address)
    if default:
        assert sent(site)["From"] == default and site.sql(ROWS)[0][1] == default
    else:
        assert refused(site, **TO) in ("Say which address it is from.", "Not an address: no address@one.org.")


def test_without_from_it_is_the_address_that_is_the_users_name(site):
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES ('lee@one.org', ?)", authdata("pw"))
    site.sql("INSERT INTO smtpd VALUES ('lee@one.org', 'any', NULL)")
    for address in ("office@one.org", "lee@one.org"):
        site.sql("INSERT INTO addresses VALUES (?, NULL, 'store', 'lee@one.org')", address)
    assert send(site, "lee@one.org", **TO)["status"] == "ok" and site.sql(ROWS)[0][1] == "lee@one.org"


def test_local_recipient_is_queued_like_any_other(ready):
    """The dispatch daemon brings it to the SMTP daemon, whose in routers then decide."""
    ready.sql("INSERT INTO addresses VALUES ('bob@one.org', NULL, 'redirect', 'z@z.example')")
    assert send(ready, to="bob@one.org")["status"] == "ok"
    assert ready.sql(ROWS) == [(None, "ann@one.org", "bob@one.org")]


########## To whom #################################################################################


def test_each_recipient_has_a_row_once(ready):
    mail = sent(
        ready,
        to='A <a@x.org>, b@x.org, Team: c@x.org, "d e"@x.org;',
        cc=["B@X.org", "F <f@x.org>, g@x.org"],
        bcc="a@x.org, secret@x.org",
    )
    assert [to for _, _, to in ready.sql(ROWS)] == [
        "a@x.org",
        "b@x.org",
        "c@x.org",
        '"d e"@x.org',
        "f@x.org",
        "g@x.org",
        "secret@x.org",
    ]
    assert len(set(data_of(ready))) == 1 and b"secret" not in data_of(ready)[0] and mail["Bcc"] is None
    assert [str(g) for g in mail["To"].groups] == ["A <a@x.org>", "b@x.org", 'Team: c@x.org, "d e"@x.org;']
    assert str(mail["Cc"]) == "B@X.org, F <f@x.org>, g@x.org"


def test_nobody_learns_who_else_got_a_blind_copy(ready):
    assert sent(ready, to=None, bcc="a@x.org, b@x.org")["To"] == "undisclosed-recipients:;"
    assert str(sent(ready, to="friends and family:;", bcc="a@x.org")["To"]) == "friends and family:;"
    assert [to for _, _, to in ready.sql(ROWS)] == ["a@x.org", "b@x.org", "a@x.org"]


def test_addresses_of_the_world(ready):
    mail = sent(
        ready,
        sender='"Ann, Lee" <ann@one.org>',
        to='Jörg <j@bücher.example>, 用户@例子.广告, "x y"@straße.de',
    )
    assert [to for _, _, to in ready.sql(ROWS)] == [
        "j@xn--bcher-kva.example",
        "用户@xn--fsqu00a.xn--4rr70v",
        '"x y"@xn--strae-oqa.de',
    ]
    assert (
        mail["From"].addresses[0].display_name == "Ann, Lee"
        and mail["To"].addresses[0].display_name == "Jörg"
    )
    shown = [one.addr_spec.encode(errors="surrogateescape").decode() for one in mail["To"].addresses]
    assert shown == [to for _, _, to in ready.sql(ROWS)]
    assert "用户@xn--fsqu00a".encode() in data_of(ready)[0], "SMTPUTF8: the local part in UTF-8 (RFC 6532)"


@pytest.mark.parametrize("field", ["from", "to", "cc", "bcc", "reply_to"])
@pytest.mark.parametrize(
    "value",
    ["x", "a@b@c", "a@x.org; b@x.org", "<a@x.org", "a@x.org b", ["a@x.org", "b"], "Ann, Lee <a@x.org>"],
)
def test_what_is_no_address_is_named_and_nothing_queued(ready, field, value):
    assert re.fullmatch(r"Not an address: .+\.", refused(ready, **TO | {field: value}))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "Say to whom."),
        ({"to": ""}, "Say to whom."),
        ({"to": []}, "Say to whom."),
        ({"to": "nobody:;"}, "Say to whom."),
        ({"to": " , "}, "Say to whom."),
        ({"reply_to": "a@x.org"}, "Say to whom."),
        (TO | {"sender": "a@x.org, b@x.org"}, "Say which address it is from."),
        (TO | {"sender": "team: a@x.org;"}, "Say which address it is from."),
        (TO | {"message": "From: a@b\n\nx", "text": "y"}, "Give a message or its parts, not both."),
        (TO | {"message": "From: a@b\n\nx", "reply_to": "a@b"}, "Give a message or its parts, not both."),
    ],
)
def test_what_is_missing_is_told(ready, fields, status):
    assert refused(ready, **fields) == status


def test_all_recipients_or_none(ready):
    ready.sql(
        "CREATE TRIGGER t BEFORE INSERT ON outbox WHEN NEW.mail_envelopeto LIKE 'b@%'"
        " BEGIN SELECT RAISE(FAIL, 'full'); END"
    )
    assert refused(ready, to="a@x.org, b@x.org, c@x.org") == "full"


@pytest.mark.parametrize("form", [", ".join, list])
def test_recipients_have_a_limit(tmp_path, form):
    site = let_send(Site(tmp_path, max_recipients=3))
    people = [f"p{number}@x.org" for number in range(4)]
    assert refused(site, to=form(people)) == "Too many recipients: 3 at most."
    assert refused(site, to=form(people[:2]), bcc=form(people[2:])) == "Too many recipients: 3 at most."
    assert len(send(site, to=form(people[:3]), cc=form(people[:2]))["queue_ids"]) == 3


def test_100000_recipients_are_refused_at_once(ready):
    people = [f"p{number}@x.org" for number in range(100_000)]
    for to in (people[:50_000], ", ".join(people), "team: " + ", ".join(people) + ";"):
        assert refused(ready, to=to) == "Too many recipients: 100 at most."
    message = "From: a@b\nTo: " + ",\n ".join(people[:9000]) + "\n\n"
    assert refused(ready, message=message) == "Too many recipients: 100 at most."
    answer = ready(
        "mailbox/?send", user="ann", check=413, to=people
    )  # so many values of a list take too much memory
    assert answer["status"] == "Request body too large."


########## What is written #########################################################################


def test_text_alone(ready):
    mail = sent(
        ready, subject="Grüße aus Köln", text="Hallo Jörg,\n\n.\n\u20ac 5\n", reply_to="Ann <ann@two.org>"
    )
    assert mail["Subject"] == "Grüße aus Köln" and mail["Reply-To"] == "Ann <ann@two.org>"
    assert mail["MIME-Version"] == "1.0"
    assert content(mail) == "Hallo Jörg,\n\n.\n€ 5\n" and mail.get_content_type() == "text/plain"
    assert abs(mail["Date"].datetime.timestamp() - time.time()) < 60
    assert re.fullmatch(r"<[^<>\s]+@one\.org>", mail["Message-ID"])
    assert data_of(ready)[0].isascii(), "seven bits, so that no relay has to change it"
    assert sent(ready)["Message-ID"] != mail["Message-ID"]


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
def test_any_text_arrives_as_it_was_written(ready, text, form):
    mail = sent(ready, **{form: text})
    expected = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n") + "\n"
    assert mail.get_payload(decode=True).decode().replace("\r\n", "\n") == expected
    assert mail.get_content_subtype() == ("plain" if form == "text" else "html")
    assert all(len(line) <= 78 for line in data_of(ready)[-1].split(b"\r\n"))


def test_text_html_and_attachments(ready):
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
    mail = sent(ready, text="plain", html="<b>ü</b>", attachments=attachments)
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
def test_name_of_an_attachment_is_no_path(ready, given, kept):
    (part,) = sent(ready, attachments=[{"filename": given, "data": ""}]).iter_attachments()
    assert part.get_filename() == kept


def test_mail_is_forwarded_as_an_attachment(ready):
    original = "From: x@y\r\nSubject: ü\r\n\r\n" + "z" * 998 + "\r\nend"
    for raw in (original, original.replace("ü", "u")):
        data = base64.b64encode(raw.encode()).decode()
        attached = {"filename": "x.eml", "content_type": "message/rfc822", "data": data}
        (part,) = sent(ready, attachments=[attached]).iter_attachments()
        assert part["Content-Transfer-Encoding"] == ("7bit" if raw.isascii() else "8bit")
        outer = data_of(ready)[-1].partition(b"\r\n\r\n")[0]
        assert (b"Content-Transfer-Encoding: 8bit" in outer) is not raw.isascii()
        assert raw.encode() + b"\r\n--" in data_of(ready)[-1]
    data = base64.b64encode(b"x" * 999).decode()
    assert refused(ready, **TO, attachments=[{"content_type": "message/rfc822", "data": data}]) == (
        "The message has a line of more than 998 bytes."
    )


def test_answer_is_part_of_its_thread(ready):
    mail = sent(ready, in_reply_to="<c@x.org>", references="<a@x.org>\t<b@x.org>".replace("\t", " "))
    assert (mail["In-Reply-To"], mail["References"]) == ("<c@x.org>", "<a@x.org> <b@x.org> <c@x.org>")
    mail = sent(ready, in_reply_to="<a@x.org>", references="<a@x.org>")
    assert mail["References"] == "<a@x.org>"
    long = " ".join(f"<{'x' * 120}{number}@x.org>" for number in range(50))
    assert sent(ready, in_reply_to="<a@x.org>", references=long)["References"] == long + " <a@x.org>"
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
        assert re.fullmatch("Not a message id: .*[.]", refused(ready, **TO, in_reply_to=wrong), re.DOTALL)


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
def test_any_subject_arrives_as_it_was_written(ready, subject):
    mail = sent(ready, subject=subject)
    field = re.search(rb"Subject:.*?\r\n(?=\S)", data_of(ready)[-1], re.DOTALL)[0]
    assert all(len(line) <= 76 for line in field.split(b"\r\n"))
    raw = field.decode().removeprefix("Subject:").replace("\r\n", "").strip()
    assert str(email.header.make_header(email.header.decode_header(raw))) == subject.strip()
    assert mail["Subject"] is not None


def test_message_size_has_a_limit(tmp_path):
    site = let_send(Site(tmp_path, max_message=100_000, max_body=10_000))
    assert send(site, **TO, text="x" * 90_000)["status"] == "ok"
    assert (
        refused(site, **TO, text="a" * 70_000 + "=" * 16_000)
        == "The message is too large: 100000 bytes at most."
    )
    assert (
        site("mailbox/?send", user="ann", check=413, **TO, text="x" * 100_000)["status"]
        == "Request body too large."
    )
    people = [f"p{number}@x.org" for number in range(9)]
    assert refused(site, to=people, text="x" * 90_000) == "The message is too large for so many recipients."
    assert len(send(site, to=people[:8], text="x" * 90_000)["queue_ids"]) == 8
    assert site("users/?get", check=413, padding="x" * 10_000)["status"] == "Request body too large."


def test_a_large_body_may_hold_much_text_but_not_much_else(tmp_path):
    """30 MB of brackets would take a gigabyte of memory, whoever sends them."""
    site = let_send(Site(tmp_path, max_message=2_000_000, max_body=100_000))
    head, auth = b'{"to": "x@else.example", "text": "', b'", "auth": {"user_name": "ann", "password": "pw"}'
    for text in (b"x" * 1_000_000, b'\\"\\\\\\u00fc' * 90_000, "ü🎉".encode() * 150_000, b"a, [{:" * 150_000):
        assert site.raw("mailbox/?send", head + text + auth + b"}")["status"] == "ok"
        expected = json.loads(b'"' + text + b'"')
        mail = email.message_from_bytes(data_of(site)[-1], policy=email.policy.SMTP)
        assert content(mail).removesuffix("\n") == expected
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
    body, part = email.message_from_bytes(data_of(site)[-1], policy=email.policy.SMTP).iter_parts()
    assert part.get_payload(decode=True) == b"ABC" * 50_000 and content(body) == "Q" * 100_000


########## A ready message #########################################################################


MESSAGE = (
    "Received: by a\r\nFrom: Ann <ann@one.org>\r\nTo: a@x.org, T: b@x.org;\r\nCc: c@x.org\r\n"
    "Bcc: d@x.org,\r\n e@x.org\r\n"
    "subject:  odd   blanks\r\n folded\r\nX-Odd:\r\n y\r\nDate: Mon, 2 Nov 2015 10:00:00 +0000\r\n"
    "Message-ID: <1@one.org>\r\nbcc : f@x.org\r\nResent-Bcc: g@x.org\r\n\r\nText.\r\n.\r\n"
)


def test_ready_message_is_queued_as_it_is_without_bcc(ready):
    message = MESSAGE.replace("Resent-Bcc: g@x.org\r\n", "")
    for form in (message, base64.b64encode(message.encode()).decode(), message.replace("\r\n", "\n")):
        assert len(send(ready, message=form)["queue_ids"]) == 6
        assert [to for _, _, to in ready.sql(ROWS)] == [f"{letter}@x.org" for letter in "abcdef"]
        expected = re.sub(r"(?i)bcc ?:.*\r\n( .*\r\n)*", "", message)
        assert set(data_of(ready)) == {expected.encode()} and "d@x.org" not in expected
        ready.sql("DELETE FROM outbox")


def test_eight_bits_stay_as_they_are(ready):
    raw = b'From: ann@one.org\r\nSubject: Gr\xfc\xdfe\r\nTo: "J\xc3\xb6rg" <j@x.org>\r\n\r\n'
    raw += bytes(range(1, 256)).replace(b"\r", b"") + b"\r\n"
    expected = raw.replace(b"\t\n\x0b", b"\t\r\n\x0b")
    assert send(ready, message=base64.b64encode(raw).decode())["status"] == "ok"
    head, _, body = data_of(ready)[0].partition(b"\r\n\r\n")
    assert expected.partition(b"\r\n\r\n")[2] == body and head.startswith(expected.partition(b"\r\n\r\n")[0])


def test_date_and_message_id_are_added_where_missing(ready):
    mail = sent(ready, to=None, message="From: Ann <ann@one.org>\nTo: x@y.org\n\ntext")
    assert mail["Date"] and mail["Message-ID"].endswith("@one.org>") and content(mail) == "text\n"
    assert data_of(ready)[-1].startswith(b"From: Ann <ann@one.org>\r\nTo: x@y.org\r\nDate: ")
    only_header = sent(ready, message="From: ann@one.org")
    assert only_header["From"] == "ann@one.org" and only_header.get_payload() == ""


def test_envelope_of_a_ready_message_may_be_given(ready):
    assert send(ready, sender="bounces@one.org", bcc="z@x.org", message=MESSAGE)["status"] == "ok"
    assert ready.sql(ROWS) == [(None, "bounces@one.org", "z@x.org")]
    assert b"To: a@x.org" in data_of(ready)[0]
    several = "From: ann@one.org, bob@one.org\n{}To: x@y.org\n\n"
    assert refused(ready, message=several.format("")) == "Say which address it is from."
    assert send(ready, message=several.format("Sender: ann@one.org\n"))["status"] == "ok"
    assert ready.sql(ROWS)[-1][1] == "ann@one.org"


def test_lone_cr_and_lf_become_line_ends(ready):
    """One server's line end is another's blank: the way to smuggle a second mail past the first server."""
    body = "a\n.\nb\r.\rc\r\n.\n\r\nMAIL FROM:<x>\r\r\n"
    mail = sent(ready, message=f"From: ann@one.org\nSubject: x\r\n\n{body}")
    body = b"\r\n\r\na\r\n.\r\nb\r\n.\r\nc\r\n.\r\n\r\nMAIL FROM:<x>\r\n\r\n"
    assert mail["Subject"] == "x" and data_of(ready)[-1].endswith(body)


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
            "Say to whom: the message was sent before, and has Resent fields.",
        ),
        (
            "From: " + ", ".join(f"a{n}@x.org" for n in range(11)) + "\nSender: a@b\nTo: x@y\n\n",
            "Too many authors: 10 at most.",
        ),
        (FROM + "\n", "Say to whom."),
        (FROM + "To: nobody:;\n\n", "Say to whom."),
    ],
)
def test_message_that_is_none_is_refused(ready, message, status):
    assert refused(ready, message=message) == status


def test_sent_on_message_goes_to_whom_the_fields_name(ready):
    message = "Resent-From: ann@one.org\nResent-To: b@x.org\nResent-Bcc: s@x.org\nFrom: ann@one.org\nTo: a@x.org\n\nx"
    assert send(ready, to="b@x.org", message=message)["status"] == "ok"
    assert ready.sql(ROWS) == [(None, "ann@one.org", "b@x.org")] and b"s@x.org" not in data_of(ready)[0]


########## Hostile input ###########################################################################


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


@pytest.mark.parametrize("size", [0, 1, 2, 3, 56, 57, 58, 569_999, 570_000, 570_001, 1_140_000, 1_140_002])
def test_attachments_of_any_length(ready, size):
    raw = bytes(number % 251 for number in range(size))
    for data in (
        base64.b64encode(raw).decode(),
        base64.encodebytes(raw).decode(),
        base64.encodebytes(raw).decode().replace("\n", "\r\n"),
    ):
        (part,) = sent(ready, attachments=[{"data": data}]).iter_attachments()
        assert part.get_payload(decode=True) == raw
        ready.sql("DELETE FROM outbox")


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


########## Around it ###############################################################################


def test_audit_and_log_hold_nothing_of_the_mail(ready, caplog):
    with caplog.at_level("DEBUG"):
        send(
            ready,
            to="secret@x.org",
            subject="secret",
            text="secret",
            attachments=[{"filename": "secret", "data": "c2VjcmV0"}],
        )
        refused(ready, to="x@y", subject="secret\n")
    audit = ready("audit/?get", audit_action="send")["audit"]
    assert [entry["audit_status"] for entry in audit] == [
        "A line break or control character in subject.",
        "ok",
    ]
    assert "secret" not in json.dumps(audit) and "secret" not in caplog.text and "c2VjcmV0" not in caplog.text


def test_token_that_only_reads_sends_nothing(ready):
    token = ready("tokens/?add", user="ann", token_name="t", token_reads_only=1)["token"]
    answer = (
        ready.browser().post_json("/mailbox/?send", TO, headers={"Authorization": f"Bearer {token}"}).json
    )
    assert answer["status"] == "This token may only read." and data_of(ready) == []


def test_from_the_terminal(ready, tmp_path):
    config = tmp_path / "config.py"
    config.write_text(f"dbpath = {str(ready.dbpath)!r}\nmodulelist = {ready.config['modulelist']!r}\n")

    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "mailapi", "call", "--config", config, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )

    done = call(
        "mailbox",
        "send",
        "--as",
        "ann",
        "to=Bob <b@x.org>, c@x.org",
        "subject=[x] Grüße",
        "text={not JSON}",
        'attachments=[{"filename": "a", "data": "QUJD"}]',
    )
    assert json.loads(done.stdout) == {"status": "ok", "queue_ids": [1, 2]}, done.stderr
    mail = email.message_from_bytes(data_of(ready)[0], policy=email.policy.SMTP)
    assert mail["Subject"] == "[x] Grüße" and content(next(mail.iter_parts())) == "{not JSON}"
    assert ready.sql("SELECT DISTINCT mail_submitter FROM outbox") == [("ann",)]
    done = call("mailbox", "send", "to=b@x.org")
    assert json.loads(done.stdout)["status"] == "Say whose mailbox: --as USER." and done.returncode == 1
    done = call("queue", "delete", "--as", "ann", "mail_id=[1, 2]")
    assert json.loads(done.stdout) == {"status": "ok"} and data_of(ready) == []
