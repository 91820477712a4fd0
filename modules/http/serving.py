"""waitress for clients that do not read, do not send or send too much: none of them holds what others need.

- An answer is written to the socket as far as it takes it, the rest is spooled: no thread waits for a client, but for
  the few that pass on answers which are too large to be spooled.
- The next of several requests that came at once is started when the answer before it is sent.
- How long a body may be is decided when the headers are there. What is refused is read, but not kept.
- Who is slower than SLOWEST for `channel_timeout` seconds, in the middle of a request or an answer, is closed.
"""

import collections
import contextlib
import fcntl
import importlib.metadata
import logging
import math
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable

from waitress.adjustments import Adjustments
from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.receiver import ChunkedReceiver
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

import mailapi

from ..http.receiving import JsonError, Request
from ..http.spool import NoRoom, Spool, Spooled

log = logging.getLogger("mailapi.serving")
SLOWEST = 512  # bytes a second, in the middle of a request or an answer
STREAMS = 2  # answers at the same time that are too large to be spooled; each holds a thread
ENDING = 5  # seconds after SIGTERM for answers that are not sent yet
UNLIMITED = 2**60
# What is used of waitress and not in its documentation.
USED = {
    HTTPChannel: (
        "_flush_exception",
        "_flush_some",
        "close_when_flushed",
        "handle_close",
        "handle_write",
        "readable",
        "received",
        "recv",
        "request",
        "send",
        "service",
        "total_outbufs_len",
        "will_close",
        "writable",
        "write_soon",
    ),
    HTTPRequestParser: (
        "body_rcv",
        "chunked",
        "completed",
        "content_length",
        "error",
        "expect_continue",
        "parse_header",
        "received",
    ),
    ChunkedReceiver: ("control_line", "trailer", "error", "received"),
    TcpWSGIServer: ("add_task", "channel_class", "maintenance", "pull_trigger", "readable", "run"),
}


def create_server(
    app, listen: str, max_spooled: int, most_unread: int, threads: int, **adjustments
) -> "Server":
    """Make a server for a WSGI callable that has a method `body_limit(path, query_string)`.

    OSError where it cannot listen. max_spooled: bytes in temporary files, of all connections together; most_unread: bytes
    of one connection's answers that come in pieces.
    """
    refuse_other_waitress()
    if max_spooled < most_unread:
        raise mailapi.ConfigError("max_spooled must be at least max_message.")
    adjustments = Adjustments(
        listen=listen, outbuf_high_watermark=UNLIMITED, max_request_body_size=UNLIMITED, **adjustments
    )
    shared = {"map": {}, "dispatcher": ThreadedTaskDispatcher(), "adj": adjustments}
    spooled, streams = Spooled(max_spooled), threading.BoundedSemaphore(STREAMS)
    servers = [
        Server(app, spooled, most_unread, streams, sockinfo=each, **shared) for each in adjustments.listen
    ]
    shared["dispatcher"].set_thread_count(threads + STREAMS)
    return servers[0]  # it runs the others, too


def refuse_other_waitress():
    missing = [
        f"{kind.__name__}.{name}" for kind, names in USED.items() for name in names if not hasattr(kind, name)
    ]
    if missing:
        version = importlib.metadata.version("waitress")
        raise mailapi.ConfigError(f"waitress {version} has no {', '.join(missing)}: install waitress 3.0.2.")


