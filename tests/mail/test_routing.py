"""addresses/?test: what the SMTP daemon would do (docs/wire.md section 6), and the look-ups of addresses/?get (section 4).

conformance/routing.jsonl has the daemon's own decisions; here is what it cannot have: callers, gaps, odd data.
"""

import pytest

from support.site import Site

pytestmark = pytest.mark.every_engine

UNSEEN, NOT_ALLOWED = "Not authorized.", "Not allowed."
DIRECTION = "We need a routing direction (inrouter or outrouter)"
REFUSED = {"accepted": False, "stored": None, "queued": None}
LOST = REFUSED | {"accepted": True}


def queued(to: str | None, sender: str | None = None, remote: str | None = None) -> dict:
    return LOST | {"queued": {"mail_remote": remote, "mail_envelopefrom": sender, "mail_envelopeto": to}}


def stored(user: str) -> dict:
    return LOST | {"stored": user}


def add(site: Site, *rows: tuple):
    """Addresses: expression, order, and router and route, or in generation 8 the user."""
    for row in rows:
        site.sql(f"INSERT INTO addresses VALUES ({', '.join('?' * len(row))})", *row)


def routing_test(site: Site, address: str, routing: str = "inrouter", user: str = "root", **fields) -> dict:
    return site("addresses/?test", user=user, address_expression=address, address_routing=routing, **fields)


def inbound(site: Site, address: str, **fields) -> dict:
    return decision(routing_test(site, address, **fields))


def outbound(site: Site, address: str, **fields) -> dict:
    return decision(routing_test(site, address, "outrouter", **fields))


def decision(answer: dict) -> dict:
    assert answer["status"] == "ok" and all(isinstance(step, str) for step in answer["steps"])
    return answer["decision"]


########## What is asked ###########################################################################


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "We need an address expression."),
        ({"address_routing": "inrouter"}, "We need an address expression."),
        ({"address_expression": "a@b"}, DIRECTION),
        ({"address_expression": "a@b", "address_routing": ""}, DIRECTION),
        ({"address_expression": "a@b", "address_routing": "sideways"}, DIRECTION),
        ({"address_expression": "a@b", "address_routing": "Inrouter"}, DIRECTION),
        ({"address_expression": "", "address_routing": "sideways"}, "We need an address expression."),
    ],
)
def test_address_and_direction_are_needed(either, fields, status):
    answer = either("addresses/?test", **fields)
    assert answer["status"] == status and "steps" not in answer and "decision" not in answer


def test_first_step_names_the_expression_that_decided(site):
    add(
        site,
        ("%@one.org", 1, "store", "ann"),
        ("info@%", 2, "drop", None),
        ("INFO@one.org", 3, "reject", None),
    )
    matches = {"info@one.org": "INFO@one.org", "info@two.org": "info@%", "b@one.org": "%@one.org"}
    for address, expression in matches.items():
        first, *others = routing_test(site, address)["steps"]
        assert first == f"Address matched: {expression}" and len(others) == 1
    for routing in ("inrouter", "outrouter"):
        assert routing_test(site, "b@two.org", routing)["steps"] == ["Address not found."]
        assert routing_test(site, "b@two.org", routing)["decision"] == REFUSED


########## Inbound #################################################################################


@pytest.mark.parametrize(
    ("router", "route", "expected"),
    [
        ("store", "ann", stored("ann")),
        ("store", None, REFUSED),
        ("store", "", REFUSED),
        ("store", "gone", REFUSED),
        ("redirect", None, REFUSED),
        ("handoff", None, REFUSED),
        ("reject", None, REFUSED),
        ("reject", "ann", REFUSED),
        ("drop", None, LOST),
        ("drop", "ann", LOST),
        ("teleport", "ann", LOST),
        ("", None, LOST),
        ("STORE", "ann", LOST),
        ("handoff", "mx.example", queued("info@one.org", "a@from.example", "mx.example")),
        ("redirect", "x@else.example", queued("x@else.example", "a@from.example")),
        ("redirect", "(to-local)@else.example", queued("info@else.example", "a@from.example")),
        ("redirect", "(from-local)+(to-local)@(to-domain)", queued("a+info@one.org", "a@from.example")),
        (
            "redirect",
            "(to-local)-(to-local)@(from-domain)",
            queued("info-info@from.example", "a@from.example"),
        ),
        ("redirect", "(TO-LOCAL)(to-host)@x", queued("(TO-LOCAL)(to-host)@x", "a@from.example")),
    ],
)
def test_row_decides_by_its_router(site, router, route, expected):
    """A router that the daemon does not know, even one in capitals, is answered 250 and lost (F33)."""
    add(site, ("info@%", 5, router, route), ("%", 4, "store", "bob"))
    before = site.dump()
    assert inbound(site, "info@one.org", sender="a@from.example") == expected
    assert site.dump() == before


