"""Where mailapi answers differently on purpose (docs/wire.md section 5): what a request may look like.

The other rows, and the test that counts them all, are in test_differences.py.
"""

import json
import re
import sys
from collections import Counter
from urllib.parse import quote

import pytest

from support.both_generations import (
    address,
    changed,
    done,
    mail,
    mails,
    refused,
    stored,
    user_database,
    who,
    word,
)
from support.browsers import ask, log_in
from support.site import authdata

pytestmark = pytest.mark.every_engine

WRONG = "Username or password is wrong."

NO_TEXT = [["x"], {"a": "b"}, True, [["x"]]]
FORBIDDEN = ["\0", "a\0b", "x\0", "\ud800", "a\udfffb", "\udc00\ud800"]


def new_address(site, order="", expression="a@one.org", user="ann", **other) -> dict:
    """The fields of addresses/?add."""
    fields = (
        {"address_user": user} if site.generation == 8 else {"address_router": "store", "address_route": user}
    )
    return {"address_expression": expression, "address_order": order} | fields | other


########## Addresses that say too little, or something else ########################################


EMPTY = ["", None, "missing"]


@pytest.mark.parametrize("nothing", EMPTY)
def test_f10_adding_half_an_address_is_refused_in_words(either, nothing):
    def without(field):
        fields = new_address(either) | {field: nothing}
        return {name: value for name, value in fields.items() if value != "missing"}

    sentences = {"address_expression": "We need an address expression."}
    if either.generation == 9:
        sentences |= {
            "address_router": "No address router defined.",
            "address_route": "Address router needs an argument (address_route).",
        }
    for field, sentence in sentences.items():
        for user in ("root", "dele", "ann"):
            refused(either, "addresses/?add", sentence, user=user, **without(field))


def test_f10_adding_takes_the_permission_and_the_expression(either):
    refused(
        either, "addresses/?add", f"No {word(either)} to add an address.", user="ann", **new_address(either)
    )
    refused(
        either,
        "addresses/?add",
        f"No {word(either)} to insert this expression.",
        user="dele",
        **new_address(either),
    )
    done(either, "addresses/?add", user="dele", **new_address(either, 7, "a@corp.org"))
    done(either, "addresses/?add", **new_address(either))
    rows = [(row[0], row[1], row[-1]) for row in stored(either)]
    assert rows == [("a@corp.org", 7, "ann"), ("a@one.org", 8, "ann")]


@pytest.mark.parametrize("router", ["any", "defined", "forward", "Store", "store ", "x", "1"])
def test_f33_a_router_that_the_daemons_do_not_know_is_refused(site, router):
    address(site, 10, "a@one.org", "ann")
    sentence = f"Unknown router {router}."
    refused(site, "addresses/?add", sentence, **new_address(site, address_router=router))
    refused(
        site, "addresses/?update", sentence, **changed(site, 10, "a@one.org", "ann", address_router=router)
    )
    if router not in ("any", "defined"):
        site.sql("INSERT INTO smtpd VALUES ('ann', 'any', NULL)")
        for action, user in (("add", "bob"), ("update", "ann")):
            refused(site, f"smtpd/?{action}", sentence, smtpd_user=user, smtpd_router=router, smtpd_route="x")


@pytest.mark.parametrize("nothing", EMPTY)
@pytest.mark.parametrize("router", ["store", "redirect", "handoff"])
def test_f33_routers_that_need_a_route_are_not_stored_without(site, router, nothing):
    address(site, 10, "a@one.org", "ann")
    sentence = "Address router needs an argument (address_route)."
    for action, fields in (("add", new_address(site)), ("update", changed(site, 10, "a@one.org", "ann"))):
        fields |= {"address_router": router, "address_route": nothing}
        fields = {name: value for name, value in fields.items() if value != "missing"}
        refused(site, f"addresses/?{action}", sentence, **fields)


@pytest.mark.parametrize("router", ["reject", "drop"])
def test_f33_routers_without_a_route_need_none(site, router):
    done(site, "addresses/?add", address_expression="a@one.org", address_router=router)
    assert stored(site) == [("a@one.org", 1, router, None)]


