"""Locks for the threads of a process that read or write the same SQLite file: one for readers, one for writers."""

import threading
import time

from mailapi import BUSY, ApiError


class ReadGate:
    """A lock for threads that read a SQLite file, which pauses them now and then so that other processes can write.

    SQLite lets a thread read while others of its process read, even if another process waits to write.
    Therefore, after LONGEST_READING seconds with readers, new ones wait until all others have finished.
    """

    LONGEST_READING = 0.05  # seconds

    def __init__(self):
        self.readers, self.waiting, self.since, self.lock = 0, 0, 0.0, threading.Lock()
        self.empty = threading.Condition(self.lock)

    def enter(self):
        """Begin to read. If this process has been reading for too long, wait until all its readers have finished."""
        with self.lock:
            while self.readers and time.monotonic() - self.since > self.LONGEST_READING:
                self.waiting += 1
                self.empty.wait()
                self.waiting -= 1
            if not self.readers:
                self.since = time.monotonic()
            self.readers += 1

    def leave(self):
        """End reading. The last reader lets the threads continue that wait to read."""
        with self.lock:
            self.readers -= 1
            if self.waiting and not self.readers:
                self.empty.notify_all()


class WriteQueue:
    """A lock for threads that write to a SQLite file: one writes, the others wait.

    Waiting for SQLite's own lock would be slower and not in turn. A thread that has the lock may take it again: SQLite
    then refuses the nested transaction.
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
