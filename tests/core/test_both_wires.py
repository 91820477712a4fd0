"""Refusals are the same on both wires: HTTP status, code, field and sentence (docs/wire.md section 9)."""

import contextlib
import json
import sqlite3

import pytest

from support.bearers import make_token
from support.browsers import log_in, post
from support.second_wire import bearer, outcome, send
from support.site import Site

DUPLICATE = "UNIQUE constraint failed: popd.pop_user"
NO_DELEGATE = "User has no permission to do this (not the user)."
NO_NAME = "Invalid value for attachments: attachments[0] cannot have a member name, only filename, content_type, data."
NO_ROUTE = "Address router needs an argument (address_route)."
UNKNOWN_ROUTER = {"smtpd_user": "ann", "smtpd_router": "magic"}
STORE = {"address_expression": "a@b.org", "address_router": "store"}
# Action, who asks, fields; HTTP status, code, field and sentence of the second wire; HTTP status and sentence of the
# first wire where it differs.
TABLE = [
    ("users/get", "root", {"username": "nobody"}, (200, "ok", None, "ok"), ()),
    ("users/gett", "root", {}, (404, "unknown_action", None, "Unknown action gett: did you mean get?"), (200, "ok")),
    ("users/remove", "root", {}, (404, "unknown_action", None, "Unknown action remove: did you mean delete?"), (200, "ok")),
    ("userss/get", "root", {}, (404, "unknown_module", None, "Unknown module userss: did you mean users?"), (404, "Unknown module userss.")),
    ("users/get", "root", {"usernam": "x"}, (422, "unknown_field", "usernam", "Unknown field usernam: did you mean username?"), (200, "ok")),
    ("users/add", "root", {}, (422, "missing_field", "user_name", "Username is not set."), (200,)),
    ("users/update_alias", "root", {"user_name": "ann"}, (422, "missing_field", "user_alias", "No alias set."), (200,)),
    ("users/add", "root", {"user_name": ["x"]}, (422, "invalid_field", "user_name", "Invalid value for user_name: user_name must be text."), (400, "Invalid value for user_name.")),
    ("tokens/delete", "root", {"token_id": "x"}, (422, "invalid_field", "token_id", "Invalid value for token_id: token_id must be a whole number."), (400, "Invalid value for token_id.")),
    ("users/get", "bob", {"username": "ann"}, (403, "not_allowed", None, NO_DELEGATE), (200,)),
    ("users/get", "bob", {"username": "nobody"}, (403, "not_allowed", None, NO_DELEGATE), (200,)),
    ("pop/add", "bob", {"pop_user": "ann"}, (403, "not_allowed", None, "Not allowed."), (200,)),
    ("pop/add", "root", {"pop_user": "taken"}, (409, "duplicate", "pop_user", DUPLICATE), (200,)),
    ("pop/add", "root", {"pop_user": "nobody"}, (409, "in_use", None, "FOREIGN KEY constraint failed"), (200,)),
    ("users/add", "root", {"user_name": "main"}, (422, "rule", "user_name", "Username is not allowed. "), (200,)),
    ("users/update_alias", "root", {"user_name": "ann", "user_alias": "ann"}, (422, "rule", "user_alias", "Cannot alias to the same user."), (200,)),
    ("smtpd/add", "root", UNKNOWN_ROUTER, (422, "rule", "smtpd_router", "Unknown router magic."), (200,)),
    ("addresses/add", "root", STORE, (422, "missing_field", "address_route", NO_ROUTE), (200,)),
    ("mailbox/read", "root", {"mail_id": 99}, (404, "not_found", "mail_id", "mail not found"), (200,)),
    ("tokens/delete", "root", {"token_id": 99}, (404, "not_found", "token_id", "Token not found."), (200,)),
    ("users/get", "root wrong", {}, (401, "wrong_credentials", None, "Username or password is wrong."), (200,)),
    ("users/get", "nobody wrong", {}, (401, "wrong_credentials", None, "Username or password is wrong."), (200,)),
    ("users/get", "root ", {}, (401, "wrong_credentials", None, "Password is not set!"), (200,)),
    ("users/get", None, {}, (401, "not_logged_in", None, "Username is not set!"), (200,)),
]  # fmt: skip


def first_wire(site, url: str, who: str | None, fields: dict) -> dict:
    """Return the HTTP status and the answer of the first wire."""
    module, action = url.split("/")
    if who is not None:
        user, _, password = who.partition(" ")
        fields = fields | {"auth": {"user_name": user, "password": password if " " in who else "pw"}}
    response = site.browser().post(f"/{module}/?{action}", json.dumps(fields).encode(), expect_errors=True)
    return {"http": response.status_int, **response.json}


@pytest.fixture
def sites(tmp_path):
    """Two equal installations: debug is on in the second."""
    made = []
    for name, debug in (("plain", False), ("debug", True)):
        (tmp_path / name).mkdir()
        made.append(Site(tmp_path / name, debug=debug))
        made[-1].sql("INSERT INTO users (user_name) VALUES ('taken')")
        made[-1].sql("INSERT INTO popd (pop_user) VALUES ('taken')")
    return made


@pytest.mark.parametrize(
    ("url", "fields", "sentence"),
    [
        ("users/logout", {}, "Unknown action logout: did you mean ?logout?"),
        ("users/add", {"password": "x"}, "Unknown field password: did you mean user_authdata?"),
        ("mailbox/send", {"attachments": [{"name": "a"}]}, NO_NAME),
    ],
)
def test_a_wrong_word_is_answered_by_the_right_one(sites, url, fields, sentence):
    assert outcome(send(sites[0], url, "root", **fields))[3] == sentence


