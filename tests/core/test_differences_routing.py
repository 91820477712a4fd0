"""Deliberate differences from the original (docs/wire.md section 5): addresses and routers."""

import pytest

from support.both_generations import (
    add_address,
    assert_done,
    assert_refused,
    listed_orders,
    permission_word,
    stored_addresses,
    update_fields,
)
from support.site import authdata

pytestmark = pytest.mark.every_engine


########## Addresses ###############################################################################


def test_f07_a_delegate_changes_only_rows_that_are_theirs_before_and_after(either):
    add_address(either, 10, "sales@corp.org", "ann")
    add_address(either, 20, "boss@other.org", "bob")
    no = f"No {permission_word(either)} to update this to address"
    assert_refused(
        either, "addresses/?update", no, user="dele", **update_fields(either, 20, "boss@other.org", "ann")
    )
    assert_refused(either, "addresses/?update", no, user="dele", **update_fields(either, 10, "%", "ann"))
    assert_refused(
        either,
        "addresses/?delete",
        "No access.",
        user="dele",
        address_expression="boss@other.org",
        address_order=20,
    )
    assert_refused(
        either,
        "addresses/?update",
        f"No {permission_word(either)} to update an address.",
        user="ann",
        **update_fields(either, 10, "sales@corp.org", "ann"),
    )
    if either.generation == 9:
        assert_refused(
            either, "addresses/?update", no, user="dele", **update_fields(either, 20, "sales@corp.org", "ann")
        )
        assert_refused(
            either,
            "addresses/?update",
            no,
            user="dele",
            **update_fields(either, 10, "sales@other.org", "ann"),
        )
        assert_refused(
            either, "addresses/?update", no, user="dele", **update_fields(either, 99, "sales@corp.org", "ann")
        )
        assert_refused(
            either,
            "addresses/?delete",
            "No access.",
            user="dele",
            address_expression="sales@corp.org",
            address_order=20,
        )
        assert_refused(
            either,
            "addresses/?delete",
            "No access.",
            user="dele",
            address_expression="boss@other.org",
            address_order=10,
        )
    assert_done(
        either, "addresses/?update", user="dele", **update_fields(either, 10, "sales@corp.org", "bob")
    )
    assert stored_addresses(either)[0][-1] == "bob"
    assert_done(
        either, "addresses/?delete", user="dele", address_expression="sales@corp.org", address_order=10
    )
    assert [row[0] for row in stored_addresses(either)] == ["boss@other.org"]


def test_f07_the_expression_in_a_request_selects_no_other_rows(either):
    """In generation 8 the row is found by its expression, which is not a pattern then."""
    add_address(either, 10, "sales@corp.org", "ann")
    before = stored_addresses(either)
    either("addresses/?update", **update_fields(either, 11, "%@corp.org", "bob"))
    either("addresses/?delete", address_expression="%@corp.org", address_order=11)
    assert stored_addresses(either) == before


def test_f08_users_see_the_addresses_that_concern_them(either):
    add_address(either, 10, "ann@one.org", "ann")
    add_address(either, 20, "bob@one.org", "bob")
    add_address(either, 30, "x@corp.org", "bob")
    either.sql("INSERT INTO api_address_delegates VALUES ('ann', '%')")  # without the permission: nothing
    for user, seen in {
        "root": [30, 20, 10],
        "dele": [30, 10],
        "bob": [30, 20],
        "ann": [10],
        "nologin": [],
    }.items():
        either.sql("UPDATE users SET user_authdata = ? WHERE user_name = ?", authdata("pw"), user)
        assert listed_orders(assert_done(either, "addresses/?get", user=user)) == seen
        for owner, theirs in {"ann": [10], "bob": [30, 20], "nobody": []}.items():
            answer = assert_done(either, "addresses/?get", user=user, address_user=owner)
            assert listed_orders(answer) == [order for order in theirs if order in seen]
        for order, expression in [(10, "ann@one.org"), (20, "bob@one.org"), (30, "x@corp.org"), (99, "%")]:
            visible = [order] if order in seen else []
            assert (
                listed_orders(assert_done(either, "addresses/?get", user=user, address_expression=expression))
                == visible
            )
            if either.generation == 9:
                answer = either("addresses/?get", user=user, address_order=order)
                assert answer["status"] == ("ok" if visible or user == "root" else "Not authorized.")
                assert listed_orders(answer) == visible
                assert (
                    listed_orders(assert_done(either, f"addresses/?get&test={expression}", user=user))
                    == visible
                )


