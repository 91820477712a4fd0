"""mailbox/?search and ?unread_count: what is found, in which order, how long it takes, who else waits."""

import base64
import itertools
import random
import sqlite3
import tracemalloc
import types
from contextlib import closing

import pytest
from mailapi_modules.mail import search

import mailapi  # noqa: F401 what makes mailapi_modules importable
from support.counting import statements
from support.daemons import file_is_free
from support.mails import (
    LISTED_KEYS,
    deliver,
    give_user_database,
    mailbox_rows,
    make_mail,
    multipart,
    part_of_type,
)
from support.site import Site

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]


FILL = (
    "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_submission, mail_data)"
    " VALUES (?, 't', 'f', ?, CAST(? AS TEXT))"
)


def fill(path, mails):
    """Store (user, submission, data) of many mails at once."""
    if isinstance(path, Site):
        return path.insert_many(FILL, mails)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(FILL, mails)


def found(site, user="bob", **terms) -> list:
    """The numbers of the mails found, all on one page."""
    answer = site("mailbox/?search&limit=1000", user=user, **terms)
    assert (answer["status"], answer["next"]) == ("ok", None)
    return [entry["mail_id"] for entry in answer["mails"]]


########## Search ##################################################################################


def test_an_entry_is_one_of_the_list(either):
    deliver(either, data=make_mail("Hello", "ann@one.org", text="x"))
    answer = either("mailbox/?search", user="bob", subject="hell")
    assert (
        answer["mails"] == either("mailbox/?get", user="bob")["mails"]
        and list(answer["mails"][0]) == LISTED_KEYS
    )
    assert answer["next"] is None and mailbox_rows(either) == [(1, "bob", 0)]


@pytest.mark.parametrize(
    "subject, said, otherwise",
    [
        (
            "Grüße aus Köln",
            ["grüße", "GRÜSSE", "aus köln", "KÖLN", "ü"],
            ["gruesse", "köln aus", "Köln " + "x"],
        ),
        ("=?utf-8?B?R3LDvMOfZQ==?= =?iso-8859-1?Q?_=D6l?=", ["grüße öl", "GRÜSSE ÖL"], ["utf-8", "B?R3"]),
        ("folded\r\n subject\there", ["folded subject here", "FOLDED  SUBJECT"], ["foldedsubject"]),
        ("ΟΔΥΣΣΕΥΣ", ["οδυσσευς", "Οδυσσευσ"], ["odysseus"]),
        ("100% _off_ 'now' [a-z]*", ["100%", "_off_", "'now'", "[a-z]*"], ["%off", "1_0", "[b]"]),
    ],
)
def test_subjects_are_searched_as_they_are_read(either, subject, said, otherwise):
    deliver(either, data=make_mail(subject))
    for words in said:
        assert found(either, subject=words) == [1], words
    for words in otherwise:
        assert found(either, subject=words) == [], words


def test_senders_are_searched(either):
    deliver(either, data=make_mail(sender="=?utf-8?Q?J=C3=B6rg?= <joerg@One.org>", to="ann@one.org"))
    assert found(either, **{"from": "jörg"}) == found(either, **{"from": "@ONE"}) == [1]
    assert found(either, **{"from": "ann"}) == []


GRUN = "grün und   blau\r\nund weit"
TEXTS = {
    "plain": part_of_type(b"text/plain; charset=utf-8", GRUN.encode()),
    "latin-1": part_of_type(b"text/plain; charset=latin1", GRUN.encode("latin-1")),
    "quoted-printable": part_of_type(
        b"text/plain; charset=utf-8", b"gr=C3=BCn u=\r\nnd blau und=\r\n weit", b"quoted-printable"
    ),
    "base64": part_of_type(b"text/plain; charset=utf-8", base64.encodebytes(GRUN.encode()), b"base64"),
    "utf-16": part_of_type(
        b"text/plain; charset=utf-16", base64.encodebytes(GRUN.encode("utf-16")), b"base64"
    ),
    "html": part_of_type(b"text/html", b"<p>gr<b>&uuml;</b>n und<br>blau</p><p>und&#32;weit</p>"),
    "a part": multipart(
        part_of_type(b"text/html", b"<i>x</i>"), part_of_type(b"text/plain; charset=utf-8", GRUN.encode())
    ),
    "html only": multipart(part_of_type(b"text/html; charset=utf-8", GRUN.encode())),
    "a message inside": multipart(
        part_of_type(b"message/rfc822", part_of_type(b"text/plain; charset=utf-8", GRUN.encode()))
    ),
    "the subject": make_mail("Grün und blau und weit"),
    "the sender": make_mail(sender="Grün und blau und weit <a@b>"),
    "the recipient": make_mail(to="grün und blau und weit <a@b>"),
}


