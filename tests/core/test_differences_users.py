"""Deliberate differences from the original (docs/wire.md section 5): users."""

import hashlib
import re

import pytest

from support.both_generations import (
    add_address,
    assert_done,
    assert_refused,
    permission_word,
)
from support.site import Site

pytestmark = pytest.mark.every_engine


WRONG = "Username or password is wrong."
DUPLICATE_PERMISSION = {
    9: "UNIQUE constraint failed: api_access.api_user, api_access.api_permission",
    8: "UNIQUE constraint failed: api_access.api_user, api_access.api_right",
}


def test_f01_adding_an_existing_user_changes_nothing(either):
    answer = assert_refused(
        either,
        "users/?add",
        "UNIQUE constraint failed: users.user_name",
        user_name="bob",
        user_authdata="new",
        user_alias="ann",
        user_permissions=["admin"],
    )
    assert answer["user"] is False
    assert either("pop/?get", user="bob")[permission_word(either) + "s"] == []


def test_f01_a_user_is_added_whole_or_not_at_all(either):
    again = assert_refused(
        either,
        "users/?add",
        DUPLICATE_PERMISSION[either.generation],
        user_name="new",
        user_permissions=["other", "other"],
    )
    alias = assert_refused(
        either, "users/?add", "FOREIGN KEY constraint failed", user_name="new", user_alias="nobody"
    )
    blank = assert_refused(
        either,
        "users/?add",
        f"No {permission_word(either)} is set.",
        user_name="new",
        user_permissions=["x", ""],
    )
    assert again["user"] is alias["user"] is blank["user"] is False
    assert assert_done(either, "users/?add", user_name="new", user_permissions=["other"])["user"] is True


@pytest.mark.parametrize(
    "action, field",
    [("delete_permission", "permission"), ("delete-permission", "right"), ("delete_right", "right")],
)
def test_f02_delete_permission_deletes_only_the_permission_named(either, action, field):
    for user, permission in [("ann", "admin"), ("ann", "other"), ("bob", "other")]:
        either.sql("INSERT INTO api_access VALUES (?, ?)", user, permission)
    for user in ("bob", "dele"):
        assert_refused(
            either,
            f"users/?{action}",
            "Not allowed.",
            user=user,
            user_name="ann",
            **{f"user_{field}": "other"},
        )
    assert_done(either, f"users/?{action}", user_name="ann", **{f"user_{field}": "other"})
    rows = either.sql("SELECT * FROM api_access ORDER BY 1, 2")
    assert rows == [("ann", "admin"), ("bob", "other"), ("dele", "delegate"), ("root", "admin")]


def test_f03_a_plain_user_sets_their_own_password(either):
    before = either.dump()
    assert_done(either, "users/?set_password", user="ann", user_name="ann", user_authdata="new")
    assert either("pop/?get", user="ann", password="new")["login"] is True
    assert either("pop/?get", user="ann")["status"] == WRONG
    assert len(set(either.dump()) ^ set(before)) == 2  # the row as it was and as it is
    assert_refused(
        either, "users/?set_password", "Not allowed.", user="bob", user_name="ann", user_authdata="x"
    )
    assert_refused(
        either, "users/?set_password", "Not allowed.", user="dele", user_name="bob", user_authdata="x"
    )


@pytest.mark.parametrize("user, victim", [("ann", "bob"), ("ann", "ann"), ("dele", "bob"), ("dele", "dele")])
def test_f04_only_an_admin_or_their_delegate_deletes_a_user(either, user, victim):
    answer = assert_refused(either, "users/?delete", "Not allowed.", user=user, user_name=victim)
    assert "delete" not in answer
    assert assert_done(either, "users/?delete", user="dele", user_name="ann")["delete"] == "ok"


def test_f05_a_delegate_may_not_add_users(either):
    for user in ("dele", "bob"):
        assert_refused(either, "users/?add", "Not allowed", user=user, user_name="new")


@pytest.mark.parametrize("generation", [9, 8])
def test_f05_with_delegates_add_users_the_new_user_is_delegated(tmp_path, generation):
    site = Site(tmp_path, generation, delegates_add_users=True)
    for field in ("user_permissions", "user_rights"):
        assert_refused(site, "users/?add", "Not allowed", user="dele", user_name="new", **{field: ["other"]})
    assert_refused(site, "users/?add", "Not allowed", user="bob", user_name="new")
    assert_refused(
        site, "users/?add", "UNIQUE constraint failed: users.user_name", user="dele", user_name="bob"
    )
    assert assert_done(site, "users/?add", user="dele", user_name="new", user_authdata="pw")["user"] is True
    assert site.sql("SELECT * FROM api_user_delegates") == [("dele", "ann"), ("dele", "new")]
    assert site.sql("SELECT * FROM api_access WHERE api_user = 'new'") == []
    assert site("pop/?get", user="new")["login"] is True


