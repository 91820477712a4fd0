"""Deliberate differences from the original (docs/wire.md section 5): incomplete and wrong addresses."""

import pytest

from support.both_generations import (
    add_address,
    assert_done,
    assert_refused,
    permission_word,
    stored_addresses,
    update_fields,
)

pytestmark = pytest.mark.every_engine


def new_address(site, order="", expression="a@one.org", user="ann", **other) -> dict:
    """Return the fields of addresses/?add."""
    fields = (
        {"address_user": user} if site.generation == 8 else {"address_router": "store", "address_route": user}
    )
    return {"address_expression": expression, "address_order": order} | fields | other


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
            assert_refused(either, "addresses/?add", sentence, user=user, **without(field))


def test_f10_adding_takes_the_permission_and_the_expression(either):
    assert_refused(
        either,
        "addresses/?add",
        f"No {permission_word(either)} to add an address.",
        user="ann",
        **new_address(either),
    )
    assert_refused(
        either,
        "addresses/?add",
        f"No {permission_word(either)} to insert this expression.",
        user="dele",
        **new_address(either),
    )
    assert_done(either, "addresses/?add", user="dele", **new_address(either, 7, "a@corp.org"))
    assert_done(either, "addresses/?add", **new_address(either))
    rows = [(row[0], row[1], row[-1]) for row in stored_addresses(either)]
    assert rows == [("a@corp.org", 7, "ann"), ("a@one.org", 8, "ann")]


@pytest.mark.parametrize("router", ["any", "defined", "forward", "Store", "store ", "x", "1"])
def test_f33_a_router_that_the_daemons_do_not_know_is_refused(site, router):
    add_address(site, 10, "a@one.org", "ann")
    sentence = f"Unknown router {router}."
    assert_refused(site, "addresses/?add", sentence, **new_address(site, address_router=router))
    assert_refused(
        site,
        "addresses/?update",
        sentence,
        **update_fields(site, 10, "a@one.org", "ann", address_router=router),
    )
    if router not in ("any", "defined"):
        site.sql("INSERT INTO smtpd VALUES ('ann', 'any', NULL)")
        for action, user in (("add", "bob"), ("update", "ann")):
            assert_refused(
                site, f"smtpd/?{action}", sentence, smtpd_user=user, smtpd_router=router, smtpd_route="x"
            )


@pytest.mark.parametrize("nothing", EMPTY)
@pytest.mark.parametrize("router", ["store", "redirect", "handoff"])
def test_f33_routers_that_need_a_route_are_not_stored_without(site, router, nothing):
    add_address(site, 10, "a@one.org", "ann")
    sentence = "Address router needs an argument (address_route)."
    for action, fields in (
        ("add", new_address(site)),
        ("update", update_fields(site, 10, "a@one.org", "ann")),
    ):
        fields |= {"address_router": router, "address_route": nothing}
        fields = {name: value for name, value in fields.items() if value != "missing"}
        assert_refused(site, f"addresses/?{action}", sentence, **fields)


@pytest.mark.parametrize("router", ["reject", "drop"])
def test_f33_routers_without_a_route_need_none(site, router):
    assert_done(site, "addresses/?add", address_expression="a@one.org", address_router=router)
    assert stored_addresses(site) == [("a@one.org", 1, router, None)]


def test_f33_out_routers_differ_from_the_routers_of_addresses(either):
    table, row = (
        ("smtpd", {"smtpd_user": "ann", "smtpd_router": "handoff"})
        if either.generation == 9
        else ("msa", {"msa_user": "ann", "msa_inrouter": "store", "msa_outrouter": "handoff"})
    )
    out = "smtpd_rout" if either.generation == 9 else "msa_outrout"
    for router in ("any", "defined", "drop", "reject"):
        assert_done(either, f"{table}/?add", **row | {f"{out}er": router})
        for action in ("add", "update"):
            sentence = f"Router handoff needs an argument ({out}e)."
            assert_refused(either, f"{table}/?{action}", sentence, **row, **{f"{out}e": ""})
            assert_refused(
                either, f"{table}/?{action}", "Unknown router store.", **row | {f"{out}er": "store"}
            )
        assert_done(either, f"{table}/?update", **row, **{f"{out}e": "relay"})
        assert_done(either, f"{table}/?delete", **{f"{table}_user": "ann"})


@pytest.mark.parametrize(
    "router, sentence",
    [
        ("forward", "Router forward needs an argument (msa_inroute)."),
        ("any", "Unknown router any."),
        ("handoff", "Router handoff needs an argument (msa_inroute)."),
        ("redirect", "Unknown router redirect."),
    ],
)
def test_f33_the_msa_has_in_routers_of_its_own(site8, router, sentence):
    site8.sql("INSERT INTO msa VALUES ('ann', 'drop', NULL, 'drop', NULL)")
    for user, action in (("bob", "add"), ("ann", "update")):
        assert_refused(
            site8, f"msa/?{action}", sentence, msa_user=user, msa_inrouter=router, msa_outrouter="any"
        )


