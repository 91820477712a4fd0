"""mailbox/?search, ?threads and ?unread_count: what is found, in which order, how long it takes, who else waits."""

import base64
import itertools
import random
import sqlite3
import tracemalloc
import types
from contextlib import closing

import pytest
from mailapi_modules.mail import search
from mailapi_modules.mail.threads import group_into_threads

import mailapi  # noqa: F401 what makes mailapi_modules importable
from support.counting import calls, statements
from support.daemons import nobody_holds
from support.mails import LISTED, deliver, give_database, multipart, rows, typed
from support.site import Site

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]

FILL = (
    "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_submission, mail_data)"
    " VALUES (?, 't', 'f', ?, CAST(? AS TEXT))"
)


def mail(subject="", sender="", to="", text="", more="") -> bytes:
    return f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n{more}\r\n{text}".encode()


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
    deliver(either, data=mail("Hello", "ann@one.org", text="x"))
    answer = either("mailbox/?search", user="bob", subject="hell")
    assert (
        answer["mails"] == either("mailbox/?get", user="bob")["mails"] and list(answer["mails"][0]) == LISTED
    )
    assert answer["next"] is None and rows(either) == [(1, "bob", 0)]


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
    deliver(either, data=mail(subject))
    for words in said:
        assert found(either, subject=words) == [1], words
    for words in otherwise:
        assert found(either, subject=words) == [], words


def test_senders_are_searched(either):
    deliver(either, data=mail(sender="=?utf-8?Q?J=C3=B6rg?= <joerg@One.org>", to="ann@one.org"))
    assert found(either, **{"from": "jörg"}) == found(either, **{"from": "@ONE"}) == [1]
    assert found(either, **{"from": "ann"}) == []


GRUN = "grün und   blau\r\nund weit"
TEXTS = {
    "plain": typed(b"text/plain; charset=utf-8", GRUN.encode()),
    "latin-1": typed(b"text/plain; charset=latin1", GRUN.encode("latin-1")),
    "quoted-printable": typed(
        b"text/plain; charset=utf-8", b"gr=C3=BCn u=\r\nnd blau und=\r\n weit", b"quoted-printable"
    ),
    "base64": typed(b"text/plain; charset=utf-8", base64.encodebytes(GRUN.encode()), b"base64"),
    "utf-16": typed(b"text/plain; charset=utf-16", base64.encodebytes(GRUN.encode("utf-16")), b"base64"),
    "html": typed(b"text/html", b"<p>gr<b>&uuml;</b>n und<br>blau</p><p>und&#32;weit</p>"),
    "a part": multipart(typed(b"text/html", b"<i>x</i>"), typed(b"text/plain; charset=utf-8", GRUN.encode())),
    "html only": multipart(typed(b"text/html; charset=utf-8", GRUN.encode())),
    "a message inside": multipart(
        typed(b"message/rfc822", typed(b"text/plain; charset=utf-8", GRUN.encode()))
    ),
    "the subject": mail("Grün und blau und weit"),
    "the sender": mail(sender="Grün und blau und weit <a@b>"),
    "the recipient": mail(to="grün und blau und weit <a@b>"),
}


@pytest.mark.parametrize("data", TEXTS.values(), ids=TEXTS)
def test_text_is_searched_as_it_is_read(site, data):
    deliver(site, data=data)
    for words in ("grün", "GRÜN UND BLAU", "blau und weit", "blau  \n und"):
        assert found(site, text=words) == [1]
    for words in ("blaugrün", "<b>", "text/plain", "charset", "=C3"):
        assert found(site, text=words) == []


def test_an_attachment_is_no_text(site):
    deliver(site, data=multipart(typed(b"application/octet-stream", b"secret word")))
    assert found(site, text="secret") == []


def test_everything_that_is_given_must_be_so(either):
    for number, (subject, sender, read) in enumerate(
        [("a", "x", 0), ("a", "y", 0), ("b", "x", 0), ("a", "x", 1)]
    ):
        deliver(either, data=mail(subject, sender), submission=str(100 + number), mail_read=read)
    assert found(either, subject="a", **{"from": "x"}) == [4, 1]
    assert found(either, subject="a", unread=True) == [2, 1] == found(either, text="a", unread=1)
    assert found(either, after=101, before=103) == [3, 2]  # from after on, earlier than before
    assert found(either, after="103") == [4] and found(either, before=101, subject="a") == [1]
    assert found(either) == found(either, subject="", unread=False, text=None) == [4, 3, 2, 1]