class Channel(HTTPChannel):
    """A connection."""

    error_task_class = JsonError
    discard = 0  # bytes of a refused body that are read; the client may look for the answer only when it has sent them
    lingering = False  # the answer is sent, the rest of the body is not here yet
    parked = False  # its next request waits until the answer before it is sent
    closed = False
    bytes_in = bytes_out = 0
    pace = math.inf  # bytes a second of the last interval, if it was the client's turn all the time

    def __init__(self, server: "Server", sock, addr, adj, map=None):
        super().__init__(server, sock, addr, adj, map=map)
        self.outbufs = [Spool(server.spooled, self)]
        self.waited = False
        self.measured_at = self.moved_at = time.monotonic()
        self.measured = self.moved = 0

    def parser_class(self, adj) -> Request:
        return Request(self, adj)

    ########## Reading

    def recv(self, size):
        data = super().recv(size)
        self.bytes_in += len(data)
        return data

    def readable(self):
        return not self.closed and (self.discard > 0 or super().readable())

    def received(self, data):
        if not self.discard:
            return super().received(data)
        self.discard = max(0, self.discard - len(data))
        if self.lingering and not self.discard:
            self.handle_close()
        return False

    ########## Writing

    def writable(self):
        return not self.closed and super().writable()

    def send(self, data, do_close=True):
        sent = super().send(data, do_close)
        self.bytes_out += sent or 0
        return sent

    def write_soon(self, data):
        """Called by the thread that answers: send what the socket takes, and spool the rest."""
        if not data:
            return 0
        with self.outbuf_lock:
            if self.total_outbufs_len > self.server.most_unread:
                self.wait_for_reader()
            if not self.connected:
                raise ClientDisconnected
            if isinstance(data, ReadOnlyFileBasedBuffer):
                self.outbufs += [data, Spool(self.server.spooled, self)]
                self.total_outbufs_len += len(data)
            else:
                sent = 0 if self.total_outbufs_len else self.send_now(data)
                if sent < len(data):
                    self.spool(memoryview(data)[sent:])
            if self.total_outbufs_len:
                self.server.pull_trigger()
            return len(data)

    def send_now(self, data) -> int:
        try:
            return self.send(data, do_close=False) or 0
        except OSError:
            self.close_soon()
            raise ClientDisconnected from None

    def spool(self, data):
        try:
            self.outbufs[-1].append(data)
        except NoRoom:
            self.close_soon()
            raise ClientDisconnected from None
        self.total_outbufs_len += len(data)

    def wait_for_reader(self):
        """Let the client read half of what is spooled; `Server.maintenance` closes the connection if it does not."""
        if not self.server.streams.acquire(blocking=False):
            self.close_soon()
            raise ClientDisconnected
        try:
            while self.connected and self.total_outbufs_len > self.server.most_unread // 2:
                self.outbuf_lock.wait(1)  # it is notified whenever something was sent
        finally:
            self.server.streams.release()

    def handle_write(self):
        if self.discard and self.close_when_flushed:
            self.linger()
        else:
            super().handle_write()
        if self.parked:
            with self.requests_lock:
                self.start()

    def start(self):
        """Called with requests_lock: answer the next request, if it waits and the last answer is sent."""
        if self.parked and not self.total_outbufs_len:
            self.parked = False
            self.server.task_dispatcher.add_task(self)

    def linger(self):
        """Send the answer, and go on reading: to close now would take it away from a client that still sends."""
        self._flush_exception(self._flush_some)
        if self.will_close:
            self.handle_close()
        elif self.connected and not self.total_outbufs_len:
            self.close_when_flushed, self.lingering = False, True
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    ########## Closing

    def close_soon(self):
        """Have the main thread close it, which a full socket would otherwise prevent. Any thread may call it."""
        self.server.condemned.append(self)
        self.server.pull_trigger()

    def handle_close(self):
        self.closed = True
        super().handle_close()
        if self.request is not None:
            self.request.close()
        if self.parked:
            self.parked = False
            for request in self.requests:
                request.close()

    def measure(self, now: float) -> bool:
        """Take the pace since the last call; whether the client has kept us waiting for too long."""
        waits = bool(self.total_outbufs_len or self.discard or self.request is not None and not self.requests)
        moved, seconds = self.bytes_in + self.bytes_out - unsent(self.socket), now - self.measured_at
        self.pace = (moved - self.measured) / seconds if waits and self.waited and seconds > 0 else math.inf
        self.waited, self.measured, self.measured_at = waits, moved, now
        if not waits or moved - self.moved >= SLOWEST * self.adj.channel_timeout:
            self.moved, self.moved_at = moved, now
        return now - self.moved_at > self.adj.channel_timeout

    def idle(self, now: float) -> bool:
        return not self.waited and not self.requests and now - self.last_activity > self.adj.channel_timeout


def unsent(sock) -> int:
    """Return how many bytes the client's system has not acknowledged: a socket takes megabytes, then nothing for long."""
    try:
        return struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
    except (OSError, ValueError):
        return 0


class Server(TcpWSGIServer):
    """What listens at one address."""

    channel_class = Channel

    def __init__(
        self, app, spooled: Spooled, most_unread: int, streams: threading.BoundedSemaphore, **options
    ):
        self.body_limit: Callable[[str, str], int] = app.body_limit
        self.spooled, self.most_unread, self.streams = spooled, most_unread, streams
        self.condemned: collections.deque[Channel] = collections.deque()
        super().__init__(app, **options)

    def add_task(self, channel: Channel):
        """Called with requests_lock of the channel: answer its next request, now or when the last answer is sent."""
        channel.parked = (
            True  # first: the main thread may be sending what is left of the last answer just now
        )
        channel.start()

    def readable(self):
        """Called by the main thread again and again."""
        while self.condemned:
            self.condemned.popleft().handle_close()
        return super().readable()

    def maintenance(self, now):
        channels = list(self.active_channels.values())
        late = [channel for channel in channels if channel.measure(time.monotonic())]
        for channel in late + [channel for channel in channels if channel.idle(now)]:
            channel.handle_close()
        refused, closed = self.spooled.measured()
        if late:
            log.info("%d connections closed: nothing moved for %d s", len(late), self.adj.channel_timeout)
        if refused or closed:
            log.warning(
                "max_spooled is reached: no room for %d requests, %d slow connections closed", refused, closed
            )

    def run(self):
        super().run()  # until SIGTERM
        self.accepting, until = False, time.monotonic() + ENDING
        while time.monotonic() < until and any(c.total_outbufs_len for c in self.active_channels.values()):
            self.asyncore.loop(timeout=0.1, use_poll=True, map=self._map, count=1)
