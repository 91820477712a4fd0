"""Clients: log in, ask once, or send requests over several connections for a while.

The clients run in the process of the measurement, so that their CPU is not the server's.
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
TURN = b"#TURN#"  # stands in a body for the number of the connection's turn, in as many characters


@dataclass(frozen=True)
class Request:
    """The bytes of a request, and how its answer's body must begin."""

    name: str
    raw: bytes
    expected: bytes = b'{"status":"ok"'

    def bytes_of(self, turn: int) -> bytes:
        return self.raw.replace(TURN, b"%06d" % turn) if TURN in self.raw else self.raw


@dataclass
class Sample:
    """What a stretch of load gave."""

    cpu: float = 0  # seconds, of the server
    seconds: float = 0
    counts: Counter[str] = field(default_factory=Counter)  # requests by name
    times: list[float] = field(default_factory=list)  # seconds from a request to its whole answer
    unexpected: list[str] = field(default_factory=list)  # answers that do not begin as they must

    def microseconds(self) -> float:
        """Return the CPU of a request."""
        return self.cpu * 1e6 / len(self.times)

    def rate(self) -> float:
        return len(self.times) / self.seconds

    def percentile(self, percent: int) -> float:
        """Return a percentile of the times, in ms."""
        return sorted(self.times)[min(len(self.times) - 1, len(self.times) * percent // 100)] * 1000


def ask(port: int, path: str, cookie: str = "", body: dict | None = None) -> http.client.HTTPResponse:
    """Send a request on a connection of its own. Return the response, with its content as `body`."""
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
    """Return the cookie of a new session."""
    response = ask(port, "/", body={"auth": {"user_name": user_name, "password": PASSWORD}})
    return response.getheader("Set-Cookie").split("PHPSESSID=")[1].split(";")[0]


def load(server: Server, requests: list[list[Request]], seconds: float) -> Sample:
    """Send each list of requests, in turn, over a connection of its own. Return the figures.

    A connection sends its next request when the last one is answered; each sends one at least.
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
    """One client. It connects anew where the server closes the connection after an answer."""

    def __init__(self, port: int, requests: list[Request], selector, sample: Sample):
        self.port, self.selector, self.sample = port, selector, sample
        self.turns, self.socket = self.endless(requests), None

    @staticmethod
    def endless(requests: list[Request]) -> Iterator[tuple[Request, bytes]]:
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
        """Read what has come. Return whether the answer is complete."""
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


__all__ = ["CONNECTIONS", "TURN", "Request", "Sample", "ask", "load", "log_in"]
