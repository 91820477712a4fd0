"""A pool of connections to a database server, which threads share. An idle connection is tested before it is used."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable

from mailapi import BUSY, ApiError

WAIT = 5  # seconds to wait for a lock or a connection, as with SQLite
PROMPT = 2  # seconds in which a working server answers a ping


class Pool:
    """Lends connections to threads. At most `most` are open at the same time.

    `connect`: a function that opens a new connection.
    """

    def __init__(self, connect: Callable, most: int):
        self.connect, self.places = connect, threading.BoundedSemaphore(most)
        self.idle: deque = deque()

    def take(self):
        """Return an idle connection, or else a new one. The thread must give it back with `give_back`.

        ApiError (HTTP 503) if no connection becomes free within 5 seconds.
        """
        if not self.places.acquire(timeout=WAIT):
            raise ApiError(BUSY, http=503, retry_after=1, code="busy")
        try:
            return self.take_idle() or self.connect()
        except BaseException:
            self.places.release()
            raise

    def take_idle(self):
        """Return an idle connection on which the server answers, or None.

        If the server does not answer, close all idle connections.
        """
        # To test each of them would take PROMPT seconds if the server hangs.
        with contextlib.suppress(IndexError):  # there is none, or another thread took the last
            connection = self.idle.pop()
            if is_alive(connection):
                return connection
            discard(connection)
            self.close_idle()
        return None

    def give_back(self, connection, usable: bool):
        """Take a connection back from a thread, so that other threads can use it.

        It is closed if it is not `usable`, is in a transaction, or is too old.
        """
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

    def close_idle(self):
        """Close all idle connections. Connections that threads use stay open."""
        with contextlib.suppress(IndexError):
            while True:
                discard(self.idle.pop())


def in_transaction(connection) -> bool:
    """Return whether a connection has an open transaction on the server."""
    from pymysql.constants.SERVER_STATUS import SERVER_STATUS_IN_TRANS

    return bool(connection.server_status & SERVER_STATUS_IN_TRANS)


def is_alive(connection) -> bool:
    """Ping the server over a connection. Return whether it answered within PROMPT seconds."""
    wait_for(connection, PROMPT)
    try:
        connection.ping(reconnect=False)
    except Exception:
        return False
    wait_for(connection, connection.longest_silence)
    return True


def wait_for(connection, seconds: int | None):
    """Set how many seconds a connection waits for the server's answer before it fails. None means any time."""
    connection._read_timeout = seconds  # from which PyMySQL sets the socket's timeout before each read


def discard(connection):
    """Close a connection, even if it is broken. Errors are ignored."""
    with contextlib.suppress(Exception):  # closed already
        connection.close()
