"""Gates that the transactions of a process pass on their way to a SQLite file."""

import threading
import time

from mailapi import BUSY, ApiError


class ReadGate:
    """Keeps the threads of a process from reading a file without a pause.

    SQLite lets a thread read at once while another thread of its process reads, past a writer of another process that
    waits for the readers to leave. Once threads have been reading for LONGEST_READING, new ones wait until all left.
    """

    LONGEST_READING = 0.05  # seconds

    def __init__(self):
        self.readers, self.waiting, self.since, self.lock = 0, 0, 0.0, threading.Lock()
        self.empty = threading.Condition(self.lock)

    def enter(self):
        with self.lock:
            while self.readers and time.monotonic() - self.since > self.LONGEST_READING:
                self.waiting += 1
                self.empty.wait()
                self.waiting -= 1
            if not self.readers:
                self.since = time.monotonic()
            self.readers += 1

    def leave(self):
        with self.lock:
            self.readers -= 1
            if self.waiting and not self.readers:
                self.empty.notify_all()


class WriteQueue:
    """Lets the threads of a process write one after the other.

    In SQLite's own wait for a lock each thread sleeps, longer each time, and whoever comes when the lock is free gets it.
    A thread that is writing may enter again: SQLite then refuses the transaction within a transaction.
    """

    LONGEST_WAIT = 5  # seconds, as SQLite's own

    def __init__(self):
        self.lock = threading.RLock()

    def enter(self):
        if not self.lock.acquire(timeout=self.LONGEST_WAIT):
            raise ApiError(BUSY, http=503, retry_after=1)

    def leave(self):
        self.lock.release()