def test_f08_other_delegates_delegations_do_not_count(either):
    add_address(either, 20, "bob@one.org", "bob")
    either.sql("INSERT INTO api_access VALUES ('ann', 'delegate')")
    either.sql("INSERT INTO api_address_delegates VALUES ('ann', '%@one.org')")
    assert listed_orders(assert_done(either, "addresses/?get", user="ann")) == [20]
    assert listed_orders(assert_done(either, "addresses/?get", user="dele")) == []
    if either.generation == 9:
        assert (
            assert_refused(either, "addresses/?get", "Not authorized.", user="dele", address_order=20)[
                "addresses"
            ]
            == []
        )


def test_f09_all_delegated_expressions_count(either):
    for expression in ("%@two.org", "info@three.org"):
        either.sql("INSERT INTO api_address_delegates VALUES ('dele', ?)", expression)
    names = ["a@corp.org", "a@two.org", "info@three.org"]
    for order, expression in enumerate([*names, "a@three.org"], 1):
        add_address(either, order, expression, "bob")
    seen = assert_done(either, "addresses/?get", user="dele")["addresses"]
    assert [row["address_expression"] for row in seen] == names[::-1]
    for order, expression in enumerate(names, 1):
        assert_done(
            either, "addresses/?update", user="dele", **update_fields(either, order, expression, "ann")
        )
    assert_refused(
        either,
        "addresses/?update",
        f"No {permission_word(either)} to update this to address",
        user="dele",
        **update_fields(either, 4, "a@three.org", "ann"),
    )


def test_f09_an_admin_who_is_a_delegate_too_sees_everything(either):
    either.sql("INSERT INTO api_access VALUES ('dele', 'admin')")
    add_address(either, 10, "a@corp.org", "bob")
    add_address(either, 20, "a@else.org", "bob")
    assert listed_orders(assert_done(either, "addresses/?get", user="dele")) == [20, 10]
    assert_done(either, "addresses/?delete", user="dele", address_expression="a@else.org", address_order=20)
    assert [row[1] for row in stored_addresses(either)] == [10]


def test_f11_two_rows_as_returned_by_get_can_be_switched(either):
    add_address(either, 10, "a@corp.org", "ann")
    add_address(either, 20, "b@corp.org", "bob")
    second, first = assert_done(either, "addresses/?get", user="dele")["addresses"]
    assert_done(either, "addresses/?switch", user="dele", address1=first, address2=second)
    rows = [(row[0], row[1], row[-1]) for row in stored_addresses(either)]
    assert rows == [("b@corp.org", 10, "bob"), ("a@corp.org", 20, "ann")]
    assert_refused(
        either, "addresses/?switch", "Address not found.", user="dele", address1=first, address2=second
    )


def test_f11_both_rows_of_a_switch_are_checked(either):
    for order, expression in enumerate(["a@corp.org", "b@corp.org", "c@else.org"], 1):
        add_address(either, order, expression, "ann")
    third, second, first = assert_done(either, "addresses/?get")["addresses"]
    lie = third | {"address_expression": "a@corp.org"}
    for pair in [(first, third), (third, first)]:
        assert_refused(
            either, "addresses/?switch", "No access.", user="dele", address1=pair[0], address2=pair[1]
        )
    for pair in [(first, lie), (lie, first)]:
        assert_refused(
            either, "addresses/?switch", "Address not found.", user="dele", address1=pair[0], address2=pair[1]
        )
    for user in ("ann", "bob"):
        assert_refused(either, "addresses/?switch", "No access.", user=user, address1=first, address2=second)
    assert_done(either, "addresses/?switch", address1=first, address2=third)
    assert [row[0] for row in stored_addresses(either)] == ["c@else.org", "b@corp.org", "a@corp.org"]


QUEUED = {"mail_remote": None, "mail_envelopefrom": "a@from.example", "mail_envelopeto": "info@else.example"}
LOST, KEPT = (
    {"accepted": False, "stored": None, "queued": None},
    {"accepted": True, "stored": None, "queued": None},
)


@pytest.mark.parametrize(
    "router, route, decision",
    [
        ("store", "ann", KEPT | {"stored": "ann"}),
        ("store", None, LOST),
        ("store", "nobody", LOST),
        ("redirect", "(to-local)@else.example", KEPT | {"queued": QUEUED}),
        ("redirect", None, LOST),
        (
            "handoff",
            "relay.example",
            KEPT | {"queued": QUEUED | {"mail_remote": "relay.example", "mail_envelopeto": "info@one.org"}},
        ),
        ("handoff", None, LOST),
        ("reject", None, LOST),
        ("drop", None, KEPT),
    ],
)
def test_f12_the_routing_test_says_what_happens_to_incoming_mail(site, router, route, decision):
    add_address(site, 10, "%", "bob")
    add_address(site, 20, "%@ONE.org", route, router)
    before = site.dump()
    asked = {"address_expression": "info@one.org", "address_routing": "inrouter", "sender": "a@from.example"}
    answer = assert_done(site, "addresses/?test", **asked)
    assert answer["steps"][0] == "Address matched: %@ONE.org" and len(answer["steps"]) > 1
    assert answer["decision"] == decision
    hidden = assert_done(site, "addresses/?test", user="bob", **asked)
    assert hidden["steps"] == ["Address not found."] and hidden["decision"] == LOST
    assert site.dump() == before


