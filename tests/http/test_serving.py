"""Clients of `mailapi serve` that do not read, do not send or send too much: the others are answered, and what is kept
for all of them together has a limit."""

import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import time

import pytest
from mailapi_modules.commands.main import find_commands
from mailapi_modules.http import spool, waitress_server

import mailapi
from support.command_line import Server, request, run
from support.dav import basic, behind
from support.over_http import cookie_of
from support.site import MODULES, ROOT, Site

MB = 1024 * 1024
WITH_LIMITS = """
import sys, mailapi
from mailapi_modules.http import waitress_server
create = waitress_server.create_server
waitress_server.create_server = lambda *given, **limits: create(*given, **limits | {limits})
sys.exit(mailapi.main())
"""


def with_limits(**limits) -> type[Server]:
    """`mailapi serve` with other limits than its own, in seconds."""
    return type("Limited", (Server,), {"command": [sys.executable, "-c", WITH_LIMITS.format(limits=limits)]})


Impatient = with_limits(channel_timeout=1, cleanup_interval=1)


@pytest.fixture(autouse=True)
def python_path(monkeypatch):
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    )


@pytest.fixture
def installed(tmp_path):
    """A site with a mail of 20 MB for dele, and a folder with a file as large."""
    site = Site(tmp_path)
    configure(tmp_path)
    site.sql(
        "INSERT INTO mailbox (mail_id, mail_user, mail_envelopeto, mail_envelopefrom, mail_data)"
        " VALUES (1, 'dele', 'a', 'b', ?)",
        b"Subject: large\r\n\r\n" + b"0123456789abcde\n" * (20 * MB // 16),
    )
    (tmp_path / "www").mkdir()
    (tmp_path / "www/large.bin").write_bytes(b"0123456789abcde\n" * (20 * MB // 16))
    return site


def configure(folder, **keys):
    keys = {"dbpath": "master.db3", "modulelist": MODULES} | keys
    (folder / "config.py").write_text("".join(f"{key} = {value!r}\n" for key, value in keys.items()))


@contextlib.contextmanager
def connected(server, number=1):
    """Connections whose side takes only a few bytes that nobody reads."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in opened:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            each.settimeout(60)
            each.connect((server.host, int(server.port)))
        yield opened


def send_all(connections, said: bytes):
    for each in connections:
        each.sendall(said)


def first_bytes(connections, flags=socket.MSG_PEEK):
    return [each.recv(12, flags) for each in connections]


def answer(connection) -> tuple[int, http.client.HTTPMessage, dict]:
    with contextlib.closing(http.client.HTTPResponse(connection)) as got:
        got.begin()
        return got.status, got.headers, json.loads(got.read())


def files_of(server) -> dict:
    """What the server has open: path → size of the file, of sockets and pipes 0."""
    found, folder = {}, f"/proc/{server.process.pid}/fd"
    for name in set(os.listdir(folder)) - {"0", "1", "2"}:
        with contextlib.suppress(OSError):
            found[os.readlink(f"{folder}/{name}"), name] = os.stat(f"{folder}/{name}").st_size
    return found


def spooled(server) -> int:
    """Bytes in files that have no name any more."""
    return sum(
        size for (path, _), size in files_of(server).items() if path.endswith("(deleted)") and "/tmp" in path
    )


def sockets(server) -> int:
    return sum(path.startswith("socket:") for path, _ in files_of(server))


def until(happened, seconds=60):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def head(line: str, *headers: str) -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def what_is_large(server) -> dict[str, bytes]:
    cookie = f"Cookie: {cookie_of(server.url)}"
    return {
        "raw": head("GET /mailbox/?raw&mail_id=1", cookie),
        "static": head("GET /files/large.bin"),
        "range": head("GET /files/large.bin", "Range: bytes=1-"),
    }


########## Clients that do not read


@pytest.mark.parametrize("what", ["raw", "static", "range"])
def test_clients_that_do_not_read_hold_nothing_that_others_need(installed, tmp_path, what):
    with Impatient(tmp_path, "--static", "/files=www") as server:
        before = sockets(server)
        large = what_is_large(server)[what]
        with connected(server, 8) as slow:
            send_all(slow, large * 3)
            assert first_bytes(slow) == [b"HTTP/1.1 206" if what == "range" else b"HTTP/1.1 200"] * 8
            for _ in range(10):
                assert server.post("users/?get", request())["login"] is True
            assert spooled(server) < 8 * 21 * MB  # the later requests were not even started
            until(lambda: sockets(server) <= before and spooled(server) == 0)
            assert server.post("users/?get", request())["login"] is True
        assert "Traceback" not in server.stop()[1]


def test_unread_answers_are_within_the_limit(installed, tmp_path):
    configure(tmp_path, max_spooled=30 * MB, max_message=25 * MB)
    with Server(tmp_path) as server:
        large = what_is_large(server)["raw"]
        for _ in range(3):
            with connected(server, 8) as slow:
                send_all(slow, large)
                until(lambda: spooled(server) > 10 * MB)
                assert server.post("users/?get", request())["login"] is True
                assert spooled(server) <= 30 * MB
            until(lambda: spooled(server) == 0)
        assert "Traceback" not in server.log()


def test_who_reads_slowly_gets_everything(installed, tmp_path):
    """More than the system keeps, in more time than somebody may do nothing."""
    with Impatient(tmp_path, "--static", "/files=www") as server:
        for name, large in what_is_large(server).items():
            with connected(server) as [slow]:
                slow.sendall(large + head("GET /?login", "Connection: close"))
                got = bytearray()
                while piece := slow.recv(MB // 2):
                    got += piece
                    if len(got) < 2 * MB:
                        time.sleep(0.005)
            assert len(got) > 20 * MB and got.count(b"0123456789abcde\n") >= 20 * MB // 16 - 1, name
            assert b'"status":"Username is not set!"' in got[-1000:]


def test_an_answer_that_is_being_read_at_sigterm_arrives(installed, tmp_path):
    with Server(tmp_path) as server:
        large = what_is_large(server)["raw"]
        with connected(server) as [slow]:
            slow.sendall(large)
            first_bytes([slow])
            server.process.send_signal(signal.SIGTERM)
            got = http.client.HTTPResponse(slow)
            got.begin()
            assert len(got.read()) > 20 * MB
            got.close()
        assert server.process.wait(60) == 0


def large_answer(size):
    def answer(self):
        length = size if "large" in self.path else 0
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(length // 65536):
                self.wfile.write(b"x" * 65536)

    return answer


def test_unread_dav_downloads_close_dav_for_nobody(tmp_path):
    with behind(tmp_path, answer=large_answer(20 * MB)) as (dav, _):
        host, port = dav.netloc.split(":")
        server = type("At", (), {"host": host, "port": port})
        with connected(server, 8) as slow:
            for each in slow:
                send_all([each], head("GET /dav/large", f"Authorization: {basic()['Authorization']}"))
                assert first_bytes([each]) == [b"HTTP/1.1 200"]
            until(lambda: dav("GET", "dav/small").status == 200)
            assert (
                json.loads(
                    dav(
                        "POST",
                        "?login",
                        json.dumps({"auth": {"user_name": "ann", "password": "pw"}}),
                        user=None,
                    ).body
                )["login"]
                is True
            )


def test_dav_downloads_that_are_too_large_to_be_spooled_hold_two_threads(tmp_path):
    started = []

    def start(folder):
        with open(folder / "config.py", "a") as config:
            config.write(f"max_message = {MB}\n")
        started.append(Impatient(folder))
        return started[0]

    with behind(tmp_path, start, answer=large_answer(20 * MB)) as (dav, _):
        before = sockets(started[0])
        with connected(started[0], 12) as slow:
            send_all(slow, head("GET /dav/large", f"Authorization: {basic()['Authorization']}"))
            assert (
                json.loads(
                    dav(
                        "POST",
                        "?login",
                        json.dumps({"auth": {"user_name": "ann", "password": "pw"}}),
                        user=None,
                    ).body
                )["login"]
                is True
            )
            until(lambda: dav("GET", "dav/small").status == 200)
            assert spooled(started[0]) <= 12 * 2 * MB
            until(lambda: sockets(started[0]) <= before)
        got = dav("GET", "dav/large")  # and who reads has it all
        assert got.status == 200 and len(got.body) == 20 * MB
        assert "Traceback" not in started[0].log()


########## Clients that send


def upload(line: str, length: int, *headers) -> bytes:
    return head(f"POST {line}", f"Content-Length: {length}", *headers)


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
def test_a_body_that_is_too_long_is_read_and_not_kept(installed, tmp_path, line, status):
    size = 36 * MB if "send" in line else 30 * MB
    with Server(tmp_path, "--static", "/files=www") as server, connected(server, 10) as clients:
        for client in clients:
            client.sendall(upload(line, size) + b" " * MB)
        for client in clients[:5]:
            client.sendall(b" " * (20 * MB))
            assert spooled(server) == 0
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
        assert server.post("users/?get", request())["login"] is True and spooled(server) == 0


def test_a_body_of_unknown_length_has_the_same_limits(installed, tmp_path):
    with Server(tmp_path, "--static", "/files=www") as server:
        for line, status, most in (
            ("/nothing/?get", 404, MB),
            ("/users/?get", 413, MB),
            ("/files/large.bin", 405, 0),
        ):
            with connected(server, 5) as clients:
                send_all(clients, head(f"POST {line}", "Transfer-Encoding: chunked"))
                send_all(clients, (b"10000\r\n" + b" " * 65536 + b"\r\n") * 15)
                if most:
                    until(lambda: spooled(server) > 5 * MB // 2)
                assert spooled(server) <= 5 * most
                send_all(clients, (b"10000\r\n" + b" " * 65536 + b"\r\n") * 60)
                for client in clients:
                    got = http.client.HTTPResponse(client)
                    got.begin()
                    assert got.status == status
            until(lambda: spooled(server) == 0)


@pytest.mark.parametrize(
    "line, status", [("/nothing/?get", 404), ("/users/?get", 413), ("/files/large.bin", 405)]
)
def test_no_100_continue_for_what_is_refused(installed, tmp_path, line, status):
    with Server(tmp_path, "--static", "/files=www") as server, connected(server) as [client]:
        client.sendall(upload(line, 30 * MB, "Expect: 100-continue"))
        got = http.client.HTTPResponse(client)
        got.begin()
        assert got.status == status  # http.client would leave out a 100
        assert b"".join(iter(lambda: client.recv(1000), b"")).count(b"100 Continue") == 0


def test_100_continue_for_what_is_taken(installed, tmp_path):
    with Server(tmp_path) as server, connected(server) as [client]:
        client.sendall(upload("/users/?get", 200_000, "Expect: 100-continue"))
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(request() + b" " * (200_000 - len(request())))
        assert answer(client)[2]["login"] is True
        client.sendall(upload("/users/?get", 0, "Expect: 100-continue"))  # there is nothing to wait for
        assert answer(client)[2]["login"] is False


@contextlib.contextmanager
def filled(tmp_path, kind):
    """A server with its limit for spooled bytes nearly reached by two uploads that do not go on."""
    configure(tmp_path, max_spooled=6 * MB, max_message=3 * MB)
    with kind(tmp_path) as server, connected(server, 2) as clients:
        for number, client in enumerate(clients, 1):
            client.sendall(upload("/mailbox/?send", 3 * MB) + b" " * (3 * MB - MB // 4))
            until(lambda number=number: spooled(server) >= number * (3 * MB - MB // 4))
        yield server, clients


LARGE = request() + b" " * (MB - len(request()))


def test_unfinished_uploads_have_a_limit(installed, tmp_path):
    with filled(tmp_path, with_limits(cleanup_interval=1000)) as (server, _), connected(server, 3) as others:
        others[0].sendall(upload("/users/?get", MB, "Expect: 100-continue"))
        others[1].sendall(upload("/users/?get", MB) + LARGE)
        others[2].sendall(head("POST /users/?get", "Transfer-Encoding: chunked") + b"%x\r\n" % MB + LARGE)
        for client in others:
            status, headers, said = answer(client)
            assert (status, said) == (503, {"status": "Too much is being sent at the same time. Try again."})
            assert int(headers["Retry-After"]) > 0
            assert spooled(server) <= 6 * MB
        assert server.post("users/?get", request())["login"] is True  # it is small
        assert server.post("users/?get", iter([request()]))["login"] is True


def test_who_does_not_go_on_gives_way_to_others(installed, tmp_path):
    with filled(tmp_path, with_limits(cleanup_interval=1, channel_timeout=1000)) as (server, _):
        until(lambda: json_of(server, LARGE).get("login"))
        assert spooled(server) <= 6 * MB
        until(lambda: spooled(server) < 3 * MB)  # one of the two is enough


def test_who_does_not_go_on_is_closed(installed, tmp_path):
    with filled(tmp_path, with_limits(cleanup_interval=1, channel_timeout=1)) as (server, _):
        until(lambda: spooled(server) == 0)
        assert json_of(server, LARGE)["login"] is True


def is_closed(client, more: bytes) -> bool:
    """Send a little more, and check whether the server has closed the connection."""
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


def json_of(server, body: bytes) -> dict:
    connection = http.client.HTTPConnection(server.host, int(server.port), timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", "/users/?get", body)
        return json.load(connection.getresponse())


@pytest.mark.parametrize(
    "start",
    [
        upload("/users/?get", 500_000) + b" " * 100_000,
        head("POST /users/?get", "Transfer-Encoding: chunked") + b"10000\r\n",
        b"GET / HT",
        upload("/nothing/?get", 30 * MB) + b" " * 100_000,
    ],
    ids=["body", "chunked", "headers", "refused"],
)
def test_who_sends_at_a_crawl_is_closed(installed, tmp_path, start):
    with Impatient(tmp_path) as server:
        before = sockets(server)
        with connected(server, 5) as clients:
            send_all(clients, start)
            for client in clients:
                until(lambda client=client: is_closed(client, b" "))
            until(lambda: sockets(server) <= before and spooled(server) == 0)


def test_what_is_between_chunks_has_a_limit(installed, tmp_path):
    for endless in (b"1" * 100_000, b"1;" + b"x" * 100_000, b"0\r\n" + b"x" * 100_000):
        with Server(tmp_path) as server, connected(server) as [client]:
            client.sendall(head("POST /mailbox/?send", "Transfer-Encoding: chunked") + endless)
            assert answer(client)[0] == 400


def test_chunk_headers_are_no_progress(installed, tmp_path):
    """A client that sends little else is closed, although a lot of bytes come."""
    with Impatient(tmp_path) as server:
        before = sockets(server)
        with connected(server) as [client]:
            client.sendall(head("POST /mailbox/?send", "Transfer-Encoding: chunked"))
            until(lambda: is_closed(client, (b"1;" + b"a" * 2000 + b"\r\nx\r\n") * 2))
            until(lambda: sockets(server) <= before)


def test_many_header_lines_are_refused(installed, tmp_path):
    with Server(tmp_path) as server, connected(server, 2) as [few, many]:
        few.sendall(head("GET /?login", *(f"A{n}: x" for n in range(150))))
        assert answer(few)[0] == 200
        many.sendall(head("GET /?login", *(f"A{n}:" for n in range(500))))
        assert answer(many)[0] == 400


def test_too_many_pipelined_requests_are_not_kept(installed, tmp_path):
    with Server(tmp_path) as server, connected(server) as [client]:
        with contextlib.suppress(
            ConnectionError
        ):  # the server resets a connection on which something is left to read
            client.sendall(b"A / HTTP/1.1\r\n\r\n" * 5000)
            while client.recv(MB):
                pass
        with connected(server) as [other]:
            other.sendall(head("GET /?login"))
            assert answer(other)[0] == 200


def test_a_length_that_python_cannot_read_is_refused(installed, tmp_path):
    with Server(tmp_path) as server, connected(server) as [client]:
        client.sendall(head("POST /", "Content-Length: " + "1" * 5000))
        assert answer(client)[0] == 400
        assert "uncaptured" not in server.log() and "Traceback" not in server.log()


def test_pipelined_requests_are_all_answered(installed, tmp_path):
    with Server(tmp_path, "--static", "/files=www") as server, connected(server) as [client]:
        body = request()
        client.sendall(
            (upload("/users/?get", len(body)) + body + head("GET /?login")) * 20
            + head("GET /files/large.bin")
            + head("GET /nothing/", "Connection: close")
        )
        got = b"".join(iter(lambda: client.recv(MB), b""))
        assert got.count(b"HTTP/1.1 200") == 41 and got.count(b'"login":true') == 20
        assert got.count(b"0123456789abcde\n") == 20 * MB // 16 and b"Unknown module nothing." in got[-1000:]


########## Its parts


def test_the_limit_of_a_body_is_known_from_the_first_line(tmp_path):
    app = Site(tmp_path, extra={"Service": "modules/services.py"}, max_body=2000, max_message=30_000).app
    limits = {
        "users/?get": 2000,
        "nothing/?get": 2000,
        "mailbox/?send": 30_000,
        "mailbox/index.php?send=1": 30_000,
        "users?import": 32 * MB,
        "": 2000,
        "*": 2000,
        "?login": 2000,
        "dav/ann/x": 32 * MB,
        "davx/": 2000,
        "users/?" + "&" * 200 + "import": 2000,
        "services/?send": 30_000,
    }
    for url, limit in limits.items():
        path, _, query = url.partition("?")
        assert app.body_limit("/" + path, query) == limit, url


def test_another_waitress_is_refused_with_a_sentence(monkeypatch):
    monkeypatch.delattr(waitress_server.ChunkedReceiver, "trailer")
    with pytest.raises(
        mailapi.ConfigError, match=r"waitress 3\S+ has no ChunkedReceiver.trailer: install waitress"
    ):
        waitress_server.create_server(None, "127.0.0.1:0", 1, 1, 1)


def test_connections_are_as_many_as_the_system_has_files_for(monkeypatch):
    serve = find_commands()["serve"]
    monkeypatch.setattr(serve.resource, "setrlimit", lambda *_: None)
    for hard, connections in ((1_000_000, 8000), (serve.resource.RLIM_INFINITY, 8000), (4096, 1948)):
        monkeypatch.setattr(serve.resource, "getrlimit", lambda _, hard=hard: (1024, hard))
        assert serve.allow_connections(8000) == connections


def test_a_limit_that_no_mail_keeps_to_is_refused(installed, tmp_path):
    configure(tmp_path, max_spooled=MB)
    assert "max_spooled must be at least max_message." in run(tmp_path, "serve", check=1)


class Connection:
    def __init__(self, pace):
        self.pace, self.closed = pace, False

    def close_soon(self):
        self.closed = True


def test_the_slowest_give_way(monkeypatch):
    spooled = spool.Spooled(100)
    slow, slower, fast, other = (Connection(pace) for pace in (100, 10, 1_000_000, 1_000_000))
    for each in (slow, slower, fast):
        spooled.reserve(each, 30)
    spooled.reserve(other, 20)
    assert (slow.closed, slower.closed, spooled.used) == (False, True, 80)
    spooled.release(slower, 30)  # it was counted out before
    assert spooled.used == 80 and spooled.new_interval() == (0, 1)
    with pytest.raises(spool.NoRoom):
        spooled.reserve(other, 60)  # not even without the slow one: nobody is closed for nothing
    assert not slow.closed and spooled.new_interval() == (1, 0)
    spooled.reserve(other, 50)
    assert slow.closed and not fast.closed and spooled.used == 100
    with pytest.raises(spool.NoRoom):
        spooled.reserve(slow, 1)
    spooled.release(fast, 30)
    spooled.release(other, 70)
    assert spooled.used == 0 and not spooled.sizes


def test_who_holds_much_must_be_fast(monkeypatch):
    spooled = spool.Spooled(100 * MB)
    large, small = Connection(10_000), Connection(10_000)
    spooled.reserve(large, 90 * MB)
    spooled.reserve(small, MB)
    spooled.reserve(Connection(1_000_000), 20 * MB)
    assert (large.closed, small.closed) == (True, False)


def test_what_was_appended_comes_out(tmp_path):
    spooled, connection = spool.Spooled(10 * MB), Connection(0)
    for sizes in ([10, 20], [spool.IN_MEMORY, 1, 70_000], [0, 500_000], [20_000] * 5):
        buffer, put, got = spool.Spool(spooled, connection), b"", b""
        for number, size in enumerate(sizes):
            data = bytes([number]) * size
            buffer.append(memoryview(data))
            put += data
            got += (piece := buffer.get(7000))
            buffer.skip(len(piece), True)
        assert spooled.used == (0 if len(put) <= spool.IN_MEMORY else len(put)) and len(buffer) == len(
            put
        ) - len(got)
        while piece := buffer.get(7000):
            got += piece
            buffer.skip(len(piece), True)
        assert got == put and spooled.used == 0
        buffer.append(put)
        assert buffer.getfile().read() == put
        buffer.close()
        assert spooled.used == 0
        with pytest.raises(spool.NoRoom):
            buffer.append(b"x")


def test_a_full_disk_is_no_room(monkeypatch):
    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool.tempfile, "TemporaryFile", full)
    spooled = spool.Spooled(10 * MB)
    buffer = spool.Spool(spooled, Connection(0))
    with pytest.raises(spool.NoRoom):
        buffer.append(b"x" * MB)
    buffer.close()
    assert spooled.used == 0
