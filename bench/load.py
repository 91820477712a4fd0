"""Clients for measurements: log in, send one request, or send requests over several connections for a while.

The clients run in the process of the measurement, so that their CPU does not count as the server's.
"""

import contextlib
import http.client
import json
import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.databases import ADMIN, PASSWORD
from bench.servers import Server

CONNECTIONS = 4
PATIENCE = 60  # seconds without an answer after which a measurement fails
TURN = b"#TURN#"  # replaced in a body by the number of the round, with as many digits


@dataclass(frozen=True)
class Request:
    """The bytes of an HTTP request, and the bytes with which the body of its answer must begin."""

    name: str
    raw: bytes
    expected: bytes = b'{"status":"ok"'

    def bytes_of(self, turn: int) -> bytes:
        """Return the request's bytes with the number `turn` in place of TURN, if the request contains TURN."""
        return self.raw.replace(TURN, b"%06d" % turn) if TURN in self.raw else self.raw


@dataclass
class Sample:
    """The measurements of one period in which clients sent requests to a server."""

    cpu: float = 0  # seconds, of the server
    seconds: float = 0
    counts: Counter[str] = field(default_factory=Counter)  # requests by name
    times: list[float] = field(default_factory=list)  # seconds from a request to its whole answer
    unexpected: list[str] = field(default_factory=list)  # answers that do not begin as they must

    def microseconds(self) -> float:
        """Return the CPU that the server took per request, in µs."""
        return self.cpu * 1e6 / len(self.times)

    def rate(self) -> float:
        """Return the number of requests per second."""
        return len(self.times) / self.seconds

    def percentile(self, percent: int) -> float:
        """Return a percentile of the times from request to answer, in ms; 50 is the median."""
        return sorted(self.times)[min(len(self.times) - 1, len(self.times) * percent // 100)] * 1000


def ask(port: int, path: str, cookie: str = "", body: dict | None = None) -> http.client.HTTPResponse:
    """Send a request over a new connection. Return the response, with the bytes of its body as `body`.

    It is a GET, or, if a body is given, a POST with the body as JSON. `cookie` is the ID of a session.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
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


def log_in(port: int, user_name: str = ADMIN) -> str:
    """Log in as a user whose password is PASSWORD, and return the cookie of the session."""
    response = ask(port, "/", body={"auth": {"user_name": user_name, "password": PASSWORD}})
    return response.getheader("Set-Cookie").split("PHPSESSID=")[1].split(";")[0]


def load(server: Server, requests: list[list[Request]], seconds: float) -> Sample:
    """Send requests from several clients for some seconds, and return the measurements.

    Each item of `requests` is one client with a connection of its own. A client sends its list of requests over and
    over, each when the one before is answered. Each client sends at least one request.
    """
    server.wait_until_idle()
    sample, start, before = Sample(), time.perf_counter(), server.cpu()
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for each in requests:
            connection = stack.enter_context(
                contextlib.closing(Connection(server.port, each, selector, sample))
            )
            connection.send()
        while selector.get_map():
            ready = selector.select(PATIENCE)
            if not ready:
                raise AssertionError(f"no answer for {PATIENCE} s")
            for key, _ in ready:
                if key.data.receive() and time.perf_counter() - start < seconds:
                    key.data.send()
    sample.seconds = time.perf_counter() - start
    server.wait_until_idle()
    sample.cpu = server.cpu() - before
    return sample


class Connection:
    """One client, which sends a list of requests over and over, and records the answers in `sample`.

    It connects again if the server closes the connection after an answer.
    """

    def __init__(self, port: int, requests: list[Request], selector, sample: Sample):
        self.port, self.selector, self.sample = port, selector, sample
        self.turns, self.socket = self.endless(requests), None

    @staticmethod
    def endless(requests: list[Request]) -> Iterator[tuple[Request, bytes]]:
        """Yield the requests over and over, each with its bytes."""
        turn = 0
        while True:
            for request in requests:
                yield request, request.bytes_of(turn)
            turn += 1

    def send(self):
        self.request, raw = next(self.turns)
        self.received, self.head_size, self.size = bytearray(), 0, 0
        self.sent_at = time.perf_counter()
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.selector.register(self.socket, selectors.EVENT_READ, self)
        self.socket.sendall(raw)

    def receive(self) -> bool:
        """Read the bytes that have arrived. Return whether the answer is complete now; if so, record it."""
        piece = self.socket.recv(1 << 20)
        self.received += piece
        if not self.head_size:
            self.read_head()
        if piece and not (self.head_size and len(self.received) >= self.head_size + self.size):
            return False
        self.sample.times.append(time.perf_counter() - self.sent_at)
        self.sample.counts[self.request.name] += 1
        if not self.received.startswith(self.request.expected, self.head_size) or not self.head_size:
            self.sample.unexpected.append(f"{self.request.name}: {bytes(self.received[:600])!r}")
        self.selector.unregister(self.socket)
        if not piece or self.closes:
            self.socket.close()
            self.socket = None
        return True

    def read_head(self):
        end = self.received.find(b"\r\n\r\n")
        self.closes = True
        if end < 0:
            return
        self.head_size = end + 4
        head = bytes(self.received[: self.head_size]).lower()
        self.closes = b"\r\nconnection: close" in head
        self.size = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])

    def close(self):
        if self.socket:
            self.socket.close()