def test_f33_sending_has_its_own_routers(either):
    table, row = (
        ("smtpd", {"smtpd_user": "ann", "smtpd_router": "handoff"})
        if either.generation == 9
        else ("msa", {"msa_user": "ann", "msa_inrouter": "store", "msa_outrouter": "handoff"})
    )
    out = "smtpd_rout" if either.generation == 9 else "msa_outrout"
    for router in ("any", "defined", "drop", "reject"):
        done(either, f"{table}/?add", **row | {f"{out}er": router})
        for action in ("add", "update"):
            sentence = f"Router handoff needs an argument ({out}e)."
            refused(either, f"{table}/?{action}", sentence, **row, **{f"{out}e": ""})
            refused(either, f"{table}/?{action}", "Unknown router store.", **row | {f"{out}er": "store"})
        done(either, f"{table}/?update", **row, **{f"{out}e": "relay"})
        done(either, f"{table}/?delete", **{f"{table}_user": "ann"})


@pytest.mark.parametrize(
    "router, sentence",
    [
        ("forward", "Router forward needs an argument (msa_inroute)."),
        ("any", "Unknown router any."),
        ("handoff", "Router handoff needs an argument (msa_inroute)."),
        ("redirect", "Unknown router redirect."),
    ],
)
def test_f33_mail_comes_in_by_routers_of_the_msa(site8, router, sentence):
    site8.sql("INSERT INTO msa VALUES ('ann', 'drop', NULL, 'drop', NULL)")
    for user, action in (("bob", "add"), ("ann", "update")):
        refused(site8, f"msa/?{action}", sentence, msa_user=user, msa_inrouter=router, msa_outrouter="any")


def test_f37_an_order_that_is_no_whole_number_is_refused(either):
    address(either, 10, "a@one.org", "ann")
    invalid = "Invalid value for address_order."
    texts = ("x", "1x", " 5", "5\n", "+5", "1e3", "1.5", "\u0665", str(10**18))
    for order in (
        *texts,
        1.5,
        10**18,
        -(10**18),
        2**53,
        -(2**53),
        str(10**18 - 1),
        True,
        ["5"],
    ):  # docs/wire.md F47
        refused(
            either,
            "addresses/?update",
            invalid,
            400,
            **changed(either, 10, "a@one.org", "ann") | {"address_order": order},
        )
        refused(either, "addresses/?add", invalid, 400, **new_address(either, order))
        if either.generation == 9:
            refused(
                either, "addresses/?delete", invalid, 400, address_expression="a@one.org", address_order=order
            )
    for order in ("", []):
        refused(
            either,
            "addresses/?update",
            invalid,
            400,
            **changed(either, 10, "a@one.org", "ann") | {"address_order": order},
        )
    refused(
        either,
        "addresses/?update",
        "We want also an order.",
        **changed(either, 10, "a@one.org", "ann") | {"address_order": None},
    )


def test_f37_orders_end_at_2_53_and_nothing_means_the_next_order(either):
    address(either, 10, "a@one.org", "ann")
    for order in ("", None):
        done(either, "addresses/?add", **new_address(either, order))
    for order in (2**53 - 1, 1 - 2**53, "5"):
        done(either, "addresses/?add", **new_address(either, order))
    assert [row[1] for row in stored(either)] == [1 - 2**53, 5, 10, 11, 12, 2**53 - 1]


@pytest.mark.parametrize("old, new", [(20, "20"), ("20", 20), ("20", "20"), (20, 20)])
def test_f38_a_number_and_its_text_are_the_same_order(either, old, new):
    address(either, 10, "a@one.org", "ann")
    address(either, 20, "b@one.org", "ann")
    fields = changed(either, 20, "b@one.org", "bob") | {"address_order": new}
    done(
        either, "addresses/?update", **fields | ({"address_old_order": old} if either.generation == 9 else {})
    )
    assert [(row[1], row[-1]) for row in stored(either)] == [(10, "ann"), (20, "bob")]
    if either.generation == 9:
        for taken in (10, "10"):
            refused(either, "addresses/?update", "Duplicate order.", **fields | {"address_order": taken})


