"""Measure users/?import over HTTP, and for how long it keeps mail daemons from reading and writing."""

import contextlib
import json
import multiprocessing
import os
import shutil
import sqlite3
import time
from pathlib import Path

from bench.databases import FOLDER, authdata, database
from bench.load import ask, log_in
from bench.servers import SERVERS, Unavailable, serve

FILES = {
    "plain passwords, CSV": lambda names: (
        "user_name,password\n" + "".join(f"{n},secret of {n}\n" for n in names)
    ),
    "ready hashes, CSV": lambda names: (
        "user_name,user_authdata\n" + "".join(f"{n},{authdata(n)}\n" for n in names)
    ),
    "plain passwords, JSON lines": lambda names: "".join(
        json.dumps({"user_name": n, "password": f"secret of {n}", "user_permissions": ["special"]}) + "\n"
        for n in names
    ),
}


def daemon(path: Path, statement: str, stop, longest):
    """Execute a statement on a database over and over until the event `stop` is set.

    `longest.value` becomes the longest time, in seconds, during which SQLite refused the statement because of a
    lock.
    """
    since = None
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        while not stop.is_set():
            now = time.monotonic()
            try:
                connection.execute(statement).fetchall()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                longest.value, since = max(longest.value, now - (since or now)), None
            except sqlite3.OperationalError:
                since = since or now
            time.sleep(0.002)


@contextlib.contextmanager
def daemons(path: Path):
    """Run a process that writes and one that reads a database during a `with` block.

    Yield two shared values: the longest time in seconds that each of them had to wait.
    """
    stop, waits = multiprocessing.Event(), [multiprocessing.Value("d", 0), multiprocessing.Value("d", 0)]
    processes = [
        multiprocessing.Process(target=daemon, args=(path, statement, stop, wait), daemon=True)
        for statement, wait in zip(("BEGIN IMMEDIATE", "SELECT * FROM meta"), waits)
    ]
    for process in processes:
        process.start()
    yield waits
    stop.set()
    for process in processes:
        process.join()


def measure(kind: str, users: int, file: str, number: int):
    """Measure the import of `number` users into a database that has `users` users, and print the figures.

    `kind` is the server, such as "serve". `file` is a key of FILES, such as "ready hashes, CSV".
    """
    folder = FOLDER / f"imports-{os.getpid()}"
    folder.mkdir(parents=True)
    content = FILES[file]([f"new{i * 7919 % number:06}" for i in range(number)])
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        dbpath = Path(shutil.copy(database(users), folder / "master.db3"))
        server = stack.enter_context(serve(kind, "mailapi", folder / "server", dbpath))
        cookie = log_in(server.port)
        before, resident = server.cpu(), server.memory("VmRSS")
        with daemons(dbpath) as (writer, reader):
            start = time.monotonic()
            answer = json.loads(ask(server.port, "/users/?import", cookie, {"file": content}).body)
            took = time.monotonic() - start
        if answer.get("imported") != number:
            raise AssertionError(str(answer)[:500])
        print(
            f"{kind}, {number:,} users ({file}, {len(content) / 1e6:.1f} MB) into {users:,}: {took:.1f} s, "
            f"{server.cpu() - before:.1f} s of CPU, {(server.memory('VmHWM') - resident) / 1e6:.0f} MB; "
            f"writers waited {writer.value:.2f} s, readers {reader.value:.2f} s",
            flush=True,
        )


def options(parser):
    parser.add_argument(
        "--server", action="append", choices=SERVERS, help="one kind of server (default: all)"
    )
    parser.add_argument("--users", type=int, default=20_000, help="in the database (default: %(default)s)")
    parser.add_argument(
        "--number", type=int, default=100_000, help="of users to import (default: %(default)s)"
    )


def run(args):
    for kind in args.server or SERVERS:
        try:
            for file in FILES:
                measure(kind, args.users, file, args.number)
        except Unavailable as error:
            print(f"{kind}: left out. {error}")
