"""Temporary files for requests and answers on their way through `mailapi serve`, and one limit for all of them."""

import contextlib
import io
import os
import tempfile
import threading

IN_MEMORY = 32 * 1024  # bytes of a request or an answer that need no file and are not counted
SLOW = 8 * 1024  # bytes a second; whoever is slower gives way when there is no room


class NoRoom(Exception):
    """The limit for spooled bytes is reached, or the disk is full."""


class Spooled:
    """Count the bytes that connections have in temporary files.

    A connection has `pace`, the bytes a second that last moved while it was the client's turn, and `close_soon()`.
    """

    def __init__(self, most: int):
        self.most, self.used, self.refused, self.closed = most, 0, 0, 0
        self.holders: dict = {}  # connection → its bytes
        self.lock = threading.RLock()  # the garbage collector may call `give` in the middle of `take`
        self.searched = False  # no connection was slow enough; paces are measured anew every few seconds

    def take(self, connection, size: int):
        """Count the bytes as the connection's. Where there is no room the slowest ones are closed; else NoRoom."""
        with self.lock:
            victims = self.victims(connection, size)
            for victim in victims:
                self.used -= self.holders.pop(victim, 0)
                self.closed += 1
                victim.close_soon()
            self.used += size
            self.holders[connection] = self.holders.get(connection, 0) + size

    def give(self, connection, size: int):
        """Bytes of the connection are spooled no longer; those of a closed one have been given back before."""
        with self.lock:
            size = min(size, self.holders.get(connection, 0))
            self.used -= size
            if size and size == self.holders[connection]:
                del self.holders[connection]
            elif size:
                self.holders[connection] -= size

    def victims(self, connection, size: int) -> list:
        """Return whom to close so that there is room, slowest first; NoRoom where all who are slow hold too little."""
        excess, found = self.used + size - self.most, []
        if excess <= 0:
            return found
        if not self.searched:
            slow = [each for each in list(self.holders) if each is not connection and each.pace < SLOW]
            for each in sorted(slow, key=lambda each: each.pace):
                found.append(each)
                excess -= self.holders.get(each, 0)
                if excess <= 0:
                    return found
        self.searched = True
        self.refused += 1
        raise NoRoom

    def check(self, connection, size: int):
        """NoRoom where `take` would raise it now."""
        with self.lock:
            self.victims(connection, size)

    def measured(self) -> tuple[int, int]:
        """Told that all paces are new; how many requests were refused and connections closed since the last time."""
        with self.lock:
            counts, self.refused, self.closed, self.searched = (self.refused, self.closed), 0, 0, False
            return counts


class Spool:
    """Bytes that were received and not yet read, or written and not yet sent: a buffer as waitress uses them."""

    def __init__(self, spooled: Spooled, connection):
        self.spooled, self.connection = spooled, connection
        self.memory, self.file = bytearray(), None
        self.start = self.end = self.counted = 0

    def __len__(self) -> int:
        return self.end - self.start

    def append(self, data):
        """NoRoom where it would have to go to a file, and cannot."""
        if self.connection is None:
            raise NoRoom
        if self.file is None and self.end + len(data) <= IN_MEMORY:
            self.memory += data
        else:
            self.to_file(data)
        self.end += len(data)

    def to_file(self, data):
        size = len(data) + len(self.memory)
        self.spooled.take(self.connection, size)
        self.counted += size
        try:
            if self.file is None:
                self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 closed with the answer or the body
            for piece in (self.memory, data):
                left = memoryview(piece)
                while left:
                    left = left[self.file.write(left) :]
        except OSError as error:
            raise NoRoom from error
        self.memory = bytearray()

    def get(self, size: int = -1) -> bytes:
        """The next bytes, at most that many; `skip` takes them out."""
        size = len(self) if size < 0 else min(size, len(self))
        if self.file is None:
            return bytes(self.memory[self.start : self.start + size])
        return os.pread(self.file.fileno(), size, self.start)

    def skip(self, size: int, allow_prune: bool = False):
        self.start += size
        if self.start >= self.end:
            self.clear()

    def prune(self):
        """A file goes away when all of it was taken out, not before."""

    def getfile(self):
        """A stream of all the bytes, when nothing more is appended."""
        if self.file is None:
            return io.BytesIO(self.memory)
        self.file.seek(0)
        self.file = io.BufferedReader(self.file)
        return self.file

    def clear(self):
        self.memory = bytearray()
        self.start = self.end = 0
        if self.file is not None:
            with contextlib.suppress(OSError):
                self.file.close()
            self.file = None
        counted, self.counted = self.counted, 0
        if counted:
            self.spooled.give(self.connection, counted)

    def close(self):
        if self.connection is not None:
            self.clear()
            self.connection = None

    __del__ = close
