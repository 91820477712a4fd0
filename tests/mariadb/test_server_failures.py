"""What happens to a server that the master and the state database are on, and what of it the answers have."""

import contextlib
import logging
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import mailapi
from support import deployment
from support.command_line import Server, run
from support.failures import (
    AWAY,
    BUSY,
    DOUBTFUL,
    held_against,
    wait_until,
    waiting_for_a_lock,
    write_until,
)
from support.instances import free_port, need
from support.mariadb import Server as MariaDB
from support.shared import Installation, populate
from support.site import MODULES, authdata

UNUSABLE = "The database cannot be used. The log has the cause."
SECRET = ("se/cret", "se%2Fcret", "pw-of-")


@pytest.fixture(autouse=True)
def no_secrets(caplog):
    yield
    assert not [secret for secret in SECRET if secret in caplog.text]


@pytest.fixture
def site(tmp_path, database):
    populate(database.url)
    made = Installation(tmp_path / "site", database.url)
    yield made
    made.app.db.pool.forget(), made.app.state.pool.forget()


@contextlib.contextmanager
def session(server, database):
    """A second client of the database."""
    import pymysql

    with contextlib.closing(
        pymysql.connect(
            unix_socket=str(server.folder / "socket"), user="root", database=database.name, charset="utf8mb4"
        )
    ) as connection:
        yield connection.cursor()


########## Undone by the server ####################################################################


def test_a_deadlock_is_repeated_and_done_once(site, database, mariadb):
    """Another client holds what the API wants and wants what the API holds; it has done more, and so it stays."""
    site("users/?add", user_name="new")
    with session(mariadb, database) as other, ThreadPoolExecutor(1) as threads:
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
        (1047, 999, AWAY, 503),
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
        site.app.db.pool.forget(), site.app.state.pool.forget(), site.app.db.keys.clear()
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
        known = answer.status_int == 200 or not answer.json["status"].endswith(DOUBTFUL)
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

    with ThreadPoolExecutor(5) as threads:
        killer = threads.submit(kill)
        try:
            until = time.monotonic() + 60
            while len(killed) <= 20 or len(outcomes) < 150:
                list(threads.map(add, [f"k{len(outcomes) + number}" for number in range(50)]))
                assert time.monotonic() < until, "nobody is killed"
        finally:
            over.set()
        killer.result()
    held_against(outcomes, database, "k")
    assert sum(http == 200 for http, _ in outcomes.values()) > len(outcomes) / 10
    assert site("users/?get")["status"] == "ok"


def test_a_transaction_that_says_no_more_does_not_hold_the_others_up(tmp_path, database, monkeypatch):
    """Its machine is gone, or the network to it."""
    from mailapi_modules.mariadb import link as serverlink

    monkeypatch.setattr(serverlink, "LONGEST_PAUSE", 1)
    populate(database.url)
    gone, site = (Installation(tmp_path / name, database.url) for name in ("gone", "site"))
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


########## Gone, and back ##########################################################################


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_a_restart_under_load(site, tmp_path, database, mariadb, how):
    """Errors only while the server is away, each HTTP 503 with Retry-After; what was acknowledged is there."""
    over, log = threading.Event(), []
    with Server(tmp_path / "site") as instance, ThreadPoolExecutor(4) as threads:
        writers = [
            threads.submit(write_until, over, instance.url, f"{how}-{number}", log) for number in range(4)
        ]
        try:
            wait_until(lambda: len(log) > 20)
            answered_before = len(log)
            mariadb.kill() if how == "SIGKILL" else mariadb.stop()
            time.sleep(0.5)
            mariadb.start()
            back = time.monotonic()
            wait_until(lambda: [http for began, _, http, *_ in log if began > back][-20:] == [200] * 20)
            again = time.monotonic()
            wait_until(lambda: sum(began > again for began, *_ in log) > 20)
        finally:
            over.set()
        for writer in writers:
            writer.result()
        said = instance.log()
    outcomes = {name: (http, answer["status"]) for _, name, http, answer, _ in log}
    held_against(outcomes, database, how)
    number_of = {name: number for number, (_, name, *_) in enumerate(log)}
    for began, name, http, _, headers in log:
        if http != 200:
            assert http == 503 and headers["Retry-After"] in ("1", "5")
            assert number_of[name] >= answered_before and began < again
    assert any(http == 503 for http, _ in outcomes.values())
    assert {http for began, _, http, _, _ in log if began > again} == {200}
    assert "Traceback" not in said and not [secret for secret in SECRET if secret in said]