def test_replaced_words_are_not_replaced_again(site):
    add(site, ("%", 1, "redirect", "(to-local)@(from-domain)"))
    answer = inbound(site, "x(to-domain)y@one.org", sender="(to-local)@(from-local)")
    assert answer["queued"]["mail_envelopeto"] == "x(to-domain)y@(from-local)"


@pytest.mark.parametrize(
    ("address", "local", "domain"),
    [
        ("info@one.org", "info", "one.org"),
        ("a@b@one.org", "a@b", "one.org"),
        ("in\\fo@one.org", "in\\fo", "one.org"),
        ("ünïx@one.örg", "nx", "one.rg"),
        ("info@", "info", ""),
    ],
)
def test_address_is_split_at_its_last_at(site, address, local, domain):
    add(site, ("%", 1, "redirect", "<(to-local)|(to-domain)>"))
    assert inbound(site, address)["queued"]["mail_envelopeto"] == f"<{local}|{domain}>"


def test_address_without_at_is_all_local(site):
    add(site, ("%", 1, "redirect", "(to-local)+(from-local)@else.example"))
    answer = inbound(site, "postmaster", sender="root")
    assert answer == queued("postmaster+root@else.example", "root")


def test_without_sender_its_parts_are_empty(site):
    add(
        site, ("info@%", 1, "redirect", "(to-local)(from-local)@else(from-domain)"), ("%", 2, "handoff", "mx")
    )
    site.sql("UPDATE addresses SET address_order = 3 WHERE address_order = 1")
    assert inbound(site, "info@one.org") == queued("info@else")
    assert inbound(site, "b@one.org") == queued("b@one.org", None, "mx")


def test_user_database_is_where_mail_is_kept(site):
    add(site, ("%", 1, "store", "ann"))
    in_master = routing_test(site, "a@one.org")
    site.sql("UPDATE users SET user_database = '/srv/ann.db3' WHERE user_name = 'ann'")
    in_own = routing_test(site, "a@one.org")
    assert in_master["decision"] == in_own["decision"] == stored("ann")
    assert "master" in in_master["steps"][1] and "master" not in in_own["steps"][1]


def test_alias_does_not_move_mail(site):
    site.sql("UPDATE users SET user_alias = 'bob' WHERE user_name = 'ann'")
    add(site, ("%", 1, "store", "ann"))
    assert inbound(site, "a@one.org") == stored("ann")


@pytest.mark.parametrize(
    ("msa", "expected"),
    [
        (("store", None), stored("ann")),
        (("store", "/srv/ann.db3"), stored("ann")),
        (("drop", None), LOST),
        (("reject", None), REFUSED),
        (("forward", None), REFUSED),
        (("handoff", None), REFUSED),
        (("teleport", "x"), LOST),
        (("handoff", "mx"), queued("info@one.org", "a@from.example", "mx")),
        (("forward", "(to-local)@else.example"), queued("info@else.example", "a@from.example")),
        (("forward", "(from-local)+(to-local)@(to-domain)"), queued("a+info@one.org", "a@from.example")),
    ],
)
def test_generation_8_decides_by_the_users_in_router(site8, msa, expected):
    add(site8, ("info@%", 5, "ann"), ("%", 4, "bob"))
    site8.sql("INSERT INTO msa VALUES ('ann', ?, ?, 'drop', NULL)", *msa)
    site8.sql("INSERT INTO msa VALUES ('bob', 'store', NULL, 'any', NULL)")
    answer = routing_test(site8, "info@one.org", sender="a@from.example")
    assert answer["steps"][0] == "Address matched: info@%" and decision(answer) == expected


