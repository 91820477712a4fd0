"""Workers and threads: they share sessions and databases, nobody waits for long, a restart loses nothing, and memory
does not grow; bench/memory.py measures it over more requests."""

import contextlib
import gc
import io
import json
import os
import signal
import sqlite3
import sys
import threading
import time
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

import mailapi
from support.command_line import Server
from support.instances import skip_without
from support.over_http import post
from support.site import MODULES, ROOT, Site
from support.slow_clients import open_sockets
from support.waiting import wait_until

sys.path.append(str(ROOT))

from bench import memory

pytestmark = pytest.mark.slow

# An application that has asked its databases before its server forks.
WARM = """
import mailapi, webtest
application = mailapi.create_app({config!r})
answer = webtest.TestApp(application).post("/users/?get", '{{"auth": {{"user_name": "admin", "password": "pw"}}}}')
assert answer.json["login"], answer
"""


@contextlib.contextmanager
def serving(name, folder, module="mailapi"):
    """A server of bench/memory.py over an installation in folder; without it the test is skipped."""
    memory.install(folder, users=20)
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(memory.serve(name, folder, module))
        except memory.Unavailable:
            skip_without(f"{name} for this Python")
        yield server


@pytest.fixture(scope="module", params=["gunicorn --threads 4 --preload", "uwsgi --threads 4"])
def forking(request, tmp_path_factory):
    """A server with two workers of four threads each, and its folder."""
    folder = tmp_path_factory.mktemp("forking")
    (folder / "warm.py").write_text(WARM.format(config=str(folder / "config.py")))
    with serving(request.param, folder, "warm") as server:
        yield server, folder


