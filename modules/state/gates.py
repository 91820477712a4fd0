"""Locks for threads that use the same SQLite file: ReadGate for reading, and WriteQueue for writing."""

import threading
import time

from mailapi import BUSY, ApiError


class ReadGate:
    """A lock that many threads can hold at the same time, to read a SQLite file.

    When threads have held it for too long without a pause, new readers wait until all others have finished. In this
    pause, other processes can write to the file. Beside a thread that reads for seconds, they wait for LONGEST_WAIT.
    """

    # SQLite lets threads of one process begin to read while others read, even if another process waits to write.
    LONGEST_READING = 0.05  # seconds without a pause
    LONGEST_WAIT = 0.5  # seconds

    def __init__(self):
        self.readers, self.waiting, self.since, self.lock = 0, 0, 0.0, threading.Lock()
        self.empty = threading.Condition(self.lock)

    def enter(self):
        """Take the lock for reading. First let other processes write if threads have held it for too long."""
        with self.lock:
            if self.readers and self.needs_pause():  # the first spares the call
                self.waiting += 1
                self.empty.wait_for(lambda: not self.needs_pause(), self.LONGEST_WAIT)
                self.waiting -= 1
            if not self.readers:
                self.since = time.monotonic()
            self.readers += 1

    def needs_pause(self) -> bool:
        """Return whether threads have held the lock for too long without a pause."""
        return self.readers > 0 and time.monotonic() - self.since > self.LONGEST_READING

    def leave(self):
        """Release the lock. When the last thread that holds it does so, the threads that wait in `enter` continue."""
        with self.lock:
            self.readers -= 1
            if self.waiting and not self.readers:
                self.empty.notify_all()


class WriteQueue:
    """A lock that lets one thread at a time write to a SQLite file. A thread that holds it may take it again."""

    LONGEST_WAIT = 5  # seconds, as SQLite's own

    def __init__(self):
        # Waiting for SQLite's own lock would be slower, and not in turn. SQLite itself refuses nested transactions.
        self.lock = threading.RLock()

    def enter(self):
        """Take the lock for writing. Raise ApiError (HTTP 503) if it is not free after LONGEST_WAIT seconds."""
        if not self.lock.acquire(timeout=self.LONGEST_WAIT):
            raise ApiError(BUSY, http=503, retry_after=1, code="busy")

    def leave(self):
        self.lock.release()
