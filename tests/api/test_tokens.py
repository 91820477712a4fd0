"""tokens/: what scripts log in with, and that it never reaches further than its owner does now."""

import json
import secrets
import sys
import time
import types

import pytest

from support.bearers import INVALID, NOBODY, NOT_FOUND, make, send, use, works
from support.site import MODULES, Site, authdata

pytestmark = pytest.mark.every_engine

NO_MANAGING, OTHER_MODULE, ONLY_READS = (
    "A token cannot manage tokens.",
    "This token is not for this module.",
    "This token may only read.",
)


def ids(site, user) -> list[int]:
    return [row["token_id"] for row in site("tokens/?get", user=user)["tokens"]]


########## Making, listing, ending #################################################################


def test_token_logs_in_its_owner(either):
    answer = use(either, make(either, "root"), "users/?get", fields={"username": "bob"})
    assert (answer["status"], answer["login"], answer["auth_user"]) == ("ok", True, "root")
    assert answer["permissions" if either.generation == 9 else "rights"] == {"admin": True}
    assert answer["users"][0]["user_name"] == "bob"


def test_get_shows_everything_but_the_secret(either):
    later = int(time.time()) + 1000
    secret = make(
        either,
        token_expires=later,
        token_reads_only=True,
        token_modules=["POP", "User"],
        token_networks=["192.0.2.7", "2001:db8::1/32"],
    )
    make(either, token_name="plain")
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
    secrets = {make(site) for _ in range(5)}
    assert len(secrets) == 5 and {len(secret) for secret in secrets} == {51}
    stored = b"".join(file.read_bytes() for file in site.dbpath.parent.glob("master.db3*"))
    assert b"backup" in stored
    for secret in secrets:
        assert works(site, secret) and not works(site, secret[:-1]) and not works(site, secret.upper())
        for part in (secret, secret[8:], secret[8:30]):
            assert part.encode() not in stored
    assert not any(works(site, token_hash) for (token_hash,) in site.state("SELECT token_hash FROM token"))


def test_last_use_is_kept_to_the_minute(site):
    secret = make(site)
    assert works(site, secret)
    assert abs(site.state("SELECT token_used FROM token")[0][0] - time.time()) < 60
    recently = int(time.time()) - 30
    site.state("UPDATE token SET token_used = ?", recently)
    assert works(site, secret) and site.state("SELECT token_used FROM token") == [(recently,)]


def test_use_that_cannot_be_noted_is_a_use_all_the_same(site):
    secret = make(site)
    site.state("CREATE TRIGGER full BEFORE UPDATE ON token BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    assert works(site, secret)


def test_deleted_token_ends(either):
    secret, other = make(either), make(either)
    assert either("tokens/?delete", user="bob", token_id=1)["status"] == "ok"
    assert not works(either, secret) and works(either, other)
    assert ids(either, "bob") == [2]
    for token_id, status, http in (
        ("1", NOT_FOUND, 200),
        (None, "No token id is set.", 200),
        ("x", "Invalid value for token_id.", 400),
    ):
        assert either("tokens/?delete", user="bob", check=http, token_id=token_id)["status"] == status


def test_tokens_of_others_are_not_there_but_for_an_admin(either):
    secret = make(either, "ann")
    for user in ("bob", "dele"):
        assert ids(either, user) == []
        assert either("tokens/?delete", user=user, token_id=1)["status"] == NOT_FOUND
    assert works(either, secret)
    assert ids(either, "ann") == ids(either, "root") == [1]
    assert either("tokens/?delete", token_id=1)["status"] == "ok"
    assert not works(either, secret)


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
        ({"token_name": "x", "token_modules": ["pop"]}, "Unknown module pop.", 200),
        ({"token_name": "x", "token_expires": "tomorrow"}, "Invalid value for token_expires.", 400),
        ({"token_name": "x", "token_expires": 1}, "The token would have expired already.", 200),
        ({"token_name": "x", "token_expires": -1}, "The token would have expired already.", 200),
        ({"token_name": "x", "token_reads_only": ["x"]}, "Invalid value for token_reads_only.", 400),
    ],
)
def test_badly_described_token_is_refused(site, fields, status, http):
    answer = site("tokens/?add", user="bob", check=http, **fields)
    assert answer["status"] == status and "token" not in answer
    assert ids(site, "bob") == []


