"""The server of `mailapi serve` in this process, over small WSGI apps of tests."""

import contextlib
import http.client
import socket
import threading

from mailapi_modules.http import waitress_server


def with_body_limit(app):
    """Give a WSGI callable what the server asks of mailapi's: the bytes that a body may have."""
    app.body_limit = lambda path, query: 1_000_000
    return app


@with_body_limit
def hello(environ, start_response):
    """Answer every request with its path, except "/nothing", which gets no body."""
    if environ["PATH_INFO"] == "/nothing":
        start_response("204 No Content", [])
        return []
    body = environ["PATH_INFO"].encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body if environ["REQUEST_METHOD"] != "HEAD" else b""]


@contextlib.contextmanager
def serving(app, threads=4, **adjustments):
    """Serve an app on a free port; yield the loop and the address. The loop must end by itself afterwards."""
    [listening] = waitress_server.listen("127.0.0.1:0")
    with contextlib.closing(listening):
        loop = waitress_server.create_server(
            app, [listening], 10**7, 10**6, threads, **{"connection_limit": 1000} | adjustments
        )
        running = threading.Thread(target=loop.run)
        running.start()
        try:
            yield loop, listening.getsockname()
        finally:
            loop.stop()
            running.join(60)
        assert not running.is_alive()


@contextlib.contextmanager
def connections(address, number=1):
    """Yield connections to a server that is expected to answer within a minute."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(address, 60)) for _ in range(number)]


def reset(connection):
    """Close a connection by RST, as a client does that has crashed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


class Answers:
    """The answers that come over one connection, in their order."""

    def __init__(self, connection):
        self.file = connection.makefile("rb")

    def makefile(self, mode):
        return self.file

    def next(self, method="GET") -> tuple[int, bytes]:
        """Read an answer to this method; return its status and body."""
        response = http.client.HTTPResponse(Unclosed(self.file), method=method)
        response.begin()
        return response.status, response.read()


class Unclosed:
    """A connection for http.client, which closes its file after an answer. The file stays open."""

    def __init__(self, file):
        self.file = file

    def makefile(self, mode):
        return self

    def close(self):
        pass

    def __getattr__(self, name):
        return getattr(self.file, name)
