"""A server of the master and the state database that undoes transactions and ends connections."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import mailapi
from support.failures import (
    BUSY,
    OUTCOME_UNKNOWN,
    UNREACHABLE,
    assert_answers_true,
    second_client,
    waiting_for_a_lock,
)
from support.shared import SiteOnServer, create_master_database
from support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("no_secrets")


@pytest.fixture
def site(site_on_mariadb):
    return site_on_mariadb


def test_a_deadlock_is_repeated_and_done_once(site, database, mariadb):
    """Another client holds what the API wants and wants what the API holds; it has done more, and so it stays."""
    site("users/?add", user_name="new")
    with second_client(mariadb, database) as other, ThreadPoolExecutor(1) as threads:
        other.execute("BEGIN")
        other.execute("UPDATE users SET user_database = 'other'")
        undone = deadlocks(mariadb)
        job = threads.submit(site, "users/?add", user_name="second", user_permissions=["special"])
        wait_until(lambda: waiting_for_a_lock(mariadb) or job.done())
        other.execute("SELECT value FROM meta FOR UPDATE")
        other.execute("COMMIT")
        assert job.result()["status"] == "ok"
    assert deadlocks(mariadb) > undone
    assert database.sql(
        "SELECT user_name, api_permission FROM users JOIN api_access ON api_user = user_name"
        " WHERE user_name IN ('new', 'second')"
    ) == [("second", "special")]


def deadlocks(server) -> int:
    return int(server.sql("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")[0][1])


CONFLICTS = """CREATE TRIGGER conflicts AFTER INSERT ON api_access FOR EACH ROW BEGIN
    INSERT INTO seen VALUES (NEW.api_user);
    IF (SELECT COUNT(*) FROM seen) <= {times} THEN SIGNAL SQLSTATE '{state}' SET MYSQL_ERRNO = {number}; END IF; END"""


@pytest.mark.parametrize(
    ("number", "times", "status", "http"),
    [
        (1213, 3, "ok", 200),
        (1213, 9, "ok", 200),
        (1213, 999, BUSY, 503),
        (1020, 2, "ok", 200),
        (1205, 999, BUSY, 503),
        (1317, 1, "ok", 200),
        (1047, 9, "ok", 200),
        (1047, 999, UNREACHABLE, 503),
    ],
)
def test_conflicts_are_repeated_until_they_end_or_the_time_is_over(
    site, database, monkeypatch, number, times, status, http
):
    """Counted by a table that no transaction takes back."""
    from mailapi_modules.mariadb import store as serverstore

    monkeypatch.setattr(serverstore, "WAIT", 1 if times == 999 else 30)
    database.sql("CREATE TABLE seen (who TEXT) ENGINE=MyISAM")
    database.sql(CONFLICTS.format(times=times, number=number, state="40001" if number == 1213 else "HY000"))
    answer = site("users/?add", check=http, user_name="new", user_permissions=["special"])
    assert answer["status"] == status
    attempts = database.sql("SELECT COUNT(*) FROM seen")[0][0]
    assert attempts == times + 1 if status == "ok" else (attempts == 1) == (number == 1205)
    assert len(database.sql("SELECT 1 FROM users WHERE user_name = 'new'")) == (status == "ok")


def test_repeats_end_by_a_deadline_and_wait_ever_longer(monkeypatch):
    """Five seconds by a clock that only the waits move, whatever number of attempts they are."""
    from mailapi_modules.mariadb import store as serverstore

    now, pauses = [100.0], []

    class Clock:
        @staticmethod
        def monotonic():
            return now[0]

        @staticmethod
        def sleep(seconds):
            pauses.append(seconds)
            now[0] += seconds

    monkeypatch.setattr(serverstore, "time", Clock)
    store, attempts = serverstore.ServerStore("mysql://u:p@127.0.0.1/x"), []

    def conflict():
        attempts.append(now[0])
        raise mailapi.TransactionRolledBack()

    with pytest.raises(mailapi.TransactionRolledBack) as refused:
        store.run_with_retry(lambda: store.run_with_retry(conflict))  # one within the other takes no longer
    assert (refused.value.http, refused.value.status) == (503, BUSY)
    assert len(attempts) > 6 and now[0] - 100 <= 5 and len(set(pauses)) == len(pauses)
    assert max(pauses[:2]) < 0.05 and max(pauses) <= 0.3


def failing_at(monkeypatch, position: int, number: int) -> list[str]:
    """The command to a server at a position, counted from 0, fails once; the commands that were sent before it."""
    import pymysql

    Connection, sent = pymysql.connections.Connection, []
    execute = Connection._execute_command

    def command(connection, kind, sql):
        if kind == pymysql.constants.COMMAND.COM_QUIT:
            return execute(connection, kind, sql)
        sent.append(sql)
        if len(sent) == position + 1:
            if number == 2013:
                connection._force_close()
            elif number != 1205:
                execute(connection, pymysql.constants.COMMAND.COM_QUERY, "ROLLBACK")
                connection._read_ok_packet()
            raise pymysql.OperationalError(number, "for a test")
        execute(connection, kind, sql)

    monkeypatch.setattr(Connection, "_execute_command", command)
    return sent


ACTIONS = [
    ("users/?add", {"user_name": "ann"}, "UNIQUE constraint failed: users.user_name"),
    ("users/?add", {"user_name": "new", "user_alias": "nobody"}, "FOREIGN KEY constraint failed"),
    ("users/?add", {"user_name": "new", "user_authdata": "x", "user_permissions": ["a"]}, "ok"),
    ("addresses/?add", {"address_expression": "x@y", "address_router": "drop"}, "ok"),
    ("users/?import", {"file": "user_name\nnew\n"}, "ok"),
]


@pytest.mark.parametrize(
    ("url", "fields", "status"), ACTIONS, ids=["unique", "foreign", "user", "address", "import"]
)
@pytest.mark.parametrize("number", [1213, 1047, 2013, 1205])
def test_whatever_statement_fails_is_repeated_or_refused(
    site, database, monkeypatch, url, fields, status, number
):
    """Each statement of a request in its turn, also those that prepare a connection or ask why another one failed."""
    tables = ("users", "api_access", "addresses")
    before = [database.sql(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]
    position, ended = 0, []
    while len(ended) < position + 1:
        site.app.db.pool.close_idle(), site.app.state.pool.close_idle(), site.app.db.keys.clear()
        with monkeypatch.context() as patched:
            sent = failing_at(patched, position, number)
            answer = site.answer(url, "*", auth={"user_name": "root", "password": "pw"}, **fields)
        ended.append(answer.json["status"])
        if answer.status_int == 200:
            assert answer.json["status"] == status, (position, sent[position:][:1])
        else:
            assert answer.status_int == 503 and answer.headers["Retry-After"] in ("1", "5"), (
                position,
                sent[position],
            )
        after = [database.sql(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]
        known = answer.status_int == 200 or not answer.json["status"].endswith(OUTCOME_UNKNOWN)
        assert not known or (after != before) == (answer.json["status"] == "ok"), (
            position,
            sent[position:][:1],
        )
        database.sql("DELETE FROM users WHERE user_name = 'new'"), database.sql("DELETE FROM addresses")
        if len(sent) <= position:
            break
        position += 1
    assert position > 10 and ended[-1] == status
    assert number == 1205 or "import" in url or sum(each == status for each in ended) > len(ended) / 2


def test_what_an_action_did_elsewhere_is_not_repeated(site, database):
    """An action with transactions of its own is told to the client instead."""
    calls = []

    def action(module, call):
        calls.append(call)
        with call.db.transaction():
            call.db.run("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213")

    users = site.app.modules["users"]
    chosen = mailapi.endpoint(allow=mailapi.anyone, manages_transactions=True)(action).endpoint
    users.endpoints = users.endpoints | {"action": chosen}
    assert site("users/?action", check=503)["status"] == BUSY and len(calls) == 1


def test_killed_connections_lose_nothing_and_do_nothing_twice(site, database, mariadb):
    """Whatever they are at: also in the midst of a transaction, and while it is committed."""
    over, killed, outcomes = threading.Event(), [], {}

    def kill():
        while not over.is_set():
            for (number,) in mariadb.sql(
                "SELECT id FROM information_schema.processlist WHERE db = %s AND user = 'mail'"
                " AND (command <> 'Sleep' OR RAND() < 0.1)",
                database.name,
            ):
                with contextlib.suppress(Exception):
                    mariadb.sql(f"KILL {number}")
                    killed.append(number)
            time.sleep(0.02)

    def add(name: str):
        answer = site.answer(
            "users/?add",
            "*",
            auth={"user_name": "root", "password": "pw"},
            user_name=name,
            user_permissions=["special"],
        )
        outcomes[name] = (answer.status_int, answer.json["status"])

    def add_until_many_were_killed() -> bool:
        list(threads.map(add, [f"k{len(outcomes) + number}" for number in range(50)]))
        return len(killed) > 20 and len(outcomes) >= 150

    with ThreadPoolExecutor(5) as threads:
        killer = threads.submit(kill)
        try:
            wait_until(add_until_many_were_killed, "nobody is killed")
        finally:
            over.set()
        killer.result()
    assert_answers_true(outcomes, database, "k")
    assert sum(http == 200 for http, _ in outcomes.values()) > len(outcomes) / 10
    assert site("users/?get")["status"] == "ok"


def test_a_transaction_that_says_no_more_does_not_hold_the_others_up(tmp_path, database, monkeypatch):
    """Its machine is gone, or the network to it."""
    from mailapi_modules.mariadb import link as serverlink

    monkeypatch.setattr(serverlink, "LONGEST_PAUSE", 1)
    create_master_database(database.url)
    gone, site = (SiteOnServer(tmp_path / name, database.url) for name in ("gone", "site"))
    site("?login")
    store = gone.app.db
    with pytest.raises(mailapi.TransactionRolledBack), store.transaction():
        store.execute(mailapi.Users.insert(user_name="half"))
        assert site("users/?add", user_name="next")["status"] == "ok"
        store.execute(mailapi.Users.insert(user_name="other half"))
    store.release()
    assert database.sql("SELECT user_name FROM users WHERE user_name IN ('half', 'next', 'other half')") == [
        ("next",)
    ]


def test_neither_does_one_in_an_apiservers_database(database, monkeypatch):
    from mailapi_modules.mariadb import errors, link, shared_store
    from mailapi_modules.provisioning.account_tables import LOCK_ACCOUNTS, MARIADB_SCHEMA

    monkeypatch.setattr(link, "LONGEST_PAUSE", 1)
    gone, other = (
        shared_store.SharedStore(database.url, "apiserver", deadline=6, schema=MARIADB_SCHEMA)
        for _ in range(2)
    )
    with pytest.raises(errors.Unreachable), gone.transaction():
        gone.execute(LOCK_ACCOUNTS)
        with other.transaction():
            other.execute(LOCK_ACCOUNTS)
        gone.execute(LOCK_ACCOUNTS)
    other.pool.close_idle()


def test_a_connection_lost_between_two_transactions_is_replaced(site, database, mariadb):
    """As after a wait for something else, in an action with transactions of its own."""
    store = site.app.db
    for lock_type in ("DEFERRED", "IMMEDIATE"):
        mariadb.sql(f"KILL {store.connect().thread_id()}")
        with store.transaction(lock_type):
            assert (
                store.value(
                    mailapi.Users.select(mailapi.Users.user_name).where(mailapi.Users.user_name == "ann")
                )
                == "ann"
            )
    mariadb.sql(f"KILL {store.connect().thread_id()}")
    assert store.one(mailapi.CREDENTIALS_OF, user="ann")["user_name"] == "ann"
    with pytest.raises(mailapi.TransactionRolledBack), store.transaction():
        store.execute(mailapi.Users.insert(user_name="half"))
        mariadb.sql(f"KILL {store.opened.connection.thread_id()}")
        with contextlib.suppress(mailapi.ApiError):
            store.execute(mailapi.Users.insert(user_name="lost"))
        store.execute_many(
            mailapi.PreparedQuery(mailapi.Users.insert(user_name=mailapi.param("name"))),
            [{"name": "other half"}],
        )
    store.release()
    assert database.sql("SELECT 1 FROM users WHERE user_name IN ('half', 'lost', 'other half')") == []