########## The header ##############################################################################


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_scheme_may_be_in_any_case(site, scheme):
    assert use(site, make(site), scheme=scheme)["auth_user"] == "bob"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer", INVALID),
        ("Bearer ", INVALID),
        ("Bearer mailapi_unknown", INVALID),
        ("Bearer \xff\0'\"", INVALID),
        ("Bearer " + "x" * 9000, INVALID),
        ("Basic cm9vdDpwdw==", NOBODY),
        ("", NOBODY),
        ("mailapi_x", NOBODY),
    ],
)
def test_other_headers_log_nobody_in(either, header, status):
    make(either)
    answer = use(either, "", "pop/?add", header, {"pop_user": "bob"})
    assert list(answer) == ["status", "debug", "api_version", "schema_version", "session", "login"]
    assert (answer["status"], answer["login"]) == (status, False) and either.sql("SELECT * FROM popd") == []


def test_no_cookie_is_set_for_a_token(site):
    assert "Set-Cookie" not in send(site, make(site)).headers


def test_credentials_win_over_a_token_and_a_token_over_the_cookie(site):
    token, browser = make(site), site.browser()
    header = {"Authorization": f"Bearer {token}"}
    ann = browser.post_json("/?x", {"auth": {"user_name": "ann", "password": "pw"}}, headers=header)
    assert ann.json["auth_user"] == "ann"
    assert browser.post_json("/?x", {}, headers=header).json["auth_user"] == "bob"
    assert browser.post_json("/?x", {}, headers={"Authorization": "Bearer x"}).json["status"] == INVALID
    wrong = {"auth": {"user_name": "ann", "password": "wrong"}}
    assert browser.post_json("/?x", wrong, headers=header).json["login"] is False
    assert browser.post_json("/?x", {}).json["auth_user"] == "ann"


def test_token_is_unknown_where_the_module_is_not_configured(tmp_path):
    site = Site(tmp_path, modulelist={"User": "modules/users.py"})
    assert not works(site, "mailapi_x")


########## What a token is limited to ##############################################################


def test_expired_token_is_not_valid(site):
    secret = make(site, token_expires=int(time.time()) + 1000)
    assert works(site, secret)
    site.state("UPDATE token SET token_expires = ?", int(time.time()))
    assert not works(site, secret)


def test_token_counts_only_from_its_networks(tmp_path):
    site = Site(tmp_path, trusted_proxies=["10.0.0.1"])
    secret = make(site, token_networks=["192.0.2.0/24", "2001:db8::/32"])
    for address, good in (
        ("192.0.2.200", True),
        ("::ffff:192.0.2.1", True),
        ("2001:db8:9::1", True),
        ("", False),
        ("192.0.3.1", False),
        ("2001:db9::1", False),
        ("10.0.0.1", False),
    ):
        assert works(site, secret, REMOTE_ADDR=address) is good, address
    assert works(site, secret, REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="192.0.2.1")
    assert not works(site, secret, REMOTE_ADDR="198.51.100.1", HTTP_X_FORWARDED_FOR="192.0.2.1")


def test_read_only_token_changes_nothing(either):
    secret, before = make(either, "root", token_reads_only=1), either.dump()
    for module in either.app.modules.values():
        for action in (e for e in module.endpoints.values() if either.generation in module.generations):
            if module.path != "tokens":
                refused = use(
                    either, secret, f"{module.path}/?{action.name}" if module.path else f"?{action.name}"
                )
                assert (refused["status"] == ONLY_READS) is not action.read_only, action.name
    fields = {"pop_user": "root", "user_name": "ann", "user_authdata": "x"}
    for url in ("pop/?add", "users/?delete", "users/?set_password", "users/?get&delete"):
        assert use(either, secret, url, fields=fields)["status"] in (ONLY_READS, "ok")
    assert either.dump() == before


