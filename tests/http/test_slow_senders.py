"""Clients of `mailapi serve` that do not send, or send too much: others are answered, and what is stored for all
of them has a limit."""

import contextlib
import http.client
import json

import pytest

from support.command_line import Server, request_of_root, write_config
from support.slow_clients import (
    MB,
    ImpatientServer,
    is_closed,
    open_sockets,
    read_answer,
    request_head,
    send_all,
    server_with_limits,
    slow_connections,
    spooled_bytes,
)
from support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("python_path")


def upload_head(line: str, length: int, *headers) -> bytes:
    """Return the head of a POST with a body of this length."""
    return request_head(f"POST {line}", f"Content-Length: {length}", *headers)


@pytest.mark.parametrize(
    "line, status",
    [
        ("/nothing/?get", 404),
        ("/users/?get", 413),
        ("/files/large.bin", 405),
        ("/mailbox/?raw", 413),
        ("/mailbox/?send", 413),
        ("/users/?get" + "&x" * 200, 400),
    ],
)
def test_a_body_that_is_too_long_is_read_and_not_stored(site_with_large_mail, tmp_path, line, status):
    size = 36 * MB if "send" in line else 30 * MB
    with Server(tmp_path, "--static", "/files=www") as server, slow_connections(server, 10) as clients:
        for client in clients:
            client.sendall(upload_head(line, size) + b" " * MB)
        for client in clients[:5]:
            client.sendall(b" " * (20 * MB))
            assert spooled_bytes(server) == 0
            got = http.client.HTTPResponse(client)
            got.begin()
            body = got.read()
            assert got.status == status and got.headers["Connection"] == "close"
            if not line.startswith("/files"):
                sentences = {
                    413: "Request body too large.",
                    404: "Unknown module nothing.",
                    400: "Too many fields in the query.",
                }
                assert json.loads(body)["status"] == sentences[status]
        assert server.post("users/?get", request_of_root())["login"] is True and spooled_bytes(server) == 0


