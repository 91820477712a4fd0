"""The supervisor of the workers of `mailapi serve`: how many it starts, and what it does if it cannot."""

import subprocess
import sys

import pytest
from mailapi_modules.commands import serve
from mailapi_modules.http import workers

import mailapi
from support.command_line import Server, request_of_root, run_mailapi, write_config
from support.slow_clients import MB

pytestmark = pytest.mark.usefixtures("python_path")

SUPERVISOR = """
import logging, os, signal, sys, time
from mailapi_modules.http import workers

logging.basicConfig(format="%(message)s")
fork, asked, slept = os.fork, [], []

def sometimes():
    asked.append(True)
    if len(asked) in (1, 3):
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return fork()

def sleep(seconds):
    slept.append(seconds)
    if len(slept) == 5:
        os.kill(os.getpid(), signal.SIGTERM)

os.fork, time.sleep = sometimes, sleep
workers.Workers(1, lambda lifeline: sys.exit(3)).run()
print(slept, len(asked))
"""


def test_workers_that_cannot_start_are_tried_again_after_a_pause():
    """Neither a fork that the system refuses nor a worker that fails at once ends the supervisor."""
    done = subprocess.run([sys.executable, "-c", SUPERVISOR], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1, 1, 1, 1, 1] 5\n"
    assert done.stderr.count("no worker can be started: Resource temporarily unavailable") == 2
    assert done.stderr.count("(exit status 1); another one is started") == 3


def test_too_many_workers_for_max_spooled_are_refused(tmp_path):
    write_config(tmp_path, max_spooled=6 * MB, max_message=2 * MB)
    said = run_mailapi(tmp_path, "serve", "--workers", "4", "--listen", "127.0.0.1:0", check=1)
    assert "max_spooled must be at least 4 times max_message for 4 workers." in said
    assert "--workers must be at least 1." in run_mailapi(tmp_path, "serve", "--workers", "0", check=1)


def test_there_is_a_worker_for_each_core_but_one(monkeypatch):
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert [workers.usual_number(most) for most in (100, 3, 0)] == [4, 3, 1]
    for cores, number in ((1, 1), (2, 1), (3, 2)):
        monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        assert workers.usual_number(100) == number


def test_a_system_that_cannot_fork_has_one_process(monkeypatch, capsys):
    monkeypatch.delattr(workers.os, "fork")
    config = mailapi.Config("master.db3", {})
    assert serve.number_of_workers(config, None) == 1 and not capsys.readouterr().out
    assert serve.number_of_workers(config, 2) == 1
    assert capsys.readouterr().out == "This system cannot fork processes: one answers all requests.\n"


WITHOUT_EPOLL = """
import sys, mailapi
from mailapi_modules.http import poller

poller.HAS_EPOLL = False
sys.exit(mailapi.main())
"""


def test_a_system_without_epoll_is_served_with_poll(configured_site, tmp_path):
    server = type("Polling", (Server,), {"command": [sys.executable, "-c", WITHOUT_EPOLL]})(
        tmp_path, "--workers", "2"
    )
    with server:
        assert "This system has no epoll: requests take longer" in server.said
        assert all(server.post("users/?get", request_of_root())["login"] is True for _ in range(20))
        status, log = server.stop()
        assert status == 0 and "Traceback" not in log
