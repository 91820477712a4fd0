"""Lists: what they show is never stale nor half there, whoever changes the database; and how they are encoded."""

import contextlib
import io
import json
import os
import shutil
import sqlite3
import sys
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mailapi_modules.directory.address_tables import Addresses
from mailapi_modules.directory.lists import encoded

import mailapi
from support.browsers import log_in
from support.daemons import file_is_free
from support.site import Site, authdata


def test_revoked_means_revoked(site):
    dele = log_in(site, "dele")
    site.sql("INSERT INTO popd VALUES ('ann', 0)")
    assert len(dele.get("/pop/?get").json["pop"]) == 1
    site.sql("DELETE FROM api_user_delegates")
    assert dele.get("/pop/?get").json["pop"] == []
    site.sql("DELETE FROM api_access WHERE api_user = 'dele'")
    assert dele.get("/pop/?get").json["permissions"] == []


def test_a_replaced_database_is_seen(site, tmp_path):
    root = log_in(site, "root")
    assert root.get("/pop/?get").json["pop"] == []
    other = tmp_path / "other.db3"
    shutil.copy(site.dbpath, other)
    kept = site.file
    site.file = other
    site.sql("INSERT INTO popd VALUES ('bob', 1)")
    site.file = kept
    os.rename(kept, tmp_path / "old.db3")
    os.rename(other, kept)
    assert root.get("/pop/?get").json["pop"] == [{"pop_user": "bob", "pop_lock": 1}]
    os.rename(tmp_path / "old.db3", kept)  # and back
    assert root.get("/pop/?get").json["pop"] == []


def test_while_a_daemon_writes_nothing_stale_and_nothing_half_is_answered(site):
    """A writer counts rows up in two tables at once; whoever asks sees them equal and never going back."""
    stop, failures = threading.Event(), []

    def write():
        connection = sqlite3.connect(site.dbpath, timeout=30, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        number = 0
        while not stop.is_set():
            number += 1
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO users (user_name) VALUES (?)", [f"w{number}"])
            connection.execute("INSERT INTO popd VALUES (?, 0)", [f"w{number}"])
            connection.execute("COMMIT")
            written.append(number)
            time.sleep(0.002)
        connection.close()

    def ask():
        root, last = log_in(site, "root"), 0
        for _ in range(150):
            before = written[-1] if written else 0
            users = [user for user in root.get("/users/?get").json["users"] if user["user_name"][0] == "w"]
            if len(users) < max(before, last) or not all("POP" in user["modules"] for user in users):
                failures.append((before, last, len(users)))
            last = len(users)

    written = []
    threads = [threading.Thread(target=ask) for _ in range(3)]
    writer = threading.Thread(target=write)
    writer.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    writer.join()
    assert written and failures == []


TEXT = st.one_of(
    st.text(), st.text(st.characters(max_codepoint=0x2F)), st.sampled_from(["\x7f", "\u2028", "\U0001f600"])
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.one_of(TEXT, st.integers(-(2**63), 2**63 - 1)), unique_by=str, max_size=5), route=TEXT
)
def test_what_sqlite_encodes_is_what_python_encodes(site, names, route):
    site.sql("DELETE FROM addresses")
    for order, name in enumerate(names):
        site.sql("INSERT INTO addresses VALUES (?, ?, 'store', ?)", name, order + 1, route if order else None)
    query = mailapi.PreparedQuery(Addresses.select().order_by(Addresses.address_order))
    site.app.db.connect()
    rows = mailapi.encode({"status": "ok", "addresses": site.app.db.rows(query)})
    assert mailapi.encode({"status": "ok", "addresses": encoded(site.app.db, query, {})}) == rows
    site.app.db.close()


def test_what_sqlite_cannot_encode_is_answered_all_the_same(site):
    site.sql("INSERT INTO addresses VALUES (CAST(x'ff41' AS TEXT), 1, 'store', 'ann')")
    assert site("addresses/?get")["addresses"][0]["address_expression"] == "\ufffdA"
    site.sql("INSERT INTO addresses VALUES (x'41', 2, 'store', 'ann')")
    assert [row["address_expression"] for row in site("addresses/?get")["addresses"]] == ["A", "\ufffdA"]
    site.sql("INSERT INTO users (user_name) VALUES (CAST(x'ff' AS TEXT))")
    users = site("users/?get")["users"]
    assert users[-1]["user_name"] == "\ufffd" and users[0]["modules"] == {"Address": True, "User": True}


def test_a_database_migrated_under_a_running_api(tmp_path):
    site8 = Site(tmp_path, generation=8)
    root = log_in(site8, "root")
    assert root.get("/users/?get").json["schema_version"] == 8
    (tmp_path / "new").mkdir()
    new, old = sqlite3.connect(Site(tmp_path / "new").dbpath), sqlite3.connect(site8.dbpath)
    new.backup(old)  # in place, as `mailapi migrate` does it
    new.close()
    old.close()
    for url in ("/users/?get", "/smtpd/?get"):
        answer = root.get(url).json
        assert answer["status"] == "ok" and answer["schema_version"] == 9, url


@pytest.mark.parametrize("url", ["/smtpd/?get", "/?logout"])
def test_no_daemon_waits_while_a_reader_waits_for_the_state_database(site, url):
    """To note that it was refused, or to end the session."""
    ann = log_in(site, "ann")
    ann.get("/pop/?get")
    with contextlib.closing(sqlite3.connect(site.app.config.state, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        looking = threading.Thread(target=ann.get, args=(url,))
        looking.start()
        time.sleep(0.5)
        assert looking.is_alive() and file_is_free(site.file)
        other.execute("ROLLBACK")
        looking.join()


def test_no_daemon_waits_while_an_answer_is_sent(site):
    root, free = log_in(site, "root"), []
    cookie = "PHPSESSID=" + root.cookies["PHPSESSID"].strip('"')
    for _ in range(2):
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/pop/",
            "QUERY_STRING": "get",
            "HTTP_COOKIE": cookie,
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr,
        }
        site.app(environ, lambda status, headers, *_: free.append(file_is_free(site.file)))
    assert free == [True, True]


def test_a_session_of_the_password_before_last_is_over(site):
    def put(password: str):
        site.sql("UPDATE users SET user_authdata = ? WHERE user_name = 'root'", authdata(password))

    browsers = {}
    for password in ("two", "one"):
        put(password)
        browsers[password] = site.browser()
        browsers[password].post("/", json.dumps({"auth": {"user_name": "root", "password": password}}))
    assert browsers["one"].get("/users/?get").json["login"]
    put("two")
    assert all(browsers["two"].get("/users/?get").json["login"] for _ in range(3))
    assert not browsers["one"].get("/users/?get").json["login"]


def test_a_state_database_that_cannot_be_opened_is_an_error_for_everybody(site):
    root, state = log_in(site, "root"), site.app.config.state
    site.app.state.close()
    os.rename(state, state + ".kept")
    os.mkdir(state)
    for response in (root.get("/pop/?get", status="*"), root.post("/pop/?get", "", status="*")):
        assert response.status_int == 500 and response.json["status"].startswith(
            "The state database cannot be used: "
        )
