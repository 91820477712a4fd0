"""Request bodies that are not read, and the memory that large ones may take together."""

import contextlib
import threading

from mailapi import ApiError, body_length

MOST_DISCARDED = 32 * 1024 * 1024  # bytes


class Unread:
    """An answer to a request whose body was not read: the body is discarded once the answer is sent.

    CGI and some servers reset a connection on which something is left to read, and the answer is lost.
    """

    def __init__(self, payload: bytes, environ: dict):
        self.payload, self.environ = payload, environ

    def __iter__(self):
        return iter([self.payload])

    def close(self):
        with contextlib.suppress(OSError, ApiError):
            length = body_length(self.environ)
            left = MOST_DISCARDED if length is None else min(length, MOST_DISCARDED)
            while left and (piece := self.environ["wsgi.input"].read(min(left, 65536))):
                left -= len(piece)


class SharedLimit:
    """Bytes of memory that all requests of a process may take together for one purpose."""

    def __init__(self, most: int):
        self.most, self.used, self.lock = most, 0, threading.Lock()

    def take(self, size: int) -> int:
        """Reserve and return size; ApiError (HTTP 503) where others have too much. A single request always gets it."""
        with self.lock:
            if self.used and self.used + size > self.most:
                raise ApiError("The server is busy. Try again.", http=503, retry_after=1)
            self.used += size
        return size

    def give_back(self, size: int):
        with self.lock:
            self.used -= size
