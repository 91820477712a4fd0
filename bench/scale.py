"""Compare a large database on SQLite and on MariaDB: the table of docs/explanation/speed.md.

A client sends the requests to `mailapi serve` one at a time. The times are the client's, as medians of up to 50
requests. MariaDB is a private instance with a buffer pool of 1 GB that writes as durably as SQLite.
"""

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mailapi
from bench.databases import FOLDER, PASSWORD, ROOT, database, name
from bench.load import ask, log_in
from bench.servers import Server, serve

sys.path.append(str(ROOT / "tests"))

MOST_REQUESTS, SECONDS = 50, 5  # of each action

SERVER_OPTIONS = [
    "--innodb-buffer-pool-size=1G",
    "--innodb-log-file-size=512M",
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-flush-method=O_DIRECT",
    "--max-allowed-packet=128M",
]
ACTIONS = {  # functions of the number of users and of the request's number; they return path and body
    "users, first page of 100": lambda users, i: ("/users/?get&limit=100", {}),
    "users, page in the middle": lambda users, i: (f"/users/?get&limit=100&after={name(users // 2 + i)}", {}),
    "users, by beginning": lambda users, i: (f"/users/?get&limit=100&search={name(users // 3 + i)[:-1]}", {}),
    "addresses, page in the middle": lambda users, i: (
        f"/addresses/?get&limit=100&after={users // 2 + i}",
        {},
    ),
    "addresses, any part": lambda users, i: (f"/addresses/?get&limit=1&search={name(users // 2 + i)}@", {}),
    "pop, page in the middle": lambda users, i: (f"/pop/?get&limit=100&after={name(users // 2 + i)}", {}),
    "one user": lambda users, i: ("/users/?get", {"username": name(1 + i * 7919 % users)}),
    "log-in": lambda users, i: ("/?login", {"auth": {"user_name": name(1 + i), "password": PASSWORD}}),
    "add a user": lambda users, i: ("/users/?add", {"user_name": f"new{i}", "user_authdata": PASSWORD}),
    "add an address": lambda users, i: (
        "/addresses/?add",
        {"address_expression": f"new{i}@example.org", "address_router": "store", "address_route": f"new{i}"},
    ),
    "set a password": lambda users, i: (
        "/users/?set_password",
        {"user_name": f"new{i}", "user_authdata": "other"},
    ),
    "delete a user": lambda users, i: ("/users/?delete", {"user_name": f"new{i}"}),
    "routing test": lambda users, i: (
        "/addresses/?test",
        {"address_expression": f"{name(1 + i * 7919 % users)}@example.org", "address_routing": "inrouter"},
    ),
    "users, the full list": lambda users, i: ("/users/?get", {}),
}


def measure(server: Server, action: str, users: int, cookie: str) -> str:
    """Return the ms that a request of an action takes, as text; with the size of a large answer: "120 (35 MB)"."""
    times, size, until = [], 0, time.monotonic() + SECONDS
    while not times or (len(times) < MOST_REQUESTS and time.monotonic() < until):
        path, body = ACTIONS[action](users, len(times))
        start = time.perf_counter()
        response = ask(server.port, path, "" if "auth" in body else cookie, body)
        times.append((time.perf_counter() - start) * 1000)
        size = len(response.body)
        if not response.body.startswith(b'{"status":"ok"'):
            raise AssertionError(f"{action}: {response.body[:300]}")
    median = statistics.median(times)
    figure = f"{median:,.0f}" if median >= 100 else f"{median:.3g}"
    return figure + (f" ({size / 1e6:,.0f} MB)" if size > 1e6 else "")


def column(dbpath: str, state: str, users: int, folder: Path) -> dict[str, str]:
    """Measure every action on one database, and return the figures by action.

    `dbpath` and `state` are the master and the state database: files or URLs. `folder` gets the server's config.py.
    """
    config = folder / "config.py"
    keys = mailapi.run_config(ROOT / "config.sample.py") | {"dbpath": dbpath, "state": state}
    config.write_text("".join(f"{key} = {value!r}\n" for key, value in keys.items()))
    with serve("serve", "mailapi", folder) as server:
        cookie = log_in(server.port)
        times = {action: measure(server, action, users, cookie) for action in ACTIONS}
        return times | {"memory of the server, MB": f"{server.memory('VmHWM') / 1e6:,.0f}"}


@contextlib.contextmanager
def mariadb(folder: Path):
    """Run a private MariaDB server during a `with` block, and yield the URL of an empty database on it."""
    from support import mariadb as private

    private.SMALL_SERVER[:] = [
        option for option in private.SMALL_SERVER if not option.startswith("--innodb")
    ] + SERVER_OPTIONS
    server = private.MariaDBServer(folder)
    try:
        server.sql("CREATE DATABASE mail")
        yield server.url("mail")
    finally:
        server.stop()


def options(parser):
    parser.add_argument("--users", type=int, default=1_000_000)


def run(args):
    users = args.users
    source, table = database(users), {}
    print(
        f"{users:,} users, {source.stat().st_size / 1e6:,.0f} MB in SQLite, load average {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="scale-") as made:
        folder = Path(made)
        for part in ("sqlite", "server", "mariadb"):
            (folder / part).mkdir()
        copied = shutil.copy(source, folder / "sqlite/master.db3")
        table["SQLite"] = column(str(copied), str(folder / "sqlite/state"), users, folder / "sqlite")
        with mariadb(folder / "server") as url:
            (folder / "config.py").write_text(f"dbpath = {url!r}\nmodulelist = {{}}\n")
            start = time.monotonic()
            subprocess.run(
                [sys.executable, ROOT / "mailapi.py", "copy", "--config", folder / "config.py", source, url],
                check=True,
                stderr=subprocess.DEVNULL,
            )
            print(f"mailapi copy: {time.monotonic() - start:,.0f} s", flush=True)
            table["MariaDB"] = column(url, url, users, folder / "mariadb")
    print("\n| ms of a request | " + " | ".join(table) + " |\n| --- |" + " --- |" * len(table))
    for action in table["SQLite"]:
        print(f"| {action} | " + " | ".join(times[action] for times in table.values()) + " |")
