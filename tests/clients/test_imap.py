"""The imap service: what it refuses is not taken for done."""

import contextlib
import imaplib

import pytest
from mailapi_modules.clients.base import ServiceDown, clients

import mailapi
from support import hostile
from support.servers import MASTER_USER

FOLDERS = (rb'(\HasNoChildren) "/" "Archive"', rb'(\Noselect) "/" "Folders"')


@contextlib.contextmanager
def client(behave):
    with hostile.misbehaving_server(behave) as port:
        setting = {"url": f"imap://127.0.0.1:{port}"} | MASTER_USER
        yield clients(mailapi.Config("", {}, services={"imap": setting}))["imap"]


def refusing(command: bytes, said: list[bytes], folders=FOLDERS, namespaces=b""):
    """An IMAP server that refuses one command. It adds all commands to `said`."""

    def behave(connection):
        yield b"* OK [CAPABILITY IMAP4rev1] hello\r\n", 0
        with connection.makefile("rb") as lines:
            for line in lines:
                tag, _, text = line.strip().partition(b" ")
                if b"AUTHENTICATE" in text:
                    yield b"+ \r\n", 0
                    lines.readline()
                if text == b"CAPABILITY":
                    yield b"* CAPABILITY IMAP4rev1 QUOTA" + b" NAMESPACE" * bool(namespaces) + b"\r\n", 0
                if text == b"NAMESPACE":
                    yield b"* NAMESPACE " + namespaces + b"\r\n", 0
                for folder in folders if text.startswith(b"LIST") else ():
                    if folder.split()[-1] in text or b"*" in text:
                        yield b"* LIST " + folder + b"\r\n", 0
                refused = text.startswith(command)
                said.append(text)
                yield tag + (b" NO [SERVERBUG] no\r\n" if refused else b" OK done\r\n"), 0

    return behave


def test_a_folder_that_cannot_be_deleted_is_emptied():
    said: list[bytes] = []
    with client(refusing(b"DELETE", said)) as imap:
        imap.purge("mail", "ann")
    assert [text for text in said if b"SELECT" in text] == [b'SELECT "INBOX"', b'SELECT "Archive"']
    assert said.count(b"EXPUNGE") == said.count(rb"UID STORE 1:* +FLAGS.SILENT (\Deleted)") == 2


@pytest.mark.parametrize(
    ("namespaces", "deleted"),
    [
        (b'(("" "/")) NIL (("Public/" "/"))', ["Work", "shared/ann", "shared"]),
        (
            b'(("" "/") ("#mh/" "/")) (("shared/" "/" "X-FLAG" ("a")))  NIL',
            ["Work", "Public/Board", "Public"],
        ),
        (b'(("Work" "/")) NIL (("" "/"))', ["Work"]),
        (b"NIL NIL NIL", ["shared/ann", "shared", "Work", "Public/Board", "Public"]),
    ],
)
def test_folders_that_others_share_are_not_deleted_with_a_user(namespaces, deleted):
    names = [b"Public", b"Public/Board", b"Work", b"shared", b"shared/ann"]
    said: list[bytes] = []
    folders = [rb'(\HasNoChildren) "/" "%b"' % name for name in names]
    with client(refusing(b"nothing", said, folders, namespaces)) as imap:
        imap.purge("mail", "bob")
    done = [text for text in said if text.startswith((b"DELETE", b"SELECT"))]
    assert sorted(done) == sorted([b'SELECT "INBOX"', *(b'DELETE "%b"' % name.encode() for name in deleted)])


def test_a_server_that_does_not_name_its_shared_folders_keeps_them_all():
    said: list[bytes] = []
    with (
        client(refusing(b"NAMESPACE", said, namespaces=b"NIL")) as imap,
        pytest.raises(ServiceDown, match=r"it did not name the shared folders: \[SERVERBUG\] no"),
    ):
        imap.purge("mail", "ann")
    assert not [text for text in said if text.startswith((b"DELETE", b"UID STORE", b"EXPUNGE"))]


@pytest.mark.parametrize("command", [b"SELECT", b"UID STORE", b"EXPUNGE"])
def test_mails_that_the_server_does_not_delete_are_not_called_deleted(command):
    with (
        client(refusing(command, [])) as imap,
        pytest.raises(ServiceDown, match=r'it did not empty "INBOX": \[SERVERBUG\] no'),
    ):
        imap.purge("mail", "ann")


def test_a_quota_that_the_server_does_not_tell_is_not_called_none():
    with (
        client(refusing(b"GETQUOTAROOT", [])) as imap,
        pytest.raises(ServiceDown, match=r"it refused the quota: \[SERVERBUG\] no"),
    ):
        imap.quota("ann", None)


def test_limits_hold_if_imaplib_reads_the_socket_by_itself(monkeypatch):
    """As Python 3.14's imaplib does, with socket.recv."""

    def readline(imap):
        line = b""
        while not line.endswith(b"\n") and (piece := imap.sock.recv(1)):
            line += piece
        return line

    monkeypatch.setattr(imaplib.IMAP4, "readline", readline)
    sent: list[int] = []

    def behave(connection):
        yield b"* OK hello\r\n", 0
        while len(sent) < 40:
            sent.append(1)
            yield b"* X " + b"y" * 99_000 + b"\r\n", 0

    with client(behave) as imap, pytest.raises(ServiceDown, match="it sends too much"):
        imap.ping()
