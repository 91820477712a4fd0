"""Adding users with an address each, over HTTP and as bare SQLite transactions: `python -m bench.writes`.

The bare transactions are the same INSERTs on a copy of the same database, each in a transaction of its own, with the
same settings; as many processes do it as there are clients.
"""

import argparse
import contextlib
import multiprocessing
import os
import shutil
import sqlite3
import statistics
import time
from pathlib import Path

from bench.databases import authdata, database
from bench.load import log_in, wrk
from bench.servers import FOLDER, SERVERS, Unavailable, serve

INSERTS = (
    "INSERT INTO users (user_name, user_authdata) VALUES (:name, :authdata)",
    "INSERT INTO addresses (address_expression, address_router, address_route) "
    "VALUES (:name || '@example.org', 'store', :name)",
)


def bare(path: Path, writers: int, seconds: float) -> float:
    """Transactions a second of that many processes together."""
    with multiprocessing.Pool(writers) as pool:
        return sum(pool.starmap(insert, [(path, writer, seconds) for writer in range(writers)])) / seconds


def insert(path: Path, writer: int, seconds: float) -> int:
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


def served(server, path: Path, clients: int, seconds: float) -> tuple[float, float]:
    """Requests a second that added something, and the µs of CPU of each."""
    cookies, before, cpu = [log_in(server.port) for _ in range(clients)], rows(path), server.cpu()
    made, _, elapsed, *_ = wrk(server.port, "/", [f"+w{time.monotonic_ns()}.", *cookies], seconds, clients)
    server.settle()
    return (rows(path) - before) / elapsed, (server.cpu() - cpu) * 1e6 / made


def rows(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return sum(
            connection.execute(
                "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM addresses)"
            ).fetchone()
        )


def compare(kind: str, users: int, rounds: int, seconds: float):
    folder = FOLDER / f"writes-{os.getpid()}"
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        ours, theirs = (shutil.copy(database(users), folder / name) for name in ("master.db3", "bare.db3"))
        server = stack.enter_context(serve(kind, "mailapi", folder / "server", ours))
        for clients in (1, 4):
            found = [
                (bare(theirs, clients, seconds), *served(server, ours, clients, seconds))
                for _ in range(rounds)
            ]
            floor, rate, cpu = map(statistics.median, zip(*found))
            share = statistics.median(rate / floor for floor, rate, _ in found)
            print(
                f"{kind}, {users:,} users, {clients} clients: {rate:,.0f} adds/s, {cpu:,.0f} µs of CPU each; "
                f"bare SQLite {floor:,.0f} transactions/s: {share:.0%}",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--server", action="append", choices=SERVERS, help="one kind of server (default: all)"
    )
    parser.add_argument("--users", type=int, default=1000, help="in the database (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each stretch (default: %(default)s)")
    args = parser.parse_args()
    for kind in args.server or SERVERS:
        try:
            compare(kind, args.users, args.rounds, args.seconds)
        except Unavailable as error:
            print(f"{kind}: left out. {error}")


if __name__ == "__main__":
    main()
