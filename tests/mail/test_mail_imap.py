"""The mailbox of a mail server's users, over IMAP: a Dovecot's mail is read, flagged and deleted as SQLite's is."""

import json
import re
import subprocess

import pytest
from mailapi_modules.clients.imap import ImapConversation
from mailapi_modules.mail import imap_source, imap_validity

from support.imap_mailbox import BOB, DELIVERY_TRACE, ask_mailbox, listed_ids, make_letter
from support.instances import require_program
from support.mails import (
    ENCODED_HEADERS,
    LISTED_KEYS,
    PLAIN_MAIL,
    READ_KEYS,
    composed_mail,
    deliver,
    multipart,
    nested_multipart,
    part_of_type,
)
from support.site import Site, authdata

pytestmark = pytest.mark.every_engine


@pytest.fixture
def site(site_with_imap) -> Site:
    return site_with_imap


########## The same answers ########################################################################


MAILS = [
    DELIVERY_TRACE + PLAIN_MAIL,
    DELIVERY_TRACE + composed_mail(),
    make_letter(1),
    make_letter(2, b"In-Reply-To: <1@one.org>\r\n"),
    DELIVERY_TRACE + b"Subject: Gr\xfc\xdfe\r\nContent-Type: text/plain; charset=latin-1\r\n\r\nsch\xf6n\r\n",
    DELIVERY_TRACE + part_of_type(b"text/html", b"<p onclick=x>Hi <img src=http://else.example/a.png></p>"),
    DELIVERY_TRACE + multipart(b"\r\none", part_of_type(b"application/pdf", b"JVBERg==", b"base64")),
    make_letter(3, b"References: <2@one.org> <9@one.org>\r\n", b"needle \xe4 " * 50),
    make_letter(4, text=b"x" * 200_000),
]
# What a web client asks for, in this order; a mail is named by its place in MAILS.
SESSION = [
    ("unread_count", {}),
    ("get", {}),
    ("get&limit=3", {}),
    ("threads", {}),
    ("read", {"mail": 0}),
    ("read", {"mail": 0}),
    ("unread", {"mail": 0}),
    ("read", {"mail": 1}),
    ("parts", {"mail": 1}),
    ("html", {"mail": 1}),
    ("attachment", {"mail": 1, "part": 3}),
    ("attachment", {"mail": 1, "part": 99}),
    ("raw", {"mail": 4}),
    ("read", {"mail": 4}),
    ("html", {"mail": 5}),
    ("parts", {"mail": 6}),
    ("attachment", {"mail": 6, "part": 2}),
    ("read", {"mail": 8}),
    ("get", {"mail_only_unread": True}),
    ("unread_count", {}),
    ("search", {"subject": "grü"}),
    ("search", {"text": "NEEDLE"}),
    ("search", {"from": "ann"}),
    ("search&limit=2", {"unread": 1}),
    ("search", {"after": 1446400003, "before": 1446400006}),
    ("delete", {"mail": 2}),
    ("delete", {"mail": 2}),
    ("read", {"mail": 2}),
    ("unread", {"mail": 2}),
    ("threads&limit=1", {}),
    ("get", {}),
    ("unread_count", {}),
]


def told(site, source, ids_, action, **fields) -> str | bytes:
    """An answer with the places of mails for their ids, and `here` for the source; counts of 0 left out."""
    if "mail" in fields:
        fields |= {"mail_id": ids_[fields.pop("mail")], "mail_sourcedb": source}
    answer = ask_mailbox(site, action, **fields)
    if "file" in answer:
        return answer["file"]
    if "unread_counts" in answer:
        answer["unread_counts"] = {name: count for name, count in answer["unread_counts"].items() if count}
    shown = json.dumps(answer)
    for place, mail_id in enumerate(ids_):
        shown = re.sub(rf'("mail_id": |"next": "\d+ ){mail_id}\b', rf"\1m{place}", shown)
    return re.sub(rf'"{source}"| {source}"', '"here"', shown)


def test_a_web_clients_session_over_sqlite_and_over_imap(site, inbox, tmp_path):
    (tmp_path / "other").mkdir()
    other = Site(tmp_path / "other")
    other.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", BOB, authdata("test"))
    in_sqlite = [deliver(other, BOB, mail, str(1446400000 + n)) for n, mail in enumerate(MAILS)]
    over_imap = [inbox.add(mail, submission=1446400000 + n)[0] for n, mail in enumerate(MAILS)]
    for action, fields in SESSION:
        expected = told(other, "master", in_sqlite, action, **fields)
        assert told(site, "imap", over_imap, action, **fields) == expected, (action, fields)
    assert len(inbox.flags()) == len(MAILS) - 1