@pytest.mark.parametrize(
    "given, expression, covered",
    [
        ("_@corp.org", "a@corp.org", True),
        ("_@corp.org", "_@corp.org", True),
        ("_@corp.org", "%@corp.org", False),
        ("_@corp.org", "ab@corp.org", False),
        ("%@corp.org", "_@corp.org", True),
        ("%@corp.org", "%@corp.org", True),
        ("%@corp.org", "a%b_@CORP.org", True),
        ("%@corp.org", "%", False),
        ("%@corp.org", "%@_orp.org", False),
        ("%@corp.org", "%@corp.or_", False),
        ("%@corp.org", "%@corp.org%", False),
        ("a@corp.org", "_@corp.org", False),
        ("a@corp.org", "%", False),
        ("A@corp.org", "a@CORP.ORG", True),
        ("\xe4@corp.org", "\xc4@corp.org", False),
        ("k@corp.org", "\u212a@corp.org", False),
        ("a%@corp.org", "a%%@corp.org", True),
        ("a%", "%", False),
        ("%a%", "%ba%", True),
        ("%a%", "%b%", False),
        ("%a%b", "%b", False),
        ("a_%", "a%", False),
        ("a%", "a_%", True),
        ("%.corp.org", "%@x.corp.org", True),
        ("%.corp.org", "%@xcorp.org", False),
        ("_%", "%", False),
        ("__", "%", False),
        ("__", "__", True),
        ("%", "%_%", True),
        ("%_", "%", False),
        ("a.b", "axb", False),
        ("[a-z]@corp.org", "b@corp.org", False),
        ("a\\_b", "a\\xb", True),
        ("%@corp.org", "a\n@corp.org", True),
    ],
)
def test_f39_an_expression_is_delegated_only_with_all_that_it_matches(either, given, expression, covered):
    either.sql("UPDATE api_address_delegates SET api_expression = ?", given)
    fields = new_address(either, 10, expression)
    if covered:
        done(either, "addresses/?add", user="dele", **fields)
        assert len(done(either, "addresses/?get", user="dele")["addresses"]) == 1
        done(either, "addresses/?update", user="dele", **changed(either, 10, expression, "bob"))
        done(either, "addresses/?delete", user="dele", address_expression=expression, address_order=10)
        assert stored(either) == []
        return
    refused(either, "addresses/?add", f"No {word(either)} to insert this expression.", user="dele", **fields)
    address(either, 10, expression, "bob")
    assert done(either, "addresses/?get", user="dele")["addresses"] == []
    refused(
        either,
        "addresses/?update",
        f"No {word(either)} to update this to address",
        user="dele",
        **changed(either, 10, expression, "ann"),
    )
    refused(
        either,
        "addresses/?delete",
        "No access.",
        user="dele",
        address_expression=expression,
        address_order=10,
    )
    row = done(either, "addresses/?get")["addresses"][0]
    refused(either, "addresses/?switch", "No access.", user="dele", address1=row, address2=row)


def test_f39_many_wildcards_are_decided_quickly(site):
    site.sql("UPDATE api_address_delegates SET api_expression = ?", "%a" * 40 + "%b")
    refused(
        site,
        "addresses/?add",
        "No permission to insert this expression.",
        user="dele",
        **new_address(site, 10, "a" * 1000),
    )


def test_f40_in_addresses_empty_text_is_missing_in_this_order(either):
    """What is given grows by one field at a time; a plain user's permission comes last."""
    steps = [("address_expression", "We need an address expression.", "a@one.org")]
    if either.generation == 9:
        steps += [
            ("address_router", "No address router defined.", "wrong"),
            ("address_router", "Unknown router wrong.", "redirect"),
            ("address_route", "Address router needs an argument (address_route).", "b@one.org"),
        ]
    else:
        steps += [("address_user", None, "ann")]
    fields = {"address_expression": "", "address_router": "", "address_route": "", "address_user": ""}
    for name, sentence, value in steps:
        if sentence:
            refused(either, "addresses/?add", sentence, user="ann", **fields)
        fields[name] = value
    refused(either, "addresses/?add", f"No {word(either)} to add an address.", user="ann", **fields)