def test_a_server_that_hangs_costs_a_bounded_wait_and_nobody_queues(site, mariadb, monkeypatch):
    """Each request tries an old connection, then a new one; once the server is known to hang, none is tried."""
    opened, links = [], [store.pool.connect.__self__ for store in (site.app.db, site.app.state)]
    for link in links:
        open_to = link.open_to
        monkeypatch.setattr(link, "open_to", lambda *to, open_to=open_to: opened.append(to) or open_to(*to))

    def refusal(_) -> tuple:
        answer = site.answer("users/?get", "*", auth={"user_name": "root", "password": "pw"})
        return answer.status_int, answer.json["status"], answer.headers.get("Retry-After")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: site("?get_modules"), range(8)))
        with mariadb.hanging():
            del opened[:]
            assert set(threads.map(refusal, range(8))) == {(503, AWAY, "5")}
            assert 0 < len(opened) <= 8 and any(link.hanging for link in links)
            for link in links:
                link.hanging = {number: until + 60 for number, until in link.hanging.items()}
            del opened[:]
            assert set(threads.map(refusal, range(8))) == {(503, AWAY, "5")} and opened == []
        for link in links:
            link.hanging = {number: until - 60 for number, until in link.hanging.items()}
        wait_until(
            lambda: site.answer("?login", "*", auth={"user_name": "root", "password": "pw"}).status_int == 200
        )


def test_a_statement_that_is_not_answered_is_given_up_and_not_repeated(
    tmp_path, database, mariadb, monkeypatch
):
    from mailapi_modules.mariadb import link as serverlink

    monkeypatch.setattr(serverlink, "LONGEST_SILENCE", 4)
    populate(database.url)
    site = Installation(tmp_path / "site", database.url)
    site("?login")
    with session(mariadb, database) as other, ThreadPoolExecutor(1) as threads:
        other.execute("BEGIN")
        other.execute("SELECT value FROM meta FOR UPDATE")
        job = threads.submit(site, "users/?add", check=503, user_name="late")
        wait_until(lambda: waiting_for_a_lock(mariadb))
        with mariadb.hanging():
            assert job.result(60)["status"] == AWAY
        other.execute("COMMIT")
    assert site("users/?add", user_name="next")["status"] == "ok"
    assert database.sql("SELECT user_name FROM users WHERE user_name IN ('late', 'next')") == [("next",)]


def test_a_slow_statement_is_ended_by_the_server_too(tmp_path, database, monkeypatch):
    from mailapi_modules.mariadb import link as serverlink

    monkeypatch.setattr(serverlink, "LONGEST_STATEMENT", 1)
    populate(database.url)
    store = mailapi.open_store(database.url)
    with pytest.raises(mailapi.ApiError, match="busy") as refused:
        store.run("SELECT COUNT(*) FROM " + ", ".join(f"users AS u{number}" for number in range(20)))
    assert refused.value.http == 503
    store.release()


@pytest.mark.parametrize("committed", [True, False])
def test_a_connection_lost_in_the_commit(tmp_path, database, mariadb, monkeypatch, committed):
    """Nobody knows then whether it is done, and the answer says so; it is not done once more."""
    populate(database.url)
    site = Installation(tmp_path / "site", database.url)
    lose_the_commit(site, mariadb, monkeypatch, committed)
    answer = site("users/?add", check=503, user_name="new", user_permissions=["special"])
    assert (
        answer["status"]
        == "The connection to the database was lost; whether the change was made is not known."
    )
    assert (
        len(
            database.sql(
                "SELECT 1 FROM users JOIN api_access ON api_user = user_name WHERE user_name = 'new'"
            )
        )
        == committed
    )
    status = "UNIQUE constraint failed: users.user_name" if committed else "ok"
    assert site("users/?add", user_name="new")["status"] == status


