"""The HTTP server of `mailapi serve`: waitress, with limits for slow and hostile clients."""

import collections
import importlib.metadata
import logging
import threading
import time
from collections.abc import Callable

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.receiver import ChunkedReceiver
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

import mailapi

from .channel import Channel
from .spool import Spooled

log = logging.getLogger("mailapi.serving")
STREAMS = 2  # answers at the same time that are too large to be spooled; each occupies a thread
SECONDS_TO_END = 5  # after SIGTERM, for answers that are not sent yet
UNLIMITED = 2**60
# The attributes of waitress that mailapi uses and waitress does not document.
USED_INTERNALS = {
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
    """Return a server for a WSGI application. It listens already; `run` serves.

    The application has a method `body_limit(path, query_string)`. max_spooled: the most bytes in temporary files, of
    all connections together. most_unread: the most bytes of an answer that wait for the client. OSError if it cannot
    listen; ConfigError if this version of waitress is not supported.
    """
    refuse_other_waitress()
    if max_spooled < most_unread:
        raise mailapi.ConfigError("max_spooled must be at least max_message.")
    settings = Adjustments(
        listen=listen, outbuf_high_watermark=UNLIMITED, max_request_body_size=UNLIMITED, **adjustments
    )
    shared = {"map": {}, "dispatcher": ThreadedTaskDispatcher(), "adj": settings}
    spooled, streams = Spooled(max_spooled), threading.BoundedSemaphore(STREAMS)
    servers = [
        Server(app, spooled, most_unread, streams, sockinfo=address, **shared) for address in settings.listen
    ]
    shared["dispatcher"].set_thread_count(threads + STREAMS)
    return servers[0]  # its loop serves all addresses


def refuse_other_waitress():
    """Raise ConfigError if the installed version of waitress lacks one of USED_INTERNALS."""
    missing = [
        f"{kind.__name__}.{name}"
        for kind, names in USED_INTERNALS.items()
        for name in names
        if not hasattr(kind, name)
    ]
    if missing:
        version = importlib.metadata.version("waitress")
        raise mailapi.ConfigError(f"waitress {version} has no {', '.join(missing)}: install waitress 3.0.2.")


class Server(TcpWSGIServer):
    """A server that listens at an address; limits are shared with servers at other addresses."""

    channel_class = Channel

    def __init__(
        self, app, spooled: Spooled, most_unread: int, streams: threading.BoundedSemaphore, **options
    ):
        self.body_limit: Callable[[str, str], int] = app.body_limit
        self.spooled, self.most_unread, self.streams = spooled, most_unread, streams
        self.to_close: collections.deque[Channel] = collections.deque()
        super().__init__(app, **options)

    def add_task(self, channel: Channel):
        """Answer the channel's next request when its last answer is sent. The caller has locked requests_lock."""
        # Before `start`, since the main thread may be sending the end of the last answer.
        channel.parked = True
        channel.start()

    def readable(self):
        """Close the connections that other threads have put into `to_close`. The main thread calls this repeatedly."""
        while self.to_close:
            self.to_close.popleft().handle_close()
        return super().readable()

    def maintenance(self, now):
        """Close connections that are too slow or idle, and log how many. Called every few seconds."""
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

    def run(self):
        """Serve until SIGTERM. Then send the rest of the answers, for at most SECONDS_TO_END seconds."""
        super().run()
        self.accepting, until = False, time.monotonic() + SECONDS_TO_END
        while time.monotonic() < until and any(c.total_outbufs_len for c in self.active_channels.values()):
            self.asyncore.loop(timeout=0.1, use_poll=True, map=self._map, count=1)
