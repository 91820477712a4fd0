"""A client's connection to `mailapi serve`. A slow or hostile client must not make other clients wait:

- What the client does not read of an answer is stored in a file, so that no thread waits for the client. Only the
  rare answers that are too large for this make a thread wait.
- Head and body of a short answer are sent together.
- If several requests arrive at once, each one starts when the answer before it is sent.
- The body of a refused request is read, but not stored.
- A client that moves less than SLOWEST bytes a second for `channel_timeout` seconds, in the middle of a request or an
  answer, is disconnected.
"""

import contextlib
import fcntl
import math
import socket
import struct
import termios
import time
from typing import TYPE_CHECKING

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.task import WSGITask

from .request_parser import JsonError, RequestParser
from .spool import NoRoom, Spool

if TYPE_CHECKING:
    from .waitress_server import Server

SLOWEST = 512  # bytes a second, in the middle of a request or an answer
SHORT = 64 * 1024  # bytes; the body of a short answer, or its first piece, is copied behind the head
MOST_PIPELINED = 100  # requests that a client may send without waiting for answers


class Answer(WSGITask):
    """The answer to one request, as a task of waitress: it calls the application and sends the result."""

    def write(self, data):
        """Send a piece of the answer's body. A short first piece is sent together with the head of the answer."""
        if self.wrote_header or len(data) > SHORT:
            super().write(data)
            return
        self.channel.pieces = pieces = []
        try:
            super().write(data)
        finally:
            self.channel.pieces = None
        self.channel.write_soon(b"".join(pieces))


class Channel(HTTPChannel):
    """A client's connection: waitress' class HTTPChannel, made safe against slow and hostile clients.

    Only the thread that waits for events (loop.py) may close the connection. Other threads call `close_soon`.
    """

    task_class = Answer
    error_task_class = JsonError
    pieces: list[bytes] | None = None  # of an answer, to be sent together
    discard = 0  # bytes of a refused body still to be read: a client may read the answer only after it has sent them
    lingering = False  # the answer is sent, but the body has not fully arrived
    parked = False  # the next request waits until the answer before it is sent
    closed = False
    bytes_in = bytes_out = 0
    pace = math.inf  # bytes a second in the last interval, in all of which the server waited for the client

    def __init__(self, server: "Server", sock, addr, adj, map=None):
        super().__init__(server, sock, addr, adj, map=map)
        self.outbufs = [Spool(server.spooled, self)]
        self.waited = False  # the server was waiting for the client at the last measurement
        self.measured_at = self.moved_at = time.monotonic()
        self.measured = self.moved = 0
        server.poller.changed.append(self)

    def parser_class(self, adj) -> RequestParser:
        return RequestParser(self, adj)

    ########## Reading

    def recv(self, size):
        data = super().recv(size)
        self.bytes_in += len(data)
        return data

    def readable(self):
        if self.closed or self.server.loop.ending:
            return False
        return self.discard > 0 or super().readable()

    def received(self, data):
        if not self.discard:
            started = super().received(data)
            if len(self.requests) > MOST_PIPELINED:
                self.close_soon()
            return started
        self.discard = max(0, self.discard - len(data))
        if self.lingering and not self.discard:
            self.handle_close()
        return False

    ########## Writing

    def writable(self):
        return not self.closed and super().writable()

    def send(self, data, do_close=True):
        """Send what the socket takes of `data` now. Return the number of bytes, 0 if the connection is broken."""
        sent = super().send(data, do_close=False)
        self.bytes_out += sent or 0
        return sent

    def send_continue(self):
        """Send "100 Continue", unless the connection is closed. Any thread may call this."""
        with self.outbuf_lock:
            if self.connected:
                super().send_continue()

    def _flush_some(self, do_close=True):
        with self.outbuf_lock:  # waitress takes it only sometimes
            return super()._flush_some(do_close)

    def write_soon(self, data):
        """Send what the socket takes of `data` now, and store the rest for later. Return the size of `data`."""
        if not data:
            return 0
        if self.pieces is not None:
            self.pieces.append(data)
            return len(data)
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
                self.server.poller.note_change(self)
            return len(data)

    def send_now(self, data) -> int:
        """Send what the socket takes of `data`, and return the number of bytes. ClientDisconnected on failure."""
        try:
            return self.send(data, do_close=False) or 0
        except OSError:
            self.close_soon()
            raise ClientDisconnected from None

    def spool(self, data):
        """Store unsent data for later. If there is no room, close the connection and raise ClientDisconnected."""
        try:
            self.outbufs[-1].append(data)
        except NoRoom:
            self.close_soon()
            raise ClientDisconnected from None
        self.total_outbufs_len += len(data)

    def wait_for_reader(self):
        """Wait until at most `most_unread` / 2 bytes are left to send. ClientDisconnected if too many threads wait.

        The wait also ends when the connection is closed, for example because the client reads nothing.
        """
        if not self.server.streams.acquire(blocking=False):
            self.close_soon()
            raise ClientDisconnected
        try:
            while self.connected and self.total_outbufs_len > self.server.most_unread // 2:
                self.outbuf_lock.wait(1)  # waitress notifies the lock whenever it has sent something
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
        """Schedule this connection's next request if the last answer is sent. The caller must hold `requests_lock`."""
        if self.parked and not self.total_outbufs_len:
            self.parked = False
            self.server.task_dispatcher.add_task(self)

    def linger(self):
        """Send the rest of the answer. Then read and discard what the client sends, until it closes the connection."""
        self._flush_exception(self._flush_some)
        if self.will_close:
            self.handle_close()
        elif self.connected and not self.total_outbufs_len:
            # If the connection were closed now, the client's system would discard the answer.
            self.close_when_flushed, self.lingering = False, True
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    ########## Closing

    def close_soon(self):
        """Let the thread that waits for events close this connection. Any thread may call this."""
        # If this thread closed it, a new connection might get the file descriptor that is still registered.
        self.server.to_close.append(self)
        self.server.pull_trigger()

    def del_channel(self, map=None):
        self.server.poller.unregister(self._fileno)
        super().del_channel(map)

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
        """Store in `pace` how many bytes a second the client moves. Return whether it must be disconnected.

        That is the case if it was too slow for `channel_timeout` seconds. `now`: monotonic time.
        """
        waits = bool(self.total_outbufs_len or self.discard or self.request is not None and not self.requests)
        moved, seconds = self.bytes_in + self.bytes_out - unsent(self.socket), now - self.measured_at
        self.pace = (moved - self.measured) / seconds if waits and self.waited and seconds > 0 else math.inf
        self.waited, self.measured, self.measured_at = waits, moved, now
        if not waits or moved - self.moved >= SLOWEST * self.adj.channel_timeout:
            self.moved, self.moved_at = moved, now
        return now - self.moved_at > self.adj.channel_timeout

    def idle(self, now: float) -> bool:
        """Return whether the connection has been unused for `channel_timeout` seconds. `now`: from time.time()."""
        unused = abs(now - self.last_activity)  # the clock may have been set back
        return not self.waited and not self.requests and unused > self.adj.channel_timeout


def unsent(sock) -> int:
    """Return how many bytes wait in the send buffer of a socket, because the client has not received them."""
    try:
        return struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
    except (OSError, ValueError):
        return 0