ODD = [
    b"\r\n",
    b"no header",
    b"\xff\xfe\x01",
    b":\r\n",
    b" leading\r\nSubject: s\r\n\r\n",
    nested_multipart(50),
    b"From a@b Mon\r\nSubject: s\r\n\r\nx",
    b"Subject : space\r\n\r\nx",
    b"Subject: " + b"x" * 70000 + b"\r\n\r\nbody",
    b"Subject: one\r\nSubject: two\r\n\r\n",
    b"Subject: a\r\n \r\n more\r\nTo: x\r\n\r\nbody",
]


def test_badly_made_mails_are_told_alike(site, inbox):
    """Both in one installation; only bytes that IMAP cannot carry (NUL, a bare CR) are not among these."""
    site.sql("INSERT INTO users (user_name) VALUES (?)", BOB)
    mails = ODD + [b"Subject: " + raw + b"\r\nx-other: 1\r\n\r\ntext" for raw, _ in ENCODED_HEADERS.values()]
    pairs = [{"imap": inbox.add(mail)[0], "master": deliver(site, BOB, mail)} for mail in mails]
    listed = {(m["mail_sourcedb"], m["mail_id"]): m for m in ask_mailbox(site, "get")["mails"]}
    for mail, pair in zip(mails, pairs):
        rows = [listed[item] for item in pair.items()]
        read = [
            ask_mailbox(site, "read", mail_id=id_, mail_sourcedb=name)["mail"] for name, id_ in pair.items()
        ]
        for name in ("mail_subject", "mail_from", "mail_to", "mail_date", "mail_body", "mail_data"):
            assert rows[0].get(name) == rows[1].get(name) and read[0].get(name) == read[1].get(name), (
                name,
                mail,
            )


def test_the_list_and_a_mail(site, inbox):
    (uid,) = inbox.add(DELIVERY_TRACE + PLAIN_MAIL)
    (entry,) = ask_mailbox(site, "get")["mails"]
    assert list(entry) == LISTED_KEYS
    assert list(entry.values()) == [
        uid,
        BOB,
        0,
        None,
        "bob@one.org",
        "ann@one.org",
        1446400000,
        None,
        "smtp",
        None,
        "Hello",
        "Ann <ann@one.org>",
        "bob@one.org",
        "Mon, 02 Nov 2015",
        "imap",
    ]
    mail = ask_mailbox(site, "read", mail_id=uid)["mail"]
    assert (
        list(mail) == READ_KEYS
        and mail["mail_body"] == "Text.\r\n"
        and mail["mail_data"].endswith(PLAIN_MAIL.decode())
    )
    assert mail["mail_read"] == 0 and ask_mailbox(site, "read", mail_id=uid)["mail"]["mail_read"] == 1


def test_without_a_trace_of_the_delivery_the_envelope_is_the_users(site, inbox):
    inbox.add(PLAIN_MAIL, b"Return-Path: <>\r\n\r\nDelivered-To: body@one.org\r\n")
    assert [(m["mail_envelopeto"], m["mail_envelopefrom"]) for m in ask_mailbox(site, "get")["mails"]] == [
        (BOB, "")
    ] * 2


########## What is changed #########################################################################


def test_only_read_marks_a_mail_as_read_and_no_other_flag_changes(site, inbox):
    (uid,) = inbox.add(composed_mail(), flags=r"(\Flagged $Label)")
    before = inbox.flags()
    for action, fields in (
        ("get", {}),
        ("raw", {}),
        ("parts", {}),
        ("attachment", {"part": 1}),
        ("html", {}),
        ("search", {"text": "grüße"}),
        ("threads", {}),
        ("unread_count", {}),
    ):
        assert ask_mailbox(site, action, mail_id=uid, **fields)["status"] == "ok"
    assert inbox.flags() == before == {uid: rb"$Label \Flagged"}
    ask_mailbox(site, "read", mail_id=uid)
    assert inbox.flags() == {uid: rb"$Label \Flagged \Seen"}
    assert ask_mailbox(site, "unread", mail_id=uid)["status"] == "ok" and inbox.flags() == before


def test_what_others_marked_as_deleted_is_not_shown_and_not_expunged(site, inbox):
    marked, wanted, kept = inbox.add(make_letter(1), make_letter(2), make_letter(3))
    inbox.imap.uid("STORE", str(marked), "+FLAGS.SILENT", r"(\Deleted)")
    assert {id_ for _, id_ in listed_ids(ask_mailbox(site, "get"))} == {wanted, kept}
    assert ask_mailbox(site, "unread_count")["unread_count"] == 2
    for action in ("read", "unread", "raw"):
        assert ask_mailbox(site, action, mail_id=marked)["status"] == "mail not found"
    assert ask_mailbox(site, "delete", mail_id=wanted)["status"] == "ok"
    assert inbox.flags() == {marked: rb"\Deleted", kept: b""}
    assert ask_mailbox(site, "delete", mail_id=wanted)["status"] == "mail not found"
    assert ask_mailbox(site, "delete", mail_id=marked)["status"] == "ok" and inbox.flags() == {kept: b""}


