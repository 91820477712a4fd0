"""Sessions of users whose names are too long for a session id: it has a hash, and the state database the name."""

import re

import pytest

from support.browsers import ask, is_logged_in, log_in, session_of

pytestmark = pytest.mark.every_engine


@pytest.mark.parametrize("length", [43, 44, 200])
def test_users_with_long_names_have_session_ids_that_php_accepts(site, length):
    site("users/?add", user_name="ö" * (length // 2) + "x" * (length % 2), user_authdata="pw")
    browser = log_in(site, "ö" * (length // 2) + "x" * (length % 2))
    assert re.fullmatch("[a-z0-9]{43,128}", session_of(browser)) and is_logged_in(browser)
    ask(browser, "?logout")
    assert not is_logged_in(browser)


@pytest.mark.parametrize(
    ("url", "kept"),
    [("users/?delete", 0), ("users/?suspend", 0), ("users/?set_password", 0), ("users/?get", 1)],
)
def test_a_long_name_is_stored_while_the_user_has_sessions(site, url, kept):
    """Otherwise a delegate could fill the disk with names of users who are deleted again."""
    site("users/?add", user_name="x" * 44, user_authdata="pw")
    browser = log_in(site, "x" * 44)
    site(url, user_name="x" * 44, user_authdata="pw")
    assert site.state("SELECT COUNT(*) FROM long_user_name") == [(kept,)]
    assert is_logged_in(browser) == bool(kept)
    if url == "users/?set_password":
        assert is_logged_in(log_in(site, "x" * 44))


def test_a_long_name_stays_when_its_user_sets_a_password(site):
    site("users/?add", user_name="x" * 44, user_authdata="pw")
    browser = log_in(site, "x" * 44)
    ask(browser, "users/?set_password", user_name="x" * 44, user_authdata="new")
    assert is_logged_in(browser)
