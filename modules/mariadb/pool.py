"""A pool of connections to a database server, shared by threads. An idle one is tested before it is used again."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable

from mailapi import BUSY, ApiError

WAIT = 5  # seconds to wait for a lock or a connection, as with SQLite
PROMPT = 2  # seconds in which a working server answers a ping


class Pool:
    """A pool of at most `most` connections. The function `connect` opens a new one."""

    def __init__(self, connect: Callable, most: int):
        self.connect, self.places = connect, threading.BoundedSemaphore(most)
        self.idle: deque = deque()

    def take(self):
        """Lend the calling thread an idle connection, or else a new one.

        ApiError (HTTP 503) if all are lent, and none comes back within WAIT seconds.
        """
        if not self.places.acquire(timeout=WAIT):
            raise ApiError(BUSY, http=503, retry_after=1, code="busy")
        try:
            return self.take_idle() or self.connect()
        except BaseException:
            self.places.release()
            raise

    def take_idle(self):
        """Return an idle connection whose server still answers, or None.

        If one gets no answer, all idle connections are closed: testing each would take PROMPT seconds if the server
        hangs.
        """
        with contextlib.suppress(IndexError):  # there is none, or another thread took the last
            connection = self.idle.pop()
            if answers(connection):
                return connection
            discard(connection)
            self.forget()
        return None

    def give_back(self, connection, usable: bool):
        """Take back a connection that was lent. Keep it if it is `usable` and in no transaction, else close it."""
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
    """Return whether a connection has an open transaction on the server."""
    from pymysql.constants.SERVER_STATUS import SERVER_STATUS_IN_TRANS

    return bool(connection.server_status & SERVER_STATUS_IN_TRANS)


def answers(connection) -> bool:
    """Return whether the server answers a ping over this connection within PROMPT seconds."""
    wait_for(connection, PROMPT)
    try:
        connection.ping(reconnect=False)
    except Exception:
        return False
    wait_for(connection, connection.longest_silence)
    return True


def wait_for(connection, seconds: int | None):
    """Set how many seconds to wait for an answer of the server before the read fails; None: for any time."""
    connection._read_timeout = seconds  # from which PyMySQL sets the socket's timeout before each read


def discard(connection):
    """Close a connection, which may be broken or closed already."""
    with contextlib.suppress(Exception):  # closed already
        connection.close()
