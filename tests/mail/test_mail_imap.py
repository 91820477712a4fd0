"""The mailbox of a mail server's users, over IMAP: a Dovecot's mail is read, flagged and deleted as SQLite's is."""

import concurrent.futures
import contextlib
import imaplib
import itertools
import json
import os
import re
import subprocess
import sys
import tracemalloc

import pytest
from mailapi_modules.clients.imap import ImapConversation
from mailapi_modules.mail import imap_source, imap_validity

import mailapi
from support import hostile
from support.command_line import run
from support.instances import free_port, need
from support.mails import (
    HEADERS,
    LISTED,
    PLAIN,
    SHOWN,
    composed,
    deliver,
    give_database,
    multipart,
    nested,
    typed,
)
from support.mariadb import TABLES, TEST, Database, mariadb  # noqa: F401
from support.servers import dovecot, public_folder  # noqa: F401
from support.site import OPTIONAL, ROOT, Site, authdata

pytestmark = pytest.mark.every_engine

BOB, CAROL = "bob@atmail.com", "carol@corp.org"
ACCOUNT = {"Account": OPTIONAL["Account"]}
NO_PASSWORD = (
    "The imap service cannot be used: it has no master credentials, and the user's password was not given."
)


class Inbox:
    """A user's INBOX as a mail program sees it."""

    def __init__(self, port, user=BOB):
        self.imap = imaplib.IMAP4("127.0.0.1", port)
        self.imap.login(user, "test")
        self.imap.select("INBOX")

    def empty(self):
        self.imap.uid("STORE", "1:*", "+FLAGS.SILENT", r"(\Deleted)")
        self.imap.expunge()

    def add(self, *mails: bytes, flags="", submission=1446400000) -> list[int]:
        """Mails at the end of the folder; their UIDs."""
        done = [self.imap.append("INBOX", flags, submission, mail)[1][0] for mail in mails]
        return [int(re.search(rb"APPENDUID \d+ (\d+)", said)[1]) for said in done]

    def flags(self) -> dict[int, bytes]:
        """What is there, and how it is flagged, but for \\Recent."""
        self.imap.select("INBOX")
        found = [
            re.search(rb"FLAGS \((.*?)\).*UID (\d+)|UID (\d+) FLAGS \((.*?)\)", line)
            for line in self.imap.uid("FETCH", "1:*", "(FLAGS)")[1]
            if line
        ]
        return {
            int(m[2] or m[3]): b" ".join(sorted(set((m[1] or m[4] or b"").split()) - {rb"\Recent"}))
            for m in found
        }


@pytest.fixture(scope="module")
def users(dovecot, mariadb):  # noqa: F811
    """A mail server's database with bob@atmail.com and carol@corp.org, whose password is `test`, and their Dovecot."""
    made = Database(mariadb)
    for statement in filter(str.strip, TABLES.split(";\n")):
        made.sql(statement)
    for number, name in enumerate((BOB, CAROL), 4):
        made.sql(
            "INSERT INTO accounts VALUES (%s, 1, %s, %s, 2, NOW(), NOW(), 0, '', NULL, NULL, NULL, NULL, NULL, 1,"
            " 0, 1, '', 1)",
            number,
            name,
            TEST,
        )
    with open(dovecot.folder / "users", "a") as file:
        file.write("".join(f"{name}:{{PLAIN}}test::::::\n" for name in (BOB, CAROL, "dan@corp.org")))
    yield made
    mariadb.sql(f"DROP DATABASE {made.name}")


@pytest.fixture
def make(tmp_path, users, dovecot):  # noqa: F811
    """An installation with such a mail server, its IMAP service set up as given."""

    def made(**imap) -> Site:
        setting = {k: v for k, v in (dovecot.setting["imap"] | imap).items() if v is not None}
        return Site(tmp_path, extra=ACCOUNT, mailserver=users.url, services={"imap": setting}, PROVISION=0)

    return made


