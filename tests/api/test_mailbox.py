"""mailbox/: whose mail is listed, read, marked and deleted, in both databases (docs/wire.md section 4)."""

import json
import sqlite3
import tracemalloc
from contextlib import closing

import pytest

from support.counting import bytes_read
from support.mails import (
    LISTED_KEYS,
    MAIL_COLUMNS,
    PLAIN_MAIL,
    READ_KEYS,
    deliver,
    give_user_database,
    mailbox_rows,
)

pytestmark = pytest.mark.every_engine


def listed(site, user="bob", **fields) -> list:
    return [(m["mail_sourcedb"], m["mail_id"]) for m in site("mailbox/?get", user=user, **fields)["mails"]]


def test_list_has_the_callers_mail_of_both_databases_newest_first(either):
    path = give_user_database(either, "bob", "ann")
    for submission in ("10", "30", "not a number", "1e2", "-5", "20.5"):
        deliver(either, submission=submission)
    deliver(path, submission="25")
    deliver(path, "ann")
    deliver(either, "ann")
    answer = either("mailbox/?get", user="bob")
    assert [m["mail_submission"] for m in answer["mails"]] == [100.0, 30, 25, 20.5, 10, "not a number", -5]
    assert [m["mail_sourcedb"] for m in answer["mails"]].index("user") == 2
    assert {m["mail_user"] for m in answer["mails"]} == {"bob"} and "warning" not in answer
    assert [m["mail_submission"] for m in either("mailbox/?get&limit=2", user="bob")["mails"]] == [100.0, 30]
    assert either("mailbox/?get", user="root")["mails"] == []


def test_keys_types_and_values_of_a_listed_and_a_read_mail(either):
    deliver(either, mail_ident="007", mail_submission="1446400000")
    (entry,) = either("mailbox/?get", user="bob")["mails"]
    assert list(entry) == LISTED_KEYS
    assert list(entry.values()) == [
        1,
        "bob",
        0,
        "007",
        "bob@one.org",
        "ann@one.org",
        1446400000,
        None,
        "smtp",
        None,
        "Hello",
        "Ann <ann@one.org>",
        "bob@one.org",
        "Mon, 02 Nov 2015",
        "master",
    ]
    mail = either("mailbox/?read", user="bob", mail_id="1")["mail"]
    assert (
        list(mail) == READ_KEYS
        and mail["mail_data"] == PLAIN_MAIL.decode()
        and mail["mail_body"] == "Text.\r\n"
    )
    assert mail["mail_read"] == 0 and either("mailbox/?read", user="bob", mail_id=1)["mail"]["mail_read"] == 1
    assert either("mailbox/?get", user="bob")["mails"][0]["mail_read"] == 1


def test_only_unread_in_both_databases_F15(either):
    path = give_user_database(either, "bob")
    for place in (either, path):
        deliver(place, mail_read=1)
        deliver(place, mail_read=0)
    assert sorted(listed(either, mail_only_unread=True)) == [("master", 2), ("user", 2)]
    for no in (False, 0, "", "0", None, []):
        assert len(listed(either, mail_only_unread=no)) == 4


@pytest.mark.parametrize("user", ["ann", "dele", "root"])
def test_nobody_else_reads_marks_or_deletes_a_mail_F14(either, user):
    path = give_user_database(either, "bob", user)
    for place in (either, path):
        deliver(place, mail_read=1)
    before = mailbox_rows(either), mailbox_rows(path)
    assert listed(either, user) == []
    for action in ("read", "unread", "delete"):
        for fields in ({}, {"mail_sourcedb": "master"}, {"mail_sourcedb": "user"}, {"mail_user": "bob"}):
            answer = either(f"mailbox/?{action}", user=user, mail_id=1, **fields)
            assert answer["status"] == "mail not found" and "mail" not in answer
    assert (mailbox_rows(either), mailbox_rows(path)) == before


def test_without_a_source_read_prefers_the_user_database_and_the_others_the_master(site):
    path = give_user_database(site, "bob")
    deliver(site, mail_read=1, data=b"Subject: master\r\n\r\n")
    deliver(path, mail_read=1, data=b"Subject: user\r\n\r\n")
    deliver(site, data=b"Subject: only here\r\n\r\n")
    assert site("mailbox/?read", user="bob", mail_id=1)["mail"]["mail_subject"] == "user"
    assert site("mailbox/?read", user="bob", mail_id=2)["mail"]["mail_sourcedb"] == "master"
    assert site("mailbox/?unread", user="bob", mail_id=1)["status"] == "ok"
    assert (mailbox_rows(site)[0], mailbox_rows(path)) == ((1, "bob", 0), [(1, "bob", 1)])
    assert site("mailbox/?delete", user="bob", mail_id=1)["status"] == "ok"
    assert (mailbox_rows(site), mailbox_rows(path)) == ([(2, "bob", 1)], [(1, "bob", 1)])


