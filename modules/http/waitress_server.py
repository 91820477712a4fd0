"""The HTTP server of `mailapi serve`: waitress with threads of our own (loop.py), and limits for slow clients."""

import collections
import importlib.metadata
import logging
import socket
import threading
import time
from collections.abc import Callable

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.receiver import ChunkedReceiver
from waitress.server import TcpWSGIServer
from waitress.task import WSGITask

import mailapi

from . import workers
from .accepting import PausingServer
from .channel import Channel
from .loop import Loop
from .spool import Spooled

log = logging.getLogger("mailapi.serving")
STREAMS = 2  # answers at the same time that are too large to be spooled; each occupies a thread
BACKLOG = 1024  # connections that the system accepts before the server does
UNLIMITED = 2**60
# The attributes of waitress that mailapi uses and waitress does not document.
USED_INTERNALS = {
    HTTPChannel: (
        "_flush_exception",
        "_flush_some",
        "close_when_flushed",
        "del_channel",
        "handle_close",
        "handle_write",
        "readable",
        "received",
        "recv",
        "request",
        "send",
        "send_continue",
        "service",
        "task_class",
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
    WSGITask: ("write", "wrote_header"),
    TcpWSGIServer: (
        "add_task",
        "channel_class",
        "in_connection_overflow",
        "maintenance",
        "next_channel_cleanup",
        "pull_trigger",
        "readable",
    ),
    wasyncore: ("close_all", "file_dispatcher", "readwrite"),
}


def listen(address: str) -> list[socket.socket]:
    """Return new listening sockets for `address` (HOST:PORT), one for each IP address of HOST. OSError on failure."""
    sockets = []
    for family, kind, protocol, name in Adjustments(listen=address).listen:
        sockets.append(each := socket.socket(family, kind, protocol))
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        each.bind(name)
        each.listen(BACKLOG)
    return sockets


def create_server(
    app,
    sockets: list[socket.socket],
    max_spooled: int,
    most_unread: int,
    threads: int,
    lifeline: int | None = None,
    **adjustments,
) -> Loop:
    """Create a server for a WSGI application, and return it. Its method `run` serves requests.

    `app`: the application, with a method `body_limit(path, query_string)`. `sockets`: from `listen`. `max_spooled`:
    the most bytes in the temporary files of all connections together. `most_unread`: the most bytes of an answer that
    are stored for a slow client. `threads`: how many slow answers can be made at the same time, in addition to quick
    ones. `lifeline`: the file descriptor of a pipe. The server stops when the pipe is closed. `adjustments`: settings
    of waitress. ConfigError if this version of waitress is not supported.
    """
    refuse_other_waitress()
    logging.getLogger("waitress").addFilter(make_printable)
    settings = Adjustments(
        outbuf_high_watermark=UNLIMITED, max_request_body_size=UNLIMITED, backlog=BACKLOG, **adjustments
    )
    loop = Loop(threads + STREAMS + 1)  # one runs the loop
    spooled, streams = Spooled(max_spooled), threading.BoundedSemaphore(STREAMS)
    for each in sockets:
        Server(app, spooled, most_unread, streams, loop, each, settings)
    if lifeline is not None:
        Lifeline(lifeline, loop)
    return loop


def refuse_other_waitress():
    """Raise ConfigError if the installed version of waitress lacks an undocumented attribute that mailapi uses."""
    missing = [
        f"{kind.__name__}.{name}"
        for kind, names in USED_INTERNALS.items()
        for name in names
        if not hasattr(kind, name)
    ]
    if missing:
        version = importlib.metadata.version("waitress")
        raise mailapi.ConfigError(f"waitress {version} has no {', '.join(missing)}: install waitress 3.0.2.")


def make_printable(record: logging.LogRecord) -> bool:
    """Replace control characters in a message of waitress by U+FFFD, and shorten it to 300 characters. Return True.

    The message may contain the path of a request, in which a client could send whole lines of the log.
    """
    record.msg, record.args = mailapi.printable(record.getMessage()[:300]), ()
    return True


class Lifeline(wasyncore.file_dispatcher):
    """The reading end of a pipe that tells a worker process when its supervisor has ended. The server then stops."""

    def __init__(self, fd: int, loop: Loop):
        # Only the supervisor has the writing end open, so that the pipe ends with it.
        super().__init__(fd, loop.poller.map)
        self.loop = loop
        loop.poller.changed.append(self)

    def readable(self):
        return not self.loop.ending

    def writable(self):
        return False

    def handle_close(self):
        workers.end_in_time()
        self.loop.stop()

    handle_read = handle_close


class Server(PausingServer):
    """An HTTP server that listens on one socket. The servers of all sockets share threads and temporary files."""

    channel_class = Channel
    next_channel_cleanup: float = 0  # from time.time(); waitress sets it

    def __init__(
        self,
        app,
        spooled: Spooled,
        most_unread: int,
        streams: threading.BoundedSemaphore,
        loop: Loop,
        listening: socket.socket,
        settings: Adjustments,
    ):
        self.body_limit: Callable[[str, str], int] = app.body_limit
        self.spooled, self.most_unread, self.streams = spooled, most_unread, streams
        self.loop, self.poller = loop, loop.poller
        self.to_close: collections.deque[Channel] = collections.deque()
        super().__init__(
            app,
            self.poller.map,
            _sock=listening,
            dispatcher=loop,
            adj=settings,
            sockinfo=(listening.family, listening.type, listening.proto, listening.getsockname()),
            bind_socket=False,
        )
        self.poller.servers.append(self)
        self.poller.changed.append(self)

    def pull_trigger(self):
        self.poller.wake()

    def add_task(self, channel: Channel):
        """Schedule the next request of a connection. A thread answers it when the answer before it is sent.

        The caller must hold the connection's `requests_lock`.
        """
        # Before `start`, since the loop may be sending the end of the last answer.
        channel.parked = True
        channel.start()

    def is_due(self) -> bool:
        """Return whether to call `readable` again: there are connections to close, or its result may have changed."""
        now = time.time()
        if self.next_channel_cleanup > now + self.adj.cleanup_interval:  # the clock was set back
            self.next_channel_cleanup = now
        waits = self.in_connection_overflow or self.paused_until
        return bool(self.to_close or waits or now >= self.next_channel_cleanup)

    def readable(self):
        """Close the connections in `to_close`. Then return whether the server accepts new connections now."""
        while self.to_close:
            self.to_close.popleft().handle_close()
        return super().readable() and not self.loop.ending

    def maintenance(self, now):
        """Close connections that are too slow or unused, and log how many. waitress calls this every few seconds.

        `now`: from time.time().
        """
        channels = list(self.active_channels.values())
        late = [channel for channel in channels if channel.measure(time.monotonic())]
        for channel in late + [channel for channel in channels if channel.idle(now)]:
            channel.handle_close()
        refused, closed = self.spooled.new_interval()
        if late:
            log.info("%d connections closed: nothing moved for %d s", len(late), self.adj.channel_timeout)
        if refused or closed:
            log.warning(
                "max_spooled is reached: no room for %d requests, %d slow connections closed", refused, closed
            )
