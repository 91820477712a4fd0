"""Servers that misbehave: they say nothing, drip, never end, lie about lengths or talk nonsense."""

import contextlib
import itertools
import socket
import threading
import time


def silent(connection):
    """Accept a connection and send nothing."""
    yield from itertools.repeat((b"", 0.1))


def dripping(connection):
    """Send a byte at a time, without end."""
    yield from itertools.repeat((b"2", 0.2))


def endless_line(connection):
    """Send a line without end."""
    yield from itertools.repeat((b"x" * 65536, 0))


def endless_lines(connection):
    """Send lines without end."""
    yield from itertools.repeat((b"x\r\n" * 20000, 0))


def repeating(first: bytes, *again: bytes, every: float = 0.05):
    """Return a behaviour: send `first`, and then the other pieces over and over, if there are any."""

    def behave(connection):
        yield first, 0
        for piece in itertools.cycle(again):
            yield piece, every

    return behave


def answering(*answers: bytes):
    """Return a behaviour: send the next of the answers to whatever comes, and then nothing."""

    def behave(connection):
        for answer in answers:
            connection.recv(65536)
            yield answer, 0
        yield from itertools.repeat((b"", 0.1))

    return behave


@contextlib.contextmanager
def misbehaving_server(behave):
    """Listen on a port of 127.0.0.1 and behave so to every connection, for a minute at most; yield the port.

    A client that waits for longer than it should reads the end of the connection then.
    """
    stop, threads = threading.Event(), []
    listener = socket.create_server(("127.0.0.1", 0), backlog=50)

    def serve(connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(60)
            until = time.monotonic() + 60
            for piece, pause in behave(connection):
                connection.sendall(piece)
                if stop.is_set() or time.monotonic() > until:
                    return
                time.sleep(pause)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threads.append(threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True))
                threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in [accepting, *threads]:
            thread.join(10)