def lose_the_commit(site, server, monkeypatch, committed: bool):
    """The next commit that changes the master database loses its connection, before or after it is done."""
    commit = type(site.app.db).commit

    def losing(store, writes=True):
        if store is site.app.db and writes:
            monkeypatch.undo()
            if committed:
                store.opened.connection.commit()
            server.sql(f"KILL {store.opened.connection.thread_id()}")
        commit(store, writes)

    monkeypatch.setattr(type(site.app.db), "commit", losing)


@pytest.mark.parametrize("committed", [True, False])
def test_what_the_mail_server_prepared_waits_until_somebody_looks(
    tmp_path, database, mailserver, mariadb, monkeypatch, committed
):
    """It is then brought to the end that the master database came to."""
    populate(database.url)
    site = Installation(
        tmp_path / "site",
        database.url,
        mailserver=mailserver.url,
        modulelist=MODULES | {"Account": "modules/accounts.py"},
    )
    lose_the_commit(site, mariadb, monkeypatch, committed)
    answer = site("users/?add", check=503, user_name="carol@corp.org", user_authdata="secret")
    assert answer["status"].endswith(DOUBTFUL) and len(mailserver.sql("XA RECOVER")) == 1
    assert site("?login", user="carol@corp.org", password="secret")["login"] is committed
    assert mailserver.sql("XA RECOVER") == []
    there = mailserver.sql("SELECT 1 FROM accounts WHERE username = 'carol@corp.org'")
    mine = database.sql("SELECT 1 FROM users WHERE user_name = 'carol@corp.org'")
    assert len(there) == len(mine) == committed


########## Refused by the server ###################################################################


@pytest.fixture
def guest(mariadb, database):
    """The URL of a user with few privileges, which are granted in the test."""
    mariadb.sql("CREATE USER guest@'127.0.0.1' IDENTIFIED BY 'pw-of-guest'")
    yield f"mysql://guest:pw-of-guest@127.0.0.1:{mariadb.port}/{database.name}"
    mariadb.sql("DROP USER guest@'127.0.0.1'")


def test_the_privileges_of_the_documentation_are_enough(tmp_path, mariadb, database):
    url = f"mysql://mailapi:pw-of-mailapi@127.0.0.1:{mariadb.port}/{database.name}"
    recipe = deployment.recipe("Setting up", "scale.md")["sql"].replace(
        "'secret' REQUIRE SSL", "'pw-of-mailapi'"
    )
    recipe = recipe.replace("DATABASE mailapi", f"DATABASE IF NOT EXISTS {database.name}")
    recipe = recipe.replace("10.0.0.%", "127.0.0.1").replace("mailapi.*", f"{database.name}.*")
    packet = mariadb.sql("SELECT @@GLOBAL.max_allowed_packet")[0][0]
    try:
        for statement in filter(str.strip, recipe.split(";")):
            mariadb.sql(statement)
        assert "Created" in run(tmp_path, "init", "--dbpath", url, "--admin", "root")
        assert "FAIL" not in run(tmp_path, "check")
        site = Installation(tmp_path / "site", url, state=str(tmp_path / "state"))
        database.sql("UPDATE users SET user_authdata = %s", authdata("pw"))
        assert site("users/?add", user_name="new")["status"] == "ok"
        mariadb.sql(f"REVOKE ALL ON {database.name}.* FROM mailapi@'127.0.0.1'")
        mariadb.sql(
            f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON {database.name}.* TO mailapi@'127.0.0.1'"
        )
        for (table,) in database.sql(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
            " AND table_name IN ('session', 'audit', 'mailapi_turn')"
        ):
            database.sql(f"DROP TABLE {table}")
        daily = Installation(tmp_path / "daily", url)
        assert daily("users/?delete", user_name="new")["status"] == "ok" and daily("audit/?get")["audit"]
    finally:
        mariadb.sql("DROP USER IF EXISTS mailapi@'127.0.0.1'")
        mariadb.sql(f"SET GLOBAL max_allowed_packet = {packet}")


