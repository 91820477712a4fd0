"""The mailbox of a mail server's users, over IMAP: what a Dovecot holds is read, flagged and deleted as what SQLite holds."""

import contextlib
import imaplib
import json
import re
import socket
import sqlite3
import subprocess
import sys
import time
import tracemalloc

import hostile
import pytest
from conftest import OPTIONAL, ROOT, Site
from instances import free_port
from mariadb import Database, TABLES, TEST, mailserver, mariadb  # noqa: F401
from servers import MASTER, dovecot, public_folder  # noqa: F401
from test_mail_files import composed
from test_mailbox import HEADERS, LISTED, PLAIN, SHOWN, deliver, give_database, multipart, nested, typed

BOB, CAROL = "bob@atmail.com", "carol@corp.org"
ACCOUNT = {"Account": OPTIONAL["Account"]}
NO_PASSWORD = ("The imap service cannot be used: it has no master credentials, and the user's password was not given.")


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
        found = [re.search(rb"FLAGS \((.*?)\).*UID (\d+)|UID (\d+) FLAGS \((.*?)\)", line)
                 for line in self.imap.fetch("1:*", "(UID FLAGS)")[1] if line]
        return {int(m[2] or m[3]): b" ".join(sorted(set((m[1] or m[4] or b"").split()) - {rb"\Recent"})) for m in found}


@pytest.fixture(scope="module")
def users(dovecot, mariadb):  # noqa: F811
    """A mail server's database with bob@atmail.com and carol@corp.org, whose password is `test`, and their Dovecot."""
    made = Database(mariadb)
    for statement in filter(str.strip, TABLES.split(";\n")):
        made.sql(statement)
    for number, name in enumerate((BOB, CAROL), 4):
        made.sql("INSERT INTO accounts VALUES (%s, 1, %s, %s, 2, NOW(), NOW(), 0, '', NULL, NULL, NULL, NULL, NULL, 1, 0,"
                 " 1, '', 1)", number, name, TEST)
    with open(dovecot.folder / "users", "a") as file:
        file.write("".join(f"{name}:{{PLAIN}}test::::::\n" for name in (BOB, CAROL)))
    yield made
    mariadb.sql(f"DROP DATABASE {made.name}")


@pytest.fixture
def make(tmp_path, users, dovecot):  # noqa: F811
    """An installation with such a mail server, its IMAP service set up as given."""

    def made(**imap) -> Site:
        setting = {k: v for k, v in (dovecot.setting["imap"] | imap).items() if v is not None}
        site = Site(tmp_path, extra=ACCOUNT, mailserver=users.url, services={"imap": setting})
        return site

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


def ask(site, action, user=BOB, **fields) -> dict:
    return site(f"mailbox/?{action}", user=user, password="test", **fields)


def ids(answer) -> list[tuple]:
    assert answer["status"] == "ok", answer
    return [(mail["mail_sourcedb"], mail["mail_id"]) for mail in answer["mails"]]


########## What is answered ########################################################################


def test_the_list_and_a_mail(site, inbox):
    uid, = inbox.add(b"Return-Path: <ann@one.org>\r\nDelivered-To: bob@atmail.com\r\n" + PLAIN)
    (entry,) = ask(site, "get")["mails"]
    assert list(entry) == LISTED
    assert list(entry.values()) == [
        uid, BOB, 0, None, BOB, "ann@one.org", 1446400000, None, "smtp", None,
        "Hello", "Ann <ann@one.org>", "bob@one.org", "Mon, 02 Nov 2015", "imap"]
    mail = ask(site, "read", mail_id=uid)["mail"]
    assert list(mail) == SHOWN and mail["mail_body"] == "Text.\r\n" and mail["mail_data"].endswith(PLAIN.decode())
    assert mail["mail_read"] == 0 and ask(site, "read", mail_id=uid)["mail"]["mail_read"] == 1