def test_generation_8_keeps_nothing_for_a_user_without_msa_row(site8):
    add(site8, ("%", 1, "ann"))
    answer = inbound(site8, "a@one.org")
    assert (answer["stored"], answer["queued"]) == (None, None)


########## Outbound ################################################################################


OUTBOUND = [  # router, route → the decision for a@one.org, which stores to the user, and for what does not
    ("any", None, queued("r@else.example", "{}"), queued("r@else.example", "{}")),
    ("defined", None, queued("r@else.example", "{}"), REFUSED),
    ("handoff", "mx", queued("r@else.example", "{}", "mx"), queued("r@else.example", "{}", "mx")),
    ("handoff", None, REFUSED, REFUSED),
    ("drop", None, LOST, LOST),
    ("reject", None, REFUSED, REFUSED),
    (None, None, REFUSED, REFUSED),
    # What the daemon does not know it takes for any (docs/wire.md F45).
    ("teleport", None, queued("r@else.example", "{}"), queued("r@else.example", "{}")),
    ("DEFINED", "mx", queued("r@else.example", "{}"), queued("r@else.example", "{}")),
]


def site_that_sends(site: Site, router, route):
    if site.generation == 9:
        add(site, ("a@one.org", 1, "store", "ann"), ("b@one.org", 2, "store", "bob"))
        statement = "INSERT INTO smtpd VALUES ('ann', ?, ?)"
    else:
        add(site, ("a@one.org", 1, "ann"), ("b@one.org", 2, "bob"))
        statement = "INSERT INTO msa VALUES ('ann', 'drop', NULL, ?, ?)"
    if router:
        site.sql(statement, router, route)


@pytest.mark.parametrize(("router", "route", "own", "foreign"), OUTBOUND)
def test_out_router_of_the_user_decides(either, router, route, own, foreign):
    site_that_sends(either, router, route)
    for sender, expected in (("a@one.org", own), ("b@one.org", foreign), ("c@two.org", foreign)):
        if expected["queued"]:
            expected = expected | {"queued": expected["queued"] | {"mail_envelopefrom": sender}}
        assert outbound(either, sender, smtpd_user="ann", recipient="r@else.example") == expected


BLOBS = [
    (router.encode(), route and route.encode(), *decisions)
    for router, route, *decisions in OUTBOUND[:-1]
    if router
]


@pytest.mark.sqlite
@pytest.mark.parametrize(("router", "route", "own", "foreign"), BLOBS)
def test_an_out_router_stored_as_a_blob_is_read_as_the_daemon_reads_it(either, router, route, own, foreign):
    test_out_router_of_the_user_decides(either, router, route, own, foreign)
    steps = routing_test(either, "a@one.org", "outrouter", smtpd_user="ann")["steps"]
    assert "b'" not in " ".join(steps)


@pytest.mark.sqlite
def test_an_in_router_stored_as_a_blob_is_read_as_the_daemon_reads_it(both):
    site, site8 = both
    add(site, ("a@one.org", 1, b"store", b"ann"), ("b@one.org", 2, b"handoff", b"u:p@mx"))
    site8.sql("INSERT INTO msa VALUES ('ann', ?, NULL, 'any', NULL)", b"store")
    site8.sql("INSERT INTO msa VALUES ('bob', ?, ?, 'any', NULL)", b"handoff", b"u:p@mx")
    add(site8, ("a@one.org", 1, "ann"), ("b@one.org", 2, "bob"))
    for each in both:
        assert inbound(each, "a@one.org") == stored("ann")
        answer = routing_test(each, "b@one.org")
        assert answer["steps"][-1] == "Handed off to u:p@mx."
        assert decision(answer) == queued("b@one.org", None, "u:p@mx")