def test_f40_empty_text_is_missing_in_update_and_delete_too(either):
    address(either, 10, "a@one.org", "ann")
    good = changed(either, 10, "a@one.org", "ann")
    sentences = {
        9: {
            "address_router": "No address router defined.",
            "address_route": "Address router needs an argument (address_route).",
        },
        8: {"address_user": "We want also an username."},
    }[either.generation]
    for field, sentence in ({"address_expression": "We need an address expression."} | sentences).items():
        refused(either, "addresses/?update", sentence, **good | {field: ""})
    refused(
        either, "addresses/?delete", "We need an address expression.", address_expression="", address_order=10
    )
    if either.generation == 9:
        refused(
            either,
            "addresses/?delete",
            "We need the address order.",
            address_expression="%",
            address_order="",
        )


def test_f40_an_empty_route_is_stored_as_none(site):
    done(site, "addresses/?add", **new_address(site, 10, address_router="drop", address_route=""))
    done(site, "addresses/?add", **new_address(site, 20))
    done(site, "addresses/?update", **changed(site, 20, "a@one.org", "", address_router="reject"))
    assert [row[2:] for row in stored(site)] == [("drop", None), ("reject", None)]


########## Types ###################################################################################


def test_f17_names_stay_text_and_counts_are_numbers(either):
    for name in ("007", "1e3"):
        done(
            either,
            "users/?add",
            user_name=name,
            user_authdata="pw",
            user_alias="ann",
            user_permissions=["42"],
        )
    either.sql("UPDATE users SET user_alias = '007' WHERE user_name = '1e3'")
    either.sql("INSERT INTO popd VALUES ('007', 1)")
    address(either, 10, "0x1A", "007")
    address(either, 20, "5.0", "007")
    mail_id = mail(either, "007", b"Subject: 0123\r\nFrom: 1\r\nTo: 2\r\nDate: 3\r\n\r\n456")
    for _ in range(2):  # by name, and by the number that is its text
        user = done(either, "users/?get", username="1e3")["users"][0]
        assert (user["user_name"], user["user_alias"]) == ("1e3", "007")
        assert user[f"user_{word(either)}s"] == ["42"]
    rows = {row["user_name"]: row for row in done(either, "users/?get")["users"]}
    assert rows["1e3"]["user_alias"] == "007"
    if either.generation == 9:
        assert [rows["007"][k] for k in ("has_login", "link_count", "mails")] == [1, 2, 1]
        assert [rows["nologin"][k] for k in ("has_login", "link_count", "mails")] == [0, None, 0]
    own = done(either, "pop/?get", user="007")
    assert (own["auth_user"], own["pop"]) == ("007", [{"pop_user": "007", "pop_lock": 1}])
    assert own[word(either) + "s"] == {"42": True}
    found = [
        (row["address_expression"], row["address_order"], row.get("address_route", row.get("address_user")))
        for row in done(either, "addresses/?get")["addresses"]
    ]
    assert found == [("5.0", 20, "007"), ("0x1A", 10, "007")]
    listed = done(either, "mailbox/?get", user="007")["mails"][0]
    shown = done(either, "mailbox/?read", user="007", mail_id=mail_id)["mail"]
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
        done(either, "users/?add", user_name=name)
    assert either.sql("SELECT user_name, typeof(user_name) FROM users WHERE user_name < 'a'") == [
        ("1.5", "text"),
        ("100000000000000000", "text"),
        ("7", "text"),
    ]
    assert done(either, "users/?get", username=7)["users"][0]["user_name"] == "7"


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
    field = f"user_{word(either)}s"
    name = "new" if action == "add" else "root"
    answer = refused(
        either, f"users/?{action}", f"Invalid value for {field}.", 400, user_name=name, **{field: value}
    )
    assert "login" not in answer


@pytest.mark.parametrize("auth", ["root", "root:pw", True, 5, ["root", "pw"], "\0"])
def test_f27_auth_is_an_object(either, auth):
    refused(either, "users/?get", "Invalid value for auth.", 400, user=None, auth=auth)


@pytest.mark.parametrize("field", ["user_name", "password"])
@pytest.mark.parametrize("value", [*NO_TEXT, "root\0", "pw\0", "\ud800"], ids=repr)
def test_f27_credentials_are_text(either, field, value):
    auth = {"user_name": "root", "password": "pw", field: value}
    answer = either("pop/?get", user=None, check=400, auth=auth)
    assert answer["status"].startswith("Invalid value for auth") and "login" not in answer


def test_f27_only_missing_null_and_empty_are_no_password(either):
    for value in (False, []):
        refused(
            either,
            "users/?set_password",
            "Invalid value for user_authdata.",
            400,
            user_name="ann",
            user_authdata=value,
        )


