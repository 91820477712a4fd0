"""The mailbox over IMAP: a full folder and a large mail are read in few exchanges and little memory."""

import concurrent.futures
import tracemalloc

import pytest
from mailapi_modules.clients.imap import ImapConversation
from mailapi_modules.mail import imap_source

from support.imap_mailbox import ask_mailbox, fill_inbox, listed_ids, make_letter
from support.site import Site

pytestmark = pytest.mark.every_engine


@pytest.fixture
def site(site_with_imap) -> Site:
    return site_with_imap


def test_a_full_folder_is_listed_in_few_exchanges_and_one_log_in(site, inbox, dovecot, monkeypatch):
    count = 3000
    fill_inbox(dovecot, count)
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


def test_news_of_all_mails_in_the_middle_of_a_list_do_no_harm(site, inbox, dovecot, monkeypatch):
    fill_inbox(dovecot, 2000)
    keys = imap_source.ImapSource.keys

    def then_flagged(source, only_unread=False):
        found = keys(source, only_unread)
        inbox.imap.select("INBOX")
        inbox.imap.uid("STORE", "1:*", "+FLAGS.SILENT", r"(\Flagged a-label another-label)")
        return found

    monkeypatch.setattr(imap_source.ImapSource, "keys", then_flagged)
    assert len(listed_ids(ask_mailbox(site, "get&limit=2"))) == 2


def test_of_a_large_mail_no_more_is_read_than_needed(site, inbox):
    (uid,) = inbox.add(make_letter(1, text=b"needle " + b"x" * 76 * 400_000))
    ask_mailbox(site, "get")
    tracemalloc.start()
    try:
        assert (
            listed_ids(ask_mailbox(site, "get")) == [("imap", uid)]
            and tracemalloc.get_traced_memory()[1] < 2_000_000
        )
        assert listed_ids(ask_mailbox(site, "search", text="needle")) == [("imap", uid)]
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert len(ask_mailbox(site, "raw", mail_id=uid)["file"]) > 30_000_000


def test_a_mail_that_is_too_large_is_not_read(site, inbox, monkeypatch):
    monkeypatch.setattr(imap_source, "MAX_MAIL", 1000)
    (uid,) = inbox.add(make_letter(1, text=b"x" * 2000))
    for action in ("read", "raw"):
        assert (
            ask_mailbox(site, action, mail_id=uid)["status"]
            == "The mail is too large to be read: 1000 bytes at most."
        )
    assert inbox.flags() == {uid: b""} and len(listed_ids(ask_mailbox(site, "get"))) == 1


def test_more_requests_than_turns(site, inbox):
    inbox.add(*map(make_letter, range(20)))
    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: ask_mailbox(site, "get"), range(36)))
    assert {len(listed_ids(answer)) for answer in answers} == {20}