@pytest.mark.parametrize("data", TEXTS.values(), ids=TEXTS)
def test_text_is_searched_as_it_is_read(site, data):
    deliver(site, data=data)
    for words in ("grün", "GRÜN UND BLAU", "blau und weit", "blau  \n und"):
        assert found(site, text=words) == [1]
    for words in ("blaugrün", "<b>", "text/plain", "charset", "=C3"):
        assert found(site, text=words) == []


def test_an_attachment_is_no_text(site):
    deliver(site, data=multipart(part_of_type(b"application/octet-stream", b"secret word")))
    assert found(site, text="secret") == []


def test_everything_that_is_given_must_be_so(either):
    for number, (subject, sender, read) in enumerate(
        [("a", "x", 0), ("a", "y", 0), ("b", "x", 0), ("a", "x", 1)]
    ):
        deliver(either, data=make_mail(subject, sender), submission=str(100 + number), mail_read=read)
    assert found(either, subject="a", **{"from": "x"}) == [4, 1]
    assert found(either, subject="a", unread=True) == [2, 1] == found(either, text="a", unread=1)
    assert found(either, after=101, before=103) == [3, 2]  # from after on, earlier than before
    assert found(either, after="103") == [4] and found(either, before=101, subject="a") == [1]
    assert found(either) == found(either, subject="", unread=False, text=None) == [4, 3, 2, 1]


def test_only_the_callers_mail_is_found(either):
    path = give_user_database(either, "bob", "ann")
    for place in (either, path):
        for user in ("bob", "ann"):
            deliver(place, user, data=make_mail("same", text="same"))
    for terms in ({}, {"subject": "same"}, {"text": "same"}, {"unread": 1}):
        for user in ("bob", "ann", "root", "dele"):
            mails = either("mailbox/?search", user=user, **terms)["mails"]
            assert {entry["mail_user"] for entry in mails} == ({user} if user in ("bob", "ann") else set())
            assert sorted(entry["mail_sourcedb"] for entry in mails) == (
                ["master", "user"] if user in ("bob", "ann") else []
            )