@pytest.mark.parametrize("which", ["address1", "address2"])
def test_f27_the_addresses_of_a_switch_are_objects_of_texts(either, which):
    address(either, 10, "a@corp.org", "ann")
    address(either, 20, "b@corp.org", "ann")
    second, first = done(either, "addresses/?get")["addresses"]
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
        refused(either, "pop/?add", "Invalid value for unknown.", 400, pop_user="ann", **where)
    answer = refused_raw(
        either,
        "pop/?add",
        json.dumps({"auth": {"user_name": "root", "password": "pw"}, "pop_user": "ann", text: 1}).encode(),
    )
    assert answer["status"].startswith("Invalid value for ")
    if "\0" in text and either.generation == 9:
        refused(either, "addresses/?get&test=" + quote(text), "Invalid value for test.", 400)


def test_f27_a_pair_of_surrogates_is_a_character(either):
    done(either, "users/?add", user_name="\U0001f600", user_authdata="\U0001f511")
    assert either("pop/?get", user="\U0001f600", password="\U0001f511")["auth_user"] == "\U0001f600"


def test_f32_zero_is_a_password(either):
    for given in ("0", 0):
        done(either, "users/?set_password", user_name="nologin", user_authdata=given)
        for password in ("0", 0):
            assert either("pop/?get", user="nologin", password=password)["auth_user"] == "nologin"
        assert either("pop/?get", user="nologin", password="00")["login"] is False
        done(either, "users/?set_password", user_name="nologin", user_authdata=None)
        assert either.sql("SELECT user_authdata FROM users WHERE user_name = 'nologin'") == [(None,)]
    done(either, "users/?add", user_name="new", user_authdata="0")
    assert either("pop/?get", user="new", password="0")["login"] is True
    for nothing in ("", None):
        assert either("pop/?get", user="new", password=nothing)["status"] == "Password is not set!"


########## The request itself ######################################################################


def refused_raw(site, url, body, **environ):
    before = site.dump()
    answer = site.raw(url, body, 400, **environ)
    assert site.dump() == before and "login" not in answer
    return answer


BODIES = [
    b"[]",
    b"[1]",
    b"null",
    b'"text"',
    b"5",
    b"true",
    b"{",
    b"{}x",
    b"{} {}",
    b'{"a":}',
    b"{'a': 1}",
    b"user=root",
    b"\xff",
    b'{"a": "\xed\xa0\x80"}',
    b'{"a": "\xff"}',
    b'{"a": NaN}',
    b'{"a": -Infinity}',
    b'{"a": "\0"}',
    b"[" * 100000,
    b'{"a":' * 100000,
    b"\xef\xbb\xbf{}",
    b'{"a": 1,}',
    b'{"auth": {"user_name": "root"',
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:12]))
def test_f22_a_body_that_is_no_json_object_does_nothing(either, body):
    either.sql("INSERT INTO popd VALUES ('ann', 1)")
    browser = log_in(either, "ann")
    before = either.dump()
    for url in ("pop/?get", "pop/?unlock", "users/?set_password", "?logout", "?unknown"):
        answer = browser.post("/" + url, body, status=400).json
        assert answer["status"] == "Invalid JSON in request body." and "login" not in answer
    assert either.dump() == before
    assert who(browser) == "ann"


@pytest.mark.parametrize(
    "callback",
    [
        "",
        "1a",
        "a-b",
        "a b",
        "a(",
        "alert(1)//",
        "a\n",
        "\xe9",
        "a\xe9",
        "a" * 129,
        ".a",
        "a;b",
        "a[0]",
        "<script>",
        "a\u0660",
        "a\0",
    ],
)
def test_f20_a_callback_that_is_no_name_is_refused(either, callback):
    before = either.dump()
    body = json.dumps({"pop_user": "ann", "auth": {"user_name": "root", "password": "pw"}})
    answer = either.browser().post(f"/pop/?add&callback={quote(callback)}", body, status=400)
    assert answer.content_type == "application/json"
    assert answer.json["status"] != "ok" and "login" not in answer.json
    assert either.dump() == before


