"""mailbox/?threads: which mails are together, and in which order."""

import itertools
from types import SimpleNamespace

import pytest
from mailapi_modules.mail import threads
from mailapi_modules.mail.threads import group_into_threads

import mailapi  # noqa: F401 what makes mailapi_modules importable
from support.counting import calls
from support.mails import LISTED_KEYS, deliver, give_user_database, mailbox_rows, make_mail

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]


def linked(own: str, *references: str, answers: str = "") -> bytes:
    """A mail's headers; an id is a letter here."""
    more = f"References: {' '.join(f'<{r}@x>' for r in references)}\r\n" if references else ""
    more += f"In-Reply-To: <{answers}@x>\r\n" if answers else ""
    return (f"Message-ID: <{own}@x>\r\n" if own else "").encode() + make_mail(f"s{own}", more=more)


def test_a_long_thread_is_not_searched_for_hours(site, monkeypatch):
    """The time was checked between threads only, and whoever writes to a user can make them long."""
    for number in range(100):
        deliver(site, submission=str(number), data=linked(f"m{number}", "m0"))
    deliver(site, submission="1", data=linked("alone"))
    clock, searched = itertools.count(), []
    monkeypatch.setattr(threads, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(threads.Search, "matches", lambda *_: searched.append(1))
    page = site("mailbox/?threads&limit=5", user="bob", text="nowhere")
    assert page["threads"] == [] and page["next"].startswith("99 ") and len(searched) < 31
    assert (page["status"], page["warning"]) == ("warning", threads.UNSEARCHED)
    page = site("mailbox/?threads&limit=5", user="bob", text="nowhere", next=page["next"])
    assert (page["threads"], page["next"], page["status"]) == ([], None, "ok")


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
    "the same subject": ([make_mail("x"), make_mail("Re: x")], [[(0, 0)], [(1, 0)]]),
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
    path = give_user_database(either, "bob", "ann")
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
    assert list(answer[0]["mails"][0]) == [*LISTED_KEYS, "mail_depth"]
    assert either("mailbox/?threads&limit=1", user="bob")["threads"] == answer[:1]
    assert either("mailbox/?threads", user="root")["threads"] == []
    assert [entry[2] for entry in mailbox_rows(either)] == [0, 0]


########## Pages and search ########################################################################


def subjects(answer) -> list[list[str]]:
    assert answer["status"] == "ok"
    return [[mail["mail_subject"] for mail in thread["mails"]] for thread in answer["threads"]]


@pytest.fixture
def six(site):
    """A site with six mails of bob in three threads: a and d, b and e, c and f."""
    for number, (own, *references) in enumerate(["a", "b", "c", "da", "eb", "fc"]):
        deliver(site, data=linked(own, *references), submission=str(10 + number))
    return site


def test_pages_of_threads(six):
    every = subjects(six("mailbox/?threads", user="bob"))
    assert every == [["sc", "sf"], ["sb", "se"], ["sa", "sd"]]
    first = six("mailbox/?threads&limit=2", user="bob")
    assert subjects(first) == every[:2]
    rest = six("mailbox/?threads&limit=2", user="bob", next=first["next"])
    assert subjects(rest) == every[2:] and rest["next"] is None
    deliver(six, data=linked("g", "a"), submission="99")  # does not change the page after
    again = six("mailbox/?threads&limit=2", user="bob", next=first["next"])
    assert subjects(again) == []
    assert "next" not in six("mailbox/?threads", user="bob")


def test_a_search_finds_threads_by_any_of_their_mails(six):
    for terms, found in (
        ({"subject": "se"}, [["sb", "se"]]),
        ({"text": "SA"}, [["sa", "sd"]]),
        ({"text": "nothing"}, []),
        ({"after": 15}, [["sc", "sf"]]),
        ({"before": 11}, [["sa", "sd"]]),
        ({"subject": "s", "after": 11, "before": 13}, [["sc", "sf"], ["sb", "se"]]),
        ({"subject": "e", "before": 13}, []),
    ):
        answer = six("mailbox/?threads", user="bob", **terms)
        assert subjects(answer) == found and answer["next"] is None, terms
    first = six("mailbox/?threads&limit=1", user="bob", subject="s")
    assert subjects(first) == [["sc", "sf"]]
    second = six("mailbox/?threads&limit=1", user="bob", subject="s", next=first["next"])
    assert subjects(second) == [["sb", "se"]]


def test_threads_with_unread_mails(six):
    six.sql("UPDATE mailbox SET mail_read = 1 WHERE mail_id <> 1")
    assert subjects(six("mailbox/?threads", user="bob", unread=True)) == [["sa", "sd"]]


def test_the_thread_of_a_mail(six):
    for mail_id, found in ((1, ["sa", "sd"]), (5, ["sb", "se"])):
        for more in ({}, {"mail_sourcedb": "master"}):
            assert subjects(six("mailbox/?threads", user="bob", mail_id=mail_id, **more)) == [found]
    for fields in ({"mail_id": 99}, {"mail_id": 1, "mail_sourcedb": "user"}):
        assert six("mailbox/?threads", user="bob", **fields)["status"] == "mail not found"
    assert six("mailbox/?threads", user="ann", mail_id=1)["status"] == "mail not found"
