"""`mailapi serve` with clients that do not read or do not send, and what it holds for them."""

import contextlib
import http.client
import json
import os
import socket
import sys

import pytest

from support.command_line import Server, write_config
from support.over_http import cookie_of
from support.site import ROOT, Site

MB = 1024 * 1024
WITH_LIMITS = """
import sys, mailapi
from mailapi_modules.http import waitress_server
create = waitress_server.create_server
waitress_server.create_server = lambda *given, **limits: create(*given, **limits | {limits})
sys.exit(mailapi.main())
"""


def server_with_limits(**limits) -> type[Server]:
    """Return a class of `mailapi serve` with other limits of waitress than its own."""
    return type("Limited", (Server,), {"command": [sys.executable, "-c", WITH_LIMITS.format(limits=limits)]})


ImpatientServer = server_with_limits(channel_timeout=1, cleanup_interval=1)


@pytest.fixture
def python_path(monkeypatch):
    """The checkout in PYTHONPATH, for servers with other limits."""
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    )


@pytest.fixture
def site_with_large_mail(tmp_path):
    """A site with a mail of 20 MB for dele, and a folder with a file as large."""
    site = Site(tmp_path)
    write_config(tmp_path)
    site.sql(
        "INSERT INTO mailbox (mail_id, mail_user, mail_envelopeto, mail_envelopefrom, mail_data)"
        " VALUES (1, 'dele', 'a', 'b', ?)",
        b"Subject: large\r\n\r\n" + b"0123456789abcde\n" * (20 * MB // 16),
    )
    (tmp_path / "www").mkdir()
    (tmp_path / "www/large.bin").write_bytes(b"0123456789abcde\n" * (20 * MB // 16))
    return site


@contextlib.contextmanager
def slow_connections(server, number=1):
    """Yield connections with small buffers, whose other side can send only a few bytes before they read."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in opened:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            each.settimeout(60)
            each.connect((server.host, int(server.port)))
        yield opened


def send_all(connections, said: bytes):
    """Send the same bytes over every connection."""
    for each in connections:
        each.sendall(said)


def first_bytes(connections, flags=socket.MSG_PEEK):
    """Return the first bytes that each connection has received."""
    return [each.recv(12, flags) for each in connections]


def read_answer(connection) -> tuple[int, http.client.HTTPMessage, dict]:
    """Read a response; return its status, headers and decoded answer."""
    with contextlib.closing(http.client.HTTPResponse(connection)) as got:
        got.begin()
        return got.status, got.headers, json.loads(got.read())


def open_files(server) -> dict:
    """Return the files that a server has open: (path, number) → size, 0 for sockets and pipes."""
    found, folder = {}, f"/proc/{server.process.pid}/fd"
    for name in set(os.listdir(folder)) - {"0", "1", "2"}:
        with contextlib.suppress(OSError):
            found[os.readlink(f"{folder}/{name}"), name] = os.stat(f"{folder}/{name}").st_size
    return found


def spooled_bytes(server) -> int:
    """Return how many bytes a server has in temporary files, which have no name any more."""
    return sum(
        size
        for (path, _), size in open_files(server).items()
        if path.endswith("(deleted)") and "/tmp" in path
    )


def open_sockets(server) -> int:
    """Return how many sockets a server has open."""
    return sum(path.startswith("socket:") for path, _ in open_files(server))


def is_closed(client, more: bytes) -> bool:
    """Send a little more, and tell whether the server has closed the connection."""
    client.setblocking(False)
    try:
        client.send(more)
        while client.recv(MB):
            pass  # an answer
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def request_head(line: str, *headers: str) -> bytes:
    """Return the head of a request."""
    return "\r\n".join([f"{line} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def large_requests(server) -> dict[str, bytes]:
    """Return requests with large answers: a raw mail, a static file and a range of it."""
    cookie = f"Cookie: {cookie_of(server.url)}"
    return {
        "raw": request_head("GET /mailbox/?raw&mail_id=1", cookie),
        "static": request_head("GET /files/large.bin"),
        "range": request_head("GET /files/large.bin", "Range: bytes=1-"),
    }