def test_a_server_that_cannot_expunge_one_mail_is_not_told_to_expunge_all(site, inbox, monkeypatch):
    monkeypatch.setattr(ImapConversation, "capability", lambda imap: ("OK", [b"IMAP4rev1"]))
    marked, wanted = inbox.add(make_letter(1), make_letter(2))
    inbox.imap.uid("STORE", str(marked), "+FLAGS.SILENT", r"(\Deleted)")
    assert (
        ask_mailbox(site, "delete", mail_id=wanted)["status"] == "ok"
        and ask_mailbox(site, "get")["mails"] == []
    )
    assert inbox.flags() == {marked: rb"\Deleted", wanted: rb"\Deleted"}


@pytest.mark.parametrize("mail_id", ["1:*", "*", "1,2", "1 (FLAGS)\r\nx DELETE INBOX", "1\r\n", True, [1]])
def test_no_id_is_more_than_one_mail(site, inbox, mail_id):
    inbox.add(make_letter(1), make_letter(2))
    before = inbox.flags()
    for action in ("delete", "unread", "read"):
        assert ask_mailbox(site, action, check=400, mail_id=mail_id)["status"] == "Invalid value for mail_id."
    assert inbox.flags() == before


@pytest.mark.parametrize("mail_id", [-1, 2**32, 2**32 - 1, 10**17])
def test_an_id_that_no_mail_has(site, inbox, mail_id):
    inbox.add(make_letter(1))
    before = inbox.flags()
    for action in ("delete", "unread", "read", "raw"):
        assert ask_mailbox(site, action, mail_id=mail_id, mail_sourcedb="imap")["status"] == "mail not found"
    assert inbox.flags() == before


def test_mails_that_go_while_they_are_listed_are_left_out(site, inbox, monkeypatch):
    uids = inbox.add(*map(make_letter, range(5)))
    keys = imap_source.ImapSource.keys

    def then_expunged(source, only_unread=False):
        found = keys(source, only_unread)
        inbox.imap.uid("STORE", f"{uids[1]},{uids[2]}", "+FLAGS.SILENT", r"(\Deleted)")
        inbox.imap.expunge()
        return found

    monkeypatch.setattr(imap_source.ImapSource, "keys", then_expunged)
    assert {id_ for _, id_ in listed_ids(ask_mailbox(site, "get"))} == {uids[0], uids[3], uids[4]}


########## Which ids ###############################################################################


def renumber(dovecot, uidvalidity: int):
    """The server gives bob's mails their UIDs anew."""
    subprocess.run(
        [
            require_program("doveadm"),
            "-c",
            dovecot.folder / "dovecot.conf",
            "mailbox",
            "update",
            "--uid-validity",
            str(uidvalidity),
            "-u",
            BOB,
            "INBOX",
        ],
        check=True,
        capture_output=True,
    )


def test_an_id_of_before_the_uids_were_given_anew_names_no_mail(site, inbox, dovecot):
    inbox.add(make_letter(1), make_letter(2))
    old = [id_ for _, id_ in listed_ids(ask_mailbox(site, "get"))]
    renumber(dovecot, 1000)
    for action in ("read", "unread", "delete", "raw"):
        assert ask_mailbox(site, action, mail_id=old[0])["status"] == "mail not found"
    new = [id_ for _, id_ in listed_ids(ask_mailbox(site, "get"))]
    assert len(new) == 2 and not set(old) & set(new) and max(new) < 2**53
    renumber(dovecot, 2000)
    renumber(dovecot, 1000)
    assert [id_ for _, id_ in listed_ids(ask_mailbox(site, "get"))] == new  # nobody looked meanwhile
    assert ask_mailbox(site, "delete", mail_id=new[0])["status"] == "ok"
    assert [id_ for _, id_ in listed_ids(ask_mailbox(site, "get"))] == new[1:] and len(inbox.flags()) == 1
    assert ask_mailbox(site, "read", mail_id=old[1])["status"] == "mail not found"


def test_a_deleted_users_row_goes(site, inbox):
    site("users/?add", user_name="dan@corp.org", user_authdata="test")
    assert ask_mailbox(site, "get", user="dan@corp.org")["status"] == "ok"

    def last_seen() -> list:
        with site.app.state.transaction("DEFERRED"):
            return site.app.state.column(imap_validity.LAST_SEEN, user="dan@corp.org")

    assert len(last_seen()) == 1
    assert site("users/?delete", user_name="dan@corp.org")["status"] == "ok"
    assert last_seen() == []