@pytest.mark.parametrize(
    "router, route, decision",
    [
        ("store", None, KEPT | {"stored": "ann"}),
        ("forward", "info@else.example", KEPT | {"queued": QUEUED}),
        ("drop", None, KEPT),
        ("reject", None, LOST),
    ],
)
def test_f12_generation_8_routes_by_the_user(site8, router, route, decision):
    add_address(site8, 10, "%@one.org", "ann")
    site8.sql("INSERT INTO msa VALUES ('ann', ?, ?, 'drop', NULL)", router, route)
    answer = assert_done(
        site8,
        "addresses/?test",
        address_expression="info@one.org",
        address_routing="inrouter",
        sender="a@from.example",
    )
    assert answer["steps"][0] == "Address matched: %@one.org"
    assert answer["decision"] == decision


def test_f12_outgoing_mail_is_tested_only_for_oneself_or_on_behalf(site):
    add_address(site, 10, "ann@one.org", "ann")
    site.sql("INSERT INTO smtpd VALUES ('ann', 'defined', NULL)")
    asked = {
        "address_expression": "ann@one.org",
        "address_routing": "outrouter",
        "recipient": "x@far.example",
    }
    queued = {"mail_remote": None, "mail_envelopefrom": "ann@one.org", "mail_envelopeto": "x@far.example"}
    for user in ("ann", "dele", "root"):
        answer = assert_done(site, "addresses/?test", user=user, smtpd_user="ann", **asked)
        assert answer["decision"] == KEPT | {"queued": queued}
    answer = assert_refused(site, "addresses/?test", "Not allowed.", user="bob", smtpd_user="ann", **asked)
    assert "decision" not in answer
    hidden = assert_done(site, "addresses/?test", user="bob", **asked)
    assert (hidden["steps"], hidden["decision"]) == (["Address not found."], LOST)
    asked["address_expression"] = "other@one.org"
    assert assert_done(site, "addresses/?test", smtpd_user="ann", **asked)["decision"] == LOST


########## SMTPD and MSA ###########################################################################


def test_f13_smtpd_add_stores_the_row(site):
    for user, name in [("root", "bob"), ("dele", "ann")]:
        answer = assert_done(
            site, "smtpd/?add", user=user, smtpd_user=name, smtpd_router="handoff", smtpd_route="relay"
        )
        assert site.sql("SELECT * FROM smtpd WHERE rowid = ?", answer["smtpd"]) == [
            (name, "handoff", "relay")
        ]
    assert_refused(site, "smtpd/?add", "Not allowed.", user="bob", smtpd_user="bob", smtpd_router="any")
    unique, foreign = "UNIQUE constraint failed: smtpd.smtpd_user", "FOREIGN KEY constraint failed"
    assert assert_refused(site, "smtpd/?add", unique, smtpd_user="bob", smtpd_router="any")["smtpd"] == -1
    assert assert_refused(site, "smtpd/?add", foreign, smtpd_user="nobody", smtpd_router="any")["smtpd"] == -1


def test_f29_the_route_of_the_router_store_is_that_users_database(site8):
    def databases():
        return dict(site8.sql("SELECT user_name, user_database FROM users WHERE user_database IS NOT NULL"))

    row = {"msa_user": "ann", "msa_inrouter": "store", "msa_outrouter": "drop"}
    assert_done(site8, "msa/?add", **row, msa_inroute="/var/mail/ann.db3")
    assert databases() == {"ann": "/var/mail/ann.db3"}
    assert_done(site8, "msa/?update", **row, msa_inroute="/var/mail/new.db3")
    assert databases() == {"ann": "/var/mail/new.db3"}
    assert_done(site8, "msa/?update", **row)
    assert_done(site8, "msa/?update", **row | {"msa_inrouter": "forward"}, msa_inroute="a@else.example")
    assert databases() == {"ann": "/var/mail/new.db3"}
    answer = assert_refused(
        site8, "msa/?add", "UNIQUE constraint failed: msa.msa_user", **row, msa_inroute="/x"
    )
    assert answer["msa"] == -1
    assert_refused(site8, "msa/?update", "Not allowed.", user="ann", **row, msa_inroute="/x")
    assert_done(site8, "msa/?update", **row, msa_inroute="")
    assert databases() == {}
