"""The imap service: what it refuses is not taken for done."""

import contextlib

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


def refusing(command: bytes, said: list[bytes]):
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
                    yield b"* CAPABILITY IMAP4rev1 QUOTA\r\n", 0
                for folder in FOLDERS if text.startswith(b"LIST") else ():
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
