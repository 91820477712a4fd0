"""A pool of connections, which threads share; each is tested before it is used again."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable

from mailapi import BUSY, ApiError

WAIT = 5  # seconds for a lock or a connection, as SQLite's
PROMPT = 2  # seconds in which a working server answers a ping


class Pool:
    """Up to `most` connections, each lent to one thread at a time."""

    def __init__(self, connect: Callable, most: int):
        self.connect, self.places = connect, threading.BoundedSemaphore(most)
        self.idle: deque = deque()

    def take(self):
        """Return an idle connection or a new one; raise ApiError if none is free within WAIT seconds."""
        if not self.places.acquire(timeout=WAIT):
            raise ApiError(BUSY, http=503, retry_after=1)
        try:
            return self.take_idle() or self.connect()
        except BaseException:
            self.places.release()
            raise

    def take_idle(self):
        """Return an idle connection that still answers, or None.

        After one that does not answer, close the others, too: on a server that hangs, each test costs PROMPT seconds.
        """
        with contextlib.suppress(IndexError):  # there is none, or another thread took the last
            connection = self.idle.pop()
            if answers(connection):
                return connection
            discard(connection)
            self.forget()
        return None

    def give_back(self, connection, usable: bool):
        """Keep a connection for the next thread, or close it if it is unusable or has an open transaction."""
        if (
            usable
            and connection.open
            and not in_transaction(connection)
            and time.monotonic() < connection.until
        ):
            self.idle.append(connection)
        else:
            discard(connection)
        self.places.release()

    def forget(self):
        """Close all idle connections."""
        with contextlib.suppress(IndexError):
            while True:
                discard(self.idle.pop())


def in_transaction(connection) -> bool:
    """Return whether the server has an open transaction of this connection."""
    from pymysql.constants.SERVER_STATUS import SERVER_STATUS_IN_TRANS

    return bool(connection.server_status & SERVER_STATUS_IN_TRANS)


def answers(connection) -> bool:
    """Return whether the server answers a ping on this connection within PROMPT seconds."""
    wait_for(connection, PROMPT)
    try:
        connection.ping(reconnect=False)
    except Exception:
        return False
    wait_for(connection, connection.longest_silence)
    return True


def wait_for(connection, seconds: int | None):
    """Set the seconds after which a read from the server times out; None: never."""
    connection._read_timeout = seconds  # PyMySQL sets the socket's by it before it reads


def discard(connection):
    """Close a connection."""
    with contextlib.suppress(Exception):  # closed already
        connection.close()
