"""Sockets that limit time and received bytes, for conversations with servers that may be slow, broken or hostile."""

import logging
import math
import socket
import ssl
import time

from mailapi import printable

log = logging.getLogger("mailapi.services")


class Deadline:
    """The limits of a conversation with a server: it must end after `seconds`, and may receive `max_bytes`.

    The attribute `opened` lists the sockets and files that `close` will close.
    """

    def __init__(self, seconds: float, max_bytes: float):
        self.max_bytes = max_bytes
        self.max_idle = math.inf  # seconds to wait for the next bytes
        self.opened: list = []  # sockets, and the files made from them
        self.renew(seconds)

    def renew(self, seconds: float):
        """Let the conversation end `seconds` from now, in place of the earlier limit."""
        self.until = time.monotonic() + seconds

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self.until

    def remaining(self) -> float:
        """Return the timeout for the next read or write, in seconds. TimeoutError if the conversation must have ended.

        The timeout lasts until the end of the conversation, but not longer than `max_idle`.
        """
        seconds = self.until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return min(seconds, self.max_idle)

    def close(self):
        """Close all sockets of the conversation, and the files that `makefile` made from them.

        An open file would keep its connection open.
        """
        for each in reversed(self.opened):
            each.close()

    def count_received(self, size: int) -> int:
        """Add `size` to the bytes received in the conversation, and return `size`. OSError beyond the limit."""
        self.max_bytes -= size
        if self.max_bytes < 0:
            raise OSError("it sends too much")
        return size


class DeadlineMixin:
    """A mixin for sockets: reads and writes keep the limits of a Deadline. TimeoutError or OSError beyond them.

    The code that creates such a socket must set its attribute `deadline`.
    """

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
    """An SSLContext that wraps a socket with a deadline, and gives the TLS socket the same deadline."""

    sslsocket_class = DeadlineTLS

    def wrap_socket(self, sock, **options):
        sock.settimeout(sock.deadline.remaining())
        wrapped = super().wrap_socket(sock, **options)
        wrapped.deadline = sock.deadline
        wrapped.deadline.opened.append(wrapped)
        return wrapped


class OpenSocketMixin:
    """A mixin for classes like imaplib.IMAP4: they use `connection`, an open socket, and do not connect themselves.

    `host`: the host name, which the class gets as usual.
    """

    def __init__(self, connection: DeadlineSocket, *host: str):
        self.connection = connection
        super().__init__(*host)

    def _create_socket(self, timeout):
        return self.connection


def tls_context() -> Context:
    """Return a TLS context for clients, which verifies certificates by the authorities that the system trusts."""
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    return context


def open_socket(family: int, address, deadline: Deadline) -> DeadlineSocket:
    """Connect to an address, and return the socket. OSError if that fails or takes too long.

    `family` and `address`: from socket.getaddrinfo. `deadline`: the limits of the socket; `deadline.close` closes it.
    """
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
    """Return why a conversation failed, such as "Connection refused": at most 200 characters in one line.

    `error`: the exception. `deadline`: that of the conversation; if its time is over, that is the reason.
    """
    if isinstance(error, TimeoutError) or deadline.expired:
        return "it did not answer in time"
    if not isinstance(error, (OSError, EOFError, ValueError)):
        log.info("unexpected", exc_info=error)
    arguments = " ".join(map(to_text, error.args))
    reason = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or arguments
    return printable(" ".join(reason.split()))[:200].rstrip(". ") or type(error).__name__


def to_text(value) -> str:
    """Convert a value to str. Bytes are decoded as UTF-8; invalid ones become U+FFFD."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