def test_token_reaches_only_its_modules(either):
    secret = make(either, "root", token_modules=["POP"])
    assert use(either, secret, "pop/?add", fields={"pop_user": "bob"})["status"] == "ok"
    assert use(either, secret)["status"] == "ok"  # the API itself is no module
    before = either.dump()
    for url in (
        "users/?get",
        "users/?delete",
        "addresses/?get",
        "audit/?get",
        "delegates/?get",
        "mailbox/?get",
    ):
        answer = use(either, secret, url, fields={"user_name": "ann"})
        assert (answer["status"], answer["login"]) == (OTHER_MODULE, True)
        assert not {"users", "addresses", "audit", "delegates", "mails"} & set(answer)
    assert either.dump() == before


@pytest.mark.parametrize(("generation", "configured", "path"), [(8, "SMTPD", "msa"), (9, "MSA", "smtpd")])
def test_module_that_stands_in_for_another_is_reached_by_the_name_of_that(
    tmp_path, generation, configured, path
):
    modules = {
        "POP": "modules/pop.py",
        "Token": MODULES["Token"],
        configured: f"modules/{configured.lower()}.py",
    }
    site = Site(tmp_path, generation, modulelist=modules)
    pop, other = make(site, "root", token_modules=["POP"]), make(site, "root", token_modules=[configured])
    assert use(site, pop, f"{path}/?get")["status"] == OTHER_MODULE
    assert use(site, other, f"{path}/?get")["status"] == "ok"


def test_token_manages_no_tokens(either):
    secret = make(either, "root")
    for url, fields in (
        ("tokens/?get", {}),
        ("tokens/?add", {"token_name": "more"}),
        ("tokens/?delete", {"token_id": 1}),
    ):
        answer = use(either, secret, url, fields=fields)
        assert answer["status"] == NO_MANAGING and not {"token", "tokens"} & set(answer)
    assert ids(either, "root") == [1]


########## Never more than its owner ###############################################################


def test_token_does_what_its_owner_may_do_now(either):
    secret, fields = make(either), {"pop_user": "ann"}
    assert use(either, secret, "pop/?add", fields=fields)["status"] == "Not allowed."
    either.sql("INSERT INTO api_access VALUES ('bob', 'admin')")
    assert use(either, secret, "pop/?add", fields=fields)["status"] == "ok"
    either.sql("DELETE FROM api_access WHERE api_user = 'bob'")
    answer = use(either, secret, "pop/?delete", fields=fields)
    assert answer["status"] == "Not allowed." and either.sql("SELECT pop_user FROM popd") == [("ann",)]


@pytest.mark.parametrize(
    "change",
    [
        lambda site: site("users/?set_password", user_name="bob"),
        lambda site: site.sql("UPDATE users SET user_authdata = NULL WHERE user_name = 'bob'"),
        lambda site: site("users/?set_password", user_name="bob", user_authdata="new"),
        lambda site: site.sql("UPDATE users SET user_authdata = ? WHERE user_name = 'bob'", authdata("new")),
        lambda site: site("users/?delete", user_name="bob"),
        lambda site: site.sql("DELETE FROM users WHERE user_name = 'bob'"),
    ],
    ids=[
        "log-in taken away",
        "the same in the file",
        "new password",
        "the same in the file",
        "deleted",
        "the same in the file",
    ],
)
@pytest.mark.parametrize(
    "again",
    [
        lambda site: None,
        lambda site: [
            site("users/?add", user_name="bob"),
            site("users/?set_password", user_name="bob", user_authdata="p"),
        ],
        lambda site: site.sql(
            "INSERT OR REPLACE INTO users VALUES ('bob', ?, NULL, NULL)", authdata("another")
        ),
    ],
    ids=["and no more", "and made again", "and made again in the file"],
)
def test_token_ends_with_the_password_or_the_user_behind_it(either, change, again):
    secret, other = make(either), make(either, "ann")
    change(either)
    again(either)  # nobody asked anything in between
    assert not works(either, secret) and works(either, other)


