"""The mailbox of a mail server's users, over IMAP from a Dovecot."""

import imaplib
import itertools
import os
import re

import pytest

from support.mariadb import HASH_OF_TEST, MAILSERVER_TABLES, Database
from support.site import OPTIONAL, Site

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
        """Delete all mails."""
        self.imap.uid("STORE", "1:*", "+FLAGS.SILENT", r"(\Deleted)")
        self.imap.expunge()

    def add(self, *mails: bytes, flags="", submission=1446400000) -> list[int]:
        """Add mails at the end of the folder; return their UIDs."""
        done = [self.imap.append("INBOX", flags, submission, mail)[1][0] for mail in mails]
        return [int(re.search(rb"APPENDUID \d+ (\d+)", said)[1]) for said in done]

    def flags(self) -> dict[int, bytes]:
        """Return UID → flags of every mail, but for \\Recent."""
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


@pytest.fixture(scope="session")
def imap_users(dovecot, mariadb):
    """A mail server's database with bob@atmail.com and carol@corp.org, whose password is `test`, and their Dovecot."""
    made = Database(mariadb)
    for statement in filter(str.strip, MAILSERVER_TABLES.split(";\n")):
        made.sql(statement)
    for number, name in enumerate((BOB, CAROL), 4):
        made.sql(
            "INSERT INTO accounts VALUES (%s, 1, %s, %s, 2, NOW(), NOW(), 0, '', NULL, NULL, NULL, NULL, NULL, 1,"
            " 0, 1, '', 1)",
            number,
            name,
            HASH_OF_TEST,
        )
    with open(dovecot.folder / "users", "a") as file:
        file.write("".join(f"{name}:{{PLAIN}}test::::::\n" for name in (BOB, CAROL, "dan@corp.org")))
    yield made
    mariadb.sql(f"DROP DATABASE {made.name}")


@pytest.fixture
def make_imap_site(tmp_path, imap_users, dovecot):
    """Return a function that makes a site with that mail server and IMAP service; its arguments change the setting."""

    def made(**imap) -> Site:
        setting = {k: v for k, v in (dovecot.setting["imap"] | imap).items() if v is not None}
        return Site(
            tmp_path, extra=ACCOUNT, mailserver=imap_users.url, services={"imap": setting}, PROVISION=0
        )

    return made


@pytest.fixture
def site_with_imap(make_imap_site) -> Site:
    """A site whose users' mail is on a Dovecot."""
    return make_imap_site()


@pytest.fixture
def inbox(imap_users, dovecot):
    """The INBOX of bob@atmail.com, empty."""
    found = Inbox(dovecot.port)
    found.empty()
    yield found
    found.imap.logout()


def ask_mailbox(site, action, user=BOB, **fields) -> dict:
    """Call an action of mailbox/ as a user of the mail server."""
    return site(f"mailbox/?{action}", user=user, password="test", **fields)


def listed_ids(answer) -> list[tuple]:
    """Return source and id of every mail in an answer."""
    assert answer["status"] == "ok", answer
    return [(mail["mail_sourcedb"], mail["mail_id"]) for mail in answer["mails"]]


DELIVERY_TRACE = b"Return-Path: <ann@one.org>\r\nDelivered-To: bob@one.org\r\n"


def make_letter(number, more=b"", text=b"Text.\r\n") -> bytes:
    """Return a mail with a number."""
    return (
        DELIVERY_TRACE
        + b"Message-ID: <%d@one.org>\r\n%sSubject: No. %d\r\nFrom: Ann <ann@one.org>\r\n\r\n%s"
        % (
            number,
            more,
            number,
            text,
        )
    )


FILE_NUMBERS = itertools.count()  # Dovecot takes a file with the name of a deleted one for deleted, too


def fill_inbox(dovecot, count: int):
    """Store many mails at once, as files of the Maildir."""
    folder = dovecot.folder / "home" / BOB / "Maildir/cur"
    owner = folder.stat()
    for number in range(count):
        path = folder / f"{1446400000 + number}.M{next(FILE_NUMBERS)}P1.host:2,"
        path.write_bytes(make_letter(number, text=b"x" * 2000))
        os.chown(path, owner.st_uid, owner.st_gid)
