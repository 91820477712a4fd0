"""Kept answers: never stale, whoever changes whichever database; and the same bytes as computed ones."""

import contextlib
import json
import os
import shutil
import sqlite3
import threading
import time

import pytest
from conftest import Site, authdata
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_database import nobody_holds

import mailapi

LISTS = ["/?get_modules", "/users/?get", "/users/?get&username=ann", "/pop/?get", "/addresses/?get",
         "/addresses/?get&test=ann@corp.org", "/smtpd/?get", "/delegates/?get"]


class Everything(set):
    def __contains__(self, anything):
        return True


class Asker:
    """Somebody with a session, for whom all was asked before; `get` tells the answer and whether it was computed."""

    def __init__(self, site: Site, user: str = "root"):
        self.site, self.browser = site, site.browser()
        site.app.kept.asked = Everything()
        self.browser.post("/?login", json.dumps({"auth": {"user_name": user, "password": "pw"}}))

    def get(self, url: str, **headers) -> tuple[dict, bool]:
        response, computed = self.ask(url, **headers)
        return response.json, computed

    def ask(self, url: str, **headers):
        computed, perform = [], self.site.app.perform
        self.site.app.perform = lambda *args: computed.append(1) or perform(*args)
        try:
            return self.browser.get(url, headers=headers, status="*"), bool(computed)
        finally:
            del self.site.app.perform


@pytest.mark.parametrize("url", LISTS)
def test_an_answer_is_the_same_when_it_is_given_again(site, url):
    root = Asker(site)
    site.sql("INSERT INTO addresses VALUES ('ann@corp.org', 5, 'store', 'ann')")
    first, second = root.ask(url), root.ask(url)
    assert (first[1], second[1]) == (True, False)
    assert first[0].body == second[0].body
    seen, again = ({name.lower(): value for name, value in answer.headerlist} for answer, _ in (first, second))
    assert seen == again
    assert first[0].headers["Cache-Control"] == "private, no-cache"


def test_only_what_is_asked_for_again_is_kept(site):
    root = Asker(site)
    site.app.kept.asked = set()
    assert [root.get("/pop/?get")[1] for _ in range(3)] == [True, True, False]
    site.sql("INSERT INTO popd VALUES ('ann', 0)")
    assert [root.get("/pop/?get")[1] for _ in range(2)] == [True, False]  # it has been asked for before
    for number in range(1500):
        root.get(f"/pop/?get&n={number}")
    assert len(site.app.kept.answers) == 1 and len(site.app.kept.asked) <= 1000


CHANGES = {
    "another connection": lambda site: site.sql("INSERT INTO popd VALUES ('ann', 0)"),
    "the API itself": lambda site: site("pop/?add", pop_user="ann"),
    "the API by the same session": None,
}


@pytest.mark.parametrize("who", CHANGES)
def test_a_change_shows_at_once(site, who):
    root = Asker(site)
    for _ in range(2):
        assert root.get("/pop/?get")[0]["pop"] == []
    if CHANGES[who]:
        CHANGES[who](site)
    else:
        root.browser.post("/pop/?add", '{"pop_user": "ann"}')
    answer, computed = root.get("/pop/?get")
    assert answer["pop"] == [{"pop_user": "ann", "pop_lock": 0}] and computed


def test_a_change_in_another_thread_shows_at_once(site):
    root = Asker(site)
    for number in range(8):
        root.get("/pop/?get")
        name = f"u{number}"
        thread = threading.Thread(target=lambda name=name: (site("users/?add", user_name=name),
                                                            site("pop/?add", pop_user=name)))
        thread.start()
        thread.join()
        assert len(root.get("/pop/?get")[0]["pop"]) == number + 1


def test_revoked_means_revoked(site):
    dele = Asker(site, "dele")
    site.sql("INSERT INTO popd VALUES ('ann', 0)")
    assert [dele.get("/pop/?get")[1] for _ in range(2)] == [True, False]
    site.sql("DELETE FROM api_user_delegates")
    assert dele.get("/pop/?get")[0]["pop"] == []
    site.sql("DELETE FROM api_access WHERE api_user = 'dele'")
    assert dele.get("/pop/?get")[0]["permissions"] == []


@pytest.mark.parametrize("end", [
    lambda site, root: root.browser.get("/?logout"),
    lambda site, root: root.site.app.sessions.end(root.browser.cookies["PHPSESSID"].strip('"')),
    lambda site, root: site.sql("UPDATE users SET user_authdata = NULL WHERE user_name = 'root'"),
    lambda site, root: site.sql("DELETE FROM users WHERE user_name = 'root'"),
    lambda site, root: os.remove(site.app.config.state),
], ids=["log-out", "ended elsewhere", "password taken away", "deleted", "state database removed"])
def test_a_session_that_has_ended_gets_nothing_that_was_kept(site, end):
    root = Asker(site)
    cookie = root.browser.cookies["PHPSESSID"]
    for _ in range(2):
        assert root.get("/users/?get")[0]["login"] is True
    end(site, root)
    root.browser.set_cookie("PHPSESSID", cookie.strip('"'))
    answer = root.get("/users/?get")[0]
    assert answer["login"] is False and "users" not in answer


