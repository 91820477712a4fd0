"""A server of the master and the state database that is restarted, hangs, or is lost in the commit."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import mailapi
from support.command_line import Server
from support.failures import (
    OUTCOME_UNKNOWN,
    SECRETS,
    UNREACHABLE,
    add_users_until,
    assert_answers_true,
    second_client,
    waiting_for_a_lock,
)
from support.shared import SiteOnServer, create_master_database
from support.site import MODULES
from support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("no_secrets")


@pytest.fixture
def site(site_on_mariadb):
    return site_on_mariadb


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_a_restart_under_load(site, tmp_path, database, mariadb, how):
    """Errors only while the server is away, each HTTP 503 with Retry-After; what was acknowledged is there."""
    over, log = threading.Event(), []
    with Server(tmp_path / "site") as instance, ThreadPoolExecutor(4) as threads:
        writers = [
            threads.submit(add_users_until, over, instance.url, f"{how}-{number}", log) for number in range(4)
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
    assert_answers_true(outcomes, database, how)
    number_of = {name: number for number, (_, name, *_) in enumerate(log)}
    for began, name, http, _, headers in log:
        if http != 200:
            assert http == 503 and headers["Retry-After"] in ("1", "5")
            assert number_of[name] >= answered_before and began < again
    assert any(http == 503 for http, _ in outcomes.values())
    assert {http for began, _, http, _, _ in log if began > again} == {200}
    assert "Traceback" not in said and not [secret for secret in SECRETS if secret in said]


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
            assert set(threads.map(refusal, range(8))) == {(503, UNREACHABLE, "5")}
            assert 0 < len(opened) <= 8 and any(link.hanging for link in links)
            for link in links:
                link.hanging = {number: until + 60 for number, until in link.hanging.items()}
            del opened[:]
            assert set(threads.map(refusal, range(8))) == {(503, UNREACHABLE, "5")} and opened == []
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
    create_master_database(database.url)
    site = SiteOnServer(tmp_path / "site", database.url)
    site("?login")
    with second_client(mariadb, database) as other, ThreadPoolExecutor(1) as threads:
        other.execute("BEGIN")
        other.execute("SELECT value FROM meta FOR UPDATE")
        job = threads.submit(site, "users/?add", check=503, user_name="late")
        wait_until(lambda: waiting_for_a_lock(mariadb))
        with mariadb.hanging():
            assert job.result(60)["status"] == UNREACHABLE
        other.execute("COMMIT")
    assert site("users/?add", user_name="next")["status"] == "ok"
    assert database.sql("SELECT user_name FROM users WHERE user_name IN ('late', 'next')") == [("next",)]


def test_a_slow_statement_is_ended_by_the_server_too(tmp_path, database, monkeypatch):
    from mailapi_modules.mariadb import link as serverlink

    monkeypatch.setattr(serverlink, "LONGEST_STATEMENT", 1)
    create_master_database(database.url)
    store = mailapi.open_store(database.url)
    with pytest.raises(mailapi.ApiError, match="busy") as refused:
        store.run("SELECT COUNT(*) FROM " + ", ".join(f"users AS u{number}" for number in range(20)))
    assert refused.value.http == 503
    store.release()


@pytest.mark.parametrize("committed", [True, False])
def test_a_connection_lost_in_the_commit(tmp_path, database, mariadb, monkeypatch, committed):
    """Nobody knows then whether it is done, and the answer says so; it is not done once more."""
    create_master_database(database.url)
    site = SiteOnServer(tmp_path / "site", database.url)
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
    create_master_database(database.url)
    site = SiteOnServer(
        tmp_path / "site",
        database.url,
        mailserver=mailserver.url,
        modulelist=MODULES | {"Account": "modules/accounts.py"},
    )
    lose_the_commit(site, mariadb, monkeypatch, committed)
    answer = site("users/?add", check=503, user_name="carol@corp.org", user_authdata="secret")
    assert answer["status"].endswith(OUTCOME_UNKNOWN) and len(mailserver.sql("XA RECOVER")) == 1
    assert site("?login", user="carol@corp.org", password="secret")["login"] is committed
    assert mailserver.sql("XA RECOVER") == []
    there = mailserver.sql("SELECT 1 FROM accounts WHERE username = 'carol@corp.org'")
    mine = database.sql("SELECT 1 FROM users WHERE user_name = 'carol@corp.org'")
    assert len(there) == len(mine) == committed
