"""Several instances over one MariaDB: any of them serves any request, over few connections."""

import contextlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.command_line import Server
from support.instances import free_port, running_instance
from support.shared import Client, SiteOnServer, create_master_database
from support.site import MODULES, ROOT


@pytest.fixture
def installed(tmp_path, database):
    create_master_database(database.url)
    return SiteOnServer(tmp_path / "installed", database.url)


@pytest.fixture
def folder(installed, tmp_path):
    return tmp_path / "installed"


def connections(server, database) -> list[tuple]:
    """Number and command of those to a database."""
    return server.sql("SELECT id, command FROM information_schema.processlist WHERE db = %s", database.name)


def test_any_instance_serves_any_request(folder):
    browser, other = Client(), Client()
    with Server(folder) as one, Server(folder) as two, Server(folder) as three:
        assert browser.log_in(one.url)[1]["login"] is True
        assert browser.ask(two.url + "users/?add", user_name="new", user_authdata="secret")[1]["user"] is True
        assert other.log_in(three.url, "new", "secret")[1]["auth_user"] == "new"
        token = browser.ask(one.url + "tokens/?add", token_name="script")[1]["token"]
        assert Client(token).ask(two.url + "users/?get", limit=1)[1]["login"] is True
        # A password set at one ends the sessions at all, but for the one that set it.
        assert (
            other.ask(one.url + "users/?set_password", user_name="new", user_authdata="other")[1]["status"]
            == "ok"
        )
        assert other.ask(two.url + "?login")[1]["login"] is True
        assert (
            browser.ask(two.url + "users/?set_password", user_name="new", user_authdata="third")[1]["status"]
            == "ok"
        )
        assert other.ask(three.url + "?login")[1]["login"] is False
        browser.ask(three.url + "?logout")
        assert [browser.ask(each.url + "?login")[1]["login"] for each in (one, two, three)] == [False] * 3
        rows = Client(token).ask(three.url + "audit/?get")[1]["audit"]
    seen = [(row["audit_user"], row["audit_via"], row["audit_action"]) for row in reversed(rows)]
    assert seen == [
        ("root", "password", ""),
        ("root", "session", "add"),
        ("new", "password", ""),
        ("root", "session", "add"),
        ("new", "session", "set_password"),
        ("root", "session", "set_password"),
        ("root", "log-out", ""),
    ]
    assert [row["audit_id"] for row in reversed(rows)] == sorted(row["audit_id"] for row in rows)


def test_failed_log_ins_count_across_instances(folder, database):
    with Server(folder) as one, Server(folder) as two, Server(folder) as three:
        statuses = []
        while 429 not in statuses:  # one in each wait, which doubles, gets through on a busy machine
            server = [one, two, three][len(statuses) % 3]
            statuses.append(Client().log_in(server.url, "ann", "wrong")[0])
        assert statuses[:10] == [200] * 10
        database.sql("UPDATE failure SET failures = 20")  # nobody outlasts this wait
        assert [Client().log_in(each.url, "ann", "pw")[0] for each in (one, two, three)] == [429] * 3


def test_more_threads_than_connections_wait_and_are_served(installed, database, mariadb, tmp_path):
    small = SiteOnServer(tmp_path / "small", database.url + "?max_connections=2")
    most = []
    with ThreadPoolExecutor(16) as threads:
        jobs = [threads.submit(small, "users/?add", user_name=f"u{number}") for number in range(64)]
        while not all(job.done() for job in jobs):
            most.append(len(connections(mariadb, database)))
    assert [job.result()["status"] for job in jobs] == ["ok"] * 64
    assert (
        2 <= max(most) <= 4
    )  # of each of the two databases; the installation of the fixture has asked nothing
    assert len(database.sql("SELECT 1 FROM users WHERE user_name LIKE 'u%%'")) == 64
    assert installed("?login")["login"] is True


def test_the_first_requests_of_many_threads_share_one_pool(database, tmp_path):
    create_master_database(database.url)
    for number in range(4):
        app = SiteOnServer(tmp_path / str(number), database.url + "?max_connections=8")
        together = threading.Barrier(8)
        with ThreadPoolExecutor(8) as threads:
            jobs = [threads.submit(lambda: (together.wait(), app("?get_modules"))[1]) for _ in range(8)]
            assert {job.result()["status"] for job in jobs} == {"ok"}
        for store in (app.app.db, app.app.state):
            assert len(store.pools) == 1 and store.pool.places._value == 8
            store.pool.close_idle()


