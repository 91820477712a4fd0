"""Measure how CPU and memory grow with the number of users, and draw docs/growth.svg.

For each action and number of users, one client sends its requests to a fresh server. Time is the server's CPU for a
request; memory is the peak above the memory before. The exponent is the slope of the time between the two largest
numbers of users: 0 means that the time does not depend on the number, 1 that it is proportional to it.
"""

import contextlib
import json
import math
import os
import shutil
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.databases import ADMIN, FOLDER, PASSWORD, ROOT, database, name
from bench.load import ask, log_in
from bench.plot import draw
from bench.servers import SERVERS, Server, serve

SIZES = (1, 10, 100, 1000, 10_000, 100_000)
MOST_REQUESTS = 200
AUTH = {"user_name": ADMIN, "password": PASSWORD}
ACTIONS = {  # functions of the number of users and of the request's number; they return path and body
    "list": lambda users, i: ("/users/?get", {}),
    "one user": lambda users, i: ("/users/?get", {"username": name(1 + i % users)}),
    "log-in": lambda users, i: ("/?login", {"auth": AUTH}),
    "add": lambda users, i: ("/users/?add", {"user_name": f"new{i}", "user_authdata": PASSWORD}),
    "delete": lambda users, i: ("/users/?delete", {"user_name": f"new{i}"}),
    "routing test": lambda users, i: (
        "/addresses/?test",
        {"address_expression": f"{name(1 + i % users)}@example.org", "address_routing": "inrouter"},
    ),
}


@dataclass
class Curve:
    """The measured time and memory of an action, each by number of users."""

    time: dict[int, float] = field(default_factory=dict)  # ms of CPU
    memory: dict[int, float] = field(default_factory=dict)  # MB

    def exponent(self) -> float:
        """Return how the time grows between the two largest numbers of users.

        0 means not at all, 1 in proportion to the number of users.
        """
        if len(self.time) < 2:
            return math.nan
        (less, before), (more, after) = sorted(self.time.items())[-2:]
        return math.log(after / before) / math.log(more / less)


def send(server: Server, action: str, users: int, i: int, cookie: str):
    """Send request number `i` of an action to a server. Raise AssertionError unless the answer is ok."""
    path, body = ACTIONS[action](users, i)
    answer = json.loads(ask(server.port, path, "" if "auth" in body else cookie, body).body)
    if answer["status"] != "ok" or not answer["login"]:
        raise AssertionError(f"{action}: {str(answer)[:300]}")


def measure(server: Server, action: str, users: int, seconds: float) -> tuple[float, float]:
    """Send the requests of an action for some seconds. Return ms of CPU per request, and the MB of memory they took.

    The CPU is the median of five parts of the time.
    """
    cookie, i = log_in(server.port), 0
    for _ in range(20):
        ask(server.port, "/?get_modules", cookie)
    server.wait_until_idle()
    server.reset_peak()
    resident, spent = server.memory("VmRSS"), []
    for _ in range(5):
        first, before, until = i, server.cpu(), time.monotonic() + seconds / 5
        while i == first or (time.monotonic() < until and i < MOST_REQUESTS):
            send(server, action, users, i, cookie)
            i += 1
        server.wait_until_idle()
        spent.append((server.cpu() - before) * 1000 / (i - first))
    return statistics.median(spent), max(server.memory("VmHWM") - resident, 0) / 1e6


def curves(kind: str, sizes: list[int], seconds: float) -> dict[str, Curve]:
    """Measure every action with each number of users, and return the curves by action.

    `kind` is the server, such as "serve". `seconds` is the duration of one measurement.
    """
    measured = {action: Curve() for action in ACTIONS}
    for users in sizes:
        folder = FOLDER / f"growth-{os.getpid()}"
        folder.mkdir(parents=True)
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            dbpath = Path(shutil.copy(database(users), folder / "master.db3"))
            for action, curve in measured.items():
                with serve(kind, "mailapi", folder / "server", dbpath) as server:
                    curve.time[users], curve.memory[users] = measure(server, action, users, seconds)
                print(
                    f"{users:>9,} {action:>12}: {curve.time[users]:9.3f} ms {curve.memory[users]:7.1f} MB",
                    flush=True,
                )
    return measured


def options(parser):
    parser.add_argument("--server", default="serve", choices=SERVERS)
    parser.add_argument("--users", action="append", type=int, help="one size (default: 1 to 100,000)")
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/growth.svg")


def run(args):
    measured = curves(args.server, args.users or list(SIZES), args.seconds)
    for action, curve in measured.items():
        print(f"{action}: exponent {curve.exponent():.2f}")
    args.output.write_text(
        draw(
            "CPU of a request, ms",
            {f"{action}  n^{curve.exponent():.2f}": curve.time for action, curve in measured.items()},
            "Memory taken, MB",
            {action: curve.memory for action, curve in measured.items()},
        ),
        encoding="utf-8",
    )