def test_a_read_only_server(tmp_path, database, mariadb, guest):
    mariadb.sql(f"GRANT ALL ON {database.name}.* TO guest@'127.0.0.1'")
    populate(database.url)
    state = Installation(tmp_path / "both", guest)
    site = Installation(tmp_path / "master", guest, state=str(tmp_path / "state"))
    assert state("?login")["login"] is True
    before = database.sql("SELECT * FROM users")
    mariadb.sql("SET GLOBAL read_only = 1")
    try:
        answer = site("users/?add", user_name="new")
        assert (answer["status"], answer["login"]) == ("attempt to write a readonly database", True)
        assert site("users/?get")["status"] == "ok"
        answer = state("?login", check=500)
        assert answer["status"] == "The state database cannot be used: attempt to write a readonly database."
    finally:
        mariadb.sql("SET GLOBAL read_only = 0")
    assert database.sql("SELECT * FROM users") == before
    assert state("users/?add", user_name="new")["status"] == "ok"


def test_a_user_without_privileges(tmp_path, database, mariadb, guest, caplog):
    populate(database.url)
    site = Installation(tmp_path / "master", guest, state=str(tmp_path / "state"))
    assert site("users/?get", check=503)["status"] == AWAY and "Access denied" in caplog.text
    mariadb.sql(f"GRANT SELECT ON {database.name}.* TO guest@'127.0.0.1'")
    assert site("users/?get")["status"] == "ok"
    assert site("users/?add", check=500, user_name="new")["status"] == UNUSABLE
    mariadb.sql(f"GRANT SELECT, INSERT, UPDATE ON {database.name}.* TO guest@'127.0.0.1'")
    assert site("users/?add", user_name="new")["status"] == "ok"
    assert site("users/?delete", check=500, user_name="new")["status"] == UNUSABLE
    assert "DELETE command denied" in caplog.text
    assert len(database.sql("SELECT 1 FROM users WHERE user_name = 'new'")) == 1
    both = Installation(tmp_path / "both", guest)
    assert both("?login", check=500)["status"] == "The state database cannot be used. The log has the cause."
    assert "CREATE command denied" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("se%2Fcret%40", "pw-of-nobody"),
        lambda url: url.replace("mail:", "nobody:"),
        lambda url: url[:-1] + "-none",
        lambda url: url.replace("127.0.0.1", "nowhere.invalid"),
        lambda url: url.rpartition(":")[0] + f":{free_port()}/db",
    ],
)
def test_a_server_that_lets_nobody_in(tmp_path, database, change, caplog):
    site = Installation(tmp_path, change(database.url))
    answer = site.answer("?login", 503, auth={"user_name": "root", "password": "pw"})
    assert (
        answer.json["status"] == AWAY and "login" not in answer.json and answer.headers["Retry-After"] == "5"
    )
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    with pytest.raises(mailapi.ApiError):
        populate(change(database.url))


@pytest.mark.parametrize("key", ["dbpath", "state"])
@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:se/cret@h/x",
        "mysql://u:se%2Fcret@[::1/x",
        "mysql://u:se%2Fcret\u2100@h/x",
        "mysql://u:se%2Fcret@h",
        "mysql://u:se%2Fcret@h:0/x",
        "mysql://u:se%2Fcret@h:66000/x",
        "mysql://u:se%2Fcret@h,/x",
        "mysql://u:se%2Fcret@h:y/x",
        "mysql://u:se%2Fcret@h/x?max_connections=0",
        "mysql://u:se%2Fcret@h/x?max_connections=y",
        "mysql://u:se%2Fcret@h/x?max_connections=true",
        "mysql://u:se%2Fcret@h/x?charset=latin1",
        "mysql://u:se%2Fcret@h/x?ssl_verify_identity=true",
        "mysql://u:se%2Fcret@h/x?colour=red",
    ],
)
def test_a_url_that_is_none_is_refused_without_its_password(tmp_path, url, key):
    with pytest.raises(mailapi.ConfigError) as refused:
        Installation(tmp_path, **{"url": "x.db3"} | {"url" if key == "dbpath" else key: url})
    assert not [secret for secret in SECRET if secret in str(refused.value)]


