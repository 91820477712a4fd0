"""Deliberate differences from the original (docs/wire.md section 5): the types of fields."""

import json
from urllib.parse import quote

import pytest

from support.both_generations import (
    add_address,
    assert_done,
    assert_refused,
    permission_word,
    store_mail,
)

pytestmark = pytest.mark.every_engine


NO_TEXT = [["x"], {"a": "b"}, True, [["x"]]]
FORBIDDEN = ["\0", "a\0b", "x\0", "\ud800", "a\udfffb", "\udc00\ud800"]


def refused_raw(site, url, body, **environ):
    """Check that a body is refused before the log-in and changes nothing; return the answer."""
    before = site.dump()
    answer = site.raw(url, body, 400, **environ)
    assert site.dump() == before and "login" not in answer
    return answer


def test_f17_names_stay_text_and_counts_are_numbers(either):
    for name in ("007", "1e3"):
        assert_done(
            either,
            "users/?add",
            user_name=name,
            user_authdata="pw",
            user_alias="ann",
            user_permissions=["42"],
        )
    either.sql("UPDATE users SET user_alias = '007' WHERE user_name = '1e3'")
    either.sql("INSERT INTO popd VALUES ('007', 1)")
    add_address(either, 10, "0x1A", "007")
    add_address(either, 20, "5.0", "007")
    mail_id = store_mail(either, "007", b"Subject: 0123\r\nFrom: 1\r\nTo: 2\r\nDate: 3\r\n\r\n456")
    for _ in range(2):  # by name, and by the number that is its text
        user = assert_done(either, "users/?get", username="1e3")["users"][0]
        assert (user["user_name"], user["user_alias"]) == ("1e3", "007")
        assert user[f"user_{permission_word(either)}s"] == ["42"]
    rows = {row["user_name"]: row for row in assert_done(either, "users/?get")["users"]}
    assert rows["1e3"]["user_alias"] == "007"
    if either.generation == 9:
        assert [rows["007"][k] for k in ("has_login", "link_count", "mails")] == [1, 2, 1]
        assert [rows["nologin"][k] for k in ("has_login", "link_count", "mails")] == [0, None, 0]
    own = assert_done(either, "pop/?get", user="007")
    assert (own["auth_user"], own["pop"]) == ("007", [{"pop_user": "007", "pop_lock": 1}])
    assert own[permission_word(either) + "s"] == {"42": True}
    found = [
        (row["address_expression"], row["address_order"], row.get("address_route", row.get("address_user")))
        for row in assert_done(either, "addresses/?get")["addresses"]
    ]
    assert found == [("5.0", 20, "007"), ("0x1A", 10, "007")]
    listed = assert_done(either, "mailbox/?get", user="007")["mails"][0]
    shown = assert_done(either, "mailbox/?read", user="007", mail_id=mail_id)["mail"]
    assert [listed[k] for k in ("mail_subject", "mail_from", "mail_to", "mail_date")] == [
        "0123",
        "1",
        "2",
        "3",
    ]
    assert (shown["mail_body"], shown["mail_subject"], type(shown["mail_data"])) == ("456", "0123", str)
    for row in (listed, shown):
        assert (row["mail_id"], row["mail_submission"], row["mail_read"]) == (mail_id, 1700000000, 0)
        assert all(type(row[k]) is int for k in ("mail_id", "mail_submission", "mail_read"))
        assert row["mail_user"] == "007"


def test_f17_a_number_in_a_request_is_its_text(either):
    for name in (7, 10**17, 1.5):
        assert_done(either, "users/?add", user_name=name)
    assert either.sql("SELECT user_name, typeof(user_name) FROM users WHERE user_name < 'a'") == [
        ("1.5", "text"),
        ("100000000000000000", "text"),
        ("7", "text"),
    ]
    assert assert_done(either, "users/?get", username=7)["users"][0]["user_name"] == "7"


TEXT_FIELDS = {
    "users/?get": "username user_name",
    "users/?add": "user_name user_authdata user_alias",
    "users/?delete": "user_name",
    "users/?set_password": "user_name user_authdata",
    "users/?add_permission": {9: "user_name user_permission", 8: "user_name user_right"},
    "users/?delete_permission": {9: "user_name user_permission", 8: "user_name user_right"},
    "users/?update_permissions": "user_name",
    "users/?update_alias": "user_name user_alias",
    "addresses/?get": "address_expression address_user address_order",
    "addresses/?test": "address_expression address_routing sender smtpd_user recipient",
    "addresses/?add": {
        9: "address_expression address_router address_route address_order",
        8: "address_expression address_user address_order",
    },
    "addresses/?update": {
        9: "address_expression address_router address_route address_order address_old_order",
        8: "address_expression address_user address_order",
    },
    "addresses/?delete": "address_expression",
    "addresses/?switch": "address1 address2",
    "pop/?get": "pop_user",
    "pop/?add": "pop_user",
    "pop/?delete": "pop_user",
    "pop/?unlock": "pop_user",
    "smtpd/?get": {9: "smtpd_user"},
    "smtpd/?add": {9: "smtpd_user smtpd_router smtpd_route"},
    "smtpd/?update": {9: "smtpd_user smtpd_router smtpd_route"},
    "smtpd/?delete": {9: "smtpd_user"},
    "msa/?get": {8: "msa_user"},
    "msa/?add": {8: "msa_user msa_inrouter msa_inroute msa_outrouter msa_outroute"},
    "msa/?update": {8: "msa_user msa_inrouter msa_inroute msa_outrouter msa_outroute"},
    "msa/?delete": {8: "msa_user"},
    "delegates/?user_add": "api_user api_delegate",
    "delegates/?user_delete": "api_user api_delegate",
    "delegates/?address_add": "api_user api_expression",
    "delegates/?address_delete": "api_user api_expression",
    "mailbox/?read": "mail_id mail_sourcedb",
    "mailbox/?unread": "mail_id mail_sourcedb",
    "mailbox/?delete": "mail_id mail_sourcedb",
    "mailbox/?raw": "mail_id mail_sourcedb",
    "mailbox/?parts": "mail_id mail_sourcedb",
    "mailbox/?attachment": "mail_id mail_sourcedb part",
    "mailbox/?html": "mail_id mail_sourcedb",
    "mailbox/?search": "subject from text before after next",
}


