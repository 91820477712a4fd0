"""Sockets with a deadline and a limit of bytes, for services that may be slow, broken or hostile."""

import logging
import math
import socket
import ssl
import time

from mailapi import printable

log = logging.getLogger("mailapi.services")


class Deadline:
    """The limits of one conversation, in seconds and in bytes received, and the sockets and files it has open."""

    def __init__(self, seconds: float, max_bytes: float):
        self.max_bytes = max_bytes
        self.max_idle = math.inf  # seconds to wait for the next bytes
        self.opened: list = []  # sockets, and the files made of them
        self.renew(seconds)

    def renew(self, seconds: float):
        """Set the end to so many seconds from now."""
        self.until = time.monotonic() + seconds

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self.until

    def remaining(self) -> float:
        """Return the seconds that the next bytes may take. TimeoutError: the time is up."""
        seconds = self.until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return min(seconds, self.max_idle)

    def close(self):
        """Close the socket and every file made of it: while one of them is open, so is the connection."""
        for each in reversed(self.opened):
            each.close()

    def count_received(self, size: int) -> int:
        """Subtract received bytes from the limit, and return their number. OSError: they are too many."""
        self.max_bytes -= size
        if self.max_bytes < 0:
            raise OSError("it sends too much")
        return size


class DeadlineMixin:
    """Make every wait of a socket class end with the deadline of its conversation."""

    deadline: Deadline

    def makefile(self, *arguments, **options):
        file = super().makefile(*arguments, **options)
        self.deadline.opened.append(file)
        return file

    def recv_into(self, buffer, *arguments):
        self.settimeout(self.deadline.remaining())
        return self.deadline.count_received(super().recv_into(buffer, *arguments))

    def send(self, data, *arguments):
        self.settimeout(self.deadline.remaining())
        return super().send(data, *arguments)

    def sendall(self, data, *arguments):
        self.settimeout(self.deadline.remaining())
        return super().sendall(data, *arguments)


class DeadlineSocket(DeadlineMixin, socket.socket):
    pass


class DeadlineTLS(DeadlineMixin, ssl.SSLSocket):
    pass


class Context(ssl.SSLContext):
    """A TLS context whose sockets keep the deadline of the socket that they wrap."""

    sslsocket_class = DeadlineTLS

    def wrap_socket(self, sock, **options):
        sock.settimeout(sock.deadline.remaining())
        wrapped = super().wrap_socket(sock, **options)
        wrapped.deadline = sock.deadline
        wrapped.deadline.opened.append(wrapped)
        return wrapped


class OpenSocketMixin:
    """Make a connection class of imaplib or poplib use a socket that is already open."""

    def __init__(self, connection: DeadlineSocket, *host: str):
        self.connection = connection
        super().__init__(*host)

    def _create_socket(self, timeout):
        return self.connection


def tls_context() -> Context:
    """Return a context that verifies certificates by the system's authorities."""
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    return context


def open_socket(family: int, address, deadline: Deadline) -> DeadlineSocket:
    """Open a stream socket before the deadline; the deadline closes it."""
    sock = DeadlineSocket(family, socket.SOCK_STREAM)
    sock.deadline = deadline
    deadline.opened.append(sock)
    sock.settimeout(deadline.remaining())
    sock.connect(address)
    if family != socket.AF_UNIX:
        # Commands are short, and each waits for its answer.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def failure_reason(error: Exception, deadline: Deadline) -> str:
    """Return why a conversation failed: one line of at most 200 printable characters."""
    if isinstance(error, TimeoutError) or deadline.expired:
        return "it did not answer in time"
    if not isinstance(error, (OSError, EOFError, ValueError)):
        log.info("unexpected", exc_info=error)
    arguments = " ".join(map(to_text, error.args))
    reason = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or arguments
    return printable(" ".join(reason.split()))[:200].rstrip(". ") or type(error).__name__


def to_text(value) -> str:
    """Return bytes of a service as text, and anything else as str() does."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