def test_a_mail_that_is_too_large_for_the_server(tmp_path, database, mariadb):
    populate(database.url)
    [(before,)] = mariadb.sql("SELECT @@GLOBAL.max_allowed_packet")
    mariadb.sql("SET GLOBAL max_allowed_packet = 1048576")
    try:
        site = Installation(tmp_path, database.url)
        site("addresses/?add", address_expression="ann@one.org", address_router="store", address_route="ann")
        site("smtpd/?add", smtpd_user="ann", smtpd_router="any")
        mail = {"user": "ann", "to": "x@else.example", "subject": "large"}
        assert site("mailbox/?send", **mail, text="x" * 100_000)["status"] == "ok"
        answer = site("mailbox/?send", check=413, **mail, text="x\n" * 500_000)
        assert (
            answer["status"]
            == "Too large for the database, which takes 1,048,576 bytes at once (max_allowed_packet)."
        )
        assert database.sql("SELECT COUNT(*) FROM outbox") == [(1,)]
    finally:
        mariadb.sql(f"SET GLOBAL max_allowed_packet = {before}")


########## TLS #####################################################################################


def certificates(folder):
    """Two authorities, ca and other; a certificate for 127.0.0.1 by the first."""

    def openssl(*words):
        subprocess.run([need("openssl"), *words], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("ca", "other"):
        openssl(
            "req",
            "-x509",
            *key,
            "-days",
            "2",
            "-subj",
            f"/CN={name}",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.pem",
        )
    for name, host in (("server", "IP:127.0.0.1"), ("elsewhere", "DNS:elsewhere.example")):
        openssl("req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (folder / "names").write_text(f"subjectAltName={host}\n")
        openssl(
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-days",
            "2",
            "-extfile",
            "names",
            "-out",
            f"{name}.pem",
        )


def test_tls(tmp_path, caplog):
    certificates(tmp_path)
    server = MariaDB(
        tmp_path / "server",
        *(
            f"--ssl-{what}={tmp_path / file}"
            for what, file in (("ca", "ca.pem"), ("cert", "server.pem"), ("key", "server.key"))
        ),
    )
    try:
        server.sql("ALTER USER mail@'127.0.0.1' REQUIRE SSL")
        server.sql("CREATE DATABASE db")
        url, ca = server.url("db"), tmp_path / "ca.pem"
        populate(f"{url}?ssl_ca={ca}")
        site = Installation(tmp_path / "site", f"{url}?ssl_ca={ca}&ssl_verify_identity=true")
        assert site("?login")["login"] is True
        site.app.db.connect()
        assert site.app.db.run("SHOW STATUS WHERE Variable_name = 'Ssl_cipher'").fetchone()[1]
        site.app.db.release()
        assert Installation(tmp_path / "any", url)("?login")["login"] is True  # encrypted, to whoever it is
        wrong = Installation(tmp_path / "wrong", f"{url}?ssl_ca={tmp_path / 'other.pem'}")
        assert wrong("?login", check=503)["status"] == AWAY and "certificate verify failed" in caplog.text
        missing = Installation(tmp_path / "missing", f"{url}?ssl_ca={tmp_path / 'missing.pem'}")
        assert missing("?login", check=503)["status"] == AWAY and "No such file" in caplog.text
        server.options[1:] = [
            f"--ssl-cert={tmp_path / 'elsewhere.pem'}",
            f"--ssl-key={tmp_path / 'elsewhere.key'}",
        ]
        server.stop(), server.start()
        assert site("?login", check=503)["status"] == AWAY and "not valid for '127.0.0.1'" in caplog.text
        server.sql("ALTER USER mail@'127.0.0.1' REQUIRE NONE")
        server.options[:] = ["--skip-ssl"]
        server.stop(), server.start()
        caplog.clear()
        assert (
            site("?login", check=503)["status"] == AWAY and "SSL" in caplog.text
        )  # nobody in between strips it off
    finally:
        server.stop()
