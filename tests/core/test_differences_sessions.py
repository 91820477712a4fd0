"""Deliberate differences from the original (docs/wire.md section 5): sessions."""

import pytest

from support.both_generations import (
    add_address,
    assert_done,
    listed_orders,
    logged_in_user,
    permission_word,
)
from support.browsers import ask, log_in
from support.site import authdata

pytestmark = pytest.mark.every_engine


REVOKED = {
    "api": lambda site: site(
        f"users/?delete_{permission_word(site)}",
        user_name="dele",
        **{f"user_{permission_word(site)}": "delegate"},
    ),
    "list": lambda site: site("users/?update_permissions", user_name="dele", user_permissions=[]),
    "undelegated": lambda site: site("delegates/?user_delete", api_user="dele", api_delegate="ann"),
    "file": lambda site: site.sql("DELETE FROM api_access WHERE api_user = 'dele'"),
    "undelegated in the file": lambda site: site.sql("DELETE FROM api_user_delegates"),
}


@pytest.mark.parametrize("how", REVOKED)
def test_f19_what_was_revoked_is_gone_on_the_next_request(either, how):
    browser = log_in(either, "dele")
    assert ask(browser, "pop/?add", pop_user="ann")["status"] == "ok"
    REVOKED[how](either)
    before = either.dump()
    assert ask(browser, "pop/?delete", pop_user="ann")["status"] == "Not allowed."
    assert either.dump() == before
    assert logged_in_user(browser) == "dele"


def test_f19_a_withdrawn_delegation_and_a_new_permission_count_on_the_next_request(either):
    add_address(either, 10, "a@corp.org", "bob")
    browser = log_in(either, "dele")
    assert listed_orders(ask(browser, "addresses/?get")) == [10]
    either("delegates/?address_delete", api_user="dele", api_expression="%@corp.org")
    assert listed_orders(ask(browser, "addresses/?get")) == []
    either(
        f"users/?add_{permission_word(either)}",
        user_name="dele",
        **{f"user_{permission_word(either)}": "admin"},
    )
    assert listed_orders(ask(browser, "addresses/?get")) == [10]


def test_f19_a_deleted_users_sessions_end(either):
    ann, bob = log_in(either, "ann"), log_in(either, "bob")
    either("users/?delete", user_name="ann")
    either.sql("DELETE FROM users WHERE user_name = 'bob'")
    assert logged_in_user(ann) is None and logged_in_user(bob) is None
    for name in ("ann", "bob"):
        assert_done(either, "users/?add", user_name=name, user_authdata="pw")
    assert logged_in_user(ann) is None and logged_in_user(bob) is None


def test_f19_a_session_does_not_come_back_with_the_users_old_row(either):
    browser = log_in(either, "ann")
    row = either.sql("SELECT user_name, user_authdata FROM users WHERE user_name = 'ann'")[0]
    either("users/?delete", user_name="ann")
    either.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", *row)
    assert logged_in_user(browser) is None


CHANGES = {
    "admin": lambda site: assert_done(site, "users/?set_password", user_name="ann", user_authdata="new"),
    "the same": lambda site: assert_done(site, "users/?set_password", user_name="ann", user_authdata="pw"),
    "delegate": lambda site: assert_done(
        site, "users/?set_password", user="dele", user_name="ann", user_authdata="new"
    ),
    "taken away": lambda site: assert_done(site, "users/?set_password", user_name="ann", user_authdata=""),
    "file": lambda site: site.sql(
        "UPDATE users SET user_authdata = ? WHERE user_name = 'ann'", authdata("new")
    ),
}


@pytest.mark.parametrize("how", CHANGES)
def test_f19_a_changed_password_ends_the_users_sessions(either, how):
    first, second, bob = log_in(either, "ann"), log_in(either, "ann"), log_in(either, "bob")
    CHANGES[how](either)
    assert logged_in_user(first) is None and logged_in_user(second) is None
    assert logged_in_user(bob) == "bob"


def test_f19_the_session_that_changed_the_password_stays_valid(either):
    for user in ("ann", "root"):
        first, second = log_in(either, user), log_in(either, user)
        assert ask(first, "users/?set_password", user_name=user, user_authdata="new")["status"] == "ok"
        assert (logged_in_user(first), logged_in_user(second)) == (user, None)
    third = either.browser()  # log-in and change in one request
    ask(
        third,
        "users/?set_password",
        user_name="ann",
        user_authdata="newer",
        auth={"user_name": "ann", "password": "new"},
    )
    assert logged_in_user(third) == "ann"