def test_nothing_of_a_deleted_user_is_left_to_the_next_of_that_name(either):
    make(either)
    either("users/?delete", user_name="bob")
    assert either.state("SELECT * FROM token") == []
    either("users/?add", user_name="bob", user_authdata="pw")
    assert ids(either, "bob") == []


########## While the password is being changed #####################################################


def between(site, monkeypatch, what):
    """Have something happen once tokens/?add has found out who asks, and before the token is stored."""
    module = sys.modules[type(site.app.modules["tokens"]).__module__]

    def token_urlsafe(size):
        what()
        return secrets.token_urlsafe(size)

    monkeypatch.setattr(module, "secrets", types.SimpleNamespace(token_urlsafe=token_urlsafe))


CHANGES = [
    lambda site, _: site("users/?set_password", user_name="bob", user_authdata="new"),
    lambda site, _: site("users/?set_password", user_name="bob", user_authdata="pw"),
    lambda site, _: site.sql("UPDATE users SET user_authdata = ? WHERE user_name = 'bob'", authdata("new")),
    lambda site, browser: browser.post_json(
        "/users/?set_password", {"user_name": "bob", "user_authdata": "new"}
    ),
    lambda site, _: [
        site("users/?delete", user_name="bob"),
        site("users/?add", user_name="bob", user_authdata="new"),
    ],
]


@pytest.mark.parametrize(
    "change",
    CHANGES,
    ids=[
        "by an admin",
        "to the same",
        "in the file",
        "by the session itself",
        "of another user of that name",
    ],
)
@pytest.mark.parametrize("by", ["session", "password"])
def test_token_that_is_made_while_the_password_changes_does_not_outlive_it(either, monkeypatch, by, change):
    browser, auth = either.browser(), {"auth": {"user_name": "bob", "password": "pw"}}
    browser.post_json("/?login", auth)
    between(either, monkeypatch, lambda: change(either, browser))
    client, fields = (browser, {}) if by == "session" else (either.browser(), auth)
    answer = client.post_json("/tokens/?add", {"token_name": "late"} | fields, status="*").json
    monkeypatch.undo()
    assert either("?login", user="bob", password="pw")["login"] is (change is CHANGES[1])
    assert "token" not in answer or not works(either, answer["token"])


def test_token_of_the_session_that_has_changed_the_password_is_valid(either):
    browser = either.browser()
    browser.post_json("/?login", {"auth": {"user_name": "bob", "password": "pw"}})
    early = browser.post_json("/tokens/?add", {"token_name": "early"}).json["token"]
    browser.post_json("/users/?set_password", {"user_name": "bob", "user_authdata": "new"})
    late = browser.post_json("/tokens/?add", {"token_name": "late"}).json["token"]
    assert works(either, late) and not works(either, early)


def test_token_does_nothing_once_the_password_has_changed(either, monkeypatch):
    """Also where that happens after the token was found, and before its action begins."""
    secret = make(either)
    module = either.app.modules["tokens"]
    find = module.bearer

    def bearer(*asked):
        found = find(*asked)
        either.sql("UPDATE users SET user_authdata = ? WHERE user_name = 'bob'", authdata("new"))
        return found

    monkeypatch.setattr(module, "bearer", bearer)
    answer = use(either, secret, "pop/?add", fields={"pop_user": "bob"})
    assert (answer["status"], answer["login"]) == (INVALID, False) and either.sql("SELECT * FROM popd") == []


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
