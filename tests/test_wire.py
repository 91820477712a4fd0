"""The wire format: URL forms, the answer's keys, JSONP, PHP's oddities (WIRE sections 1 and 2)."""

import pytest

KEYS = ["status", "debug", "api_version", "schema_version", "session"]


@pytest.mark.parametrize("url", ["users/?get", "users?get", "users/index.php?get", "users/?get=", "users/?get=1"])
def test_url_forms_name_the_same_action(site, url):
    answer = site(url)
    assert [user["user_name"] for user in answer["users"]] == ["ann", "bob", "dele", "nologin", "root"]


@pytest.mark.parametrize("url", ["?get_modules", "?get-modules", "index.php?get_modules"])
def test_get_modules_lists_modulelist_in_order(site, url):
    assert site(url, user="bob")["modules"] == ["Address", "User", "SMTPD", "POP", "Mailbox", "Delegate"]


def test_answer_has_its_keys_in_order(site):
    assert list(site("pop/?get")) == [*KEYS, "permissions", "login", "auth_user", "pop"]
    assert list(site("pop/?get", user=None)) == [*KEYS, "login"]
