"""Compare adding users and addresses over HTTP with the same INSERTs in plain SQLite.

The INSERTs run on a copy of the same database with the same settings, each in a transaction of its own, in as many
processes as there are clients.
"""

import contextlib
import multiprocessing
import os
import shutil
import sqlite3
import statistics
import time
from pathlib import Path

from bench.databases import ADMIN, FOLDER, PASSWORD, authdata, database
from bench.load import load, log_in
from bench.rows import Row
from bench.servers import SERVERS, Server, Unavailable, serve

INSERTS = (
    "INSERT INTO users (user_name, user_authdata) VALUES (:name, :authdata)",
    "INSERT INTO addresses (address_expression, address_router, address_route) "
    "VALUES (:name || '@example.org', 'store', :name)",
)


def bare(path: Path, writers: int, seconds: float) -> float:
    """Return the transactions per second that `writers` processes together run in plain SQLite."""
    with multiprocessing.Pool(writers) as pool:
        return sum(pool.starmap(insert, [(path, writer, seconds) for writer in range(writers)])) / seconds


def insert(path: Path, writer: int, seconds: float) -> int:
    """Run transactions with INSERTs for some seconds, and return their number. `writer` is the process's number."""
    done, until = 0, time.monotonic() + seconds
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        while time.monotonic() < until:
            name = f"bare{time.monotonic_ns()}.{writer}"
            for statement in INSERTS:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(statement, {"name": name, "authdata": authdata(name)})
                connection.execute("COMMIT")
                done += 1
    return done


def served(server: Server, path: Path, clients: int, seconds: float) -> tuple[float, float]:
    """Have clients add users and addresses over HTTP for a while. Return rows per second, and µs of CPU per row."""
    cookies, stretch, before = {ADMIN: log_in(server.port)}, time.monotonic_ns(), rows(path)
    adds = [
        [row.encoded(client, cookies) for row in (add_user(stretch), add_address(stretch))]
        for client in range(clients)
    ]
    sample = load(server, adds, seconds)
    if sample.unexpected:
        raise AssertionError(f"{len(sample.unexpected)} answers, the first: {sample.unexpected[0]}")
    return (rows(path) - before) / sample.seconds, sample.microseconds()


def add_user(stretch: int) -> Row:
    return Row("users/?add", 0, {"user_name": f"{stretch}{{new}}", "user_authdata": PASSWORD})


def add_address(stretch: int) -> Row:
    user = f"{stretch}{{new}}"
    fields = {"address_expression": f"{user}@example.org", "address_router": "store", "address_route": user}
    return Row("addresses/?add", 0, fields)


def rows(path: Path) -> int:
    """Return how many users and addresses a database has."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return sum(
            connection.execute(
                "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM addresses)"
            ).fetchone()
        )


def compare(kind: str, users: int, rounds: int, seconds: float):
    """Measure HTTP and plain SQLite in turn, with 1 and with 4 clients, and print the figures."""
    folder = FOLDER / f"writes-{os.getpid()}"
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        ours, theirs = (shutil.copy(database(users), folder / name) for name in ("master.db3", "bare.db3"))
        server = stack.enter_context(serve(kind, "mailapi", folder / "server", ours))
        for clients in (1, 4):
            measured = [
                (bare(theirs, clients, seconds), *served(server, ours, clients, seconds))
                for _ in range(rounds)
            ]
            floor, rate, cpu = map(statistics.median, zip(*measured))
            share = statistics.median(rate / floor for floor, rate, _ in measured)
            print(
                f"{kind}, {users:,} users, {clients} clients: {rate:,.0f} adds/s, {cpu:,.0f} µs of CPU each; "
                f"bare SQLite {floor:,.0f} transactions/s: {share:.0%}",
                flush=True,
            )


def options(parser):
    parser.add_argument(
        "--server", action="append", choices=SERVERS, help="one kind of server (default: all)"
    )
    parser.add_argument("--users", type=int, default=1000, help="in the database (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each stretch (default: %(default)s)")


def run(args):
    for kind in args.server or SERVERS:
        try:
            compare(kind, args.users, args.rounds, args.seconds)
        except Unavailable as error:
            print(f"{kind}: left out. {error}")
