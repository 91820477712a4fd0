"""tokens/: what scripts log in with: how tokens are made, listed, used and deleted."""

import json
import time

import pytest

from support.bearers import (
    INVALID_TOKEN,
    NO_USER_NAME,
    TOKEN_NOT_FOUND,
    ask_with_token,
    make_token,
    send_with_token,
    token_ids,
    token_works,
)
from support.site import Site

pytestmark = pytest.mark.every_engine


########## Making, listing, ending #################################################################


def test_token_logs_in_its_owner(either):
    answer = ask_with_token(either, make_token(either, "root"), "users/?get", fields={"username": "bob"})
    assert (answer["status"], answer["login"], answer["auth_user"]) == ("ok", True, "root")
    assert answer["permissions" if either.generation == 9 else "rights"] == {"admin": True}
    assert answer["users"][0]["user_name"] == "bob"


def test_get_shows_everything_but_the_secret(either):
    later = int(time.time()) + 1000
    secret = make_token(
        either,
        token_expires=later,
        token_reads_only=True,
        token_modules=["POP", "User"],
        token_networks=["192.0.2.7", "2001:db8::1/32"],
    )
    make_token(either, token_name="plain")
    first, second = either("tokens/?get", user="bob")["tokens"]
    assert abs(first.pop("token_created") - time.time()) < 60 and second.pop("token_created")
    assert first == {
        "token_id": 1,
        "token_user": "bob",
        "token_name": "backup",
        "token_expires": later,
        "token_used": None,
        "token_reads_only": 1,
        "token_modules": ["POP", "User"],
        "token_networks": ["192.0.2.7/32", "2001:db8::/32"],
    }
    assert second == {
        "token_id": 2,
        "token_user": "bob",
        "token_name": "plain",
        "token_expires": None,
        "token_used": None,
        "token_reads_only": 0,
        "token_modules": None,
        "token_networks": None,
    }
    assert secret not in json.dumps(either("tokens/?get", user="root"))
    assert len(either("tokens/?get&limit=1", user="bob")["tokens"]) == 1


def test_secret_is_random_and_stored_only_as_a_hash(site):
    secrets = {make_token(site) for _ in range(5)}
    assert len(secrets) == 5 and {len(secret) for secret in secrets} == {51}
    stored = b"".join(file.read_bytes() for file in site.dbpath.parent.glob("master.db3*"))
    assert b"backup" in stored
    for secret in secrets:
        assert (
            token_works(site, secret)
            and not token_works(site, secret[:-1])
            and not token_works(site, secret.upper())
        )
        for part in (secret, secret[8:], secret[8:30]):
            assert part.encode() not in stored
    assert not any(
        token_works(site, token_hash) for (token_hash,) in site.state("SELECT token_hash FROM token")
    )


def test_last_use_is_kept_to_the_minute(site):
    secret = make_token(site)
    assert token_works(site, secret)
    assert abs(site.state("SELECT token_used FROM token")[0][0] - time.time()) < 60
    recently = int(time.time()) - 30
    site.state("UPDATE token SET token_used = ?", recently)
    assert token_works(site, secret) and site.state("SELECT token_used FROM token") == [(recently,)]


