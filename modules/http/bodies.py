"""Limits for request bodies: for the length of one, and for the memory of all. Reads bodies that nobody has read."""

import contextlib
import threading

from mailapi import ApiError, Application, body_length, module_name, read_query

MOST_DISCARDED = 32 * 1024 * 1024  # bytes


def declared_limit(app: Application, path: str, query_string: str) -> int | str:
    """Return the most bytes that a request's body may have, as the requested action declares (`max_body`).

    The result is a number, or the name of a setting in config.py, from which the caller reads the number. Returns 0 if
    nothing is declared. `path`: the URL path without its first slash. `query_string`: the query of the URL.
    """
    first, _, below = path.partition("/")
    if first in app.mounts:
        return app.mounts[first].mount_max_body
    name = module_name(path)
    chosen = None
    if name in app.modules:
        with contextlib.suppress(ApiError):  # the app will raise it again
            chosen = app.modules[name].choose(read_query(query_string))
    elif first in app.modules:  # the second wire: MODULE/ACTION
        chosen = app.modules[first].endpoints.get(below)
    return chosen.max_body if chosen else 0


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
        self.own = threading.local()

    def take(self, size: int) -> int:
        """Reserve `size` bytes of memory, and return `size`. ApiError (HTTP 503) if this would exceed the limit.

        Any size is allowed as long as nothing else is reserved.
        """
        with self.lock:
            if self.used and self.used + size > self.most:
                raise ApiError("The server is busy. Try again.", http=503, retry_after=1, code="busy")
            self.used += size
        self.own.size = size
        return size

    def give_back(self, size: int):
        with self.lock:
            self.used -= size
        self.own.size = 0

    def of_thread(self) -> int:
        """Return the bytes that are reserved for the request which the current thread answers."""
        return getattr(self.own, "size", 0)
