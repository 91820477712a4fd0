"""queue/: 100,000 mails are listed, and changed, in few steps of SQLite for each."""

import sqlite3
from contextlib import closing

import pytest

from support.counting import instructions
from support.site import Site, authdata

pytestmark = pytest.mark.every_engine


@pytest.fixture(scope="module")
def long_queue(tmp_path_factory) -> Site:
    """100,000 mails, most of which failed several times, of 20,000 senders; 1,000 addresses."""
    site = Site(tmp_path_factory.mktemp("long"))
    with closing(sqlite3.connect(site.dbpath)) as connection, connection:
        users = [f"u{number}" for number in range(1000)]
        connection.executemany(
            "INSERT INTO users (user_name, user_authdata) VALUES (?, ?)",
            [(user, authdata("pw")) for user in users],
        )
        connection.executemany(
            "INSERT INTO addresses VALUES (?, NULL, 'store', ?)",
            [("%", "bob")]
            + [
                (f"{user}{'_' * (number % 3 == 0)}@d{number % 20}.example", user)
                for number, user in enumerate(users)
            ],
        )
        connection.executemany(
            "INSERT INTO api_user_delegates VALUES ('dele', ?)", [(user,) for user in users[:500]]
        )
        connection.executemany(
            "INSERT INTO outbox (mail_envelopefrom, mail_envelopeto, mail_submitter, mail_data)"
            " VALUES (?, 'x@y.org', ?, ?)",
            [
                (
                    f"u{n % 1000}@d{n % 20}.example" if n % 2 else f"r{n % 40_000}@ext.example",
                    f"u{n % 1000}" if n % 7 == 0 else "mx.host",
                    "x" * 2000,
                )
                for n in range(100_000)
            ],
        )
        connection.executemany(
            "INSERT INTO faillog (fail_mail, fail_message, fail_fatal) VALUES (?, '451 later', ?)",
            [(n % 60_000 + 1, n < 5000) for n in range(180_000)],
        )
    return site


@pytest.mark.parametrize(
    ("user", "least", "most"),
    [("root", 100_000, 100_000), ("bob", 50_000, 70_000), ("u7", 50, 150), ("dele", 15_000, 40_000)],
)
def test_100000_mails_are_listed_in_seconds(long_queue, user, least, most):
    """With at most 300 instructions of SQLite for each mail of the queue."""
    answers = []
    steps = instructions(long_queue, lambda: answers.append(long_queue("queue/?get", user=user)))
    assert steps < 300 * 100_000
    (answer,) = answers
    mails = sum(answer["counts"].values())
    assert least <= mails <= most and len(answer["queue"]) == min(1000, mails)


def test_100000_mails_do_not_hold_up_a_change(long_queue):
    (mail,) = long_queue("queue/?get&limit=1", user="u7")["queue"]

    def change(action: str):
        assert long_queue(f"queue/?{action}", user="u7", mail_id=mail["mail_id"])["status"] == "ok"

    for action in ("retry", "bounce", "delete"):
        assert instructions(long_queue, lambda action=action: change(action)) < 25 * 100_000