def test_use_that_cannot_be_noted_is_a_use_all_the_same(site):
    secret = make_token(site)
    site.state("CREATE TRIGGER full BEFORE UPDATE ON token BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    assert token_works(site, secret)


def test_deleted_token_ends(either):
    secret, other = make_token(either), make_token(either)
    assert either("tokens/?delete", user="bob", token_id=1)["status"] == "ok"
    assert not token_works(either, secret) and token_works(either, other)
    assert token_ids(either, "bob") == [2]
    for token_id, status, http in (
        ("1", TOKEN_NOT_FOUND, 200),
        (None, "No token id is set.", 200),
        ("x", "Invalid value for token_id.", 400),
    ):
        assert either("tokens/?delete", user="bob", check=http, token_id=token_id)["status"] == status


def test_tokens_of_others_are_not_there_but_for_an_admin(either):
    secret = make_token(either, "ann")
    for user in ("bob", "dele"):
        assert token_ids(either, user) == []
        assert either("tokens/?delete", user=user, token_id=1)["status"] == TOKEN_NOT_FOUND
    assert token_works(either, secret)
    assert token_ids(either, "ann") == token_ids(either, "root") == [1]
    assert either("tokens/?delete", token_id=1)["status"] == "ok"
    assert not token_works(either, secret)


@pytest.mark.parametrize(
    ("fields", "status", "http"),
    [
        ({}, "Token name is not set.", 200),
        ({"token_name": ""}, "Token name is not set.", 200),
        ({"token_name": ["x"]}, "Invalid value for token_name.", 400),
        ({"token_name": "x", "token_networks": ["example.org"]}, "Invalid value for token_networks.", 400),
        ({"token_name": "x", "token_networks": ["192.0.2.0/33"]}, "Invalid value for token_networks.", 400),
        ({"token_name": "x", "token_networks": [""]}, "Invalid value for token_networks.", 400),
        ({"token_name": "x", "token_networks": "192.0.2.1"}, "Invalid value for token_networks.", 400),
        ({"token_name": "x", "token_modules": "POP"}, "Invalid value for token_modules.", 400),
        ({"token_name": "x", "token_modules": ["Nothing"]}, "Unknown module Nothing.", 200),
        ({"token_name": "x", "token_modules": ["pop"]}, "Unknown module pop: did you mean POP?", 200),
        ({"token_name": "x", "token_modules": ["users"]}, "Unknown module users: did you mean User?", 200),
        ({"token_name": "x", "token_modules": [""]}, "Unknown module .", 200),
        ({"token_name": "x", "token_expires": "tomorrow"}, "Invalid value for token_expires.", 400),
        ({"token_name": "x", "token_expires": 1}, "The expiry of the token is in the past.", 200),
        ({"token_name": "x", "token_expires": -1}, "The expiry of the token is in the past.", 200),
        ({"token_name": "x", "token_reads_only": ["x"]}, "Invalid value for token_reads_only.", 400),
    ],
)
def test_badly_described_token_is_refused(site, fields, status, http):
    answer = site("tokens/?add", user="bob", check=http, **fields)
    assert answer["status"] == status and "token" not in answer
    assert token_ids(site, "bob") == []


########## The header ##############################################################################


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_scheme_may_be_in_any_case(site, scheme):
    assert ask_with_token(site, make_token(site), scheme=scheme)["auth_user"] == "bob"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer", INVALID_TOKEN),
        ("Bearer ", INVALID_TOKEN),
        ("Bearer mailapi_unknown", INVALID_TOKEN),
        ("Bearer \xff\0'\"", INVALID_TOKEN),
        ("Bearer " + "x" * 9000, INVALID_TOKEN),
        ("Basic cm9vdDpwdw==", NO_USER_NAME),
        ("", NO_USER_NAME),
        ("mailapi_x", NO_USER_NAME),
    ],
)
def test_other_headers_log_nobody_in(either, header, status):
    make_token(either)
    answer = ask_with_token(either, "", "pop/?add", header, {"pop_user": "bob"})
    assert list(answer) == ["status", "debug", "api_version", "schema_version", "session", "login"]
    assert (answer["status"], answer["login"]) == (status, False) and either.sql("SELECT * FROM popd") == []


def test_no_cookie_is_set_for_a_token(site):
    assert "Set-Cookie" not in send_with_token(site, make_token(site)).headers


def test_credentials_win_over_a_token_and_a_token_over_the_cookie(site):
    token, browser = make_token(site), site.browser()
    header = {"Authorization": f"Bearer {token}"}
    ann = browser.post_json("/?x", {"auth": {"user_name": "ann", "password": "pw"}}, headers=header)
    assert ann.json["auth_user"] == "ann"
    assert browser.post_json("/?x", {}, headers=header).json["auth_user"] == "bob"
    assert browser.post_json("/?x", {}, headers={"Authorization": "Bearer x"}).json["status"] == INVALID_TOKEN
    wrong = {"auth": {"user_name": "ann", "password": "wrong"}}
    assert browser.post_json("/?x", wrong, headers=header).json["login"] is False
    assert browser.post_json("/?x", {}).json["auth_user"] == "ann"


def test_token_is_unknown_where_the_module_is_not_configured(tmp_path):
    site = Site(tmp_path, modulelist={"User": "modules/users.py"})
    assert not token_works(site, "mailapi_x")


def test_a_user_can_store_only_so_much(site):
    assert site("tokens/?add", user="bob", token_name="x" * 201)["status"] == (
        "Token name is too long: 200 characters at most."
    )
    many = [f"192.0.2.{number}" for number in range(51)]
    assert site("tokens/?add", user="bob", check=400, token_name="x", token_networks=many)["status"] == (
        "Invalid value for token_networks."
    )
    for number in range(100):
        assert site("tokens/?add", user="bob", token_name=f"t{number}")["status"] == "ok"
    refused = site("tokens/?add", user="bob", token_name="one more")
    assert refused["status"] == "Too many tokens: 100 at most. Delete one first." and "token" not in refused
    assert site("tokens/?add", user="ann", token_name="hers")["status"] == "ok"
    (first, *_) = site("tokens/?get", user="bob")["tokens"]
    assert site("tokens/?delete", user="bob", token_id=first["token_id"])["status"] == "ok"
    assert site("tokens/?add", user="bob", token_name="one more")["status"] == "ok"
