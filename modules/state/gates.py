"""Gates, which a process's transactions pass before they lock a SQLite file: one for readers, one for writers."""

import threading
import time

from mailapi import BUSY, ApiError


class ReadGate:
    """A gate for the readers of a file. It gives writers of other processes a moment without readers of this process.

    SQLite lets a thread read at once while another thread of its process reads, even if a writer of another process
    waits for all readers to leave. So after LONGEST_READING seconds without a pause, new readers wait until all left.
    """

    LONGEST_READING = 0.05  # seconds

    def __init__(self):
        self.readers, self.waiting, self.since, self.lock = 0, 0, 0.0, threading.Lock()
        self.empty = threading.Condition(self.lock)

    def enter(self):
        """Begin to read; first wait for a pause if this process has been reading for too long."""
        with self.lock:
            while self.readers and time.monotonic() - self.since > self.LONGEST_READING:
                self.waiting += 1
                self.empty.wait()
                self.waiting -= 1
            if not self.readers:
                self.since = time.monotonic()
            self.readers += 1

    def leave(self):
        """End reading; the last reader to leave lets the waiting ones in."""
        with self.lock:
            self.readers -= 1
            if self.waiting and not self.readers:
                self.empty.notify_all()


class WriteQueue:
    """A queue in which the threads of a process wait to write to a file, one after the other.

    If they waited for SQLite's lock, each thread would sleep for longer and longer, and the lock would go to any thread
    that asks when it is free. A thread that is writing may enter again: SQLite then refuses the nested transaction.
    """

    LONGEST_WAIT = 5  # seconds, as SQLite's own

    def __init__(self):
        self.lock = threading.RLock()

    def enter(self):
        """Wait until this thread may write; ApiError (HTTP 503) after LONGEST_WAIT seconds."""
        if not self.lock.acquire(timeout=self.LONGEST_WAIT):
            raise ApiError(BUSY, http=503, retry_after=1, code="busy")

    def leave(self):
        self.lock.release()
