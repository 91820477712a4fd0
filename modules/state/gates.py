"""Locks for the threads of a process that use the same SQLite file: one for readers, and one for writers."""

import threading
import time

from mailapi import BUSY, ApiError


class ReadGate:
    """A lock for threads that read a SQLite file. Many may read at the same time, with pauses for other processes.

    As long as threads of one process read without a pause, SQLite lets them, even if another process waits to write.
    So after LONGEST_READING seconds of reading, further threads wait until all others have finished.
    """

    LONGEST_READING = 0.05  # seconds

    def __init__(self):
        self.readers, self.waiting, self.since, self.lock = 0, 0, 0.0, threading.Lock()
        self.empty = threading.Condition(self.lock)

    def enter(self):
        """Begin to read. If threads have been reading without a pause for too long, wait until they have finished."""
        with self.lock:
            while self.readers and time.monotonic() - self.since > self.LONGEST_READING:
                self.waiting += 1
                self.empty.wait()
                self.waiting -= 1
            if not self.readers:
                self.since = time.monotonic()
            self.readers += 1

    def leave(self):
        """End reading. If this was the last thread that reads, the threads that wait in `enter` go on."""
        with self.lock:
            self.readers -= 1
            if self.waiting and not self.readers:
                self.empty.notify_all()


class WriteQueue:
    """A lock for threads that write to a SQLite file: one writes, and the others wait.

    Waiting for SQLite's own lock would be slower, and not in turn. A thread that has the lock may take it again, so
    that SQLite can refuse a transaction within a transaction.
    """

    LONGEST_WAIT = 5  # seconds, as SQLite's own

    def __init__(self):
        self.lock = threading.RLock()

    def enter(self):
        """Wait until this thread may write. ApiError (HTTP 503) after LONGEST_WAIT seconds."""
        if not self.lock.acquire(timeout=self.LONGEST_WAIT):
            raise ApiError(BUSY, http=503, retry_after=1, code="busy")

    def leave(self):
        self.lock.release()