@pytest.mark.parametrize("callback", ["f", "$", "_", "jQuery.done", "$._1", "a" * 128])
def test_f20_the_payload_of_a_callback_survives_quotes(site, callback):
    evil = "');alert(1)//\"\\'\\\\\u2028\u2029\n</script>"
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", evil, authdata("pw"))
    body = json.dumps({"auth": {"user_name": evil, "password": "pw"}})
    answer = site.browser().post(f"/users/?get&callback={callback}", body)
    assert answer.content_type == "application/javascript"
    text = answer.body.decode()
    literal = re.fullmatch(re.escape(callback) + r"\('((?:[^'\\\n\r\u2028\u2029]|\\.)*)'\);?", text)[1]
    escapes = {"n": "\n", "r": "\r", "t": "\t"}
    payload = re.sub(
        r"\\(u[0-9a-fA-F]{4}|.)",
        lambda m: chr(int(m[1][1:], 16)) if len(m[1]) > 1 else escapes.get(m[1], m[1]),
        literal,
    )
    assert json.loads(payload)["auth_user"] == evil


@pytest.mark.parametrize(
    "limit", ["", "0", "00", "-1", "+1", "1.5", "x", "1x", "1e3", " 1", "1 ", "1\n", "\u0661"]
)
def test_f25_a_limit_that_is_no_positive_whole_number_is_refused(either, limit):
    answer = refused(either, f"pop/?add&limit={quote(limit)}", "Invalid limit.", 400, pop_user="ann")
    assert "login" not in answer


def test_f25_limit_cuts_the_returned_list_and_nothing_else(either):
    for permission in ("a", "b"):
        either.sql("INSERT INTO api_access VALUES ('root', ?)", permission)
    either.sql("INSERT INTO popd (pop_user) VALUES ('root'), ('ann')")
    either.sql("INSERT INTO api_user_delegates VALUES ('dele', 'bob')")
    either.sql("INSERT INTO api_address_delegates VALUES ('dele', '%@two.org')")
    answer = done(either, "users/?get&limit=1", username="root")
    assert answer[f"{word(either)}s"] == {"a": True, "admin": True, "b": True}
    assert sorted(answer["users"][0][f"user_{word(either)}s"]) == ["a", "admin", "b"]
    assert answer["users"][0]["modules"] == {"User": True, "POP": True}
    assert [user["user_name"] for user in done(either, "users/?get&limit=2")["users"]] == ["ann", "bob"]
    assert len(done(either, "pop/?get&limit=1")["pop"]) == 1
    delegates = done(either, "delegates/?get&limit=1")["delegates"]
    assert [len(delegates["users"]), len(delegates["addresses"])] == [1, 1]


@pytest.mark.parametrize("limit", ["2", "0002", "1000", str(10**18), str(10**30)])
def test_f25_a_limit_beyond_the_list_is_no_limit(either, limit):
    either.sql("INSERT INTO popd (pop_user) VALUES ('root'), ('ann')")
    assert len(done(either, f"pop/?get&limit={limit}")["pop"]) == 2


def test_f25_limit_does_not_limit_what_may_be_seen_or_done(either):
    """The rows that a caller may see are counted after those that they may not."""
    for order, user in ((10, "ann"), (20, "bob"), (30, "bob")):
        address(either, order, f"{order}@one.org", user)
    assert [
        row["address_order"] for row in done(either, "addresses/?get&limit=1", user="ann")["addresses"]
    ] == [10]
    either.sql("INSERT INTO api_user_delegates VALUES ('dele', 'bob')")
    for user in ("ann", "bob"):
        done(either, "pop/?add&limit=1", user="dele", pop_user=user)
    path = user_database(either, "ann")
    for place in (None, path):
        mail(either, "ann", path=place)
    assert len(done(either, "mailbox/?get&limit=1", user="ann")["mails"]) == 1
    assert len(mails(path)) == 1


########## Who asks ################################################################################


def test_f18_a_failed_login_does_not_tell_who_exists(either):
    answers = [
        either("pop/?get", user=user, password="wrong") for user in ("ann", "nobody", "nologin", "ANN", "an_")
    ]
    assert all(answer == answers[0] for answer in answers)
    assert (answers[0]["status"], answers[0]["login"]) == (WRONG, False)
    assert not {"auth_user", "permissions", "rights", "pop"} & set(answers[0])