FAILS = {
    "crash": 500,
    "leave": None,
    "refuse": 200,
    "nested": 200,
    "wait": 200,
    "unknown": 500,
    "go_on": 503,
    "nothing": 200,
}


def test_no_request_takes_a_connection_along_however_it_fails(database, mariadb, tmp_path):
    create_master_database(database.url)
    file = tmp_path / "failing.py"
    file.write_text(
        f"import sys\nsys.path.append({str(ROOT / 'tests')!r})\nfrom support.failing_module import Failing\n"
    )
    site = SiteOnServer(
        tmp_path / "site", database.url + "?max_connections=2", modulelist=MODULES | {"Failing": str(file)}
    )
    before = database.sql("SELECT * FROM users ORDER BY user_name")
    for _ in range(3):
        for action, http in FAILS.items():
            with contextlib.suppress(GeneratorExit):
                assert site(f"failing/?{action}", check=http)["status"] != "ok" or action == "nothing"
        site("?login", password="wrong")
        site("?login", user="nobody")
        site("users/?delete", user="ann", user_name="bob")
        site("users/?add", user_name="ann")
        site("addresses/?add", address_expression="x", address_router="store", address_route="nobody")
        site("users/?add", user_name="x" * 300, check=400)
        site("nowhere/?get", check=404)
        site("users/?get&limit=x", check=400)
        site.answer("users/?get", auth="x", check=400)
        site("users/?add", user_name=["x"], check=400)
    for store in (site.app.db, site.app.state):
        assert store.pool.places._value == 2 and store.opened.connection is None
        assert len(store.pool.idle) <= 2
    assert len(connections(mariadb, database)) <= 4
    assert mariadb.sql("SELECT * FROM information_schema.innodb_trx") == []
    assert database.sql("SELECT * FROM users ORDER BY user_name") == before
    assert site("users/?get")["status"] == "ok"


def test_a_connection_whose_transaction_is_open_is_not_used_again(installed):
    store = installed.app.db
    store.connect()
    store.opened.connection.query("START TRANSACTION")
    number = store.opened.connection.thread_id()
    store.release()
    assert store.connect().thread_id() != number
    store.release()


def test_a_forked_process_leaves_its_parents_connections_alone(installed):
    store = installed.app.db
    mine = store.connect().thread_id()
    child = os.fork()
    if child == 0:
        fine = False
        try:
            fine = store.connect().thread_id() != mine and installed("?login")["login"] is True
        finally:
            os._exit(not fine)
    assert os.waitpid(child, 0)[1] == 0
    assert store.connect().thread_id() == mine and installed("users/?get")["login"] is True


WARM = """
import mailapi, webtest
application = mailapi.create_app({config!r})
answer = webtest.TestApp(application).post("/users/?get", '{{"auth": {{"user_name": "root", "password": "pw"}}}}')
assert answer.json["login"], answer
"""


def test_workers_of_a_warm_application(installed, folder, database, mariadb):
    """gunicorn --preload: the application has asked its databases before it forks."""
    port = free_port()
    (folder / "warm.py").write_text(WARM.format(config=str(folder / "config.py")))
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--workers",
        "3",
        "--threads",
        "3",
        "--preload",
        "--bind",
        f"127.0.0.1:{port}",
        "warm:application",
    ]
    environ = os.environ | {"PYTHONPATH": f"{ROOT}:{folder}"}
    with running_instance(command, folder / "gunicorn", port, env=environ), ThreadPoolExecutor(9) as threads:
        warm = {number for number, _ in connections(mariadb, database)}
        jobs = [threads.submit(work, f"http://127.0.0.1:{port}/", f"w{number}") for number in range(9)]
        assert [job.result() for job in jobs] == [8] * 9
        assert warm and warm <= {
            number for number, _ in connections(mariadb, database)
        }  # the parent's own still
    assert len(database.sql("SELECT 1 FROM users WHERE user_name LIKE 'w%%'")) == 9 * 8


def work(url: str, name: str) -> int:
    client, done = Client(), 0
    assert client.log_in(url)[1]["login"] is True
    for number in range(8):
        status, answer, _ = client.ask(url + "users/?add", user_name=f"{name}-{number}")
        assert (status, answer["auth_user"], answer["status"]) == (200, "root", "ok")
        done += 1
    return done
