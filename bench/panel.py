"""Measure the CPU that pages of the panel take, with many people.

The last two pages are those of a user with 1,000 mails; the others are an administrator's.
"""

import contextlib
import os
import shutil
import sqlite3
import statistics
from pathlib import Path

from bench.databases import ADMIN, FOLDER, MAIL, database, name
from bench.load import ask, log_in
from bench.servers import Server, serve

READER, MAILS = name(2), 1000
PAGES = {
    "the first 100 people": (ADMIN, "people"),
    "100 people in the middle": (ADMIN, "people?after=user05"),
    "100 people of a search": (ADMIN, "people?search=user09"),
    "one person": (ADMIN, f"person?user_name={READER}"),
    "the overview": (ADMIN, ""),
    "the first 100 addresses": (ADMIN, "addresses"),
    "the queue, empty": (ADMIN, "queue"),
    "50 mails": (READER, "mail"),
    "50 mails of a search": (READER, "mail?text=sender"),
}


def fill_mailbox(path: Path):
    """Store MAILS mails for READER."""
    row = (READER, f"{READER}@example.org", MAIL.ljust(1000, "x").encode())
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_submission, mail_data) "
            "VALUES (?, ?, 'sender@example.org', '1700000000', ?)",
            [row] * MAILS,
        )


def measure(server: Server, cookie: str, page: str, requests: int) -> tuple[float, int]:
    """Return the CPU in ms that the server takes for a page, the median of five rounds, and the page's bytes."""
    spent, size = [], 0
    for _ in range(6):
        server.wait_until_idle()
        before = server.cpu()
        for _ in range(requests):
            response = ask(server.port, f"/panel/{page}", cookie)
            size = len(response.body)
            if response.status != 200:
                raise AssertionError(f"{page}: HTTP {response.status} {response.body[:500]!r}")
        server.wait_until_idle()
        spent.append((server.cpu() - before) * 1000 / requests)
    return statistics.median(spent[1:]), size  # the first round has warmed it up


def options(parser):
    parser.add_argument("--users", type=int, default=100_000, help="in the database (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=20, help="of a round (default: %(default)s)")


def run(args):
    folder = FOLDER / f"panel-{os.getpid()}"
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        dbpath = Path(shutil.copy(database(args.users), folder / "master.db3"))
        fill_mailbox(dbpath)
        server = stack.enter_context(serve("serve", "mailapi", folder / "server", dbpath))
        cookies = {user: log_in(server.port, user) for user in (ADMIN, READER)}
        print("| page | ms of CPU | kB |\n|---|---|---|")
        for title, (user, page) in PAGES.items():
            milliseconds, size = measure(server, cookies[user], page, args.requests)
            print(f"| {title} | {milliseconds:.1f} | {size / 1000:.0f} |", flush=True)