def test_without_smtpd_user_it_is_the_one_that_the_address_stores_to(either):
    site_that_sends(either, "defined", None)
    assert outbound(either, "a@one.org", recipient="r@x") == queued("r@x", "a@one.org")
    assert outbound(either, "b@one.org", recipient="r@x") == REFUSED
    assert outbound(either, "c@two.org", recipient="r@x") == REFUSED


def test_without_smtpd_user_an_address_that_stores_nowhere_may_not_send(site):
    add(site, ("%", 1, "redirect", "ann"))
    assert outbound(site, "a@one.org") == REFUSED


def test_without_recipient_there_is_none_in_the_envelope(either):
    site_that_sends(either, "any", None)
    assert outbound(either, "a@one.org") == queued(None, "a@one.org")


def test_defined_accepts_when_any_matching_row_stores_to_the_user(site):
    site_that_sends(site, "defined", None)
    add(site, ("%", 9, "drop", None), ("a@%", 8, "store", "bob"))
    assert outbound(site, "a@one.org", smtpd_user="ann", recipient="r@x") == queued("r@x", "a@one.org")


########## Who may ask #############################################################################


def test_unseen_row_looks_like_none(either):
    """A caller may test only addresses that it may see; what it may not see is as if it were not there."""
    rows = [("ann@one.org", 1, "ann"), ("bob@one.org", 2, "bob"), ("root@corp.org", 3, "root")]
    add(either, *[(e, o, "store", u) if either.generation == 9 else (e, o, u) for e, o, u in rows])
    sees = {
        "root": {"ann@one.org", "bob@one.org", "root@corp.org"},
        "dele": {"ann@one.org", "root@corp.org"},
        "ann": {"ann@one.org"},
        "bob": {"bob@one.org"},
    }
    for user, seen in sees.items():
        for routing in ("inrouter", "outrouter"):
            nothing = routing_test(either, "nothing@here.org", routing, user)
            assert nothing["steps"] == ["Address not found."] and decision(nothing) == REFUSED
            for address in ("ann@one.org", "bob@one.org", "root@corp.org"):
                answer = routing_test(either, address, routing, user)
                expected = f"Address matched: {address}" if address in seen else "Address not found."
                assert answer["steps"][0] == expected
                assert answer == nothing or address in seen


def test_unseen_row_that_decides_is_not_passed_over(site):
    add(site, ("bob@%", 1, "store", "bob"), ("%@one.org", 2, "store", "ann"), ("%", 0, "drop", None))
    assert routing_test(site, "bob@one.org", user="bob")["steps"] == ["Address not found."]
    assert inbound(site, "bob@one.org", user="bob") == REFUSED
    assert inbound(site, "bob@two.org", user="bob") == stored("bob")


@pytest.mark.parametrize(
    ("user", "smtpd_user", "allowed"),
    [
        ("root", "bob", True),
        ("root", "gone", True),
        ("bob", "bob", True),
        ("bob", "ann", False),
        ("bob", "gone", False),
        ("dele", "ann", True),
        ("dele", "dele", True),
        ("dele", "bob", False),
        ("dele", "root", False),
    ],
)
def test_only_who_may_act_for_a_user_asks_as_them(either, user, smtpd_user, allowed):
    site_that_sends(either, "any", None)
    answer = routing_test(either, "a@one.org", "outrouter", user, smtpd_user=smtpd_user)
    assert answer["status"] == ("ok" if allowed else NOT_ALLOWED)
    assert ("decision" in answer) is ("steps" in answer) is allowed


def test_any_accepts_a_sender_whose_row_the_caller_may_not_see(either):
    site_that_sends(either, "any", None)
    answer = routing_test(either, "b@one.org", "outrouter", "ann", smtpd_user="ann", recipient="r@x")
    assert answer["steps"][0] == "Address not found." and decision(answer) == queued("r@x", "b@one.org")


########## Look-ups of addresses/?get ##############################################################


