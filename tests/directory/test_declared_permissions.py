"""Permissions that modules declare: they are listed, and others are warned about, but stored."""

import pytest

from support.second_wire import send
from support.site import MODULES, Site

MODULE = """
from mailapi import Module


class Special(Module):
    permissions = {"special": "is special"}
"""
WARNING = "Stored, but no module knows the {}: {}."


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def special_site(request, tmp_path) -> Site:
    (tmp_path / "special.py").write_text(MODULE)
    return Site(tmp_path, request.param, {"Special": str(tmp_path / "special.py")})


def stored(site) -> set:
    column = "api_permission" if site.generation == 9 else "api_right"
    return {name for (name,) in site.sql(f"SELECT {column} FROM api_access WHERE api_user = 'bob'")}


def test_declared_permissions_are_listed(special_site):
    key = "user_permissions" if special_site.generation == 9 else "user_rights"
    listed = special_site("users/?permissions", user="ann")[key]
    assert [(row[key.removeprefix("user_")[:-1]], row["module"]) for row in listed] == [
        ("admin", ""),
        ("delegate", ""),
        ("special", "special"),
    ]
    assert listed[2]["description"] == "is special"


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("add_permission", {"user_name": "bob", "user_permission": "specal"}),
        ("update_permissions", {"user_name": "bob", "user_permissions": ["specal", "special"]}),
    ],
)
def test_an_unknown_permission_is_stored_with_a_warning(special_site, action, fields):
    answer = send(special_site, f"users/{action}", **fields).json
    word = "permission" if special_site.generation == 9 else "right"
    assert (answer["status"], answer["code"]) == ("warning", "ok")
    assert answer["warning"] == WARNING.format(word, "specal") and "specal" in stored(special_site)


def test_a_new_user_with_known_and_unknown_permissions(site):
    answer = send(site, "users/add", user_name="x", user_permissions=["admin"]).json
    assert answer["status"] == "ok" and answer["user"] is True and "warning" not in answer
    answer = send(site, "users/add", user_name="y", user_permissions=["b", "a", "admin"]).json
    assert answer["user"] is True and answer["warning"] == WARNING.format("permission", "a, b")


def test_the_first_wire_warns_only_with_debug(tmp_path):
    fields = {"user_name": "bob", "user_permission": "specal"}
    for debug in (False, True):
        site = Site(tmp_path, debug=debug, modulelist={"User": MODULES["User"]})
        answer = site("users/?add_permission", **fields)
        assert answer["status"] == ("warning" if debug else "ok") and ("warning" in answer) is debug