@pytest.mark.parametrize("fields", [{}, {"username": "ann"}, {"user_name": "ann"}])
def test_f06_one_user_is_a_list_of_one_object(either, fields):
    either.sql("INSERT INTO popd (pop_user) VALUES ('ann')")
    user = {
        "user_name": "ann",
        "user_login": 1,
        "user_alias": None,
        "modules": {"User": True, "POP": True},
        f"user_{permission_word(either)}s": [],
    }
    for caller in ("ann", "dele", "root") if fields else ("ann",):
        assert assert_done(either, "users/?get", user=caller, **fields)["users"] == [user]
    assert either("users/?get", user="bob", username="bob")["users"][0]["modules"] == {"User": True}
    assert either("users/?get", username="nologin")["users"][0]["modules"] == []


def test_f23_delegations_are_the_admins_and_visible_to_whom_they_concern(either):
    for user in ("ann", "dele"):
        for action in ("user_add", "user_delete"):
            assert_refused(
                either, f"delegates/?{action}", "Not allowed.", user=user, api_user="dele", api_delegate="ann"
            )
        for action in ("address_add", "address_delete"):
            assert_refused(
                either,
                f"delegates/?{action}",
                "Not allowed.",
                user=user,
                api_user="dele",
                api_expression="%@corp.org",
            )
    assert assert_done(either, "delegates/?get", user="bob")["delegates"] == {"users": [], "addresses": []}
    add_address(either, 10, "sales@corp.org", "ann")
    either.sql("INSERT INTO api_address_delegates VALUES ('dele', '%@else.org')")
    assert assert_done(either, "delegates/?get", user="ann")["delegates"] == {
        "users": [{"api_user": "dele", "api_delegate": "ann"}],
        "addresses": [{"api_user": "dele", "api_expression": "%@corp.org"}],
    }


def test_f24_what_the_database_refuses_is_the_status(either):
    either.sql("INSERT INTO popd (pop_user) VALUES ('ann')")
    foreign = "FOREIGN KEY constraint failed"
    assert_refused(either, "pop/?add", foreign, pop_user="nobody")
    assert_refused(either, "pop/?add", "UNIQUE constraint failed: popd.pop_user", pop_user="ann")
    assert_refused(either, "users/?add_permission", foreign, user_name="nobody", user_permission="admin")
    assert_refused(
        either, "users/?update_permissions", foreign, user_name="nobody", user_permissions=["admin"]
    )
    assert_refused(
        either,
        "users/?add_permission",
        DUPLICATE_PERMISSION[either.generation],
        user_name="root",
        user_permission="admin",
    )
    assert_refused(either, "delegates/?user_add", foreign, api_user="dele", api_delegate="nobody")
    assert_refused(either, "delegates/?address_add", foreign, api_user="nobody", api_expression="%")


@pytest.mark.parametrize("action, event", [("delete", "DELETE"), ("set_password", "UPDATE")])
def test_f24_a_change_that_a_trigger_prevents_is_not_answered_ok(either, action, event):
    either.sql(
        f"CREATE TRIGGER keep BEFORE {event} ON users BEGIN SELECT RAISE(ABORT, 'kept for the audit'); END"
    )
    answer = assert_refused(
        either, f"users/?{action}", "kept for the audit", user_name="ann", user_authdata="new"
    )
    assert "delete" not in answer and answer["login"] is True


def test_f28_every_password_has_its_own_salt_of_128_bits(either):
    assert_done(either, "users/?add", user_name="new", user_authdata="sesame")
    for name in ("ann", "bob"):
        assert_done(either, "users/?set_password", user_name=name, user_authdata="sesame")
    rows = either.sql("SELECT user_authdata FROM users WHERE user_name IN ('ann', 'bob', 'new')")
    salts = [re.fullmatch("([0-9a-f]{32}):[0-9a-f]{64}", row[0])[1] for row in rows]
    assert len(set(salts)) == 3
    assert [row[0] for row in rows] == [
        f"{s}:{hashlib.sha256((s + 'sesame').encode()).hexdigest()}" for s in salts
    ]


@pytest.mark.parametrize("nothing", ["", None])
def test_f34_an_alias_can_be_taken_away(either, nothing):
    alias = "SELECT user_alias FROM users WHERE user_name = 'bob'"
    assert_done(either, "users/?update_alias", user_name="bob", user_alias="ann")
    assert either.sql(alias) == [("ann",)]
    assert_refused(either, "users/?update_alias", "No alias set.", user_name="bob")
    assert_refused(
        either, "users/?update_alias", "Not allowed.", user="bob", user_name="bob", user_alias=nothing
    )
    assert_refused(
        either, "users/?update_alias", "Cannot alias to the same user.", user_name="bob", user_alias="bob"
    )
    assert_done(either, "users/?update_alias", user_name="bob", user_alias=nothing)
    assert either.sql(alias) == [(None,)]


@pytest.mark.parametrize("alias", ["0", 0, False, []])
def test_f34_only_an_empty_alias_clears_and_not_0_or_false(either, alias):
    either.sql("UPDATE users SET user_alias = 'ann' WHERE user_name = 'bob'")
    assert_refused(either, "users/?update_alias", "No alias set.", user_name="bob", user_alias=alias)