@pytest.fixture
def site(make) -> Site:
    return make()


@pytest.fixture
def inbox(users, dovecot):  # noqa: F811
    """bob's INBOX, empty."""
    found = Inbox(dovecot.port)
    found.empty()
    yield found
    found.imap.logout()


def ask_mailbox(site, action, user=BOB, **fields) -> dict:
    return site(f"mailbox/?{action}", user=user, password="test", **fields)


def ids(answer) -> list[tuple]:
    assert answer["status"] == "ok", answer
    return [(mail["mail_sourcedb"], mail["mail_id"]) for mail in answer["mails"]]


########## The same answers ########################################################################


TRACE = b"Return-Path: <ann@one.org>\r\nDelivered-To: bob@one.org\r\n"


def letter(number, more=b"", text=b"Text.\r\n") -> bytes:
    return TRACE + b"Message-ID: <%d@one.org>\r\n%sSubject: No. %d\r\nFrom: Ann <ann@one.org>\r\n\r\n%s" % (
        number,
        more,
        number,
        text,
    )


MAILS = [
    TRACE + PLAIN,
    TRACE + composed(),
    letter(1),
    letter(2, b"In-Reply-To: <1@one.org>\r\n"),
    TRACE + b"Subject: Gr\xfc\xdfe\r\nContent-Type: text/plain; charset=latin-1\r\n\r\nsch\xf6n\r\n",
    TRACE + typed(b"text/html", b"<p onclick=x>Hi <img src=http://else.example/a.png></p>"),
    TRACE + multipart(b"\r\none", typed(b"application/pdf", b"JVBERg==", b"base64")),
    letter(3, b"References: <2@one.org> <9@one.org>\r\n", b"needle \xe4 " * 50),
    letter(4, text=b"x" * 200_000),
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
    nested(50),
    b"From a@b Mon\r\nSubject: s\r\n\r\nx",
    b"Subject : space\r\n\r\nx",
    b"Subject: " + b"x" * 70000 + b"\r\n\r\nbody",
    b"Subject: one\r\nSubject: two\r\n\r\n",
    b"Subject: a\r\n \r\n more\r\nTo: x\r\n\r\nbody",
]


def test_badly_made_mails_are_told_alike(site, inbox):
    """Both in one installation; only bytes that IMAP cannot carry (NUL, a bare CR) are not among these."""
    site.sql("INSERT INTO users (user_name) VALUES (?)", BOB)
    mails = ODD + [b"Subject: " + raw + b"\r\nx-other: 1\r\n\r\ntext" for raw, _ in HEADERS.values()]
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
    (uid,) = inbox.add(TRACE + PLAIN)
    (entry,) = ask_mailbox(site, "get")["mails"]
    assert list(entry) == LISTED
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
        list(mail) == SHOWN
        and mail["mail_body"] == "Text.\r\n"
        and mail["mail_data"].endswith(PLAIN.decode())
    )
    assert mail["mail_read"] == 0 and ask_mailbox(site, "read", mail_id=uid)["mail"]["mail_read"] == 1


def test_without_a_trace_of_the_delivery_the_envelope_is_the_users(site, inbox):
    inbox.add(PLAIN, b"Return-Path: <>\r\n\r\nDelivered-To: body@one.org\r\n")
    assert [(m["mail_envelopeto"], m["mail_envelopefrom"]) for m in ask_mailbox(site, "get")["mails"]] == [
        (BOB, "")
    ] * 2


########## What is changed #########################################################################