@pytest.mark.parametrize("source", ["master", "user"])
def test_a_source_is_the_only_place_that_is_looked_at(either, source):
    path = give_user_database(either, "bob")
    places = {"master": either, "user": path}
    for name, place in places.items():
        deliver(place, data=b"Subject: %s\r\n\r\n" % name.encode())
    other = mailbox_rows(places["user" if source == "master" else "master"])
    fields = {"user": "bob", "mail_id": 1, "mail_sourcedb": source}
    mail = either("mailbox/?read", **fields)["mail"]
    assert (mail["mail_subject"], mail["mail_sourcedb"]) == (source, source)
    assert mailbox_rows(places[source]) == [(1, "bob", 1)]
    assert either("mailbox/?unread", **fields)["status"] == "ok" and mailbox_rows(places[source]) == [
        (1, "bob", 0)
    ]
    assert either("mailbox/?delete", **fields)["status"] == "ok" and mailbox_rows(places[source]) == []
    assert mailbox_rows(places["user" if source == "master" else "master"]) == other
    assert either("mailbox/?read", **fields)["status"] == "mail not found"


@pytest.mark.parametrize("action", ["read", "unread", "delete"])
def test_a_mail_id_has_to_be_given_and_known(site, action):
    for given in ({}, {"mail_id": None}, {"mail_id": ""}, {"mail_id": 0}, {"mail_id": "0"}):
        assert site(f"mailbox/?{action}", user="bob", **given)["status"] == "No mail id is set"
    assert site(f"mailbox/?{action}", user="bob", mail_id=99)["status"] == "mail not found"
    assert (
        site(f"mailbox/?{action}", user="bob", mail_id=1, mail_sourcedb="user")["status"] == "mail not found"
    )
    for wrong in ([1], {"a": 1}, True, "1 OR 1=1", 1.5, 10**18):
        answer = site(f"mailbox/?{action}", user="bob", check=400, mail_id=wrong)
        assert answer["status"] == "Invalid value for mail_id."
    assert site(f"mailbox/?{action}", user="bob", check=400, mail_id=1, mail_sourcedb=["user"])["status"] == (
        "Invalid value for mail_sourcedb."
    )


def test_a_user_database_may_have_any_name(site):
    path = give_user_database(site, "bob", name="a?mode=memory&b#%20 ü'.db")
    deliver(path)
    assert listed(site) == [("user", 1)]


@pytest.mark.parametrize(
    "broken", ["missing", "folder", "garbage", "empty", "no table", "not UTF-8", "a\0b", b"x"]
)
def test_without_its_user_database_the_masters_mail_is_still_listed(either, broken):
    path = either.dbpath.with_name("broken.db3")
    make = {
        "folder": path.mkdir,
        "empty": path.touch,
        "garbage": lambda: path.write_bytes(b"junk" * 9999),
        "no table": lambda: sqlite3.connect(path).execute("CREATE TABLE meta (key)").connection.close(),
    }
    make.get(broken, lambda: None)()
    stored = broken if broken in ("a\0b", b"x") else str(path)
    either.sql("UPDATE users SET user_database = ? WHERE user_name = 'bob'", stored)
    if broken == "not UTF-8":
        either.sql("UPDATE users SET user_database = CAST(X'2FFF' AS TEXT) WHERE user_name = 'bob'")
    deliver(either)
    answer = either("mailbox/?get", user="bob")
    assert (answer["status"], answer["warning"]) == ("warning", "Cannot open userdb from user: bob")
    assert [m["mail_id"] for m in answer["mails"]] == [1]
    answer = either("mailbox/?read", user="bob", mail_id=1)
    assert (answer["status"], answer["mail"]["mail_body"]) == ("warning", "Text.\r\n")
    assert either("mailbox/?unread", user="bob", mail_id=1, mail_sourcedb="user")["status"] != "ok"
    assert either("mailbox/?unread", user="bob", mail_id=1)["status"] == "ok"
    assert path.exists() == (broken in make)


def test_a_listing_does_not_load_the_bodies(site):
    with closing(sqlite3.connect(site.dbpath)) as connection, connection:
        connection.executemany(
            "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_submission, mail_data)"
            " VALUES ('bob', 't', 'f', ?, CAST(? AS TEXT))",
            [(n, PLAIN_MAIL) for n in range(999)],
        )
    deliver(site, data=PLAIN_MAIL + b"x" * 30_000_000, submission="5000")
    tracemalloc.start()
    try:
        answer = site("mailbox/?get", user="bob")
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()
    assert len(answer["mails"]) == 1000 and answer["mails"][0]["mail_subject"] == "Hello"


@pytest.mark.sqlite
def test_a_listing_reads_no_more_of_a_large_mail_than_its_beginning(site):
    """SQLite loads a whole mail for SUBSTR."""
    for _ in range(5):
        deliver(site, data=PLAIN_MAIL + b"x" * 30_000_000)

    substr = "SELECT SUBSTR(CAST(mail_data AS BLOB), 1, 100) FROM mailbox"
    assert bytes_read(lambda: site.sql(substr)) > 150_000_000
    browser = site.browser()
    browser.post("/?login", json.dumps({"auth": {"user_name": "bob", "password": "pw"}}))
    answers = []
    assert bytes_read(lambda: answers.append(browser.post("/mailbox/?get"))) < 10_000_000
    assert [m["mail_subject"] for m in answers[0].json["mails"]] == ["Hello"] * 5


def test_mails_that_share_a_number_and_a_time_are_listed(site):
    """A user database that was made by hand, without a primary key."""
    path = site.dbpath.with_name("user.db3")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE mailbox ({', '.join(MAIL_COLUMNS)})")
    for _ in range(2):
        deliver(path, mail_id=7)
    site.sql("UPDATE users SET user_database = ? WHERE user_name = 'bob'", str(path))
    assert listed(site) == [("user", 7)] * 2