def test_a_session_that_is_too_old_gets_nothing_that_was_kept(tmp_path, monkeypatch):
    root = Asker(Site(tmp_path, session_lifetime=100))
    assert [root.get("/users/?get")[1] for _ in range(2)] == [True, False]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 101)
    assert root.get("/users/?get")[0]["login"] is False


def test_users_do_not_get_what_others_asked_for(site):
    askers = {name: Asker(site, name) for name in ("root", "dele", "ann", "bob")}
    for _ in range(2):
        seen = {name: asker.get("/users/?get")[0] for name, asker in askers.items()}
        assert {name: answer["auth_user"] for name, answer in seen.items()} == {name: name for name in askers}
        assert [len(answer["users"]) for answer in seen.values()] == [5, 2, 1, 1]


def test_two_sessions_of_a_user_share_an_answer_and_each_is_audited_as_itself(site):
    one, other, seen = Asker(site), Asker(site), []
    site.app.modules["audit"].watch = lambda event: seen.append((event.action, event.session))
    for asker in (one, other, one, other):
        asker.get("/users/?get&username=nobody")
        asker.get("/pop/?get")
    assert not one.get("/pop/?get")[1] and not other.get("/pop/?get")[1]
    assert not seen  # of what somebody was merely shown
    for asker in (one, other):
        asker.get("/pop/?delete")  # refused: no name
    assert {action for action, _ in seen} == {"delete"}
    assert len({session for _, session in seen} - {""}) == 2