def test_f18_a_failed_login_takes_the_same_work(site):
    site.sql("UPDATE users SET user_authdata = 'broken' WHERE user_name = 'bob'")
    work = {user: Counter() for user in ("ann", "nobody", "nologin", "bob")}
    for user, calls in work.items():
        site("pop/?get", user=user, password="wrong")  # whatever happens only once has happened
        sys.setprofile(lambda frame, event, arg: event == "c_call" and calls.update([arg.__name__]))
        try:
            site("pop/?get", user=user, password="wrong")
        finally:
            sys.setprofile(None)
    names = ("openssl_sha256", "hexdigest", "compare_digest")
    hashing = [{name: calls[name] for name in names} for calls in work.values()]
    assert hashing[0]["openssl_sha256"] > 0
    assert all(done == hashing[0] for done in hashing)


def attributes(answer) -> tuple[str, dict]:
    """The value and the attributes of the session cookie."""
    first, *rest = answer.headers["Set-Cookie"].split("; ")
    assert first.startswith("PHPSESSID=")
    pairs = [pair.partition("=") for pair in rest]
    return first.removeprefix("PHPSESSID="), {key.lower(): value for key, _, value in pairs}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_f21_the_session_cookie_is_out_of_reach_for_scripts_and_other_sites(either, scheme):
    browser = either.browser(SCRIPT_NAME="/mail/api", **{"wsgi.url_scheme": scheme})
    answer = browser.post("/mail/api/?login", json.dumps({"auth": {"user_name": "ann", "password": "pw"}}))
    token, flags = attributes(answer)
    assert flags.pop("path").rstrip("/") == "/mail/api"
    assert flags == {"httponly": "", "samesite": "Lax"} | ({"secure": ""} if scheme == "https" else {})
    assert len(token) >= 22  # 128 bits


def test_f21_every_login_has_a_new_id_that_the_server_chose(either):
    body = json.dumps({"auth": {"user_name": "ann", "password": "pw"}})
    tokens = ["chosen-by-the-attacker"]
    for _ in range(3):  # each with the cookie of the one before
        answer = either.browser().post("/?login", body, headers={"Cookie": f"PHPSESSID={tokens[-1]}"})
        tokens.append(attributes(answer)[0])
    assert len(set(tokens)) == 4
    alive = [
        either.browser().post("/", headers={"Cookie": f"PHPSESSID={token}"}).json["login"] for token in tokens
    ]
    assert alive == [False, False, False, True]  # a log-in ends the session whose cookie came along


def test_f30_credentials_decide_even_beside_a_live_session(either):
    browser = log_in(either, "ann")
    for auth, status in [
        (("bob", "wrong"), WRONG),
        (("nobody", "pw"), WRONG),
        (("ann", "wrong"), WRONG),
        (("root", ""), "Password is not set!"),
    ]:
        before = either.dump()
        answer = browser.post(
            "/pop/?add", json.dumps({"pop_user": "ann", "auth": dict(zip(("user_name", "password"), auth))})
        )
        assert (answer.json["status"], answer.json["login"]) == (status, False)
        assert either.dump() == before and "Set-Cookie" not in answer.headers
        assert who(browser) == "ann"
    for nobody in ({"user_name": "", "password": ""}, {"user_name": None, "password": "x"}, {}):
        assert ask(browser, "?login", auth=nobody)["auth_user"] == "ann"
    assert ask(browser, "?login", auth={"user_name": "bob", "password": "pw"})["auth_user"] == "bob"
    assert who(browser) == "bob"


@pytest.mark.parametrize(
    "form", ["{0} ", "{0}\n", "{0}0", "{0}:", " {0}x", "{1}", "s:{0}", "{2}", "x{2}", "", ":"]
)
def test_f35_only_what_the_daemons_accept_logs_in(either, form):
    good = authdata("pw")
    salt, digest = good.split(":")
    for stored_form, works in [(form.format(good, f"{salt}:{digest.upper()}", digest), False), (good, True)]:
        either.sql("UPDATE users SET user_authdata = ? WHERE user_name = 'bob'", stored_form)
        answer = either("pop/?get", user="bob")
        assert (answer["login"], answer["status"]) == ((True, "ok") if works else (False, WRONG))
