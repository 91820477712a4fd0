"""Workers and threads: sessions and databases are shared, nobody waits for long, a restart loses nothing."""

import contextlib
import os
import signal
import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import MODULES, ROOT, Site
from instances import need
from test_commands import Server
from test_survival import post

sys.path.append(str(ROOT / "bench"))

import memory

# An application that has asked its databases before its server forks.
WARM = """
import mailapi, webtest
application = mailapi.create_app({config!r})
answer = webtest.TestApp(application).post("/users/?get", '{{"auth": {{"user_name": "root", "password": "pw"}}}}')
assert answer.json["login"], answer
"""
FORKING = {
    "gunicorn": [*memory.GUNICORN[:-1], "--preload", "--workers", "2", "--threads", "4", "warm:application"],
    "uwsgi": [*memory.UWSGI[:-1], "warm:application", "--processes", "2", "--threads", "4"],
}


@pytest.fixture(scope="module", params=FORKING)
def forking(request, tmp_path_factory):
    """The URL of a server with two workers of four threads each, the process of their master, and the folder."""
    folder = tmp_path_factory.mktemp(request.param)
    memory.install(folder, users=20)
    (folder / "warm.py").write_text(WARM.format(config=str(folder / "config.py")))
    need(FORKING[request.param][0])
    context, port = memory.run(FORKING[request.param], folder)
    with context as process:
        yield port, process, folder


def test_workers_share_sessions_and_databases_that_were_open_before_the_fork(forking):
    port, process, folder = forking
    memory.work(port, 400)
    assert len(memory.workers(process.pid)) == 2
    for name in ("master.db3", "master.db3.state"):
        with contextlib.closing(sqlite3.connect(folder / name)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_who_reads_does_not_wait_for_who_waits_to_write(forking):
    port, _, folder = forking
    url = f"http://127.0.0.1:{port}/"
    with held(folder / "master.db3") as release, ThreadPoolExecutor(2) as writers:
        jobs = [writers.submit(post, url + "users/?add", user_name=f"writer{number}") for number in range(2)]
        time.sleep(0.5)
        answers = [post(url + "users/?get") for _ in range(5)]
        assert not any(job.done() for job in jobs)
        release()
        assert [job.result()[0]["status"] for job in jobs] == ["ok"] * 2
    assert all(answer["status"] == "ok" and took < 1 for answer, took in answers), answers


def test_a_forked_worker_opens_the_databases_anew(site):
    site("?login")
    opened = [connection(store) for store in (site.app.db, site.app.state)]
    child = os.fork()
    if child == 0:
        shared = True
        try:
            anew = [connection(store) for store in (site.app.db, site.app.state)]
            shared = any(one is other for one, other in zip(opened, anew))
        finally:
            os._exit(shared)
    assert os.waitpid(child, 0)[1] == 0
    assert [connection(store) for store in (site.app.db, site.app.state)] == opened


@contextlib.contextmanager
def held(path):
    """A mail daemon's write lock on the database, until what is handed out is called."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield lambda: connection.execute("ROLLBACK")


def test_a_graceful_reload_loses_no_request(forking):
    port, process, _ = forking
    workers, over, url = memory.workers(process.pid), threading.Event(), f"http://127.0.0.1:{port}/users/?get"

    def ask() -> int:
        asked = 0
        while not over.is_set():
            answer, _ = post(url)
            assert answer["login"] is True
            asked += 1
        return asked

    with ThreadPoolExecutor(3) as clients:
        jobs = [clients.submit(ask) for _ in range(3)]
        os.kill(process.pid, signal.SIGHUP)
        until = time.monotonic() + 20
        while set(workers) & set(memory.workers(process.pid)) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
        over.set()
        assert all(job.result() > 0 for job in jobs)
    assert not set(workers) & set(memory.workers(process.pid))


def test_serve_answers_what_is_under_way_when_it_is_told_to_stop(tmp_path):
    site = Site(tmp_path)
    (tmp_path / "config.py").write_text(f'dbpath = "master.db3"\nmodulelist = {MODULES!r}\n')
    with Server(tmp_path) as server, ThreadPoolExecutor(1) as clients:
        post(server.url + "?login")
        with held(site.dbpath) as release:
            job = clients.submit(post, server.url + "users/?add", user_name="last")
            time.sleep(0.5)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert server.process.poll() is None and not job.done()
            release()
            assert job.result()[0]["user"] is True
        assert server.process.wait(10) == 0
    assert site.sql("SELECT COUNT(*) FROM users WHERE user_name = 'last'") == [(1,)]
