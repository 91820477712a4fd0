"""Clients: log in, send requests over four connections for a while, or singly with a change before each."""

import http.client
import itertools
import json
import shutil
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bench.databases import ADMIN, PASSWORD, Writer
from bench.servers import Server

CONNECTIONS = 4
SCRIPT = Path(__file__).with_name("sessions.lua")


@dataclass
class Sample:
    """The figures of one stretch of load."""

    requests: int
    cpu: float  # µs a request
    rate: float = 0  # requests/s
    p50: float = 0  # µs
    p99: float = 0  # µs
    pss: int = 0  # bytes, of the largest worker


def median(samples: list[Sample]) -> Sample:
    """Return the median of each field, and the largest PSS."""
    values = {
        field: statistics.median(getattr(s, field) for s in samples) for field in Sample.__dataclass_fields__
    }
    return Sample(**values | {"pss": max(s.pss for s in samples)})


def ask(port: int, path: str, cookie: str = "", body: dict | None = None) -> http.client.HTTPResponse:
    """Send a request on a connection of its own. Return the response, with its content as `body`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(
        "GET" if body is None else "POST",
        path,
        None if body is None else json.dumps(body),
        {"Cookie": f"PHPSESSID={cookie}", "Connection": "close"},
    )
    response = connection.getresponse()
    response.body = response.read()
    connection.close()
    return response


def log_in(port: int) -> str:
    """Return the cookie of a new session of the administrator."""
    response = ask(port, "/", body={"auth": {"user_name": ADMIN, "password": PASSWORD}})
    return response.getheader("Set-Cookie").split("PHPSESSID=")[1].split(";")[0]


def four_connections(
    server: Server, path: str, cookies: list[str], seconds: float, differ: bool = False
) -> Sample:
    """Send requests over four connections, each one after the other; with `differ` no two have the same URL."""
    server.wait_until_idle()
    before = server.cpu()
    arguments = [*cookies, "&"] if differ else cookies
    made, answered, elapsed, p50, p99 = (wrk if shutil.which("wrk") else threads)(
        server.port, path, arguments, seconds
    )
    server.wait_until_idle()
    return Sample(made, (server.cpu() - before) * 1e6 / made, answered / elapsed, p50, p99, server.pss())


def wrk(port: int, path: str, arguments: list[str], seconds: float, connections: int = CONNECTIONS) -> tuple:
    """Return the requests made and answered, the seconds that they took, p50 and p99 in µs."""
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        "--timeout",
        "10s",
        "-s",
        SCRIPT,
        f"http://127.0.0.1:{port}{path}",
        "--",
        *arguments,
    ]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    made, answered, duration, failed, p50, p99 = map(int, output.split("wrk: ")[1].split())
    if failed:
        raise AssertionError(f"{path}: {failed} of {made} requests failed:\n{output}")
    return made, answered, duration / 1e6, p50, p99


def threads(port: int, path: str, arguments: list[str], seconds: float) -> tuple:
    """Do the same without wrk; more slowly, which does not change the CPU time of the server."""
    times: list[float] = []
    until = time.monotonic() + seconds
    number = itertools.count()

    def client(cookie: str):
        while time.monotonic() < until:
            times.append(timed(port, f"{path}&n={next(number)}" if "&" in arguments else path, cookie)[1])

    clients = [threading.Thread(target=client, args=(cookie,)) for cookie in arguments if cookie != "&"]
    start = time.monotonic()
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    return len(times), len(times), time.monotonic() - start, *percentiles(times)


def timed(port: int, path: str, cookie: str) -> tuple[bytes, float]:
    """Return the answer's body, and the µs until it had arrived."""
    start = time.perf_counter()
    response = ask(port, path, cookie)
    if response.status != 200:
        raise AssertionError(f"{path}: HTTP {response.status}: {response.body[:200]}")
    return response.body, (time.perf_counter() - start) * 1e6


def percentiles(times: list[float]) -> tuple[float, float]:
    """Return p50 and p99."""
    ordered = sorted(times)
    return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]


def after_changes(
    server: Server, path: str, cookie: str, writer: Writer, seconds: float, least: int = 5
) -> Sample:
    """Send single requests, each after another connection changed the database.

    AssertionError where an answer has the state before the change.
    """
    server.wait_until_idle()
    before, times, start = server.cpu(), [], time.monotonic()
    last = b""
    while len(times) < least or time.monotonic() - start < seconds:
        writer.change()
        body, took = timed(server.port, path, cookie)
        if b"user000001" in body and body == last:
            raise AssertionError(f"{path}: the answer of before the change")
        last = body
        times.append(took)
    server.wait_until_idle()
    cpu = (server.cpu() - before) * 1e6 / len(times)
    return Sample(len(times), cpu, 0, *percentiles(times), server.pss())
