"""Sockets that limit time and received bytes, for conversations with servers that may be slow, broken or hostile."""

import logging
import math
import socket
import ssl
import threading
import time
from concurrent.futures import Future
from functools import cached_property

from mailapi import printable

log = logging.getLogger("mailapi.services")
UNICODE_ERRORS = (UnicodeEncodeError, UnicodeDecodeError)


class Deadline:
    """The time and size limits of one conversation with a server.

    After `seconds`, reads and writes raise TimeoutError. After `max_bytes` received bytes, reads raise OSError. The
    method `close` closes the sockets and files that are in the list `opened`.
    """

    def __init__(self, seconds: float, max_bytes: float):
        self.max_bytes = max_bytes
        self.max_idle = math.inf  # seconds to wait for the next bytes
        self.opened: list = []  # sockets, and the files made from them
        self.renew(seconds)

    def renew(self, seconds: float):
        """Replace the time limit: the conversation must end `seconds` from now."""
        self.until = time.monotonic() + seconds

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self.until

    def remaining(self) -> float:
        """Return the timeout for the next read or write, in seconds. TimeoutError if the time limit has passed.

        The timeout is the time that is left, but at most the attribute `max_idle`.
        """
        seconds = self.until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return min(seconds, self.max_idle)

    def close(self):
        """Close all sockets of the conversation, and the files that `makefile` made from them."""
        for each in reversed(self.opened):  # files first: an open one would keep its connection open
            each.close()

    def count_received(self, size: int) -> int:
        """Count `size` received bytes, and return `size`. OSError if more than `max_bytes` were received in all."""
        self.max_bytes -= size
        if self.max_bytes < 0:
            raise OSError("it sends too much")
        return size


class Resolver:
    """Finds the addresses of a host, within a time limit: socket.getaddrinfo has none, and takes 10 s and more if the
    DNS does not answer.
    """

    def __init__(self, host: str, port: int):
        self.host, self.port = host, port
        self.lock = threading.Lock()
        self.lookup: Future | None = None  # that a thread is at

    def addresses(self, seconds: float) -> list:
        """Return what socket.getaddrinfo returns. OSError if it fails, TimeoutError if it takes more than `seconds`.

        It goes on in its thread then. Further calls wait for the same result, so that there is one such thread only.
        """
        with self.lock:
            lookup = self.lookup
            if lookup is None:
                lookup = Future()
                threading.Thread(target=self.look_up, args=[lookup], daemon=True).start()
                self.lookup = lookup
        return lookup.result(seconds)

    def look_up(self, lookup: Future):
        """Call socket.getaddrinfo, and store its result or exception in `lookup`."""
        try:
            lookup.set_result(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM))
        except Exception as error:
            lookup.set_exception(error)
        finally:
            with self.lock:
                self.lookup = None


class DeadlineMixin:
    """A mixin for socket classes. Reads and writes beyond the limits of a Deadline raise TimeoutError or OSError.

    The code that creates such a socket must set its attribute `deadline` to the Deadline.
    """

    deadline: Deadline

    @cached_property
    def lines(self):
        """The file to read from. TLS has another one, so what came in clear text before TLS began is never read."""
        return self.makefile("rb")

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
    """An SSLContext whose TLS sockets have the same time and size limits (Deadline) as the sockets that they wrap."""

    sslsocket_class = DeadlineTLS

    def wrap_socket(self, sock, **options):
        sock.settimeout(sock.deadline.remaining())
        wrapped = super().wrap_socket(sock, **options)
        wrapped.deadline = sock.deadline
        wrapped.deadline.opened.append(wrapped)
        return wrapped


class OpenSocketMixin:
    """A mixin that makes a class such as imaplib.IMAP4 use an open socket. The class then does not connect itself.

    `connection`: the socket. `host`: the host name of the server, which is passed on to the class.
    """

    def __init__(self, connection: DeadlineSocket, *host: str):
        self.connection = connection
        super().__init__(*host)

    def _create_socket(self, timeout):
        return self.connection


def tls_context() -> Context:
    """Return a TLS context for clients. It trusts the certificate authorities that the system trusts."""
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    return context


def open_socket(family: int, address, deadline: Deadline, seconds: float) -> DeadlineSocket:
    """Connect to an address, and return the socket. OSError if that fails or takes more than `seconds`.

    `family` and `address`: from socket.getaddrinfo. `deadline`: limits the time and the bytes of all later reads and
    writes, and closes the socket when its method close() is called.
    """
    sock = DeadlineSocket(family, socket.SOCK_STREAM)
    sock.deadline = deadline
    deadline.opened.append(sock)
    sock.settimeout(seconds)
    sock.connect(address)
    if family != socket.AF_UNIX:
        # Commands are short, and each waits for its answer.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def failure_reason(error: Exception, deadline: Deadline) -> str:
    """Return why a conversation failed, such as "Connection refused", as one line of at most 200 characters.

    `error`: the exception that ended the conversation. `deadline`: the limits of the conversation. If its time is
    over, the result is "it did not answer in time".
    """
    if isinstance(error, TimeoutError) or deadline.expired:
        return "it did not answer in time"
    if not isinstance(error, (OSError, EOFError, ValueError)):
        log.info("unexpected", exc_info=error)
    # The arguments of a UnicodeError have the whole text, which may be a password.
    arguments = error.reason if isinstance(error, UNICODE_ERRORS) else " ".join(map(to_text, error.args))
    reason = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or arguments
    return printable(" ".join(reason.split()))[:200].rstrip(". ") or type(error).__name__


def to_text(value) -> str:
    """Convert a value to str. Bytes are decoded as UTF-8, and invalid bytes become U+FFFD."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
