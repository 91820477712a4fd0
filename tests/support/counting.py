"""Count the work that something takes: calls, statements, steps of SQLite, bytes. No clock is read."""

import sqlite3
import sys
import threading
from pathlib import Path

STEP = 1000  # instructions of SQLite's virtual machine


def calls(work) -> int:
    """Return how many functions work() calls in this thread, Python's and C's."""
    count = 0

    def profile(frame, event, arg):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def statements(site, work) -> list[str]:
    """Return the SQL that work() runs on a site's databases in this thread, without values."""
    seen: list[str] = []
    stores = (site.app.db, site.app.state)
    for store in stores:
        store.trace(seen.append)
    try:
        work()
    finally:
        for store in stores:
            store.trace(None)
    return seen


def instructions(site, work) -> int:
    """Return how many instructions SQLite needs for what work() asks of a site's master database in this thread."""
    count = 0

    def another_step():
        nonlocal count
        count += STEP

    connection: sqlite3.Connection = site.app.db.connect()
    connection.set_progress_handler(another_step, STEP)
    try:
        work()
    finally:
        connection.set_progress_handler(None, STEP)
    assert site.app.db.connect() is connection, "the work was done on another connection"
    return count


def bytes_read(work) -> int:
    """Return how many bytes this process reads from files and sockets while work() runs."""

    def so_far() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    before = so_far()
    work()
    return so_far() - before


def ended(work, *arguments):
    """Return work(*arguments); AssertionError if that has not ended after a minute, so as good as never."""
    results = []

    def run():
        try:
            results.append((work(*arguments), None))
        except BaseException as error:
            results.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert results, "it does not end"
    [(result, error)] = results
    if error:
        raise error
    return result