def test_pages_are_stable(either):
    """New mail and deleted mail change no later page, and mails of one second in both databases keep their order."""
    path = give_user_database(either, "bob")
    for number in range(10):
        for place in (either, path):
            deliver(
                place, data=make_mail(f"s{number}"), submission=str(number // 3 * 10 + 0.5 * (number == 5))
            )
    everything = [(e["mail_sourcedb"], e["mail_id"]) for e in either("mailbox/?get", user="bob")["mails"]]
    seen, after, pages = [], None, 0
    while pages == 0 or after:
        answer = either("mailbox/?search&limit=3", user="bob", next=after)
        seen += [(e["mail_sourcedb"], e["mail_id"]) for e in answer["mails"]]
        after, pages = answer["next"], pages + 1
        deliver(either, submission="999999")
        either("mailbox/?delete", user="bob", mail_id=seen[-1][1], mail_sourcedb=seen[-1][0])
    assert seen == everything and pages == 7


@pytest.mark.parametrize(
    "wrong",
    [
        "x",
        "1 2",
        "1 2 nowhere",
        "a 2 master",
        "1 b master",
        "1 2 master x",
        [1],
        True,
        "9" * 5000 + " 1 master",
        "1 " + "9" * 5000 + " master",
    ],
    ids=range(10),
)
def test_a_page_that_is_none_is_refused(site, wrong):
    assert site("mailbox/?search", user="bob", check=400, next=wrong)["status"] == "Invalid value for next."


@pytest.mark.parametrize("submission", ["1e300", "-5", "x", "20.25", "123456789012345678"])
def test_any_time_can_be_the_end_of_a_page(site, submission):
    for _ in range(3):
        deliver(site, submission=submission)
    after, seen = None, []
    for _ in range(3):
        answer = site("mailbox/?search&limit=1", user="bob", next=after)
        after, seen = answer["next"], seen + [entry["mail_id"] for entry in answer["mails"]]
    assert seen == [3, 2, 1]


def test_a_page_has_a_hundred_mails_and_at_most_a_thousand(site):
    fill(site, (("bob", n, make_mail(str(n))) for n in range(1200)))
    assert len(site("mailbox/?search", user="bob")["mails"]) == 100
    answer = site("mailbox/?search&limit=5000", user="bob")
    assert len(answer["mails"]) == 1000
    assert len(site("mailbox/?search&limit=5000", user="bob", next=answer["next"])["mails"]) == 200


@pytest.mark.parametrize("action", ["search", "threads", "unread_count"])
def test_without_the_user_database_the_masters_mail_is_still_looked_at(either, action):
    deliver(either, data=make_mail("s"))
    either.sql("UPDATE users SET user_database = '/nowhere/x.db3' WHERE user_name = 'bob'")
    answer = either(f"mailbox/?{action}", user="bob", subject="s")
    assert (answer["status"], answer["warning"]) == ("warning", "Cannot open userdb from user: bob")
    assert answer.get("mails") or answer.get("threads") or answer["unread_counts"] == {"master": 1}


########## How long, how much ######################################################################


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A mailbox of 3,000 mails of 5 kB, the oldest with a word of its own, in threads of four."""
    site = Site(tmp_path_factory.mktemp("large"))
    text = part_of_type(
        b"text/plain; charset=utf-8", base64.encodebytes(b"some words \xc3\xa4 " * 250), b"base64"
    )
    head = "Subject: number {0}\r\nMessage-ID: <{0}@x>\r\nReferences: <{1}@x>\r\n"
    fill(site.dbpath, (("bob", n, head.format(n, n - n % 4).encode() + text) for n in range(1, 3000)))
    deliver(site, data=make_mail("oldest", text="needle"), submission="0")
    return site


def test_a_search_of_many_texts_ends_in_time_and_goes_on_where_it_was(large, monkeypatch):
    """By a clock on which each look takes 10 ms: after 500 mails the 5 seconds are over."""
    looks = itertools.count()
    monkeypatch.setattr(search, "time", types.SimpleNamespace(monotonic=lambda: next(looks) / 100))
    after, answers = None, 0
    while answers == 0 or after:
        answer = large("mailbox/?search", user="bob", text="NEEDLE", next=after)
        after, answers = answer["next"], answers + 1
    assert [entry["mail_subject"] for entry in answer["mails"]] == ["oldest"] and answers == 6


def test_headers_of_a_large_mailbox_are_searched_at_once(large):
    """With a few statements for each hundred mails."""
    answers = []
    asked = statements(large, lambda: answers.append(found(large, subject="OLDEST")))
    assert answers == [[3000]] and len(asked) < 5 * 3000 / 100


def test_threads_of_a_large_mailbox(large):
    answers = []
    asked = statements(large, lambda: answers.append(large("mailbox/?threads&limit=10", user="bob")))
    assert [len(thread["mails"]) for thread in answers[0]["threads"]] == [4] * 10
    assert len(asked) < 5 * 3000 / 100


def test_writers_do_not_wait_for_a_search(large, monkeypatch):
    """Parsing happens outside of transactions: while a search lasts, the daemons store mail."""
    free, matches = [], search.Search.matches

    def watched(terms, raw):
        if random.random() < 0.05:
            free.append(file_is_free(large.dbpath))
        return matches(terms, raw)

    monkeypatch.setattr(search.Search, "matches", watched)
    large("mailbox/?search", user="bob", text="nowhere")
    assert len(free) > 10 and all(free)


def test_memory_does_not_grow_with_what_is_searched(site, monkeypatch):
    monkeypatch.setattr(search, "SECONDS", 600)  # on a busy machine it takes longer than for one answer
    fill(site, (("bob", n, make_mail(str(n), text="x " * 500_000)) for n in range(60)))
    tracemalloc.start()
    try:
        assert found(site, text="nowhere") == []
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()


def test_of_a_large_mail_the_beginning_is_searched(site):
    deliver(site, data=make_mail(text="first " + "x " * 600_000 + "last"))
    assert found(site, text="first") == [1] and found(site, text="last") == []


########## Counts ##################################################################################


def test_unread_mails_are_counted_by_source(either):
    assert either("mailbox/?unread_count", user="bob")["unread_counts"] == {"master": 0}
    path = give_user_database(either, "bob", "ann")
    for place, read in ((either, 0), (either, 1), (path, 0), (path, 0), (path, 1)):
        deliver(place, mail_read=read)
        deliver(place, "ann")
    answer = either("mailbox/?unread_count", user="bob")
    assert (answer["unread_count"], answer["unread_counts"]) == (3, {"master": 1, "user": 2})
    either("mailbox/?read", user="bob", mail_id=1, mail_sourcedb="user")
    assert either("mailbox/?unread_count", user="bob")["unread_count"] == 2
    assert either("mailbox/?unread_count", user="root")["unread_count"] == 0
