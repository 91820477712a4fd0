"""Attacks with a narrow token: to get more rights, or to live longer."""

import time

import pytest

from support.browsers import ask
from support.site import Site

pytestmark = pytest.mark.every_engine

PASSWORD = "A token cannot set its user's password."


def token_of(site: Site, user: str, **limits) -> dict[str, str]:
    """The header of a new token."""
    answer = site("tokens/?add", user=user, token_name="narrow", **limits)
    assert answer["status"] == "ok", answer
    return {"Authorization": f"Bearer {answer['token']}"}


@pytest.mark.parametrize("user", ["ann", "dele", "root"])
def test_token_cannot_set_its_users_password(either, user):
    limits = {"token_modules": ["User"], "token_expires": int(time.time()) + 60}
    for limit in ({}, limits):
        header, before = token_of(either, user, **limit), either.dump()
        for password in ("stolen", None):
            fields = {"user_name": user, "user_authdata": password}
            assert (
                ask(either.browser(), "users/?set_password", headers=header, **fields)["status"] == PASSWORD
            )
        assert either.dump() == before and either("?login", user=user)["login"] is True


def test_delegate_of_oneself_cannot_set_the_password_by_token_either(either):
    either("delegates/?user_add", api_user="dele", api_delegate="dele")
    header = token_of(either, "dele")
    assert (
        ask(either.browser(), "users/?set_password", headers=header, user_name="dele", user_authdata="x")[
            "status"
        ]
        == PASSWORD
    )


@pytest.mark.parametrize(("user", "other"), [("dele", "ann"), ("root", "bob")])
def test_tokens_of_delegates_and_admins_set_others_passwords(either, user, other):
    header = token_of(either, user)
    assert (
        ask(either.browser(), "users/?set_password", headers=header, user_name=other, user_authdata="new")[
            "status"
        ]
        == "ok"
    )
    assert either("?login", user=other, password="new")["login"] is True


@pytest.mark.parametrize(
    ("action", "fields", "what"),
    [
        ("add_permission", {"user_permission": "special"}, "{}s"),
        ("delete_permission", {"user_permission": "admin"}, "{}s"),
        ("update_permissions", {"user_permissions": ["admin", "special"]}, "{}s"),
        ("update_alias", {"user_alias": "bob"}, "alias"),
    ],
)
def test_token_cannot_change_its_users_permissions_or_alias(either, action, fields, what):
    header, before = token_of(either, "root"), either.dump()
    word = {9: "permission", 8: "right"}[either.generation]
    answer = ask(either.browser(), f"users/?{action}", headers=header, user_name="root", **fields)
    assert answer["status"] == f"A token cannot change its user's {what.format(word)}."
    assert either.dump() == before
    assert (
        ask(either.browser(), f"users/?{action}", headers=header, user_name="ann", **fields)["status"] == "ok"
    )


@pytest.mark.parametrize("expires", [0, "0", 0.0, -5, 1])
def test_token_that_has_expired_is_not_made(site, expires):
    answer = site("tokens/?add", user="ann", token_name="t", token_expires=expires)
    assert answer["status"] == "The expiry of the token is in the past." and "token" not in answer


@pytest.mark.parametrize("fields", [{}, {"token_expires": None}, {"token_expires": ""}])
def test_token_without_a_time_never_expires(site, fields):
    site("tokens/?add", user="ann", token_name="t", **fields)
    assert site("tokens/?get", user="ann")["tokens"][0]["token_expires"] is None


@pytest.mark.parametrize("expires", [False, [], {}])
def test_time_of_a_token_is_a_number(site, expires):
    answer = site("tokens/?add", user="ann", check=400, token_name="t", token_expires=expires)
    assert answer["status"] == "Invalid value for token_expires."


def test_stored_token_that_expired_in_1970_is_not_valid(site):
    header = token_of(site, "ann")
    site.state("UPDATE token SET token_expires = 0")
    assert ask(site.browser(), "users/?get", headers=header)["status"] == "Token is not valid."
