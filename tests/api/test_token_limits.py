"""The rights of a token: less than its owner, and nothing once the owner's password has changed."""

import secrets
import sys
import time
import types

import pytest

from support.bearers import INVALID_TOKEN, ask_with_token, make_token, token_ids, token_works
from support.site import MODULES, Site, authdata

pytestmark = pytest.mark.every_engine


NO_MANAGING, OTHER_MODULE, ONLY_READS = (
    "A token cannot manage tokens.",
    "This token is not for this module.",
    "This token may only read.",
)


########## What a token is limited to ##############################################################


def test_expired_token_is_not_valid(site):
    secret = make_token(site, token_expires=int(time.time()) + 1000)
    assert token_works(site, secret)
    site.state("UPDATE token SET token_expires = ?", int(time.time()))
    assert not token_works(site, secret)


def test_token_counts_only_from_its_networks(tmp_path):
    site = Site(tmp_path, trusted_proxies=["10.0.0.1"])
    secret = make_token(site, token_networks=["192.0.2.0/24", "2001:db8::/32"])
    for address, good in (
        ("192.0.2.200", True),
        ("::ffff:192.0.2.1", True),
        ("2001:db8:9::1", True),
        ("", False),
        ("192.0.3.1", False),
        ("2001:db9::1", False),
        ("10.0.0.1", False),
    ):
        assert token_works(site, secret, REMOTE_ADDR=address) is good, address
    assert token_works(site, secret, REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="192.0.2.1")
    assert not token_works(site, secret, REMOTE_ADDR="198.51.100.1", HTTP_X_FORWARDED_FOR="192.0.2.1")


def test_read_only_token_changes_nothing(either):
    secret, before = make_token(either, "root", token_reads_only=1), either.dump()
    for module in either.app.modules.values():
        for action in (e for e in module.endpoints.values() if either.generation in module.generations):
            if module.path != "tokens":
                refused = ask_with_token(
                    either, secret, f"{module.path}/?{action.name}" if module.path else f"?{action.name}"
                )
                assert (refused["status"] == ONLY_READS) is not action.read_only, action.name
    fields = {"pop_user": "root", "user_name": "ann", "user_authdata": "x"}
    for url in ("pop/?add", "users/?delete", "users/?set_password", "users/?get&delete"):
        assert ask_with_token(either, secret, url, fields=fields)["status"] in (ONLY_READS, "ok")
    assert either.dump() == before


def test_token_reaches_only_its_modules(either):
    secret = make_token(either, "root", token_modules=["POP"])
    assert ask_with_token(either, secret, "pop/?add", fields={"pop_user": "bob"})["status"] == "ok"
    assert ask_with_token(either, secret)["status"] == "ok"  # the API itself is no module
    before = either.dump()
    for url in (
        "users/?get",
        "users/?delete",
        "addresses/?get",
        "audit/?get",
        "delegates/?get",
        "mailbox/?get",
    ):
        answer = ask_with_token(either, secret, url, fields={"user_name": "ann"})
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
    pop, other = (
        make_token(site, "root", token_modules=["POP"]),
        make_token(site, "root", token_modules=[configured]),
    )
    assert ask_with_token(site, pop, f"{path}/?get")["status"] == OTHER_MODULE
    assert ask_with_token(site, other, f"{path}/?get")["status"] == "ok"


def test_token_manages_no_tokens(either):
    secret = make_token(either, "root")
    for url, fields in (
        ("tokens/?get", {}),
        ("tokens/?add", {"token_name": "more"}),
        ("tokens/?delete", {"token_id": 1}),
    ):
        answer = ask_with_token(either, secret, url, fields=fields)
        assert answer["status"] == NO_MANAGING and not {"token", "tokens"} & set(answer)
    assert token_ids(either, "root") == [1]


########## Never more than its owner ###############################################################


def test_token_does_what_its_owner_may_do_now(either):
    secret, fields = make_token(either), {"pop_user": "ann"}
    assert ask_with_token(either, secret, "pop/?add", fields=fields)["status"] == "Not allowed."
    either.sql("INSERT INTO api_access VALUES ('bob', 'admin')")
    assert ask_with_token(either, secret, "pop/?add", fields=fields)["status"] == "ok"
    either.sql("DELETE FROM api_access WHERE api_user = 'bob'")
    answer = ask_with_token(either, secret, "pop/?delete", fields=fields)
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
    secret, other = make_token(either), make_token(either, "ann")
    change(either)
    again(either)  # nobody asked anything in between
    assert not token_works(either, secret) and token_works(either, other)


def test_nothing_of_a_deleted_user_is_left_to_the_next_of_that_name(either):
    make_token(either)
    either("users/?delete", user_name="bob")
    assert either.state("SELECT * FROM token") == []
    either("users/?add", user_name="bob", user_authdata="pw")
    assert token_ids(either, "bob") == []


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
    assert "token" not in answer or not token_works(either, answer["token"])


def test_token_of_the_session_that_has_changed_the_password_is_valid(either):
    browser = either.browser()
    browser.post_json("/?login", {"auth": {"user_name": "bob", "password": "pw"}})
    early = browser.post_json("/tokens/?add", {"token_name": "early"}).json["token"]
    browser.post_json("/users/?set_password", {"user_name": "bob", "user_authdata": "new"})
    late = browser.post_json("/tokens/?add", {"token_name": "late"}).json["token"]
    assert token_works(either, late) and not token_works(either, early)


def test_token_does_nothing_once_the_password_has_changed(either, monkeypatch):
    """Also where that happens after the token was found, and before its action begins."""
    secret = make_token(either)
    module = either.app.modules["tokens"]
    find = module.bearer

    def bearer(*asked):
        found = find(*asked)
        either.sql("UPDATE users SET user_authdata = ? WHERE user_name = 'bob'", authdata("new"))
        return found

    monkeypatch.setattr(module, "bearer", bearer)
    answer = ask_with_token(either, secret, "pop/?add", fields={"pop_user": "bob"})
    assert (answer["status"], answer["login"]) == (INVALID_TOKEN, False) and either.sql(
        "SELECT * FROM popd"
    ) == []


@pytest.mark.sqlite
def test_only_a_users_own_tokens_are_read_however_many_there_are(site):
    """Each new user is checked for tokens of a former user of the name."""
    make_token(site)
    site.state("DROP INDEX IF EXISTS token_by_user")  # as an older version has left it
    site.state(
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 20000)"
        " INSERT INTO token SELECT NULL, n, 'user' || n, token_name, token_created, token_expires, token_used,"
        " token_reads_only, token_modules, token_networks, authdata_hash FROM token, number WHERE token_id = 1"
    )
    site.app.state.close()
    steps: list = []
    site.app.state.connect().set_progress_handler(lambda: steps.append("1,000 instructions"), 1000)
    assert site("users/?add", user_name="new")["status"] == "ok"
    assert len(site("tokens/?get", "bob")["tokens"]) == 1
    assert site("users/?delete", user_name="new")["status"] == "ok"
    assert len(steps) < 10
    site.app.state.connect().set_progress_handler(None, 0)