def test_workers_share_sessions_and_databases_that_were_open_before_the_fork(forking):
    server, folder = forking
    memory.work(server.port, 400)
    assert len(server.workers()) == 2
    for name in ("master.db3", "state"):
        with contextlib.closing(sqlite3.connect(folder / name)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_who_reads_does_not_wait_for_who_waits_to_write(forking):
    server, folder = forking
    clients = [memory.Client(server.port) for _ in range(3)]
    for client in clients:
        client.log_in("admin")
        client.close()
    with held(folder / "master.db3") as release, ThreadPoolExecutor(2) as writers:
        jobs = [
            writers.submit(client.ask, "POST", "users/?add", "admin", user_name=f"writer{id(client)}")
            for client in clients[1:]
        ]
        time.sleep(0.5)
        answers = [clients[0].ask("POST", "users/?get", "admin") for _ in range(5)]
        assert answers == [(200, "ok")] * 5
        assert not any(job.done() for job in jobs)
        release()
        assert [job.result() for job in jobs] == [(200, "ok")] * 2
    for client in clients:
        client.close()


def test_a_forked_worker_opens_the_databases_anew(site):
    site("?login")
    opened = [store.connect() for store in (site.app.db, site.app.state)]
    child = os.fork()
    if child == 0:
        shared = True
        try:
            anew = [store.connect() for store in (site.app.db, site.app.state)]
            shared = any(one is other for one, other in zip(opened, anew))
        finally:
            os._exit(shared)
    assert os.waitpid(child, 0)[1] == 0
    assert [store.connect() for store in (site.app.db, site.app.state)] == opened


@contextlib.contextmanager
def held(path):
    """A mail daemon's write lock on the database, until what is handed out is called."""
    with contextlib.closing(
        sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    ) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield lambda: connection.execute("ROLLBACK")


# Not uWSGI with threads: in 2.0.21 it may leave those without an answer that come in at that moment.
@pytest.mark.parametrize("name", ["gunicorn --threads 4", "uwsgi"])
def test_a_graceful_reload_loses_no_request(name, tmp_path):
    with serving(name, tmp_path) as server, ThreadPoolExecutor(3) as clients:
        workers, over = server.workers(), threading.Event()
        jobs = [clients.submit(ask_until, over, server.port) for _ in range(3)]
        try:
            time.sleep(0.5)
            os.kill(server.pid, signal.SIGHUP)
            wait_until(lambda: not set(workers) & set(server.workers()))
            time.sleep(0.5)
        finally:
            over.set()
        assert all(job.result() > 0 for job in jobs)
        assert not set(workers) & set(server.workers())


def ask_until(over: threading.Event, port: int) -> int:
    """How often was asked; every time there was an answer."""
    asked = 0
    while not over.is_set():
        with contextlib.closing(memory.Client(port)) as client:
            assert client.log_in("admin") == (200, "ok")
        asked += 1
    return asked


def test_serve_answers_what_is_under_way_when_it_is_told_to_stop(tmp_path):
    site = Site(tmp_path)
    (tmp_path / "config.py").write_text(f'dbpath = "master.db3"\nmodulelist = {MODULES!r}\n')
    with Server(tmp_path) as server, ThreadPoolExecutor(1) as clients:
        before = open_sockets(server)
        post(server.url + "?login")
        wait_until(lambda: open_sockets(server) == before)
        with held(site.dbpath) as release:
            job = clients.submit(post, server.url + "users/?add", user_name="last")
            wait_until(lambda: open_sockets(server) > before)
            time.sleep(0.5)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert server.process.poll() is None and not job.done()
            release()
            assert job.result()[0]["user"] is True
        assert server.process.wait(60) == 0
    assert site.sql("SELECT COUNT(*) FROM users WHERE user_name = 'last'") == [(1,)]


# Threads of `mailapi serve` open both databases with the first request that they answer.
@pytest.mark.parametrize("name, opened_later", [("serve", 40), ("uwsgi", 4)])
def test_a_server_keeps_its_size(name, opened_later, tmp_path):
    with serving(name, tmp_path) as server:
        memory.work(server.port, 800)
        workers, size, files = server.workers(), server.pss(), open_files(server)
        memory.work(server.port, 1200)
        assert server.workers() == workers
        assert server.pss() < size + 3 * 2**20  # SQLite's caches are still filling
        assert open_files(server) <= files + opened_later


def open_files(server) -> int:
    return sum(len(os.listdir(f"/proc/{worker}/fd")) for worker in server.workers())


def test_no_object_outlives_its_request(site):
    """Much finer: by how much Python's own heap grows."""

    def work(rounds: int):
        for number in range(rounds):
            site("users/?get")
            site.browser().get("/addresses/?get&callback=got")
            site("users/?add", user_name=f"new{number}", user_permissions=["special"])
            site("users/?delete", user_name=f"new{number}")
            site("users/?delete", user="bob", user_name="ann")
            site("nothing/?get", check=404)
        gc.collect()

    tracemalloc.start()
    work(60)  # sqlite3 looks only after 200 cursors which of them are gone
    before, _ = tracemalloc.get_traced_memory()
    work(60)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / (60 * 6) < 50  # bytes a request


def outlived(site, **environ) -> tuple[str, bool]:
    """The status that is answered, and whether the request is still there without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        exchange = mailapi.RequestHandler(site.app, environ, environ["PATH_INFO"][1:])
        answer, _ = exchange.outcome()
        site.app.release()
        left = weakref.ref(exchange)
        del exchange
        return answer["status"], left() is not None
    finally:
        gc.enable()


def test_what_the_database_refuses_leaves_nothing_to_the_garbage_collector(site):
    """A traceback that holds itself would keep the request: its body, and the password in it."""
    body = json.dumps({"auth": {"user_name": "root", "password": "pw"}, "pop_user": "ann"}).encode()
    for status in ("ok", "UNIQUE constraint failed: popd.pop_user"):
        assert outlived(
            site,
            REQUEST_METHOD="POST",
            PATH_INFO="/pop/",
            QUERY_STRING="add",
            CONTENT_LENGTH=str(len(body)),
            **{"wsgi.input": io.BytesIO(body)},
        ) == (status, False)


@pytest.mark.sqlite
def test_nor_does_a_look_at_databases_that_cannot_be_read(site):
    look = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/pop/",
        "QUERY_STRING": "get",
        "HTTP_COOKIE": "PHPSESSID=" + site.app.sessions.begin("nobody", "pw", None),
        "wsgi.input": io.BytesIO(),
    }
    assert outlived(site, **look) == ("Username is not set!", False)
    site.app.db.opened.connection.execute("PRAGMA busy_timeout = 0")
    with contextlib.closing(sqlite3.connect(site.file, isolation_level=None)) as daemon:
        daemon.execute("BEGIN EXCLUSIVE")
        assert outlived(site, **look) == ("The database is busy. Try again.", False)
    site.app.state.close()
    os.rename(site.app.config.state, site.app.config.state + ".kept")
    os.mkdir(site.app.config.state)
    status, still_there = outlived(site, **look)
    assert status.startswith("The state database cannot be used: ") and not still_there


def test_long_queries_cookies_and_addresses_leave_nothing(tmp_path):
    site = Site(tmp_path, trusted_proxies=["127.0.0.1"])
    cookie = (
        site.browser()
        .post("/", json.dumps({"auth": {"user_name": "ann", "password": "pw"}}))
        .headers["Set-Cookie"]
    )

    def work(rounds: int):
        for number in range(rounds):
            query, long = f"get&n={number}" + "x" * 28_000, f"{number}" + "1" * 20_000
            for headers in (
                {"HTTP_COOKIE": cookie.partition(";")[0]},
                {"HTTP_COOKIE": f"PHPSESSID={number}; x={long}"},
                {"HTTP_X_FORWARDED_FOR": long, "REMOTE_ADDR": "127.0.0.1"},
                {"HTTP_ORIGIN": "http://" + long},
                {"HTTP_AUTHORIZATION": "Bearer " + long},
            ):
                site.browser(**headers).get("/pop/?" + query)
        gc.collect()

    tracemalloc.start()
    work(50)
    before, _ = tracemalloc.get_traced_memory()
    work(50)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / (50 * 5) < 200  # bytes a request
