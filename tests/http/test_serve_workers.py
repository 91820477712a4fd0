"""The workers of `mailapi serve`: they answer alike, are replaced when they die, and end together."""

import contextlib
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from support import slow_clients
from support.command_line import Server, request_of_root, write_config
from support.over_http import cookie_of
from support.site import Site
from support.slow_clients import (
    MB,
    first_bytes,
    is_closed,
    large_requests,
    request_head,
    send_all,
    server_with_limits,
    slow_connections,
)
from support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("python_path")


@pytest.fixture
def folder(tmp_path):
    """The folder of a site, in which the server runs."""
    write_config(tmp_path)
    Site(tmp_path)
    return tmp_path


def with_two_workers(folder, kind=Server) -> Server:
    """Start a server, and wait until it has two workers."""
    server = kind(folder, "--workers", "2")
    wait_until(lambda: len(workers_of(server)) == 2)
    return server


def workers_of(server) -> list[int]:
    pid = server.process.pid
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that has ended, and for which nobody has waited, does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def open_files(pid: int) -> list[str]:
    """Return the paths of a process's open files."""
    paths = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            paths.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return paths


def spooled_bytes(server) -> int:
    """Return how many bytes all workers have in temporary files."""
    processes = [SimpleNamespace(pid=pid) for pid in workers_of(server)]
    return sum(slow_clients.spooled_bytes(SimpleNamespace(process=process)) for process in processes)


def answers(server) -> bool:
    return server.post("users/?get", request_of_root())["login"] is True


def test_workers_share_sessions(folder):
    with with_two_workers(folder) as server, ThreadPoolExecutor(8) as clients:
        cookie = cookie_of(server.url)
        got = list(clients.map(lambda _: server.post("users/?get", b"{}", Cookie=cookie), range(200)))
        assert all(answer["login"] is True for answer in got)
        status, log = server.stop()
        assert status == 0 and "Traceback" not in log


def test_workers_inherit_no_database_and_no_thread(folder):
    """SQLite's locks do not survive a fork: the supervisor opens no database, also not to make one."""
    for name in ("master.db3", "state", "config.py"):
        (folder / name).unlink(missing_ok=True)
    with Server(folder, "--init", "--workers", "2") as server:
        wait_until(lambda: len(workers_of(server)) == 2)
        assert "Threads:\t1\n" in Path(f"/proc/{server.process.pid}/status").read_text()
        assert server.post("?login", b"{}")["login"] is False
        files = open_files(server.process.pid)
        assert not [
            path for path in files if path.startswith(str(folder)) and path.endswith((".db3", "state"))
        ]
        sockets = [
            {path for path in open_files(pid) if path.startswith("socket:")} for pid in workers_of(server)
        ]
        assert sockets[0] & sockets[1] == {path for path in files if path.startswith("socket:")}


def test_a_worker_that_dies_is_replaced(folder):
    with with_two_workers(folder) as server:
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGRTMIN):
            wait_until(lambda: len(workers_of(server)) == 2)
            before = workers_of(server)
            os.kill(before[0], number)
            wait_until(
                lambda before=before: len(workers_of(server)) == 2 and before[0] not in workers_of(server)
            )
            assert before[1] in workers_of(server)
            assert all(answers(server) for _ in range(10))
        log = server.stop()[1]
        assert "killed by signal 9" in log and "killed by signal 11" in log and "exit status 0" in log


@pytest.fixture
def sigint_not_ignored():
    """Servers start as on a terminal, also if the tests run in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_supervisor(folder, sigint_not_ignored, number):
    with with_two_workers(folder) as server:
        assert answers(server)
        pids = workers_of(server)
        server.process.send_signal(number)
        assert server.process.wait(60) == 0
        assert not any(map(is_running, pids))
        with pytest.raises(ConnectionError):
            socket.create_connection((server.host, int(server.port)))


def test_workers_end_when_their_supervisor_is_killed(folder):
    with with_two_workers(folder) as server:
        assert answers(server)
        pids = workers_of(server)
        server.process.kill()
        server.process.wait(60)
        wait_until(lambda: not any(map(is_running, pids)))


def test_a_worker_that_does_not_end_is_killed(folder):
    with with_two_workers(folder) as server:
        pids = workers_of(server)
        os.kill(pids[0], signal.SIGSTOP)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        assert not any(map(is_running, pids)) and "1 workers did not end within" in server.log()


def test_children_of_the_program_before_do_not_disturb_the_supervisor(folder):
    """A script may start something, and then become `mailapi serve`; the first process of a container has orphans."""
    shell = ["sh", "-c", 'sleep 0.5 & exec "$@"', "sh", *Server.command]
    server = type("Executed", (Server,), {"command": shell})(folder, "--workers", "2")
    with server:
        wait_until(lambda: len(workers_of(server)) == 2)  # three with `sleep`
        assert answers(server)
        status, log = server.stop()
        assert status == 0 and "Traceback" not in log


########## Hostile clients


@pytest.mark.parametrize("what", ["raw", "static", "range"])
def test_clients_that_do_not_read_keep_no_worker_from_others(site_with_large_mail, tmp_path, what):
    impatient = server_with_limits(channel_timeout=1, cleanup_interval=1)
    with impatient(tmp_path, "--workers", "2", "--static", "/files=www") as server:
        large = large_requests(server)[what]
        with slow_connections(server, 12) as slow:
            send_all(slow, large * 3)
            first_bytes(slow)
            assert all(answers(server) for _ in range(10))
            wait_until(lambda: spooled_bytes(server) == 0)
        assert "Traceback" not in server.stop()[1]


def test_clients_that_send_too_slowly_are_closed(folder):
    start = request_head("POST /users/?get", "Content-Length: 500000") + b" " * 100_000
    with with_two_workers(folder, slow_clients.ImpatientServer) as server:
        with slow_connections(server, 10) as clients:
            send_all(clients, start)
            assert answers(server)
            for client in clients:
                wait_until(lambda client=client: is_closed(client, b" "))
        wait_until(lambda: spooled_bytes(server) == 0)


def test_all_workers_together_keep_to_max_spooled(folder):
    write_config(folder, max_spooled=8 * MB, max_message=3 * MB)
    with with_two_workers(folder) as server, slow_connections(server, 8) as clients:
        for client in clients:
            with contextlib.suppress(OSError):  # it is refused
                client.sendall(
                    request_head("POST /mailbox/?send", f"Content-Length: {2 * MB}")
                    + b" " * (2 * MB - MB // 8)
                )
        wait_until(lambda: spooled_bytes(server) > 3 * MB)
        assert answers(server) and spooled_bytes(server) <= 8 * MB
