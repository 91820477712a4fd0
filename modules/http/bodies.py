"""A limit for the memory of large request bodies, and an answer to requests whose body was not read."""

import contextlib
import threading

from mailapi import ApiError, body_length

MOST_DISCARDED = 32 * 1024 * 1024  # bytes


class Unread:
    """A WSGI answer to a request whose body was not read. Its method `close` reads and discards the body.

    `payload`: the content of the answer. If the body stayed unread, the client might not get the answer.
    """

    def __init__(self, payload: bytes, environ: dict):
        self.payload, self.environ = payload, environ

    def __iter__(self):
        return iter([self.payload])

    def close(self):
        """Read and discard the body, up to 32 MiB. The WSGI server calls this after it has sent the answer."""
        with contextlib.suppress(OSError, ApiError):
            length = body_length(self.environ)
            left = MOST_DISCARDED if length is None else min(length, MOST_DISCARDED)
            while left and (piece := self.environ["wsgi.input"].read(min(left, 65536))):
                left -= len(piece)


class SharedLimit:
    """A limit for the memory that all requests of a process take together. Beyond the limit, `take` raises ApiError.

    `most`: the limit in bytes.
    """

    def __init__(self, most: int):
        self.most, self.used, self.lock = most, 0, threading.Lock()

    def take(self, size: int) -> int:
        """Reserve `size` bytes, and return `size`. ApiError (HTTP 503) if this would exceed the limit.

        Any size is allowed as long as nothing else is reserved.
        """
        with self.lock:
            if self.used and self.used + size > self.most:
                raise ApiError("The server is busy. Try again.", http=503, retry_after=1, code="busy")
            self.used += size
        return size

    def give_back(self, size: int):
        with self.lock:
            self.used -= size