def test_only_the_callers_mail_is_found(either):
    path = give_database(either, "bob", "ann")
    for place in (either, path):
        for user in ("bob", "ann"):
            deliver(place, user, data=mail("same", text="same"))
    for terms in ({}, {"subject": "same"}, {"text": "same"}, {"unread": 1}):
        for user in ("bob", "ann", "root", "dele"):
            mails = either("mailbox/?search", user=user, **terms)["mails"]
            assert {entry["mail_user"] for entry in mails} == ({user} if user in ("bob", "ann") else set())
            assert sorted(entry["mail_sourcedb"] for entry in mails) == (
                ["master", "user"] if user in ("bob", "ann") else []
            )


def test_pages_are_stable(either):
    """New mail and deleted mail change no later page, and mails of one second in both databases keep their order."""
    path = give_database(either, "bob")
    for number in range(10):
        for place in (either, path):
            deliver(place, data=mail(f"s{number}"), submission=str(number // 3 * 10 + 0.5 * (number == 5)))
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
    fill(site, (("bob", n, mail(str(n))) for n in range(1200)))
    assert len(site("mailbox/?search", user="bob")["mails"]) == 100
    answer = site("mailbox/?search&limit=5000", user="bob")
    assert len(answer["mails"]) == 1000
    assert len(site("mailbox/?search&limit=5000", user="bob", next=answer["next"])["mails"]) == 200


@pytest.mark.parametrize("action", ["search", "threads", "unread_count"])
def test_without_the_user_database_the_masters_mail_is_still_looked_at(either, action):
    deliver(either, data=mail("s"))
    either.sql("UPDATE users SET user_database = '/nowhere/x.db3' WHERE user_name = 'bob'")
    answer = either(f"mailbox/?{action}", user="bob", subject="s")
    assert (answer["status"], answer["warning"]) == ("warning", "Cannot open userdb from user: bob")
    assert answer.get("mails") or answer.get("threads") or answer["unread_counts"] == {"master": 1}


########## How long, how much ######################################################################


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A mailbox of 3,000 mails of 5 kB, the oldest with a word of its own, in threads of four."""
    site = Site(tmp_path_factory.mktemp("large"))
    text = typed(b"text/plain; charset=utf-8", base64.encodebytes(b"some words \xc3\xa4 " * 250), b"base64")
    head = "Subject: number {0}\r\nMessage-ID: <{0}@x>\r\nReferences: <{1}@x>\r\n"
    fill(site.dbpath, (("bob", n, head.format(n, n - n % 4).encode() + text) for n in range(1, 3000)))
    deliver(site, data=mail("oldest", text="needle"), submission="0")
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
            free.append(nobody_holds(large.dbpath))
        return matches(terms, raw)

    monkeypatch.setattr(search.Search, "matches", watched)
    large("mailbox/?search", user="bob", text="nowhere")
    assert len(free) > 10 and all(free)


def test_memory_does_not_grow_with_what_is_searched(site):
    fill(site, (("bob", n, mail(str(n), text="x " * 500_000)) for n in range(60)))
    tracemalloc.start()
    try:
        assert found(site, text="nowhere") == []
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()


def test_of_a_large_mail_the_beginning_is_searched(site):
    deliver(site, data=mail(text="first " + "x " * 600_000 + "last"))
    assert found(site, text="first") == [1] and found(site, text="last") == []


########## Counts ##################################################################################


def test_unread_mails_are_counted_by_source(either):
    assert either("mailbox/?unread_count", user="bob")["unread_counts"] == {"master": 0}
    path = give_database(either, "bob", "ann")
    for place, read in ((either, 0), (either, 1), (path, 0), (path, 0), (path, 1)):
        deliver(place, mail_read=read)
        deliver(place, "ann")
    answer = either("mailbox/?unread_count", user="bob")
    assert (answer["unread_count"], answer["unread_counts"]) == (3, {"master": 1, "user": 2})
    either("mailbox/?read", user="bob", mail_id=1, mail_sourcedb="user")
    assert either("mailbox/?unread_count", user="bob")["unread_count"] == 2
    assert either("mailbox/?unread_count", user="root")["unread_count"] == 0


########## Threads #################################################################################


def linked(own: str, *references: str, answers: str = "") -> bytes:
    """A mail's headers; an id is a letter here."""
    more = f"References: {' '.join(f'<{r}@x>' for r in references)}\r\n" if references else ""
    more += f"In-Reply-To: <{answers}@x>\r\n" if answers else ""
    return (f"Message-ID: <{own}@x>\r\n" if own else "").encode() + mail(f"s{own}", more=more)


def drawn(*heads: bytes) -> list:
    """The threads of mails given from old to new: of each mail its number and depth."""
    together = group_into_threads(heads)
    assert sorted(place for thread in together for place, _ in thread) == list(range(len(heads)))
    return together


THREADS = {
    "answers": (
        [linked("a"), linked("b", "a"), linked("c", "a", "b"), linked("d", "a")],
        [[(0, 0), (1, 1), (2, 2), (3, 1)]],
    ),
    "in-reply-to only": ([linked("a"), linked("b", answers="a")], [[(0, 0), (1, 1)]]),
    "references count before in-reply-to": (
        [linked("a"), linked("b"), linked("c", "b", answers="a")],
        [[(0, 0)], [(1, 0), (2, 1)]],
    ),
    "nothing in common": (
        [linked("a"), linked("b"), linked(""), linked("")],
        [[(0, 0)], [(1, 0)], [(2, 0)], [(3, 0)]],
    ),
    "the same subject": ([mail("x"), mail("Re: x")], [[(0, 0)], [(1, 0)]]),
    "one between is missing": ([linked("a"), linked("c", "a", "b")], [[(0, 0), (1, 1)]]),
    "the first is missing": ([linked("b", "a"), linked("c", "a")], [[(0, 0), (1, 0)]]),
    "the answer came first": ([linked("b", "a"), linked("a")], [[(1, 0), (0, 1)]]),
    "a mail that answers itself": ([linked("a", "a"), linked("b", "a", "b")], [[(0, 0), (1, 1)]]),
    "two that answer each other": ([linked("a", "b"), linked("b", "a")], [[(0, 0), (1, 1)]]),
    "a circle of three": ([linked("a", "c"), linked("b", "a"), linked("c", "b")], [[(0, 0), (1, 1), (2, 2)]]),
    "the same id twice": ([linked("a"), linked("a"), linked("b", "a")], [[(0, 0), (2, 1), (1, 0)]]),
    "the same id twice, answering itself": ([linked("a", "a"), linked("a", "a")], [[(0, 0), (1, 1)]]),
    "joined later": ([linked("a"), linked("b"), linked("c", "a", "b")], [[(0, 0), (1, 0), (2, 1)]]),
    "folded, in capitals": (
        [linked("a"), b"message-ID:<b@x>\r\nREFERENCES :\r\n\t<z@x>\r\n  <a@x>\r\n\r\nx"],
        [[(0, 0), (1, 1)]],
    ),
    "not in the body": ([linked("a"), b"Subject: x\r\n"], [[(0, 0)], [(1, 0)]]),
    "no ids": (
        [b"Message-ID: x\r\nReferences: <>, < a >, <b\r\n", b"References: <>", b""],
        [[(0, 0)], [(1, 0)], [(2, 0)]],
    ),
    "the first of two headers": (
        [linked("a"), linked("b"), b"References: <a@x>\r\nReferences: <b@x>\r\n"],
        [[(0, 0), (2, 1)], [(1, 0)]],
    ),
}


@pytest.mark.parametrize("heads, together", THREADS.values(), ids=THREADS)
def test_mails_that_answer_one_another_are_together(heads, together):
    def key(thread):
        return min(thread)

    assert sorted(drawn(*heads), key=key) == sorted(together, key=key)


def test_circles_of_any_length_end(site):
    for length in (2, 3, 50, 5000):
        (thread,) = drawn(*[linked(str(n), str((n + 1) % length)) for n in range(length)])
        assert sorted(depth for _, depth in thread) == list(range(length))


def test_long_threads_and_thousands_of_references_take_seconds():
    """Four times as long takes four times the work."""

    def chain(length: int):
        (thread,) = drawn(*[linked(str(n), str(n - 1)) for n in range(length)])
        assert thread[-1] == (length - 1, length - 1)

    def references(number: int):
        many = " ".join(f"<{n}@x>" for n in range(number)).encode()
        mails = [b"Message-ID: <m%d@x>\r\nReferences: %s\r\n" % (n, many) for n in range(100)]
        assert len(drawn(*mails)) == 1

    for grown, few, many in ((chain, 1500, 6000), (references, 500, 2000)):
        assert calls(lambda: grown(many)) < 5 * calls(lambda: grown(few))


def test_threads_are_listed_with_the_newest_mail_first(either):
    path = give_database(either, "bob", "ann")
    deliver(either, data=linked("a"), submission="10")
    deliver(path, data=linked("b"), submission="20")
    deliver(path, data=linked("c", "a"), submission="30")
    deliver(either, data=linked("d", "b"), submission="25")
    deliver(path, "ann", data=linked("e", "a"), submission="40")
    answer = either("mailbox/?threads", user="bob")["threads"]
    shown = [
        [(m["mail_subject"], m["mail_sourcedb"], m["mail_depth"]) for m in thread["mails"]]
        for thread in answer
    ]
    assert shown == [[("sa", "master", 0), ("sc", "user", 1)], [("sb", "user", 0), ("sd", "master", 1)]]
    assert list(answer[0]["mails"][0]) == [*LISTED, "mail_depth"]
    assert either("mailbox/?threads&limit=1", user="bob")["threads"] == answer[:1]
    assert either("mailbox/?threads", user="root")["threads"] == []
    assert [entry[2] for entry in rows(either)] == [0, 0]
