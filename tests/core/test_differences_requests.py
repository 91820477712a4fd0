"""Deliberate differences from the original (docs/wire.md section 5): bodies, callbacks and limits of a request."""

import json
import re
from urllib.parse import quote

import pytest

from support.both_generations import (
    add_address,
    assert_done,
    assert_refused,
    logged_in_user,
    mail_rows,
    make_user_database,
    permission_word,
    store_mail,
)
from support.browsers import log_in
from support.site import authdata

pytestmark = pytest.mark.every_engine


BODIES = [
    b"[]",
    b"[1]",
    b"null",
    b'"text"',
    b"5",
    b"true",
    b"{",
    b"{}x",
    b"{} {}",
    b'{"a":}',
    b"{'a': 1}",
    b"user=root",
    b"\xff",
    b'{"a": "\xed\xa0\x80"}',
    b'{"a": "\xff"}',
    b'{"a": NaN}',
    b'{"a": -Infinity}',
    b'{"a": "\0"}',
    b"[" * 100000,
    b'{"a":' * 100000,
    b"\xef\xbb\xbf{}",
    b'{"a": 1,}',
    b'{"auth": {"user_name": "root"',
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:12]))
def test_f22_a_body_that_is_no_json_object_does_nothing(either, body):
    either.sql("INSERT INTO popd VALUES ('ann', 1)")
    browser = log_in(either, "ann")
    before = either.dump()
    for url in ("pop/?get", "pop/?unlock", "users/?set_password", "?logout", "?unknown"):
        answer = browser.post("/" + url, body, status=400).json
        assert answer["status"] == "Invalid JSON in request body." and "login" not in answer
    assert either.dump() == before
    assert logged_in_user(browser) == "ann"


@pytest.mark.parametrize(
    "callback",
    [
        "",
        "1a",
        "a-b",
        "a b",
        "a(",
        "alert(1)//",
        "a\n",
        "\xe9",
        "a\xe9",
        "a" * 129,
        ".a",
        "a;b",
        "a[0]",
        "<script>",
        "a\u0660",
        "a\0",
    ],
)
def test_f20_a_callback_that_is_no_javascript_name_is_refused(either, callback):
    before = either.dump()
    body = json.dumps({"pop_user": "ann", "auth": {"user_name": "root", "password": "pw"}})
    answer = either.browser().post(f"/pop/?add&callback={quote(callback)}", body, status=400)
    assert answer.content_type == "application/json"
    assert answer.json["status"] != "ok" and "login" not in answer.json
    assert answer.json["api_version"] == answer.json["schema_version"] == either.generation
    assert either.dump() == before


@pytest.mark.parametrize("callback", ["f", "$", "_", "jQuery.done", "$._1", "a" * 128])
def test_f20_the_payload_of_a_callback_survives_quotes(site, callback):
    evil = "');alert(1)//\"\\'\\\\\u2028\u2029\n</script>"
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", evil, authdata("pw"))
    body = json.dumps({"auth": {"user_name": evil, "password": "pw"}})
    answer = site.browser().post(f"/users/?get&callback={callback}", body)
    assert answer.content_type == "application/javascript"
    text = answer.body.decode()
    literal = re.fullmatch(re.escape(callback) + r"\('((?:[^'\\\n\r\u2028\u2029]|\\.)*)'\);?", text)[1]
    escapes = {"n": "\n", "r": "\r", "t": "\t"}
    payload = re.sub(
        r"\\(u[0-9a-fA-F]{4}|.)",
        lambda m: chr(int(m[1][1:], 16)) if len(m[1]) > 1 else escapes.get(m[1], m[1]),
        literal,
    )
    assert json.loads(payload)["auth_user"] == evil


@pytest.mark.parametrize(
    "limit", ["", "0", "00", "-1", "+1", "1.5", "x", "1x", "1e3", " 1", "1 ", "1\n", "\u0661"]
)
def test_f25_a_limit_that_is_no_positive_whole_number_is_refused(either, limit):
    answer = assert_refused(either, f"pop/?add&limit={quote(limit)}", "Invalid limit.", 400, pop_user="ann")
    assert "login" not in answer


def test_f25_limit_cuts_the_returned_list_and_nothing_else(either):
    for permission in ("a", "b"):
        either.sql("INSERT INTO api_access VALUES ('root', ?)", permission)
    either.sql("INSERT INTO popd (pop_user) VALUES ('root'), ('ann')")
    either.sql("INSERT INTO api_user_delegates VALUES ('dele', 'bob')")
    either.sql("INSERT INTO api_address_delegates VALUES ('dele', '%@two.org')")
    answer = assert_done(either, "users/?get&limit=1", username="root")
    assert answer[f"{permission_word(either)}s"] == {"a": True, "admin": True, "b": True}
    assert sorted(answer["users"][0][f"user_{permission_word(either)}s"]) == ["a", "admin", "b"]
    assert answer["users"][0]["modules"] == {"User": True, "POP": True}
    assert [user["user_name"] for user in assert_done(either, "users/?get&limit=2")["users"]] == [
        "ann",
        "bob",
    ]
    assert len(assert_done(either, "pop/?get&limit=1")["pop"]) == 1
    delegates = assert_done(either, "delegates/?get&limit=1")["delegates"]
    assert [len(delegates["users"]), len(delegates["addresses"])] == [1, 1]


@pytest.mark.parametrize("limit", ["2", "0002", "1000", str(10**18), str(10**30)])
def test_f25_a_limit_beyond_the_list_is_no_limit(either, limit):
    either.sql("INSERT INTO popd (pop_user) VALUES ('root'), ('ann')")
    assert len(assert_done(either, f"pop/?get&limit={limit}")["pop"]) == 2


def test_f25_limit_does_not_limit_what_may_be_seen_or_done(either):
    """The rows that a caller may see are counted after those that they may not."""
    for order, user in ((10, "ann"), (20, "bob"), (30, "bob")):
        add_address(either, order, f"{order}@one.org", user)
    assert [
        row["address_order"] for row in assert_done(either, "addresses/?get&limit=1", user="ann")["addresses"]
    ] == [10]
    either.sql("INSERT INTO api_user_delegates VALUES ('dele', 'bob')")
    for user in ("ann", "bob"):
        assert_done(either, "pop/?add&limit=1", user="dele", pop_user=user)
    path = make_user_database(either, "ann")
    for place in (None, path):
        store_mail(either, "ann", path=place)
    assert len(assert_done(either, "mailbox/?get&limit=1", user="ann")["mails"]) == 1
    assert len(mail_rows(path)) == 1