@pytest.mark.parametrize("action", TEXT_FIELDS)
def test_f27_a_field_that_should_be_text_is_refused_by_name(either, action):
    fields = TEXT_FIELDS[action]
    before = either.dump()
    for field in (fields if isinstance(fields, str) else fields.get(either.generation, "")).split():
        others = {other: "ann" for other in ("user_name", "pop_user", "api_user") if other != field}
        for value in NO_TEXT + FORBIDDEN:
            if field in ("address1", "address2") and value == {"a": "b"}:
                continue
            answer = either(action, check=400, **others, **{field: value})
            assert answer["status"] == f"Invalid value for {field}.", value
            assert "login" not in answer
    assert either.dump() == before


@pytest.mark.parametrize("action", ["add", "update_permissions"])
@pytest.mark.parametrize(
    "value",
    ["admin", "", 5, True, {"a": "admin"}, [["admin"]], [{"a": "b"}], [True], ["a\0"], ["other", "\ud800"]],
    ids=str,
)
def test_f27_permissions_are_a_list_of_texts(either, action, value):
    """In generation 8 the field is user_rights, so that is what the sentence names."""
    field = f"user_{permission_word(either)}s"
    name = "new" if action == "add" else "root"
    answer = assert_refused(
        either, f"users/?{action}", f"Invalid value for {field}.", 400, user_name=name, **{field: value}
    )
    assert "login" not in answer


@pytest.mark.parametrize("auth", ["root", "root:pw", True, 5, ["root", "pw"], "\0"])
def test_f27_auth_is_an_object(either, auth):
    assert_refused(either, "users/?get", "Invalid value for auth.", 400, user=None, auth=auth)


@pytest.mark.parametrize("field", ["user_name", "password"])
@pytest.mark.parametrize("value", [*NO_TEXT, "root\0", "pw\0", "\ud800"], ids=repr)
def test_f27_credentials_are_text(either, field, value):
    auth = {"user_name": "root", "password": "pw", field: value}
    answer = either("pop/?get", user=None, check=400, auth=auth)
    assert answer["status"].startswith("Invalid value for auth") and "login" not in answer


def test_f27_only_missing_null_and_empty_are_no_password(either):
    for value in (False, []):
        assert_refused(
            either,
            "users/?set_password",
            "Invalid value for user_authdata.",
            400,
            user_name="ann",
            user_authdata=value,
        )


@pytest.mark.parametrize("which", ["address1", "address2"])
def test_f27_the_addresses_of_a_switch_are_objects_of_texts(either, which):
    add_address(either, 10, "a@corp.org", "ann")
    add_address(either, 20, "b@corp.org", "ann")
    second, first = assert_done(either, "addresses/?get")["addresses"]
    pair = {"address1": first, "address2": second}
    for field in ("address_expression", "address_order"):
        for value in NO_TEXT + FORBIDDEN + (["x", 1.5, 10**18] if field == "address_order" else []):
            before = either.dump()
            answer = either("addresses/?switch", check=400, **pair | {which: pair[which] | {field: value}})
            assert answer["status"].startswith("Invalid value for ") and either.dump() == before
            assert which in answer["status"] or field in answer["status"]


@pytest.mark.parametrize("text", FORBIDDEN)
def test_f27_forbidden_text_is_refused_anywhere(either, text):
    for where in ({"unknown": text}, {"unknown": [{"deep": [text]}]}, {"unknown": {text: 1}}):
        assert_refused(either, "pop/?add", "Invalid value for unknown.", 400, pop_user="ann", **where)
    answer = refused_raw(
        either,
        "pop/?add",
        json.dumps({"auth": {"user_name": "root", "password": "pw"}, "pop_user": "ann", text: 1}).encode(),
    )
    assert answer["status"].startswith("Invalid value for ")
    if "\0" in text and either.generation == 9:
        assert_refused(either, "addresses/?get&test=" + quote(text), "Invalid value for test.", 400)


def test_f27_a_pair_of_surrogates_is_a_character(either):
    assert_done(either, "users/?add", user_name="\U0001f600", user_authdata="\U0001f511")
    assert either("pop/?get", user="\U0001f600", password="\U0001f511")["auth_user"] == "\U0001f600"


def test_f32_the_password_0_is_accepted(either):
    for given in ("0", 0):
        assert_done(either, "users/?set_password", user_name="nologin", user_authdata=given)
        for password in ("0", 0):
            assert either("pop/?get", user="nologin", password=password)["auth_user"] == "nologin"
        assert either("pop/?get", user="nologin", password="00")["login"] is False
        assert_done(either, "users/?set_password", user_name="nologin", user_authdata=None)
        assert either.sql("SELECT user_authdata FROM users WHERE user_name = 'nologin'") == [(None,)]
    assert_done(either, "users/?add", user_name="new", user_authdata="0")
    assert either("pop/?get", user="new", password="0")["login"] is True
    for nothing in ("", None):
        assert either("pop/?get", user="new", password=nothing)["status"] == "Password is not set!"
