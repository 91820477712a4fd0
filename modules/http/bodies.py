"""Request bodies that nobody reads, and a limit for the memory of large ones."""

import contextlib
import threading

from mailapi import ApiError, body_length

MOST_DISCARDED = 32 * 1024 * 1024  # bytes


class Unread:
    """The answer to a request whose body was not read. `close` reads the body, after the server has sent the answer.

    CGI and some servers reset a connection on which unread bytes are left, and the client loses the answer.
    """

    def __init__(self, payload: bytes, environ: dict):
        self.payload, self.environ = payload, environ

    def __iter__(self):
        return iter([self.payload])

    def close(self):
        """Read and discard the body, up to MOST_DISCARDED bytes. The WSGI server calls this after the answer."""
        with contextlib.suppress(OSError, ApiError):
            length = body_length(self.environ)
            left = MOST_DISCARDED if length is None else min(length, MOST_DISCARDED)
            while left and (piece := self.environ["wsgi.input"].read(min(left, 65536))):
                left -= len(piece)


class SharedLimit:
    """A limit of `most` bytes of memory for one purpose, shared by all requests of a process."""

    def __init__(self, most: int):
        self.most, self.used, self.lock = most, 0, threading.Lock()

    def take(self, size: int) -> int:
        """Reserve `size` bytes and return that number; ApiError (HTTP 503) if that exceeds the limit.

        While no other request has reserved memory, any size is granted.
        """
        with self.lock:
            if self.used and self.used + size > self.most:
                raise ApiError("The server is busy. Try again.", http=503, retry_after=1, code="busy")
            self.used += size
        return size

    def give_back(self, size: int):
        with self.lock:
            self.used -= size
