"""Which queued mails belong to a user, by the pattern of addresses that decides for the mail's sender."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mailapi_modules.directory.address_tables import Addresses
from mailapi_modules.mail import queue_owners

import mailapi
from support.fuzzing import HYPOTHESIS_SETTINGS

SENDERS = st.lists(st.text("abA@.1", min_size=1, max_size=6), max_size=12, unique=True)
EXPRESSIONS = st.lists(
    st.tuples(st.text("aB@%_.1", max_size=5), st.sampled_from(["ann", "bob", "carol"])), max_size=12
)


def queued(senders, expressions) -> queue_owners.QueuedMails:
    """Return mails of these senders, as ann and bob see them. Expressions are given as (pattern, user)."""
    rows = [
        {"address_expression": pattern, "address_router": "store", "address_route": user}
        for pattern, user in expressions
    ]
    mails = [(number, "mx.host", sender) for number, sender in enumerate(senders)]
    return queue_owners.QueuedMails(mails, rows, Addresses, {"ann", "bob"})


@settings(**HYPOTHESIS_SETTINGS)
@given(SENDERS, EXPRESSIONS)
def test_the_last_pattern_that_matches_decides(senders, expressions):
    with closing(sqlite3.connect(":memory:")) as memory:

        def owner(sender):
            matches = [
                user
                for pattern, user in expressions
                if memory.execute("SELECT ? LIKE ?", (sender, pattern)).fetchone()[0]
            ]
            return matches[-1] if matches else None

        wanted = [number for number, sender in enumerate(senders) if owner(sender) in ("ann", "bob")]
    assert queued(senders, expressions).visible_ids() == wanted


@pytest.fixture
def compared(monkeypatch) -> list[tuple[str, str]]:
    """The (pattern, sender) pairs that SQLite compares."""
    pairs = []

    def connect(database):
        connection = sqlite3.connect(database)
        connection.create_function("like", 2, lambda *pair: pairs.append(pair) or True)
        return connection

    class Module:
        OperationalError = sqlite3.OperationalError

    Module.connect = staticmethod(connect)
    monkeypatch.setattr(queue_owners, "sqlite3", Module)
    return pairs


def test_others_do_not_wait_for_the_patterns_of_a_delegate(compared):
    senders = [f"{'a' * 200}{number}@corp.org" for number in range(100)]
    hostile = [(f"%{'a' * 100}b{number}@corp.org", "carol") for number in range(100)]
    assert queued([*senders, "bob@corp.org"], [("bob@corp.org", "bob")]).visible_ids() == [100]
    queued([*senders, "bob@corp.org"], [*hostile, ("bob@corp.org", "bob")]).visible_ids()
    assert compared == [("bob@corp.org", "bob@corp.org")] * 2
    queued(senders, [*hostile, ("%@else.org", "bob")]).visible_ids()
    assert len(compared) == 2


def test_a_comparison_that_takes_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(queue_owners, "MOST_SECONDS", -1)
    monkeypatch.setattr(queue_owners, "STEP", 1)
    with pytest.raises(mailapi.ApiError, match="too many mails") as refused:
        queued(["bob@corp.org"], [("%", "bob")]).visible_ids()
    assert refused.value.http == 503
