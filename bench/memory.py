"""Measure the memory of a worker under each server: PSS after the start, after 1,000 and after 10,000 requests.

PSS is a process's memory, with its share of what processes have in common. Servers are named with their options,
such as 'gunicorn --threads 4'. The default, all of them, takes some minutes.
"""

import concurrent.futures
import contextlib
import http.client
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench import servers
from bench.databases import ADMIN, PASSWORD, ROOT, database
from bench.servers import SBIN, Server, Unavailable, free_port, running_instance, write_config

CLIENTS = 8
WARM_UP = 1000  # requests after which sessions and prepared queries are in memory
COMMANDS = [
    "serve --workers 1",
    "serve --workers 2",
    "gunicorn",
    "gunicorn --preload",
    "gunicorn --threads 4",
    "uwsgi",
    "uwsgi --threads 4",
]


def install(folder: Path, users: int):
    """Write a config.py and a database with that many users to a folder."""
    shutil.copy(database(users), folder / "master.db3")
    write_config(folder / "config.py", folder / "master.db3", folder)


@contextlib.contextmanager
def serve(name: str, folder: Path, module: str = "mailapi"):
    """Run mailapi under a server during a `with` block, and yield the server.

    `name` is one of COMMANDS. `folder` has the config.py. `module` is the WSGI module, by default mailapi.
    """
    port = free_port()
    command = servers.command(name, module, port, folder / "config.py")
    environ = os.environ | {
        "MAILAPI_CONFIG": str(folder / "config.py"),
        "PYTHONPATH": f"{ROOT}:{folder}",
        "PATH": SBIN,
    }
    with running_instance(command, folder / "server", port, env=environ) as process:
        yield Server(port, process.pid)


class Client:
    """A client of mailapi with two sessions: "admin" is an administrator, "plain" a user without permissions."""

    USERS = {"admin": ADMIN, "plain": "user000001"}

    def __init__(self, port: int):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.cookies: dict[str, str] = {}
        self.close = self.connection.close

    def log_in(self, who: str) -> tuple[int, str]:
        return self.ask("POST", "?login", who, auth={"user_name": self.USERS[who], "password": PASSWORD})

    def ask(self, method: str, url: str, who: str, **fields) -> tuple[int, str]:
        """Send a request in the session of `who`, "admin" or "plain". `fields` are those of the JSON body.

        Return the HTTP status and the answer's `status`, such as (200, "ok").
        """
        body = json.dumps(fields) if fields else None
        self.connection.request(method, "/" + url, body, {"Cookie": self.cookies.get(who, "")})
        with self.connection.getresponse() as got:
            answer = got.read().decode()
        if set_cookie := got.headers.get("Set-Cookie"):
            self.cookies[who] = set_cookie.split(";")[0]
        if answer.startswith("got("):
            answer = answer[len("got('") : -len("')")].replace("\\'", "'").replace("\\\\", "\\")
        return got.status, json.loads(answer)["status"]

    def round(self, name: str) -> list[tuple[int, str]]:
        """Send ten requests: log-ins, lists, JSONP, one that adds a user, one that deletes it, and three that fail.

        `name` is the name of the user to add. Return the HTTP status and the `status` of each answer.
        """
        return [
            self.log_in("admin"),
            self.log_in("plain"),
            self.ask("POST", "users/?get", "admin"),
            self.ask("GET", "addresses/?get", "admin"),
            self.ask("GET", f"users/?get&limit=50&callback=got&_={name}", "admin"),
            self.ask(
                "POST",
                "users/?add",
                "admin",
                user_name=name,
                user_authdata="x",
                user_permissions=["delegate"],
            ),
            self.ask("POST", "users/?delete", "admin", user_name=name),
            self.ask("POST", "users/?delete", "plain", user_name="user000002"),
            self.ask("POST", "nothing/?get", "plain"),
            self.ask("POST", "users/?add", "plain", user_name=["x"]),
        ]


ANSWERS = Counter(
    {
        (200, "ok"): 7,
        (200, "Not allowed."): 1,
        (404, "Unknown module nothing."): 1,
        (400, "Invalid value for user_name."): 1,
    }
)


def work(port: int, requests: int):
    """Send that many requests to a server, from CLIENTS threads. Raise AssertionError for unexpected answers.

    ANSWERS has those that are expected of each ten requests.
    """
    turns = iter(range(requests // 10))

    def rounds(_):
        with contextlib.closing(Client(port)) as client:
            for turn in turns:
                answers = Counter(client.round(f"new{turn}"))
                assert answers == ANSWERS, answers

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(rounds, range(CLIENTS)))


def measure(name: str, users: int, requests: int) -> list:
    """Measure one server of COMMANDS. Return the number of its workers, and the PSS of the largest one in MB.

    There are four figures of PSS: after the start, after WARM_UP requests, after all requests, and how much it grew
    between the last two.
    """
    with tempfile.TemporaryDirectory() as folder:
        install(Path(folder), users)
        with serve(name, Path(folder)) as server:
            time.sleep(1)  # until every worker is there
            workers, sizes = server.workers(), [server.pss()]
            for more in (WARM_UP, requests - WARM_UP):
                work(server.port, more)
                sizes.append(server.pss())
            assert server.workers() == workers, "a worker ended"
    start, warm, end = (size / 2**20 for size in sizes)
    return [len(workers), start, warm, end, end - warm]


def options(parser):
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("server", nargs="*", default=COMMANDS)


def run(args):
    print(f"PSS per worker in MB; {args.users} users, {args.requests} requests by {CLIENTS} clients\n")
    print("| server | workers | after start | after 1,000 | after all | growth |\n" + "|---" * 6 + "|")
    for name in args.server:
        try:
            figures = "{} | {:.1f} | {:.1f} | {:.1f} | {:+.1f}".format(
                *measure(name, args.users, args.requests)
            )
        except Unavailable as reason:
            figures = f"{reason} | | | |"
        print(f"| {name} | {figures} |", flush=True)