def test_sessions_of_a_user_share_what_fits_only_once(site, monkeypatch):
    askers = [Asker(site) for _ in range(4)]
    size = len(askers[0].ask("/users/?get")[0].body)
    site.sql("INSERT INTO popd VALUES ('ann', 0)")
    monkeypatch.setattr(mailapi.Kept, "MOST", size + size // 2)
    monkeypatch.setattr(mailapi.Kept, "EACH", 0)
    assert [asker.get("/users/?get")[1] for asker in askers] == [True] * 4  # each is held against the database
    assert [asker.get("/users/?get")[1] for asker in askers] == [False] * 4
    assert abs(site.app.kept.size - size) < 100


def test_a_replaced_database_is_seen(site, tmp_path):
    root = Asker(site)
    assert [root.get("/pop/?get")[1] for _ in range(2)] == [True, False]
    other = tmp_path / "other.db3"
    shutil.copy(site.dbpath, other)
    kept = site.file
    site.file = other
    site.sql("INSERT INTO popd VALUES ('bob', 1)")
    site.file = kept
    os.rename(kept, tmp_path / "old.db3")
    os.rename(other, kept)
    assert root.get("/pop/?get")[0]["pop"] == [{"pop_user": "bob", "pop_lock": 1}]
    os.rename(tmp_path / "old.db3", kept)  # and back
    assert root.get("/pop/?get")[0]["pop"] == []


@pytest.mark.parametrize("headers", [
    {"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Cookie": "PHPSESSID=wrong"}, {"Cookie": "x=y"}])
def test_a_request_that_does_not_count_as_the_sessions_gets_nothing_that_was_kept(site, headers):
    root = Asker(site)
    root.get("/users/?get")
    if "Cookie" in headers:
        root.browser.reset()
    answer = root.get("/users/?get", **headers)[0]
    assert answer["login"] is False and "users" not in answer


def test_credentials_in_a_body_decide(site):
    root = Asker(site)
    root.get("/users/?get")
    body = json.dumps({"auth": {"user_name": "ann", "password": "pw"}}).encode()
    for environ in ({"CONTENT_LENGTH": str(len(body))},
                    {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}):
        got = root.browser.request("/users/?get", method="GET", body=body, environ=environ)
        assert got.json["auth_user"] == "ann"


def test_what_is_not_a_list_over_both_databases_is_computed(site):
    root = Asker(site)
    for url in ("/mailbox/?get", "/tokens/?get", "/audit/?get", "/?login", "/addresses/?nothing"):
        assert [root.get(url)[1] for _ in range(2)] == [True, True], url
    for method in ("post", "put", "head"):
        root.get("/pop/?get")
        assert getattr(root.browser, method)("/pop/?get").headers["Cache-Control"] == "no-store"


def test_who_has_the_answer_is_told_so(site):
    root = Asker(site)
    etag = root.ask("/users/?get")[0].headers["ETag"]
    for _ in range(2):
        answer, _ = root.ask("/users/?get", **{"If-None-Match": etag})
        assert answer.status_int == 304 and answer.body == b"" and answer.headers["ETag"] == etag
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        site.app.kept.forget_answers()
    site.sql("INSERT INTO popd VALUES ('ann', 0)")
    assert root.ask("/users/?get", **{"If-None-Match": etag})[0].status_int == 200
    other = Asker(site, "ann")
    assert other.ask("/users/?get", **{"If-None-Match": etag})[0].json["auth_user"] == "ann"


def test_refusals_jsonp_and_limits_are_kept_apart(site):
    root = Asker(site)
    for _ in range(2):
        assert root.ask("/users/?get&callback=f")[0].text.startswith("f('{")
        assert len(root.get("/users/?get&limit=2")[0]["users"]) == 2
        assert len(root.get("/users/?get")[0]["users"]) == 5
        assert root.ask("/users/?get&limit=x")[0].status_int == 400


def test_answers_take_no_more_memory_than_they_may(site, monkeypatch):
    monkeypatch.setattr(mailapi.Kept, "MOST", 3000)
    monkeypatch.setattr(mailapi.Kept, "EACH", 0)
    root, kept = Asker(site), site.app.kept
    for number in range(40):
        root.get(f"/users/?get&n={number}")
        assert kept.size == sum(len(answer.payload) for answer in kept.answers.values()) <= 3000
    assert kept.answers
    site.sql("INSERT INTO users (user_name) VALUES (?)", "x" * 4000)
    assert [root.get("/users/?get")[1] for _ in range(2)] == [True, True]


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
        root, last = Asker(site), 0
        for _ in range(150):
            before = written[-1] if written else 0
            users = [user for user in root.browser.get("/users/?get").json["users"] if user["user_name"][0] == "w"]
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


TEXT = st.one_of(st.text(), st.text(st.characters(max_codepoint=0x2f)), st.sampled_from(["\x7f", "\u2028", "\U0001F600"]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.one_of(TEXT, st.integers(-2**63, 2**63 - 1)), unique_by=str, max_size=5), route=TEXT)
def test_what_sqlite_encodes_is_what_python_encodes(site, names, route):
    site.sql("DELETE FROM addresses")
    for order, name in enumerate(names):
        site.sql("INSERT INTO addresses VALUES (?, ?, 'store', ?)", name, order + 1, route if order else None)
    query = mailapi.Prepared(mailapi.Addresses.select().order_by(mailapi.Addresses.address_order))
    site.app.db.connect()
    rows = mailapi.encode({"status": "ok", "addresses": site.app.db.rows(query)})
    assert mailapi.encode({"status": "ok", "addresses": site.app.db.encoded(query, {})}) == rows
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
    root = Asker(site8)
    assert root.get("/users/?get")[0]["schema_version"] == 8
    (tmp_path / "new").mkdir()
    new, old = sqlite3.connect(Site(tmp_path / "new").dbpath), sqlite3.connect(site8.dbpath)
    new.backup(old)  # in place, as `mailapi migrate` does it
    new.close()
    old.close()
    for url in ("/users/?get", "/smtpd/?get"):
        answer = root.browser.get(url).json
        assert answer["status"] == "ok" and answer["schema_version"] == 9, url


@pytest.mark.parametrize("url", ["/smtpd/?get", "/?logout"])
def test_no_daemon_waits_while_a_look_waits_for_the_state_database(site, url):
    """To note that it was refused, or to end the session."""
    ann = Asker(site, "ann")
    ann.get("/pop/?get")
    with contextlib.closing(sqlite3.connect(site.app.config.state, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        looking = threading.Thread(target=ann.get, args=(url,))
        looking.start()
        time.sleep(0.5)
        assert looking.is_alive() and nobody_holds(site.file)
        other.execute("ROLLBACK")
        looking.join()


def test_no_daemon_waits_while_an_answer_is_sent(site):
    root, free = Asker(site), []
    cookie = "PHPSESSID=" + root.browser.cookies["PHPSESSID"].strip('"')
    for _ in range(2):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/pop/", "QUERY_STRING": "get", "HTTP_COOKIE": cookie}
        site.app(environ, lambda status, headers: free.append(nobody_holds(site.file)))
    assert free == [True, True] and site.app.kept.answers


def test_a_password_that_is_put_back_does_not_bring_other_sessions_answers(site):
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
    root, state = Asker(site), site.app.config.state
    site.app.state.close()
    os.rename(state, state + ".kept")
    os.mkdir(state)
    for response in (root.ask("/pop/?get")[0], root.browser.post("/pop/?get", "", status="*")):
        assert response.status_int == 500 and response.json["status"].startswith("The state database cannot be used: ")


def test_a_database_that_can_no_longer_be_opened_in_the_middle_of_a_look(site, monkeypatch):
    root, generation = Asker(site), site.app.generation
    root.get("/pop/?get")
    site.app.db.opened.generation = None

    def replaced():
        os.rename(site.file, f"{site.file}.kept")
        os.mkdir(site.file)
        return generation()

    monkeypatch.setattr(site.app, "generation", replaced)
    assert root.ask("/pop/?get&n=1")[0].status_int == 500
