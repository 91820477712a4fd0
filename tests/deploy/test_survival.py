"""Trouble that machines make: many writers, killed servers, slow and hostile clients. STRESS=120 runs for 120 seconds."""

import concurrent.futures
import contextlib
import http.client
import json
import multiprocessing
import os
import random
import resource
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from support.command_line import Server
from support.over_http import cookie_of, gunicorn_server, post
from support.site import MODULES, Site

pytestmark = pytest.mark.slow

SECONDS = int(os.environ.get("STRESS", "12"))


@pytest.fixture
def installed(tmp_path):
    site = Site(tmp_path)
    (tmp_path / "config.py").write_text(f'dbpath = "master.db3"\nmodulelist = {MODULES!r}\n')
    return site


def api_writer(url, name, until):
    """Add users until the time is over: those that were acknowledged, those that were told to try again."""
    done, busy, other, number = [], 0, [], 0
    while time.monotonic() < until:
        number += 1
        answer, _ = post(url + "users/?add", user_name=f"{name}-{number}")
        if answer["status"] == "ok":
            done.append(f"{name}-{number}")
        elif answer["status"] == "The database is busy. Try again.":
            busy += 1
        else:
            other.append(answer)
    return done, busy, other


def daemon_writer(path, name, until):
    """Store mail as the SMTP daemon does, sometimes holding the transaction for up to a second."""
    chance, stored = random.Random(name), 0
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    while time.monotonic() < until:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_data, mail_ident)"
            " VALUES ('ann', 'a', 'b', 'c', ?)",
            [name],
        )
        time.sleep(chance.uniform(0.2, 1) if chance.random() < 0.1 else 0.001)
        connection.execute("COMMIT")
        stored += 1
        time.sleep(chance.uniform(0, 0.05))
    connection.close()
    return stored


def test_eight_writers_lose_nothing(installed, tmp_path, capsys):
    until = time.monotonic() + SECONDS
    with (
        Server(tmp_path) as waitress,
        gunicorn_server(tmp_path) as other,
        concurrent.futures.ThreadPoolExecutor(4) as clients,
        concurrent.futures.ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as daemons,
    ):
        urls = [waitress.url, other] * 2
        api = [clients.submit(api_writer, url, f"writer{n}", until) for n, url in enumerate(urls)]
        mail = [daemons.submit(daemon_writer, str(installed.dbpath), f"daemon{n}", until) for n in range(4)]
        api, mail = [job.result() for job in api], [job.result() for job in mail]
    added = [name for done, _, _ in api for name in done]
    assert [other for _, _, other in api if other] == []
    stored = {name for (name,) in installed.sql("SELECT user_name FROM users")}
    assert added and set(added) <= stored
    assert installed.sql("SELECT COUNT(*) FROM mailbox") == [(sum(mail),)] and min(mail) > 0
    assert (
        installed.sql("PRAGMA integrity_check") == [("ok",)]
        and installed.sql("PRAGMA foreign_key_check") == []
    )
    with capsys.disabled():
        print(
            f"\n{SECONDS} s: {len(added)} users through the API, {sum(mail)} mails by the daemons, "
            f"{sum(busy for _, busy, _ in api)} answers 503"
        )


def test_a_killed_server_loses_nothing_that_it_acknowledged(installed, tmp_path):
    chance, acknowledged, session = random.Random(4), [], None
    for kill in range(max(8, SECONDS)):
        with Server(tmp_path) as server:
            if session is None:
                session = cookie_of(server.url)
            assert with_cookie(server.url, session)["login"] is True
            with concurrent.futures.ThreadPoolExecutor(3) as clients:
                jobs = [clients.submit(add_until_dead, server.url, f"k{kill}-{n}") for n in range(3)]
                time.sleep(chance.uniform(0.05, 0.3))
                server.process.kill()
                acknowledged += [name for job in jobs for name in job.result()]
    assert acknowledged
    users = {name for (name,) in installed.sql("SELECT user_name FROM users")}
    granted = [
        name for (name,) in installed.sql("SELECT api_user FROM api_access WHERE api_permission = 'special'")
    ]
    assert set(acknowledged) <= users
    assert sorted(granted) == sorted(name for name in users if name.startswith("k"))  # each whole
    assert installed.sql("PRAGMA integrity_check") == [("ok",)]
    installed.sql("INSERT INTO popd VALUES ('ann', 0)")  # at once: no lock was left, and no journal stays
    assert not (tmp_path / "master.db3-journal").exists()


def add_until_dead(url, name):
    done = []
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        for number in range(10_000):
            answer, _ = post(url + "users/?add", user_name=f"{name}-{number}", user_permissions=["special"])
            done += [f"{name}-{number}"] if answer["status"] == "ok" else []
    return done