def test_only_read_marks_a_mail_as_read_and_no_other_flag_changes(site, inbox):
    (uid,) = inbox.add(composed(), flags=r"(\Flagged $Label)")
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
    marked, wanted, kept = inbox.add(letter(1), letter(2), letter(3))
    inbox.imap.uid("STORE", str(marked), "+FLAGS.SILENT", r"(\Deleted)")
    assert {id_ for _, id_ in ids(ask_mailbox(site, "get"))} == {wanted, kept}
    assert ask_mailbox(site, "unread_count")["unread_count"] == 2
    for action in ("read", "unread", "raw"):
        assert ask_mailbox(site, action, mail_id=marked)["status"] == "mail not found"
    assert ask_mailbox(site, "delete", mail_id=wanted)["status"] == "ok"
    assert inbox.flags() == {marked: rb"\Deleted", kept: b""}
    assert ask_mailbox(site, "delete", mail_id=wanted)["status"] == "mail not found"
    assert ask_mailbox(site, "delete", mail_id=marked)["status"] == "ok" and inbox.flags() == {kept: b""}


def test_a_server_that_cannot_expunge_one_mail_is_not_told_to_expunge_all(site, inbox, monkeypatch):
    monkeypatch.setattr(ImapConversation, "capability", lambda imap: ("OK", [b"IMAP4rev1"]))
    marked, wanted = inbox.add(letter(1), letter(2))
    inbox.imap.uid("STORE", str(marked), "+FLAGS.SILENT", r"(\Deleted)")
    assert (
        ask_mailbox(site, "delete", mail_id=wanted)["status"] == "ok"
        and ask_mailbox(site, "get")["mails"] == []
    )
    assert inbox.flags() == {marked: rb"\Deleted", wanted: rb"\Deleted"}


@pytest.mark.parametrize("mail_id", ["1:*", "*", "1,2", "1 (FLAGS)\r\nx DELETE INBOX", "1\r\n", True, [1]])
def test_no_id_is_more_than_one_mail(site, inbox, mail_id):
    inbox.add(letter(1), letter(2))
    before = inbox.flags()
    for action in ("delete", "unread", "read"):
        assert ask_mailbox(site, action, check=400, mail_id=mail_id)["status"] == "Invalid value for mail_id."
    assert inbox.flags() == before


@pytest.mark.parametrize("mail_id", [-1, 2**32, 2**32 - 1, 10**17])
def test_an_id_that_no_mail_has(site, inbox, mail_id):
    inbox.add(letter(1))
    before = inbox.flags()
    for action in ("delete", "unread", "read", "raw"):
        assert ask_mailbox(site, action, mail_id=mail_id, mail_sourcedb="imap")["status"] == "mail not found"
    assert inbox.flags() == before


def test_mails_that_go_while_they_are_listed_are_left_out(site, inbox, monkeypatch):
    uids = inbox.add(*map(letter, range(5)))
    keys = imap_source.ImapSource.keys

    def then_expunged(source, only_unread=False):
        found = keys(source, only_unread)
        inbox.imap.uid("STORE", f"{uids[1]},{uids[2]}", "+FLAGS.SILENT", r"(\Deleted)")
        inbox.imap.expunge()
        return found

    monkeypatch.setattr(imap_source.ImapSource, "keys", then_expunged)
    assert {id_ for _, id_ in ids(ask_mailbox(site, "get"))} == {uids[0], uids[3], uids[4]}


########## Which ids ###############################################################################