ROWS = [
    ("%@corp.org", 40, "store", "root"),
    ("ann@one.org", 30, "store", "ann"),
    ("bob@one.org", 20, "store", "bob"),
    ("to@one.org", 10, "redirect", "bob"),
    ("ann@one.org", 5, "drop", None),
]
LOOK_UPS = [  # user, query, fields → the orders of the rows, or the refusal; the first look-up that is given counts
    ("root", "", {}, [40, 30, 20, 10, 5]),
    ("dele", "", {}, [40, 30]),
    ("ann", "", {}, [30]),
    ("root", "", {"address_order": 10}, [10]),
    ("root", "", {"address_order": "10"}, [10]),
    ("root", "", {"address_order": 99}, []),
    ("bob", "", {"address_order": 20}, [20]),
    ("bob", "", {"address_order": 10}, UNSEEN),
    ("bob", "", {"address_order": 99}, UNSEEN),
    ("dele", "", {"address_order": 30}, [30]),
    ("dele", "", {"address_order": 40}, [40]),
    ("dele", "", {"address_order": 20}, UNSEEN),
    ("dele", "", {"address_order": 99}, UNSEEN),
    ("bob", "", {"address_order": 0}, [20]),
    ("bob", "", {"address_order": ""}, [20]),
    ("root", "", {"address_expression": "ann@one.org"}, [30, 5]),
    ("root", "", {"address_expression": "ann%"}, []),
    ("ann", "", {"address_expression": "ann@one.org"}, [30]),
    ("bob", "", {"address_expression": "ann@one.org"}, []),
    ("dele", "", {"address_expression": "ann@one.org"}, [30]),
    ("dele", "", {"address_expression": "%@corp.org"}, [40]),
    ("root", "&test=Ann@one.org", {}, [30, 5]),
    ("root", "&test=x@corp.org", {}, [40]),
    ("root", "&test=%25", {}, []),
    ("ann", "&test=ann@one.org", {}, [30]),
    ("bob", "&test=ann@one.org", {}, []),
    ("dele", "&test=x@corp.org", {}, [40]),
    ("root", "&test=", {}, [40, 30, 20, 10, 5]),
    ("root", "", {"address_user": "bob"}, [20]),
    ("root", "", {"address_user": "gone"}, []),
    ("bob", "", {"address_user": "bob"}, [20]),
    ("bob", "", {"address_user": "ann"}, []),
    ("dele", "", {"address_user": "ann"}, [30]),
    ("dele", "", {"address_user": "root"}, [40]),
    ("root", "&test=x@corp.org", {"address_order": 20, "address_expression": "ann@one.org"}, [20]),
    ("root", "&test=x@corp.org", {"address_expression": "ann@one.org", "address_user": "bob"}, [30, 5]),
    ("root", "&test=x@corp.org", {"address_user": "bob"}, [40]),
    ("bob", "&test=bob@one.org", {"address_order": 30, "address_user": "bob"}, UNSEEN),
]


@pytest.mark.parametrize(("user", "query", "fields", "expected"), LOOK_UPS)
def test_look_up_shows_what_the_caller_may_see(site, user, query, fields, expected):
    add(site, *ROWS)
    answer = site(f"addresses/?get{query}", user=user, **fields)
    orders = [row["address_order"] for row in answer["addresses"]]
    assert (answer["status"], orders) == ((UNSEEN, []) if expected == UNSEEN else ("ok", expected))


def test_generation_8_looks_up_by_expression_and_user_only(site8):
    add(site8, ("%@corp.org", 3, "root"), ("ann@one.org", 2, "ann"), ("bob@one.org", 1, "bob"))
    for user, query, fields, expected in [
        ("root", "", {"address_order": 2}, [3, 2, 1]),
        ("bob", "", {"address_order": 2}, [1]),
        ("root", "&test=x@corp.org", {}, [3, 2, 1]),
        ("dele", "", {}, [3, 2]),
        ("root", "", {"address_expression": "ann@one.org", "address_user": "bob"}, [2]),
        ("root", "", {"address_user": "bob"}, [1]),
        ("bob", "", {"address_user": "ann"}, []),
    ]:
        answer = site8(f"addresses/?get{query}", user=user, **fields)
        assert (answer["status"], [row["address_order"] for row in answer["addresses"]]) == ("ok", expected)
