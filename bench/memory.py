"""Memory of each server's workers: PSS after the start, after 1,000 and after 10,000 requests.

Run it from the project's root after `make .venv/tested servers`; it takes some minutes and prints a table:

    .venv/bin/python bench/memory.py [--users 1000] [--requests 10000] [SERVER …]
"""

import argparse
import concurrent.futures
import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))

from conftest import MODULES, Site, authdata
from instances import SBIN, free_port, instance

CLIENTS = 8
WARM = 1000  # requests after which every cache is full
GUNICORN = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "mailapi:application"]
UWSGI = [shutil.which("uwsgi", path=SBIN) or "uwsgi", "--http-socket", "127.0.0.1:{port}", "--plugin", "python3",
         "--master", "--need-app", "--disable-logging", "--die-on-term", "--virtualenv", sys.prefix,
         "--pythonpath", str(ROOT), "--module", "mailapi:application"]
SERVERS = {
    "serve": [sys.executable, str(ROOT / "mailapi.py"), "serve", "--listen", "127.0.0.1:{port}"],
    "gunicorn": [*GUNICORN, "--workers", "2"],
    "gunicorn-preload": [*GUNICORN, "--workers", "2", "--preload"],
    "gunicorn-threads": [*GUNICORN, "--workers", "2", "--threads", "4"],
    "uwsgi": [*UWSGI, "--processes", "2"],
    "uwsgi-threads": [*UWSGI, "--processes", "2", "--threads", "4"],
}


def start(name: str, folder: Path):
    """A server of SERVERS over the installation in folder, as a context; its port is the second value."""
    return run(SERVERS[name], folder)


def run(command: list, folder: Path):
    port = free_port()
    environ = {"MAILAPI_CONFIG": str(folder / "config.py"), "PYTHONPATH": f"{ROOT}:{folder}", "PATH": SBIN}
    return instance([part.replace("{port}", str(port)) for part in command], folder / "server", port, env=environ), port


def install(folder: Path, users: int):
    site = Site(folder)
    (folder / "config.py").write_text(f'dbpath = "master.db3"\nmodulelist = {MODULES!r}\n')
    for number in range(CLIENTS):
        site.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", f"admin{number}", authdata("pw"))
        site.sql("INSERT INTO api_access VALUES (?, 'admin')", f"admin{number}")
    site.sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
             "INSERT INTO users (user_name) SELECT 'user' || i FROM n", users)
    site.sql("INSERT INTO addresses (address_expression, address_router, address_route) "
             "SELECT user_name || '@example.org', 'store', user_name FROM users")


class Client:
    """One administrator and one who may do little, each with a session."""

    def __init__(self, port: int, number: int):
        self.port, self.number, self.cookies = port, number, {}
        self.users = {"admin": f"admin{number}", "plain": "bob"}
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def log_in(self, who: str) -> tuple[int, str]:
        return self.ask("?login", who, auth={"user_name": self.users[who], "password": "pw"})

    def ask(self, url: str, who: str, **fields) -> tuple[int, str]:
        """Post fields as somebody; the HTTP status and the status of the answer."""
        headers = {"Connection": "close", "Cookie": self.cookies.get(who, "")}
        self.connection.request("POST", "/" + url, json.dumps(fields), headers)
        with self.connection.getresponse() as got:
            body = got.read().decode()
        self.connection.close()  # uWSGI keeps none open and does not say so
        if made := got.headers.get("Set-Cookie"):
            self.cookies[who] = made.split(";")[0]
        answer = json.loads(body.partition("('")[2][:-2].replace("\\\\", "\\") if body.startswith("got(") else body)
        return got.status, answer["status"]

    def round(self, name: str) -> list[tuple[int, str]]:
        """Ten requests: log-ins, lists, JSONP, a user that comes and goes, and what is refused."""
        return [
            self.log_in("admin"), self.log_in("plain"),
            self.ask("users/?get", "admin"), self.ask("addresses/?get", "admin"),
            self.ask("users/?get&limit=50&callback=got", "admin"),
            self.ask("users/?add", "admin", user_name=name, user_authdata="x", user_permissions=["delegate"]),
            self.ask("users/?delete", "admin", user_name=name),
            self.ask("users/?delete", "plain", user_name="ann"),
            self.ask("nothing/?get", "plain"), self.ask("users/?add", "plain", user_name=["x"])]


ANSWERS = Counter({(200, "ok"): 7, (200, "Not allowed."): 1, (404, "Unknown module nothing."): 1,
                   (400, "Invalid value for user_name."): 1})


def work(port: int, requests: int):
    """So many requests by CLIENTS at once; AssertionError where an answer is not what it should be."""
    turns = iter(range(requests // 10))

    def rounds(number):
        client = Client(port, number)
        for turn in turns:
            answers = Counter(client.round(f"new{number}-{turn}"))
            assert answers == ANSWERS, answers

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(rounds, range(CLIENTS)))


def workers(pid: int) -> list[int]:
    """The processes that answer requests: the children of a master, or the server itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return list(map(int, children)) or [pid]


def pss(pids: list[int]) -> float:
    """The proportional set size of processes in MB, on average."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return sum(int(text.partition("\nPss:")[2].split()[0]) for text in rollups) / len(pids) / 1024


def measure(name: str, users: int, requests: int) -> list:
    with tempfile.TemporaryDirectory() as folder:
        install(Path(folder), users)
        server, port = start(name, Path(folder))
        with server as process:
            time.sleep(1)  # until every worker is there
            pids = workers(process.pid)
            sizes = [pss(pids)]
            for more in (WARM, requests - WARM):
                work(port, more)
                sizes.append(pss(pids))
            assert workers(process.pid) == pids, "a worker ended"
            return [name, len(pids), *sizes, sizes[2] - sizes[1]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("server", nargs="*", choices=[*SERVERS, []])
    args = parser.parse_args()
    print(f"PSS per worker in MB; {args.users} users, {args.requests} requests by {CLIENTS} clients\n")
    print("| server | workers | after start | after 1,000 | after all | growth |\n" + "|---" * 6 + "|")
    for name in args.server or SERVERS:
        print("| {} | {} | {:.1f} | {:.1f} | {:.1f} | {:+.1f} |".format(
            *measure(name, args.users, args.requests)), flush=True)


if __name__ == "__main__":
    try:
        main()
    except (AssertionError, subprocess.SubprocessError, OSError) as error:
        sys.exit(str(error))