def renumber(dovecot, uidvalidity: int):  # noqa: F811
    """The server gives bob's mails their UIDs anew."""
    subprocess.run(
        [
            need("doveadm"),
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


def test_an_id_of_before_the_uids_were_given_anew_names_no_mail(site, inbox, dovecot):  # noqa: F811
    inbox.add(letter(1), letter(2))
    old = [id_ for _, id_ in ids(ask_mailbox(site, "get"))]
    renumber(dovecot, 1000)
    for action in ("read", "unread", "delete", "raw"):
        assert ask_mailbox(site, action, mail_id=old[0])["status"] == "mail not found"
    new = [id_ for _, id_ in ids(ask_mailbox(site, "get"))]
    assert len(new) == 2 and not set(old) & set(new) and max(new) < 2**53
    renumber(dovecot, 2000)
    renumber(dovecot, 1000)
    assert [id_ for _, id_ in ids(ask_mailbox(site, "get"))] == new  # nobody looked meanwhile
    assert ask_mailbox(site, "delete", mail_id=new[0])["status"] == "ok"
    assert [id_ for _, id_ in ids(ask_mailbox(site, "get"))] == new[1:] and len(inbox.flags()) == 1
    assert ask_mailbox(site, "read", mail_id=old[1])["status"] == "mail not found"


def test_a_deleted_users_row_goes(site, inbox):
    site("users/?add", user_name="dan@corp.org", user_authdata="test")
    assert ask_mailbox(site, "get", user="dan@corp.org")["status"] == "ok"

    def last_seen() -> list:
        with site.app.state.transaction("DEFERRED"):
            return site.app.state.column(imap_validity.LAST_SEEN, user="dan@corp.org")

    assert last_seen() == ["dan@corp.org"]
    assert site("users/?delete", user_name="dan@corp.org")["status"] == "ok"
    assert last_seen() == []


########## Whose mail, and where it is #############################################################


def test_everybody_has_their_own(site, inbox, dovecot):  # noqa: F811
    (uid,) = inbox.add(letter(1))
    before = inbox.flags()
    carols = Inbox(dovecot.port, CAROL)
    carols.empty()
    assert ask_mailbox(site, "get", user=CAROL, mail_user=BOB)["mails"] == []
    for action in ("read", "unread", "delete", "raw"):
        assert ask_mailbox(site, action, user=CAROL, mail_id=uid, mail_user=BOB)["status"] == "mail not found"
    for user in ("root", "dele", "ann"):
        for source in ({}, {"mail_sourcedb": "imap"}):
            answer = site("mailbox/?read", user=user, mail_id=uid, **source)
            assert answer["status"] == "mail not found"
    assert inbox.flags() == before
    carols.imap.logout()


def test_a_session_and_a_token_need_the_master_credentials(make, inbox):
    inbox.add(letter(1))
    with_master = make()
    browser = with_master.browser()
    browser.post_json("/", {"auth": {"user_name": BOB, "password": "test"}})
    assert len(ids(browser.post_json("/mailbox/?get").json)) == 1
    token = browser.post_json("/tokens/?add", {"token_name": "script"}).json["token"]
    by_token = with_master.browser(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert len(ids(by_token.post_json("/mailbox/?get").json)) == 1
    imap = with_master.config["services"]["imap"]["url"]
    browser.app = mailapi.create_app(with_master.config | {"services": {"imap": imap}})
    answer = browser.post_json("/mailbox/?get").json
    assert (answer["status"], answer["warning"], answer["mails"]) == ("warning", NO_PASSWORD, [])
    assert browser.post_json("/mailbox/?delete", {"mail_id": 1}).json["status"] == NO_PASSWORD
    auth = {"auth": {"user_name": BOB, "password": "test"}}
    assert len(ids(browser.post_json("/mailbox/?get", auth).json)) == 1


def test_from_the_terminal(make, inbox, tmp_path):
    inbox.add(letter(1))
    config = "\n".join(f"{key} = {value!r}" for key, value in make().config.items())
    (tmp_path / "config.py").write_text(config)
    answer = json.loads(run(tmp_path, "call", "--as", BOB, "mailbox", "get"))
    assert [mail["mail_subject"] for mail in answer["mails"]] == ["No. 1"]


def test_without_a_source_only_imap_is_changed_and_read_looks_there_first(site, inbox):
    site.sql("INSERT INTO users (user_name) VALUES (?)", BOB)
    (uid,) = inbox.add(letter(1))
    deliver(site, BOB, mail_id=uid, mail_read=1)
    deliver(site, BOB, mail_id=uid + 1, mail_read=1)
    before = site.dump()
    assert ask_mailbox(site, "read", mail_id=uid)["mail"]["mail_sourcedb"] == "imap"
    assert ask_mailbox(site, "read", mail_id=uid + 1)["mail"]["mail_sourcedb"] == "master"
    assert (
        ask_mailbox(site, "unread", mail_id=uid)["status"]
        == ask_mailbox(site, "delete", mail_id=uid)["status"]
        == "ok"
    )
    for action in ("delete", "unread"):  # once more: it is not the master's mail of that id that is meant
        assert ask_mailbox(site, action, mail_id=uid)["status"] == "mail not found"
    assert site.dump() == before and inbox.flags() == {}
    assert (
        ask_mailbox(site, "delete", mail_id=uid, mail_sourcedb="master")["status"] == "ok"
        and site.dump() != before
    )


def test_all_places_are_listed_together(site, inbox):
    site.sql("INSERT INTO users (user_name) VALUES (?)", BOB)
    path = give_database(site, BOB)
    (uid,) = inbox.add(letter(1, b"In-Reply-To: <m@x>\r\n"), submission=1446400002)
    deliver(site, BOB, b"Message-ID: <m@x>\r\n\r\n", "1446400001")
    deliver(path, BOB, PLAIN, "1446400003")
    assert ids(ask_mailbox(site, "get")) == [("user", 1), ("imap", uid), ("master", 1)]
    assert ask_mailbox(site, "unread_count")["unread_counts"] == {"master": 1, "user": 1, "imap": 1}
    threads = [
        [m["mail_sourcedb"] for m in thread["mails"]] for thread in ask_mailbox(site, "threads")["threads"]
    ]
    assert threads == [["user"], ["master", "imap"]]
    first = ask_mailbox(site, "search&limit=2")
    assert ids(first) == [("user", 1), ("imap", uid)]
    assert ids(ask_mailbox(site, "search", next=first["next"])) == [("master", 1)]


########## How long, how much ######################################################################


def fill(dovecot, count: int):  # noqa: F811
    """Many mails at once, as files of the Maildir."""
    folder = dovecot.folder / "home" / BOB / "Maildir/cur"
    owner = folder.stat()
    for number in range(count):
        path = folder / f"{1446400000 + number}.M{number}P1.host:2,"
        path.write_bytes(letter(number, text=b"x" * 2000))
        os.chown(path, owner.st_uid, owner.st_gid)


def test_a_full_folder_is_listed_in_few_exchanges_and_one_log_in(site, inbox, dovecot, monkeypatch):  # noqa: F811
    count = 3000
    fill(dovecot, count)
    said, conversation = [], ImapConversation
    send = conversation.send
    monkeypatch.setattr(conversation, "send", lambda imap, data: said.append(data) or send(imap, data))
    for action, most in (
        ("get", count / 100 + 9),
        ("get&limit=50", 9),
        ("threads", 2 * count / 100 + 9),
        ("search", 2 * 100 / 100 + 9),
        ("unread_count", 9),
    ):
        del said[:]
        answer = ask_mailbox(site, action)
        assert answer["status"] == "ok"
        assert len(said) <= most and sum(b"AUTHENTICATE" in line for line in said) == 1, action
    assert len(ask_mailbox(site, "get")["mails"]) == count and answer["unread_count"] == count


def test_news_of_all_mails_in_the_middle_of_a_list_do_no_harm(site, inbox, dovecot, monkeypatch):  # noqa: F811
    fill(dovecot, 2000)
    keys = imap_source.ImapSource.keys

    def then_flagged(source, only_unread=False):
        found = keys(source, only_unread)
        inbox.imap.select("INBOX")
        inbox.imap.uid("STORE", "1:*", "+FLAGS.SILENT", r"(\Flagged a-label another-label)")
        return found

    monkeypatch.setattr(imap_source.ImapSource, "keys", then_flagged)
    assert len(ids(ask_mailbox(site, "get&limit=2"))) == 2


def test_of_a_large_mail_no_more_is_read_than_needed(site, inbox):
    (uid,) = inbox.add(letter(1, text=b"needle " + b"x" * 76 * 400_000))
    ask_mailbox(site, "get")
    tracemalloc.start()
    try:
        assert (
            ids(ask_mailbox(site, "get")) == [("imap", uid)]
            and tracemalloc.get_traced_memory()[1] < 2_000_000
        )
        assert ids(ask_mailbox(site, "search", text="needle")) == [("imap", uid)]
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert len(ask_mailbox(site, "raw", mail_id=uid)["file"]) > 30_000_000


def test_a_mail_that_is_too_large_is_not_read(site, inbox, monkeypatch):
    monkeypatch.setattr(imap_source, "MAX_MAIL", 1000)
    (uid,) = inbox.add(letter(1, text=b"x" * 2000))
    for action in ("read", "raw"):
        assert (
            ask_mailbox(site, action, mail_id=uid)["status"]
            == "The mail is too large to be read: 1000 bytes at most."
        )
    assert inbox.flags() == {uid: b""} and len(ids(ask_mailbox(site, "get"))) == 1


def test_more_requests_than_turns(site, inbox):
    inbox.add(*map(letter, range(20)))
    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: ask_mailbox(site, "get"), range(36)))
    assert {len(ids(answer)) for answer in answers} == {20}


########## When it is not there ####################################################################


def speaking(*replies: bytes):
    """Greets, and answers each line with the next of the replies, TAG in it replaced; then says nothing more."""

    def behave(connection):
        yield b"* OK hello\r\n", 0
        tag = b""
        with connection.makefile("rb") as lines:
            for reply in (b"* CAPABILITY IMAP4rev1\r\nTAG OK done\r\n", *replies):
                line = lines.readline()
                tag = line.split()[0] if b" " in line else tag
                if reply is CLOSES:
                    return
                yield reply.replace(b"TAG", tag), 0
        yield from itertools.repeat((b"", 0.1))

    return behave


CLOSES = b""
IN = (b"+ \r\n", b"TAG OK done\r\n")
OPEN = (*IN, b"* 2 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\nTAG OK done\r\n")
LIST = b'* 1 FETCH (UID 1 FLAGS () INTERNALDATE "01-Nov-2015 17:46:40 +0000")\r\n'
SAYS_NO, LATE = "it refused", "it did not answer in time"
TROUBLE = {
    "silent": (hostile.silent, LATE),
    "dripping": (hostile.dripping, None),
    "no line": (hostile.endless_line, None),
    "log-in refused": (speaking(b"+ \r\n", b"TAG NO \x1b[2J secret\r\n"), "it refused the log-in"),
    "log-in hangs": (speaking(b"+ \r\n"), LATE),
    "INBOX refused": (speaking(*IN, b"TAG NO [SERVERBUG] \x1b[2J no\r\n"), "it refused INBOX"),
    "INBOX hangs": (speaking(*IN), LATE),
    "INBOX closes": (speaking(*IN, CLOSES), None),
    "no UIDVALIDITY": (speaking(*IN, b"* 1 EXISTS\r\nTAG OK done\r\n"), "it refused INBOX"),
    "list hangs": (speaking(*OPEN), LATE),
    "list stops": (speaking(*OPEN, LIST), LATE),
    "list refused": (speaking(*OPEN, b"TAG BAD what\r\n"), None),
    "mails hang": (speaking(*OPEN, LIST + b"TAG OK done\r\n"), LATE),
    "mails close": (speaking(*OPEN, LIST + b"TAG OK done\r\n", CLOSES), None),
    "mails refused": (speaking(*OPEN, LIST + b"TAG OK done\r\n", b"TAG NO [CORRUPTION] x\r\n"), SAYS_NO),
    "a mail without end": (
        speaking(*OPEN, LIST + b"TAG OK done\r\n", b"* 1 FETCH (UID 1 BODY[] {99999999999}\r\n"),
        None,
    ),
    "nonsense": (hostile.saying(b"* OK {\r\n* 1 FETCH\r\n", b"\0\xff\r\n"), None),
}


@pytest.fixture
def broken(make):
    """An installation whose IMAP service behaves like that; bob has a mail in the master database."""

    @contextlib.contextmanager
    def made(behave):
        with hostile.server(behave) as port:
            site = make(url=f"imap://127.0.0.1:{port}")
            site.sql("INSERT INTO users (user_name) VALUES (?)", BOB)
            deliver(site, BOB)
            yield site

    return made


NEWS = b"* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n* 1 FETCH (FLAGS ())\r\n"
SIZE = b"* 3 FETCH (UID 3 RFC822.SIZE 30 FLAGS ())\r\n"
WHOLE = (
    b'* 3 FETCH (UID 3 FLAGS () BODY[] "Subject: \\"third\\"" INTERNALDATE "01-Nov-2015 17:46:40 +0000")\r\n'
)
DONE = b"TAG OK done\r\n"


@pytest.mark.parametrize(
    ("replies", "answered"),
    [
        ([NEWS + DONE], {"status": "mail not found"}),
        ([NEWS + SIZE + DONE, NEWS + DONE], {"status": "mail not found"}),
        ([NEWS + SIZE + DONE, NEWS + WHOLE + NEWS + DONE], {"file": b'Subject: "third"'}),
    ],
    ids=["gone", "going", "there"],
)
def test_news_of_another_mail_is_not_taken_for_the_one_asked_for(broken, replies, answered):
    with broken(speaking(*OPEN, *replies)) as site:
        answer = ask_mailbox(site, "raw", mail_id=3, mail_sourcedb="imap")
    assert answer.items() >= answered.items()


@pytest.mark.parametrize("trouble", TROUBLE)
def test_the_other_places_answer_and_the_reason_is_told_in_time(broken, trouble):
    behave, why = TROUBLE[trouble]
    with broken(behave) as site:
        browser = site.browser()
        browser.post_json("/", {"auth": {"user_name": BOB, "password": "test"}})
        answer = browser.post_json("/mailbox/?get").json
    assert (trouble, answer["status"], ids(answer | {"status": "ok"})) == (
        trouble,
        "warning",
        [("master", 1)],
    )
    assert answer["warning"].startswith("The imap service cannot be used: " + (why or "")), answer["warning"]
    assert (
        answer["warning"].isprintable() and len(answer["warning"]) < 300 and "secret" not in answer["warning"]
    )


def test_every_action_says_so_when_it_is_down(make):
    site = make(url=f"imap://127.0.0.1:{free_port()}")
    site.sql("INSERT INTO users (user_name) VALUES (?)", BOB)
    deliver(site, BOB)
    down = "The imap service cannot be used: Connection refused."
    for action, key, there in (
        ("get", "mails", 1),
        ("search", "mails", 1),
        ("threads", "threads", 1),
        ("unread_count", "unread_counts", 1),
    ):
        answer = ask_mailbox(site, action)
        assert (answer["status"], answer["warning"], len(answer[key])) == ("warning", down, there)
    answer = ask_mailbox(site, "read", mail_id=1)
    assert (answer["warning"], answer["mail"]["mail_sourcedb"]) == (down, "master")
    before = site.dump()
    for action in ("unread", "delete"):
        assert ask_mailbox(site, action, mail_id=1)["status"] == down
    for action in ("read", "raw", "parts", "html", "unread", "delete"):
        assert ask_mailbox(site, action, mail_id=1, mail_sourcedb="imap")["status"] == down
        assert ask_mailbox(site, action, mail_id=2)["status"] == down
    assert site.dump() == before


def test_two_places_out_of_reach_are_both_named(make):
    site = make(url=f"imap://127.0.0.1:{free_port()}")
    site.sql("INSERT INTO users (user_name, user_database) VALUES (?, '/nowhere/x')", BOB)
    assert ask_mailbox(site, "get")["warning"] == (
        f"Cannot open userdb from user: {BOB} The imap service cannot be used: Connection refused."
    )


NO_NAME, NO_LOG_IN = "it takes no such user name", "it refused the log-in"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ('o"b\\x@corp.org', NO_NAME),  # a path or a pattern, to some server
        ("a*b@corp.org", NO_NAME),
        ("%@corp.org", NO_NAME),
        ('o"b@corp.org', NO_LOG_IN),
        ("jörg@corp.org", NO_LOG_IN),
        ("{5}@corp.org", NO_LOG_IN),
    ],
)
def test_a_name_is_never_part_of_a_command(site, users, name, why):
    users.sql(
        "INSERT INTO accounts SELECT NULL, 1, %s, password, 1, dateModified, dateCreate, 0, '', NULL, NULL, NULL,"
        " NULL, NULL, 1, 0, 1, '', 1 FROM accounts WHERE accountId = 4",
        name,
    )
    answer = ask_mailbox(site, "get", user=name)
    assert (answer["status"], answer["warning"]) == (
        "warning",
        f"The imap service cannot be used: {why}.",
    )