def test_a_body_of_unknown_length_has_the_same_limits(site_with_large_mail, tmp_path):
    with Server(tmp_path, "--static", "/files=www") as server:
        for line, status, most in (
            ("/nothing/?get", 404, MB),
            ("/users/?get", 413, MB),
            ("/files/large.bin", 405, 0),
        ):
            with slow_connections(server, 5) as clients:
                send_all(clients, request_head(f"POST {line}", "Transfer-Encoding: chunked"))
                send_all(clients, (b"10000\r\n" + b" " * 65536 + b"\r\n") * 15)
                if most:
                    wait_until(lambda: spooled_bytes(server) > 5 * MB // 2)
                assert spooled_bytes(server) <= 5 * most
                send_all(clients, (b"10000\r\n" + b" " * 65536 + b"\r\n") * 60)
                for client in clients:
                    got = http.client.HTTPResponse(client)
                    got.begin()
                    assert got.status == status
            wait_until(lambda: spooled_bytes(server) == 0)


@pytest.mark.parametrize(
    "line, status", [("/nothing/?get", 404), ("/users/?get", 413), ("/files/large.bin", 405)]
)
def test_a_request_that_is_refused_gets_no_100_continue(site_with_large_mail, tmp_path, line, status):
    with Server(tmp_path, "--static", "/files=www") as server, slow_connections(server) as [client]:
        client.sendall(upload_head(line, 30 * MB, "Expect: 100-continue"))
        got = http.client.HTTPResponse(client)
        got.begin()
        assert got.status == status  # http.client would leave out a 100
        assert b"".join(iter(lambda: client.recv(1000), b"")).count(b"100 Continue") == 0


def test_a_request_that_is_accepted_gets_100_continue(site_with_large_mail, tmp_path):
    with Server(tmp_path) as server, slow_connections(server) as [client]:
        client.sendall(upload_head("/users/?get", 200_000, "Expect: 100-continue"))
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(request_of_root() + b" " * (200_000 - len(request_of_root())))
        assert read_answer(client)[2]["login"] is True
        client.sendall(upload_head("/users/?get", 0, "Expect: 100-continue"))  # there is nothing to wait for
        assert read_answer(client)[2]["login"] is False


@contextlib.contextmanager
def nearly_full_server(tmp_path, kind):
    """Yield a server and two clients whose unfinished uploads take nearly all that may be spooled."""
    write_config(tmp_path, max_spooled=6 * MB, max_message=3 * MB)
    with kind(tmp_path) as server, slow_connections(server, 2) as clients:
        for number, client in enumerate(clients, 1):
            client.sendall(upload_head("/mailbox/?send", 3 * MB) + b" " * (3 * MB - MB // 4))
            wait_until(lambda number=number: spooled_bytes(server) >= number * (3 * MB - MB // 4))
        yield server, clients


LARGE_REQUEST = request_of_root() + b" " * (MB - len(request_of_root()))


def test_unfinished_uploads_have_a_limit(site_with_large_mail, tmp_path):
    with (
        nearly_full_server(tmp_path, server_with_limits(cleanup_interval=1000)) as (server, _),
        slow_connections(server, 3) as others,
    ):
        others[0].sendall(upload_head("/users/?get", MB, "Expect: 100-continue"))
        others[1].sendall(upload_head("/users/?get", MB) + LARGE_REQUEST)
        others[2].sendall(
            request_head("POST /users/?get", "Transfer-Encoding: chunked") + b"%x\r\n" % MB + LARGE_REQUEST
        )
        for client in others:
            status, headers, said = read_answer(client)
            assert (status, said) == (503, {"status": "Too much is being sent at the same time. Try again."})
            assert int(headers["Retry-After"]) > 0
            assert spooled_bytes(server) <= 6 * MB
        assert server.post("users/?get", request_of_root())["login"] is True  # it is small
        assert server.post("users/?get", iter([request_of_root()]))["login"] is True


def test_an_unfinished_upload_is_closed_when_others_need_the_room(site_with_large_mail, tmp_path):
    with nearly_full_server(tmp_path, server_with_limits(cleanup_interval=1, channel_timeout=1000)) as (
        server,
        _,
    ):
        wait_until(lambda: answer_to(server, LARGE_REQUEST).get("login"))
        assert spooled_bytes(server) <= 6 * MB
        wait_until(lambda: spooled_bytes(server) < 3 * MB)  # one of the two is enough


def test_an_unfinished_upload_is_closed_after_a_while(site_with_large_mail, tmp_path):
    with nearly_full_server(tmp_path, server_with_limits(cleanup_interval=1, channel_timeout=1)) as (
        server,
        _,
    ):
        wait_until(lambda: spooled_bytes(server) == 0)
        assert answer_to(server, LARGE_REQUEST)["login"] is True


def answer_to(server, body: bytes) -> dict:
    """Post a body to users/?get and return the decoded answer."""
    connection = http.client.HTTPConnection(server.host, int(server.port), timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", "/users/?get", body)
        return json.load(connection.getresponse())


@pytest.mark.parametrize(
    "start",
    [
        upload_head("/users/?get", 500_000) + b" " * 100_000,
        request_head("POST /users/?get", "Transfer-Encoding: chunked") + b"10000\r\n",
        b"GET / HT",
        upload_head("/nothing/?get", 30 * MB) + b" " * 100_000,
    ],
    ids=["body", "chunked", "headers", "refused"],
)
def test_a_client_that_sends_too_slowly_is_closed(site_with_large_mail, tmp_path, start):
    with ImpatientServer(tmp_path) as server:
        before = open_sockets(server)
        with slow_connections(server, 5) as clients:
            send_all(clients, start)
            for client in clients:
                wait_until(lambda client=client: is_closed(client, b" "))
            wait_until(lambda: open_sockets(server) <= before and spooled_bytes(server) == 0)


def test_chunk_sizes_extensions_and_trailers_have_a_limit(site_with_large_mail, tmp_path):
    for endless in (b"1" * 100_000, b"1;" + b"x" * 100_000, b"0\r\n" + b"x" * 100_000):
        with Server(tmp_path) as server, slow_connections(server) as [client]:
            client.sendall(request_head("POST /mailbox/?send", "Transfer-Encoding: chunked") + endless)
            assert read_answer(client)[0] == 400


def test_chunk_headers_do_not_count_as_progress(site_with_large_mail, tmp_path):
    """A client that sends little else is closed, although a lot of bytes come."""
    with ImpatientServer(tmp_path) as server:
        before = open_sockets(server)
        with slow_connections(server) as [client]:
            client.sendall(request_head("POST /mailbox/?send", "Transfer-Encoding: chunked"))
            wait_until(lambda: is_closed(client, (b"1;" + b"a" * 2000 + b"\r\nx\r\n") * 2))
            wait_until(lambda: open_sockets(server) <= before)


def test_many_header_lines_are_refused(site_with_large_mail, tmp_path):
    with Server(tmp_path) as server, slow_connections(server, 2) as [few, many]:
        few.sendall(request_head("GET /?login", *(f"A{n}: x" for n in range(150))))
        assert read_answer(few)[0] == 200
        many.sendall(request_head("GET /?login", *(f"A{n}:" for n in range(500))))
        assert read_answer(many)[0] == 400


def test_too_many_pipelined_requests_are_not_stored(site_with_large_mail, tmp_path):
    with Server(tmp_path) as server, slow_connections(server) as [client]:
        with contextlib.suppress(
            ConnectionError
        ):  # the server resets a connection on which something is left to read
            client.sendall(b"A / HTTP/1.1\r\n\r\n" * 5000)
            while client.recv(MB):
                pass
        with slow_connections(server) as [other]:
            other.sendall(request_head("GET /?login"))
            assert read_answer(other)[0] == 200


def test_a_length_that_python_cannot_read_is_refused(site_with_large_mail, tmp_path):
    with Server(tmp_path) as server, slow_connections(server) as [client]:
        client.sendall(request_head("POST /", "Content-Length: " + "1" * 5000))
        assert read_answer(client)[0] == 400
        assert "uncaptured" not in server.log() and "Traceback" not in server.log()


def test_pipelined_requests_are_all_answered(site_with_large_mail, tmp_path):
    with Server(tmp_path, "--static", "/files=www") as server, slow_connections(server) as [client]:
        body = request_of_root()
        client.sendall(
            (upload_head("/users/?get", len(body)) + body + request_head("GET /?login")) * 20
            + request_head("GET /files/large.bin")
            + request_head("GET /nothing/", "Connection: close")
        )
        got = b"".join(iter(lambda: client.recv(MB), b""))
        assert got.count(b"HTTP/1.1 200") == 41 and got.count(b'"login":true') == 20
        assert got.count(b"0123456789abcde\n") == 20 * MB // 16 and b"Unknown module nothing." in got[-1000:]


@pytest.mark.parametrize(
    ("version", "headers"),
    [
        ("1.1", ["Transfer-Encoding: chunked", "Content-Length: 5"]),
        ("1.0", ["Transfer-Encoding: chunked", "Content-Length: 5", "Connection: keep-alive"]),
        ("1.0", ["Transfer-Encoding: chunked", "Connection: keep-alive"]),
    ],
)
def test_nothing_is_answered_after_a_body_whose_end_is_ambiguous(
    site_with_large_mail, tmp_path, version, headers
):
    """A proxy that sees another end would take the second answer for that to another client's request."""
    first = request_head("POST /users/?get", *headers).replace(b"HTTP/1.1", b"HTTP/" + version.encode())
    with Server(tmp_path) as server, slow_connections(server) as [client]:
        client.sendall(first + b"0\r\n\r\n" + request_head("GET /?login"))
        assert b"".join(iter(lambda: client.recv(MB), b"")).count(b"HTTP/1.") == 1