def test_f37_an_order_that_is_no_whole_number_is_refused(either):
    add_address(either, 10, "a@one.org", "ann")
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
        assert_refused(
            either,
            "addresses/?update",
            invalid,
            400,
            **update_fields(either, 10, "a@one.org", "ann") | {"address_order": order},
        )
        assert_refused(either, "addresses/?add", invalid, 400, **new_address(either, order))
        if either.generation == 9:
            assert_refused(
                either, "addresses/?delete", invalid, 400, address_expression="a@one.org", address_order=order
            )
    for order in ("", []):
        assert_refused(
            either,
            "addresses/?update",
            invalid,
            400,
            **update_fields(either, 10, "a@one.org", "ann") | {"address_order": order},
        )
    assert_refused(
        either,
        "addresses/?update",
        "We want also an order.",
        **update_fields(either, 10, "a@one.org", "ann") | {"address_order": None},
    )


def test_f37_orders_end_at_2_53_and_an_empty_order_is_the_next_one(either):
    add_address(either, 10, "a@one.org", "ann")
    for order in ("", None):
        assert_done(either, "addresses/?add", **new_address(either, order))
    for order in (2**53 - 1, 1 - 2**53, "5"):
        assert_done(either, "addresses/?add", **new_address(either, order))
    assert [row[1] for row in stored_addresses(either)] == [1 - 2**53, 5, 10, 11, 12, 2**53 - 1]


@pytest.mark.parametrize("old, new", [(20, "20"), ("20", 20), ("20", "20"), (20, 20)])
def test_f38_a_number_and_its_text_are_the_same_order(either, old, new):
    add_address(either, 10, "a@one.org", "ann")
    add_address(either, 20, "b@one.org", "ann")
    fields = update_fields(either, 20, "b@one.org", "bob") | {"address_order": new}
    assert_done(
        either, "addresses/?update", **fields | ({"address_old_order": old} if either.generation == 9 else {})
    )
    assert [(row[1], row[-1]) for row in stored_addresses(either)] == [(10, "ann"), (20, "bob")]
    if either.generation == 9:
        for taken in (10, "10"):
            assert_refused(
                either, "addresses/?update", "Duplicate order.", **fields | {"address_order": taken}
            )


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
def test_f39_a_delegate_may_use_an_expression_only_if_all_that_it_matches_is_delegated(
    either, given, expression, covered
):
    either.sql("UPDATE api_address_delegates SET api_expression = ?", given)
    fields = new_address(either, 10, expression)
    if covered:
        assert_done(either, "addresses/?add", user="dele", **fields)
        assert len(assert_done(either, "addresses/?get", user="dele")["addresses"]) == 1
        assert_done(either, "addresses/?update", user="dele", **update_fields(either, 10, expression, "bob"))
        assert_done(either, "addresses/?delete", user="dele", address_expression=expression, address_order=10)
        assert stored_addresses(either) == []
        return
    assert_refused(
        either,
        "addresses/?add",
        f"No {permission_word(either)} to insert this expression.",
        user="dele",
        **fields,
    )
    add_address(either, 10, expression, "bob")
    assert assert_done(either, "addresses/?get", user="dele")["addresses"] == []
    assert_refused(
        either,
        "addresses/?update",
        f"No {permission_word(either)} to update this to address",
        user="dele",
        **update_fields(either, 10, expression, "ann"),
    )
    assert_refused(
        either,
        "addresses/?delete",
        "No access.",
        user="dele",
        address_expression=expression,
        address_order=10,
    )
    row = assert_done(either, "addresses/?get")["addresses"][0]
    assert_refused(either, "addresses/?switch", "No access.", user="dele", address1=row, address2=row)


def test_f39_many_wildcards_are_decided_quickly(site):
    site.sql("UPDATE api_address_delegates SET api_expression = ?", "%a" * 40 + "%b")
    assert_refused(
        site,
        "addresses/?add",
        "No permission to insert this expression.",
        user="dele",
        **new_address(site, 10, "a" * 1000),
    )


def test_f40_empty_fields_of_an_address_are_refused_in_this_order(either):
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
            assert_refused(either, "addresses/?add", sentence, user="ann", **fields)
        fields[name] = value
    assert_refused(
        either, "addresses/?add", f"No {permission_word(either)} to add an address.", user="ann", **fields
    )


def test_f40_empty_fields_are_refused_in_update_and_delete_too(either):
    add_address(either, 10, "a@one.org", "ann")
    good = update_fields(either, 10, "a@one.org", "ann")
    sentences = {
        9: {
            "address_router": "No address router defined.",
            "address_route": "Address router needs an argument (address_route).",
        },
        8: {"address_user": "We want also an username."},
    }[either.generation]
    for field, sentence in ({"address_expression": "We need an address expression."} | sentences).items():
        assert_refused(either, "addresses/?update", sentence, **good | {field: ""})
    assert_refused(
        either, "addresses/?delete", "We need an address expression.", address_expression="", address_order=10
    )
    if either.generation == 9:
        assert_refused(
            either,
            "addresses/?delete",
            "We need the address order.",
            address_expression="%",
            address_order="",
        )


def test_f40_an_empty_route_is_stored_as_none(site):
    assert_done(site, "addresses/?add", **new_address(site, 10, address_router="drop", address_route=""))
    assert_done(site, "addresses/?add", **new_address(site, 20))
    assert_done(
        site, "addresses/?update", **update_fields(site, 20, "a@one.org", "", address_router="reject")
    )
    assert [row[2:] for row in stored_addresses(site)] == [("drop", None), ("reject", None)]
