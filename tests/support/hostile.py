"""Servers that misbehave: they say nothing, drip, never end, lie about lengths or talk nonsense."""

import contextlib
import itertools
import socket
import threading
import time


def silent(connection):
    """Accepts, and says nothing."""
    yield from itertools.repeat((b"", 0.1))


def dripping(connection):
    """A byte at a time, for ever."""
    yield from itertools.repeat((b"2", 0.2))


def endless_line(connection):
    yield from itertools.repeat((b"x" * 65536, 0))


def endless_lines(connection):
    yield from itertools.repeat((b"x\r\n" * 20000, 0))


def saying(first: bytes, *again: bytes, every: float = 0.05):
    """`first`, and then the others over and over; nothing more where there are no others."""

    def behave(connection):
        yield first, 0
        for piece in itertools.cycle(again):
            yield piece, every

    return behave


def answering(*answers: bytes):
    """The next of the answers to whatever comes, and then silence."""

    def behave(connection):
        for answer in answers:
            connection.recv(65536)
            yield answer, 0
        yield from itertools.repeat((b"", 0.1))

    return behave


@contextlib.contextmanager
def server(behave):
    """A port of 127.0.0.1 on which every connection is treated like that, for a minute at most.

    A client that waits for longer than it should is told something else then: it reads the end of the connection.
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
