"""Answers of `mailapi serve` that take long: nobody waits for them, and they arrive when the server is told to end."""

import contextlib
import signal
import sys
import time
from pathlib import Path

import pytest

from support.command_line import Server, request_of_root, write_config
from support.site import Site
from support.slow_clients import read_answer, request_head, send_all, slow_connections
from support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("python_path")

# `mailapi serve` with a path whose answer waits until there is a file "go". Each that waits makes a file "waiting-…".
WAITING = """
import os, sys, tempfile, time, mailapi
from mailapi_modules.http import waitress_server

class Waiting:
    def __init__(self, app):
        self.app, self.body_limit = app, app.body_limit

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"] == "/wait":
            os.close(tempfile.mkstemp(prefix="waiting-", dir=".")[0])
            while not os.path.exists("go"):
                time.sleep(0.01)
        return self.app(environ, start_response)

create = waitress_server.create_server
waitress_server.create_server = lambda app, *given, **limits: create(Waiting(app), *given, **limits | {limits})
sys.exit(mailapi.main())
"""


@pytest.fixture
def folder(tmp_path):
    """The folder of a site, in which the server runs."""
    write_config(tmp_path)
    Site(tmp_path)
    return tmp_path


def waiting_server(folder, *arguments, **limits) -> Server:
    """Start `mailapi serve` with the path /wait."""
    command = [sys.executable, "-c", WAITING.replace("{limits}", repr(limits))]
    return type("Waiting", (Server,), {"command": command})(folder, *arguments)


def begun(folder) -> int:
    """Return how many answers wait, or have waited."""
    return len(list(folder.glob("waiting-*")))


def go_on(folder):
    (folder / "go").touch()


def answers_others(server) -> bool:
    return server.post("users/?get", request_of_root())["login"] is True


def test_nobody_waits_for_answers_that_take_long(folder):
    with waiting_server(folder) as server, slow_connections(server, 5) as slow:
        for number, client in enumerate(slow, 1):
            client.sendall(request_head("GET /wait"))
            wait_until(lambda number=number: begun(folder) == number)
            assert answers_others(server)
        go_on(folder)
        assert [read_answer(client)[0] for client in slow] == [404] * 5


def test_at_most_as_many_answers_as_threads_wait_and_the_others_come_later(folder):
    """Meanwhile connections are still accepted, and idle ones closed."""
    threads = 2 + 2
    with waiting_server(folder, threads=2, channel_timeout=1, cleanup_interval=1) as server:
        with slow_connections(server, 3 * threads) as slow:
            send_all(slow, request_head("GET /wait"))
            wait_until(lambda: begun(folder) == threads)
            with slow_connections(server) as [idle]:
                assert idle.recv(1) == b"" and begun(folder) == threads
            go_on(folder)
            assert [read_answer(client)[0] for client in slow] == [404] * len(slow)
            assert begun(folder) == len(slow)
        assert answers_others(server)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_answers_that_have_begun_at_sigterm_arrive(folder, workers):
    with (
        waiting_server(folder, "--workers", workers) as server,
        slow_connections(server, 3) as slow,
        slow_connections(server) as [idle],
    ):
        send_all(slow, request_head("GET /wait"))
        wait_until(lambda: begun(folder) == 3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert server.process.poll() is None
        go_on(folder)
        assert [read_answer(client)[0] for client in slow] == [404] * 3
        assert server.process.wait(60) == 0 and "Traceback" not in server.log()
        with contextlib.suppress(ConnectionResetError):  # it was not accepted yet
            assert idle.recv(1) == b""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_answer_that_never_comes_does_not_keep_the_server_from_ending(folder, workers):
    with waiting_server(folder, "--workers", workers) as server, slow_connections(server, 3) as slow:
        send_all(slow, request_head("GET /wait"))
        wait_until(lambda: begun(folder) == 3)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0


def test_a_server_without_requests_sleeps_and_still_hands_its_loop_over(folder):
    with waiting_server(folder) as server, slow_connections(server) as [slow]:
        assert answers_others(server)
        status = Path(f"/proc/{server.process.pid}/status")

        def switches():
            lines = status.read_text().splitlines()
            return next(line for line in lines if line.startswith("voluntary_ctxt_switches"))

        def main_thread_sleeps():
            before = switches()
            time.sleep(0.2)
            return switches() == before

        wait_until(main_thread_sleeps)
        slow.sendall(request_head("GET /wait"))
        wait_until(lambda: begun(folder) == 1)
        assert answers_others(server)
        go_on(folder)
        assert read_answer(slow)[0] == 404
