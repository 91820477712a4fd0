"""Deliberate differences from the original (docs/wire.md section 5): a database that is missing or busy."""

import contextlib
import json
import sqlite3
import threading

import pytest

import mailapi
from support.both_generations import (
    assert_done,
    mail_rows,
    make_user_database,
    store_mail,
)

pytestmark = pytest.mark.every_engine


def files_of_site(site) -> list:
    """Return the files of a site, but for -wal and -shm, which stay until the last app has closed the database."""
    return sorted(file for file in site.dbpath.parent.rglob("*") if not file.name.endswith(("-wal", "-shm")))


def test_f26_a_missing_database_is_not_created(either):
    assert_done(either, "pop/?get")
    for path in (either.dbpath, either.dbpath.parent / "nowhere" / "master.db3"):
        either.dbpath.unlink(missing_ok=True)
        before = files_of_site(either)
        for url in ("users/?get", "users/?add", "?logout"):
            answer = either(url, check=500, user_name="new")
            assert answer["status"].startswith("The database cannot be opened")
            assert "login" not in answer and answer["session"] is False
        assert files_of_site(either) == before
        either.app = mailapi.create_app(either.config | {"dbpath": str(path.parent / "nowhere" / path.name)})


@contextlib.contextmanager
def locking_daemon(path, *statements):
    """Hold the file with these statements, as a mail daemon would, while the block runs."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for statement in statements:
            connection.execute(statement).fetchall()
        yield connection
    finally:
        connection.close()


def assert_busy(site, url, user="root", **fields):
    """Check that a request is answered with 503 and changes nothing."""
    before = site.dump() if "get" not in url else None
    body = {"auth": {"user_name": user, "password": "pw"}, **fields}
    answer = site.browser().post("/" + url, json.dumps(body), status=503)
    assert answer.json["status"] == "The database is busy. Try again."
    assert "login" not in answer.json and int(answer.headers["Retry-After"]) > 0
    assert before is None or site.dump() == before


@pytest.mark.parametrize(
    "held",
    [["BEGIN EXCLUSIVE"], ["BEGIN IMMEDIATE"], ["BEGIN", "SELECT * FROM users"]],
    ids=["exclusive", "writer", "reader"],
)
def test_f36_a_write_that_finds_the_file_locked_is_not_answered_ok(either, held):
    """The reader lets the statements pass and makes COMMIT fail."""
    assert_done(either, "pop/?get")
    either.app.db.database.timeout = 0.2
    before = either.dump()
    with locking_daemon(either.dbpath, *held):
        answer = either("pop/?add", pop_user="ann", check=503)
        assert answer["status"] == "The database is busy. Try again." and "login" not in answer
        if held[0] == "BEGIN EXCLUSIVE":
            assert_busy(either, "users/?get")
            assert_busy(either, "?get_modules")
        else:
            assert_busy(either, "users/?set_password", user_name="ann", user_authdata="new")
            assert_done(either, "users/?get")
    assert either.dump() == before
    assert_done(either, "pop/?add", pop_user="ann")


def test_f36_a_locked_file_is_waited_for_five_seconds_and_no_more(site):
    with locking_daemon(site.dbpath, "BEGIN EXCLUSIVE") as connection:
        assert_busy(site, "users/?get")
        timer = threading.Timer(0.5, connection.rollback)
        timer.start()
        assert_done(site, "pop/?add", pop_user="ann")
        timer.join()
    assert site.sql("SELECT pop_user FROM popd") == [("ann",)]
    for store in (site.app.db, site.app.state):
        assert store.connect().execute("PRAGMA busy_timeout").fetchall() == [(5000,)]


def test_f36_a_locked_user_database_is_busy_too(site):
    path = make_user_database(site, "ann")
    mail_id = store_mail(site, "ann", path=path)
    with locking_daemon(path, "BEGIN EXCLUSIVE"):
        assert_busy(site, "mailbox/?delete", user="ann", mail_id=mail_id, mail_sourcedb="user")
    assert mail_rows(path) == [(mail_id, "ann", 0)]