def with_cookie(url, cookie):
    with urllib.request.urlopen(urllib.request.Request(url + "?login", headers={"Cookie": cookie})) as got:
        return json.load(got)


def test_honest_clients_are_served_among_slow_and_hostile_ones(installed, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    starts = [
        b"",
        b"GET /users/?get HT",
        b"POST /users/?get HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"GET / HTTP/1.1\r\n" + b"X-Flood: x\r\n" * 500,
        b"GET / HTTP/1.1\r\nCookie: " + b"a=b; " * 6000,
        b"GET /?login HTTP/1.1\r\nHost: x\r\n\r\n" * 5,
        b"\x16\x03\x01\x00" * 50,
        b"GET / HTTP/1.1\r\n\r\n\r\n" * 9,
    ]
    (tmp_path / "www").mkdir()
    (tmp_path / "www/large.bin").write_bytes(b"x" * 20_000_000)
    installed.sql(
        "INSERT INTO mailbox (mail_id, mail_user, mail_envelopeto, mail_envelopefrom, mail_data)"
        " VALUES (1, 'dele', 'a', 'b', ?)",
        b"\r\n" + b"x" * 20_000_000,
    )
    with Server(tmp_path, "--static", "/files=www") as server, contextlib.ExitStack() as open_ones:
        port = int(server.url.rstrip("/").rsplit(":", 1)[1])
        mail = f"GET /mailbox/?raw&mail_id=1 HTTP/1.1\r\nHost: x\r\nCookie: {cookie_of(server.url)}\r\n\r\n".encode()
        slow = []
        for asked in [mail, b"GET /files/large.bin HTTP/1.1\r\nHost: x\r\n\r\n"] * 8:  # and never read
            slow.append(open_ones.enter_context(socket.create_connection(("127.0.0.1", port))))
            slow[-1].sendall(asked * 3)
        for number in range(2000):
            slow.append(open_ones.enter_context(socket.create_connection(("127.0.0.1", port))))
            with contextlib.suppress(OSError):
                slow[-1].sendall(starts[number % len(starts)])
        for _ in range(9):
            for client in random.sample(slow, 100):
                with contextlib.suppress(OSError):
                    client.send(b"x")
            answer, _ = post(server.url + "users/?get")
            assert answer["login"] is True
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 400 kB. `resize` changes that."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder], capture_output=True)
    if done.returncode and os.environ.get("CI") != "true":
        pytest.skip("a small file system cannot be mounted here")
    assert done.returncode == 0, done.stderr
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def resize(folder, kilobytes: int):
    """Change the size of a file system."""
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", folder], check=True)


def fill(folder):
    """Use the space up; what is returned gives it back."""
    path = folder / "ballast"
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as ballast:
        while True:
            ballast.write(b"x" * 512)
    return path.unlink


def test_a_full_disk_is_told_and_nothing_is_half_done(small_disk, tmp_path):
    site = Site(small_disk, state=str(tmp_path / "state"))
    site("?login")
    before, free = site.dump(), fill(small_disk)
    for number in range(50):  # until the pages that are there are used up
        answer = site("users/?add", user_name=f"u{number}" + "x" * 900, user_permissions=["special"])
        if answer["status"] != "ok":
            break
        before = site.dump()
    assert answer["status"] == "database or disk is full" and answer.get("user") is not True
    assert site.dump() == before and site.sql("PRAGMA integrity_check") == [("ok",)]
    free()
    assert site("users/?add", user_name="after", user_permissions=["special"])["user"] is True


@pytest.mark.parametrize("kilobytes", range(60, 360, 20))
def test_a_state_database_that_the_disk_has_no_room_for_is_made_later(small_disk, tmp_path, kilobytes):
    resize(small_disk, kilobytes)
    site = Site(tmp_path, state=str(small_disk / "state"))
    assert site("?login", check="*")["status"] in (
        "ok",
        "The state database cannot be used: database or disk is full.",
        "The state database cannot be used: disk I/O error.",
        "The state database cannot be used: No space left on device.",
    )
    resize(small_disk, 10_000)
    assert site("?login")["login"] is True
    assert site.state("PRAGMA integrity_check") == [("ok",)]
    assert site.state("PRAGMA journal_mode") == [("wal",)]


def test_a_full_disk_under_the_state_database_is_told(small_disk, tmp_path):
    site = Site(tmp_path, state=str(small_disk / "state"))
    site("?login")
    free = fill(small_disk)
    answers = [site("?login", user=user, check="*") for user in ("bob", "ann", "dele") * 40]
    assert {answer["status"] for answer in answers} <= {
        "ok",
        "The state database cannot be used: database or disk is full.",
        "The state database cannot be used: disk I/O error.",
    } and answers[-1]["status"] != "ok"
    free()
    assert site("?login")["login"] is True
