"""Temporary files for large requests and answers of `mailapi serve`, with one limit for all connections."""

import contextlib
import io
import os
import tempfile
import threading

IN_MEMORY = 32 * 1024  # bytes; a smaller request or answer needs no file and is not counted
SLOW = 8 * 1024  # bytes a second; slower connections are closed when there is no room
LONGEST_HOLD = 120  # seconds in which a connection must be able to move all that it has in temporary files


class NoRoom(Exception):
    """The error if the limit for temporary files is reached, or if the disk is full."""


class Spooled:
    """The limit for the temporary files of all connections together. Beyond the limit, slow connections are closed.

    `limit`: in bytes. A connection must have an attribute `pace`, the client's recent speed in bytes a second, and a
    method `close_soon()`.
    """

    def __init__(self, limit: int):
        self.limit, self.used, self.refused, self.closed = limit, 0, 0, 0
        self.sizes: dict = {}  # connection → its bytes
        self.lock = threading.RLock()  # the garbage collector may call `release` in the middle of `reserve`
        self.all_fast = False  # no connection was slow enough in this interval

    def reserve(self, connection, size: int):
        """Reserve `size` bytes in temporary files for a connection.

        If the limit leaves fewer, close slow other connections, the slowest one first. NoRoom if closing all slow ones
        is not enough.
        """
        with self.lock:
            victims = self.connections_to_close(connection, size)
            for victim in victims:
                self.used -= self.sizes.pop(victim, 0)
                self.closed += 1
                victim.close_soon()
            self.used += size
            self.sizes[connection] = self.sizes.get(connection, 0) + size

    def release(self, connection, size: int):
        """Free `size` bytes in temporary files of a connection. Do nothing if it was closed to make room."""
        with self.lock:
            size = min(size, self.sizes.get(connection, 0))
            self.used -= size
            if size and size == self.sizes[connection]:
                del self.sizes[connection]
            elif size:
                self.sizes[connection] -= size

    def connections_to_close(self, connection, size: int) -> list:
        """Return the slow connections to close, slowest first, to make room for `size` bytes in temporary files.

        `connection`: the one that needs the room. Return [] if there is room already. NoRoom if closing all slow
        connections is not enough.
        """
        excess = self.used + size - self.limit
        victims: list = []
        if excess <= 0:
            return victims
        if not self.all_fast:
            slow = [each for each in list(self.sizes) if each is not connection and self.is_slow(each)]
            for each in sorted(slow, key=lambda each: each.pace):
                victims.append(each)
                excess -= self.sizes.get(each, 0)
                if excess <= 0:
                    return victims
        self.all_fast = True
        self.refused += 1
        raise NoRoom

    def is_slow(self, connection) -> bool:
        """Return whether a connection is so slow, in bytes a second, that it may be closed to free temporary files."""
        return connection.pace < max(SLOW, self.sizes.get(connection, 0) / LONGEST_HOLD)

    def check(self, connection, size: int):
        """Raise NoRoom if `size` bytes in temporary files cannot be reserved. Reserve and close nothing."""
        with self.lock:
            self.connections_to_close(connection, size)

    def new_interval(self) -> tuple[int, int]:
        """Return how many requests found no room and how many connections were closed, since the last call.

        Call this when the speed of each connection (its `pace`) was just measured. Slow connections, which may be
        closed to make room, are then looked for again.
        """
        with self.lock:
            counts, self.refused, self.closed, self.all_fast = (self.refused, self.closed), 0, 0, False
            return counts


class Spool:
    """A queue of bytes of one connection, such as an unsent answer. A long queue is stored in a temporary file.

    `spooled`: the limit for the temporary files of all connections.
    """

    def __init__(self, spooled: Spooled, connection):
        self.spooled, self.connection = spooled, connection
        self.memory, self.file = bytearray(), None
        self.start = self.end = self.counted = 0

    def __len__(self) -> int:
        return self.end - self.start

    def append(self, data):
        """Add bytes at the end of this byte queue. NoRoom if they need a temporary file, and its limit is reached."""
        if self.connection is None:
            raise NoRoom
        if self.file is None and self.end + len(data) <= IN_MEMORY:
            self.memory += data
        else:
            self.to_file(data)
        self.end += len(data)

    def to_file(self, data):
        """Write the bytes in memory and then `data` to the temporary file. NoRoom if they do not fit."""
        size = len(data) + len(self.memory)
        self.spooled.reserve(self.connection, size)
        self.counted += size
        try:
            if self.file is None:
                self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 `clear` closes it
            for piece in (self.memory, data):
                left = memoryview(piece)
                while left:
                    left = left[self.file.write(left) :]
        except OSError as error:
            raise NoRoom from error
        self.memory = bytearray()

    def get(self, size: int = -1) -> bytes:
        """Return the next bytes, but leave them in the queue: at most `size` bytes, or all bytes if `size` is -1."""
        size = len(self) if size < 0 else min(size, len(self))
        if self.file is None:
            return bytes(self.memory[self.start : self.start + size])
        return os.pread(self.file.fileno(), size, self.start)

    def skip(self, size: int, allow_prune: bool = False):
        """Remove the next `size` bytes from the queue. `allow_prune`, which waitress passes, is ignored."""
        self.start += size
        if self.start >= self.end:
            self.clear()

    def prune(self):
        """Do nothing. waitress calls this to free memory, which is not needed here."""

    def getfile(self):
        """Return all bytes of this byte queue as a file object. After this, nothing can be appended."""
        if self.file is None:
            return io.BytesIO(self.memory)
        self.file.seek(0)
        self.file = io.BufferedReader(self.file)
        return self.file

    def clear(self):
        """Remove all bytes from the queue, delete its file, and free the bytes that were reserved for the file."""
        self.memory = bytearray()
        self.start = self.end = 0
        if self.file is not None:
            with contextlib.suppress(OSError):
                self.file.close()
            self.file = None
        counted, self.counted = self.counted, 0
        if counted:
            self.spooled.release(self.connection, counted)

    def close(self):
        if self.connection is not None:
            self.clear()
            self.connection = None

    __del__ = close