########## Where nothing of it is configured #######################################################


LOADED = """
import sys, mailapi
app = mailapi.create_app({config!r})
print([m for m in sys.modules if m == "imaplib" or m.startswith(("mailapi_modules.mail.imap", "mailapi_modules.clients"))],
      app.modules["mailbox"].state_schema)
"""


def test_nothing_is_loaded_without_mailserver_and_imap(site, tmp_path):
    def loaded(**changed):
        config = {key: value for key, value in (site.config | changed).items() if value}
        return subprocess.run(
            [sys.executable, "-c", LOADED.format(config=config)],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout.strip()

    assert loaded(modulelist={"Mailbox": "modules/mailbox.py"}, mailserver="") == "[]"
    assert loaded(modulelist={"Mailbox": "modules/mailbox.py"}, services={}) == "[]"
    assert "imap_source" in loaded()


@pytest.mark.parametrize("given", [{"mailserver": ""}, {"services": {}}])
def test_without_them_imap_is_no_source(make, given):
    site = make()
    app = mailapi.create_app(site.config | given)
    browser = site.browser()
    browser.app = app
    fields = {"auth": {"user_name": "bob", "password": "pw"}, "mail_id": 1, "mail_sourcedb": "imap"}
    answer = browser.post_json("/mailbox/?read", fields, status=400).json
    assert answer["status"] == "Invalid value for mail_sourcedb."


def test_who_is_not_the_mail_servers_is_not_looked_for_there(make):
    site = make(url=f"imap://127.0.0.1:{free_port()}")
    deliver(site, "bob")
    assert ids(site("mailbox/?get", user="bob")) == [("master", 1)]


def test_services_act_for_nobody_whom_the_mail_server_has_under_another_name(tmp_path, users, dovecot):  # noqa: F811
    """A user BOB@… of the API alone, and a server that takes capitals for small letters."""
    modules = ACCOUNT | {"Service": "modules/services.py"}
    site = Site(tmp_path, extra=modules, mailserver=users.url, services=dovecot.setting, PROVISION=0)
    other = BOB.upper()
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", other, authdata("test"))
    assert site("services/?quota", user=BOB, password="test")["status"] in (
        "ok",
        "The imap service keeps no quotas.",
    )
    for action, fields in (("quota", {}), ("sieve_list", {}), ("sieve_delete", {"script_name": "x"})):
        refused = site(f"services/?{action}", user=other, password="test", **fields)
        assert refused["status"] == "The mail server does not know this user." and refused["login"] is True
