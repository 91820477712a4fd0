"""Clients of `mailapi serve` that do not read: others are answered, and the room that all of them take has a limit."""

import contextlib
import http.client
import json
import signal
import time

import pytest

from support.command_line import Server, request_of_root, write_config
from support.dav import basic_credentials, site_with_backend
from support.slow_clients import (
    MB,
    ImpatientServer,
    first_bytes,
    large_requests,
    open_sockets,
    request_head,
    send_all,
    slow_connections,
    spooled_bytes,
)
from support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("python_path")


@pytest.mark.parametrize("what", ["raw", "static", "range"])
def test_clients_that_do_not_read_keep_no_thread_from_others(site_with_large_mail, tmp_path, what):
    with ImpatientServer(tmp_path, "--static", "/files=www") as server:
        before = open_sockets(server)
        large = large_requests(server)[what]
        with slow_connections(server, 8) as slow:
            send_all(slow, large * 3)
            assert first_bytes(slow) == [b"HTTP/1.1 206" if what == "range" else b"HTTP/1.1 200"] * 8
            for _ in range(10):
                assert server.post("users/?get", request_of_root())["login"] is True
            assert spooled_bytes(server) < 8 * 21 * MB  # the later requests were not even started
            wait_until(lambda: open_sockets(server) <= before and spooled_bytes(server) == 0)
            assert server.post("users/?get", request_of_root())["login"] is True
        assert "Traceback" not in server.stop()[1]


def test_unread_answers_are_within_the_limit(site_with_large_mail, tmp_path):
    write_config(tmp_path, max_spooled=30 * MB, max_message=25 * MB)
    with Server(tmp_path) as server:
        large = large_requests(server)["raw"]
        for _ in range(3):
            with slow_connections(server, 8) as slow:
                send_all(slow, large)
                wait_until(lambda: spooled_bytes(server) > 10 * MB)
                assert server.post("users/?get", request_of_root())["login"] is True
                assert spooled_bytes(server) <= 30 * MB
            wait_until(lambda: spooled_bytes(server) == 0)
        assert "Traceback" not in server.log()


def test_a_client_that_reads_slowly_gets_everything(site_with_large_mail, tmp_path):
    """The answer is larger than the buffers of the system, and takes longer than the limit of an idle connection."""
    with ImpatientServer(tmp_path, "--static", "/files=www") as server:
        for name, large in large_requests(server).items():
            with slow_connections(server) as [slow]:
                slow.sendall(large + request_head("GET /?login", "Connection: close"))
                got = bytearray()
                while piece := slow.recv(MB // 2):
                    got += piece
                    if len(got) < 2 * MB:
                        time.sleep(0.005)
            assert len(got) > 20 * MB and got.count(b"0123456789abcde\n") >= 20 * MB // 16 - 1, name
            assert b'"status":"Username is not set!"' in got[-1000:]


def test_an_answer_that_is_being_read_at_sigterm_arrives(site_with_large_mail, tmp_path):
    with Server(tmp_path) as server:
        large = large_requests(server)["raw"]
        with slow_connections(server) as [slow]:
            slow.sendall(large)
            first_bytes([slow])
            server.process.send_signal(signal.SIGTERM)
            got = http.client.HTTPResponse(slow)
            got.begin()
            assert len(got.read()) > 20 * MB
            got.close()
        assert server.process.wait(60) == 0


def large_answer(size):
    """Return a method of a DAV server that sends so many bytes below paths with "large" in them."""

    def answer(self):
        length = size if "large" in self.path else 0
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(length // 65536):
                self.wfile.write(b"x" * 65536)

    return answer


def test_unread_dav_downloads_do_not_keep_others_from_dav(tmp_path):
    with site_with_backend(tmp_path, answer=large_answer(20 * MB)) as (dav, _):
        host, port = dav.netloc.split(":")
        server = type("At", (), {"host": host, "port": port})
        with slow_connections(server, 8) as slow:
            for each in slow:
                send_all(
                    [each],
                    request_head("GET /dav/large", f"Authorization: {basic_credentials()['Authorization']}"),
                )
                assert first_bytes([each]) == [b"HTTP/1.1 200"]
                wait_until(lambda: dav("GET", "dav/small").status == 200)
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


def test_dav_downloads_too_large_to_be_spooled_take_two_threads_at_most(tmp_path):
    started = []

    def start(folder):
        with open(folder / "config.py", "a") as config:
            config.write(f"max_message = {MB}\n")
        started.append(ImpatientServer(folder))
        return started[0]

    with site_with_backend(tmp_path, start, answer=large_answer(20 * MB)) as (dav, _):
        before = open_sockets(started[0])
        with slow_connections(started[0], 12) as slow:
            send_all(
                slow, request_head("GET /dav/large", f"Authorization: {basic_credentials()['Authorization']}")
            )
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
            wait_until(lambda: dav("GET", "dav/small").status == 200)
            assert spooled_bytes(started[0]) <= 12 * 2 * MB
            wait_until(lambda: open_sockets(started[0]) <= before)
        got = dav("GET", "dav/large")  # and who reads has it all
        assert got.status == 200 and len(got.body) == 20 * MB
        assert "Traceback" not in started[0].log()