@pytest.mark.parametrize(
    "wrong", [{"data": "data:image/png;base64,eA=="}, {"data": "eA==", "content_type": "png"}]
)
def test_a_bad_attachment_has_its_field(sites, wrong):
    sites[0]("smtpd/?add", smtpd_user="root", smtpd_router="any")
    refused = outcome(
        send(sites[0], "mailbox/send", "root", **{"from": "a@b.org", "to": "c@d.org"}, attachments=[wrong])
    )
    assert refused[:3] == (422, "rule", "attachments")


@pytest.mark.parametrize(("url", "who", "fields", "second", "first"), TABLE)
def test_a_refusal_has_its_status_code_field_and_sentence(sites, url, who, fields, second, first):
    user, _, password = (who or "").partition(" ")
    auth = {"auth": {"user_name": user, "password": password if " " in (who or "") else "pw"}} if who else {}
    for site in sites:
        before = site.dump()
        assert outcome(send(site, url, None, **fields, **auth)) == second
        answer = first_wire(site, url, who, fields)
        assert (answer["http"], answer["status"]) == ((*first, second[3])[:2] if first else (200, "ok"))
        assert site.dump() == before


@pytest.mark.parametrize(("url", "who", "fields", "second", "first"), TABLE)
def test_the_first_wire_has_the_code_as_its_last_key_only_with_debug(sites, url, who, fields, second, first):
    plain, debug = [first_wire(site, url, who, fields) for site in sites]
    code = "ok" if plain["status"] == "ok" else second[1]
    assert "code" not in plain and list(debug) == [*plain, "code"] and debug["code"] == code
    assert debug | {"debug": []} == plain | {"code": code}


def test_with_debug_the_first_wire_names_what_it_ignores(sites):
    answers = [first_wire(site, "users/gett", "root", {}) for site in sites]
    assert answers[0]["debug"] == [] and "Unknown action gett: did you mean get?" in answers[1]["debug"]
    answers = [first_wire(site, "users/get&afte=x", "root", {"usernam": "x"}) for site in sites]
    assert answers[0]["debug"] == []
    assert {
        "Unknown field usernam: did you mean username?",
        "Unknown field afte: did you mean after?",
    } <= set(answers[1]["debug"])
    quiet = first_wire(sites[1], "users/update-rights", "root", {"user_name": "ann", "user_rights": []})
    assert not [line for line in quiet["debug"] if "Unknown" in line]


@pytest.mark.every_engine
def test_a_token_that_has_expired_or_is_for_something_else(site, clock):
    expired = make_token(site, token_expires=int(clock.now) + 10)
    reader = make_token(site, token_reads_only=True)
    limited = make_token(site, token_modules=["User"])
    clock.now += 20
    for token, url, expected in [
        (expired, "users/get", (401, "invalid_token", None, "Token is not valid.")),
        (reader, "users/set_password", (403, "token_scope", None, "This token may only read.")),
        (limited, "pop/get", (403, "token_scope", None, "This token is not for this module.")),
        (limited, "users/get", (200, "ok", None, "ok")),
    ]:
        assert outcome(send(site, url, None, headers=bearer(token))) == expected
        old = site.browser().post("/" + url.replace("/", "/?"), b"{}", headers=bearer(token))
        assert old.json["status"] == expected[3]
    challenge = send(site, "users/get", None, headers=bearer(expired)).headers.getall("WWW-Authenticate")
    assert challenge[0] == 'Bearer realm="mailapi", error="invalid_token"'


def test_a_busy_database(site):
    send(site, "pop/get")
    site.app.db.database.timeout = 0.2
    site.app.db.close()
    with contextlib.closing(sqlite3.connect(site.dbpath, isolation_level=None)) as daemon:
        daemon.execute("BEGIN EXCLUSIVE")
        response = send(site, "pop/add", pop_user="ann")
        assert outcome(response) == (503, "busy", None, "The database is busy. Try again.")
        assert int(response.headers["Retry-After"]) > 0
        assert site("pop/?add", pop_user="ann", check=503)["status"] == "The database is busy. Try again."


def test_too_many_failed_log_ins(site, clock):
    for _ in range(11):
        response = send(site, "users/get", None, auth={"user_name": "ann", "password": "wrong"})
    assert outcome(response)[:2] == (429, "throttled") and int(response.headers["Retry-After"]) > 0
    assert site("users/?get", user="ann", check=429)["status"].startswith("Too many failed log-ins.")


def test_a_page_of_another_site(site):
    """The first wire takes its cookie for none, the second one says why (docs/wire.md F42)."""
    browser, other = log_in(site), {"Origin": "http://evil.example"}
    assert post(browser, "pop/?add", other, pop_user="bob").json["status"] == "Username is not set!"
    response = send(site, "pop/add", None, headers=other, browser=browser, pop_user="bob")
    assert outcome(response) == (403, "cross_site", None, "Not allowed from another site.")
    assert send(site, "pop/add", None, browser=browser, pop_user="bob").json["code"] == "ok"


def test_a_missing_database_and_one_of_another_schema(site):
    site.sql("UPDATE meta SET value = '7' WHERE key = 'schema_version'")
    assert outcome(send(site, "users/get"))[:2] == (500, "database")
    site.dbpath.unlink()
    assert outcome(send(site, "users/get"))[:2] == (500, "database")
    assert site("users/?get", check=500)["status"].startswith("The database cannot be opened")
