"""Sockets for services that can be slow, broken or hostile.

No conversation takes longer than it is given, however its bytes drip, and none fills the memory.
"""

import logging
import math
import socket
import ssl
import time

from mailapi import printable

log = logging.getLogger("mailapi.services")


class Deadline:
    """How long a conversation may take, how many bytes may come of it, and what it keeps open."""

    def __init__(self, seconds: float, most: float):
        self.most = most
        self.silence = math.inf  # seconds in which nothing comes
        self.opened: list = []  # the sockets, and the files that were made of them
        self.renew(seconds)

    def renew(self, seconds: float):
        """From now on it may take that long."""
        self.until = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that it may take until something comes; TimeoutError where there are none."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, self.silence)

    def close(self):
        """End the conversation, if it began: a socket stays open for as long as a file of it does."""
        for each in reversed(self.opened):
            each.close()

    def spend(self, size: int) -> int:
        """OSError where more bytes came than are allowed."""
        self.most -= size
        if self.most < 0:
            raise OSError("it sends too much")
        return size


class Patient:
    """Mixed into a socket: every wait ends with the patience for the whole conversation."""

    deadline: Deadline

    def makefile(self, *how, **options):
        found = super().makefile(*how, **options)
        self.deadline.opened.append(found)
        return found

    def recv_into(self, buffer, *rest):
        self.settimeout(self.deadline.left())
        return self.deadline.spend(super().recv_into(buffer, *rest))

    def send(self, data, *rest):
        self.settimeout(self.deadline.left())
        return super().send(data, *rest)

    def sendall(self, data, *rest):
        self.settimeout(self.deadline.left())
        return super().sendall(data, *rest)


class DeadlineSocket(Patient, socket.socket):
    pass


class DeadlineTLS(Patient, ssl.SSLSocket):
    pass


class Context(ssl.SSLContext):
    """Certificates are verified; what it makes of a patient socket is a patient one."""

    sslsocket_class = DeadlineTLS

    def wrap_socket(self, sock, **options):
        sock.settimeout(sock.deadline.left())
        wrapped = super().wrap_socket(sock, **options)
        wrapped.deadline = sock.deadline
        wrapped.deadline.opened.append(wrapped)
        return wrapped


def tls_context() -> Context:
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    return context


def connected(family: int, address, deadline: Deadline) -> DeadlineSocket:
    found = DeadlineSocket(family, socket.SOCK_STREAM)
    found.deadline = deadline
    deadline.opened.append(found)
    found.settimeout(deadline.left())
    found.connect(address)
    if family != socket.AF_UNIX:
        found.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # questions are short, and answered at once
    return found


def reason(error: Exception, deadline: Deadline) -> str:
    """Why a conversation failed, in words for a person and on one line."""
    if isinstance(error, TimeoutError) or time.monotonic() >= deadline.until:
        return "it did not answer in time"
    if not isinstance(error, (OSError, EOFError, ValueError)):
        log.info("unexpected", exc_info=error)
    said = " ".join(map(readable, error.args))
    words = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or said
    return printable(" ".join(words.split()))[:200].rstrip(". ") or type(error).__name__


def readable(value) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
