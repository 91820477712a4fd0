"""Orders of addresses: which there can be, and which one a new address gets (docs/wire.md F37, F47)."""

import pytest

from support.command_line import CONFIG, run_mailapi
from support.site import Site

pytestmark = pytest.mark.every_engine

HIGHEST = 2**53 - 1
INVALID = "Invalid value for address_order."


def row(site: Site, expression: str, **fields) -> dict:
    """The fields of a new address of dele's."""
    kept = (
        {"address_router": "store", "address_route": "ann"}
        if site.generation == 9
        else {"address_user": "ann"}
    )
    return {"address_expression": expression} | kept | fields


def add(site: Site, expression: str, user="dele", **fields) -> int:
    """Add an address; the order that it got."""
    answer = site("addresses/?add", user=user, **row(site, expression, **fields))
    assert answer["status"] == "ok", answer["status"]
    return orders(site)[expression]


def delete(site: Site, expression: str, number: int, user="dele"):
    fields = {"address_order": number} if site.generation == 9 else {}
    assert site("addresses/?delete", user=user, address_expression=expression, **fields)["status"] == "ok"


def orders(site: Site) -> dict[str, int]:
    return {
        found["address_expression"]: found["address_order"] for found in site("addresses/?get")["addresses"]
    }


def put(site: Site, expression: str, number: int):
    """An address as the original left it."""
    kept = "'store', 'ann'" if site.generation == 9 else "'ann'"
    site.sql(f"INSERT INTO addresses VALUES (?, ?, {kept})", expression, number)


@pytest.mark.parametrize("number", [2**53, 10**17, 10**18 - 1, -(2**53), str(2**53)])
def test_f47_no_address_gets_an_order_that_clients_cannot_name(either, number):
    put(either, "a@corp.org", 10)
    before = either.dump()
    fields = row(either, "a@corp.org", address_order=number, address_old_order=10)
    for action in ("add", "update"):
        assert either(f"addresses/?{action}", user="dele", check=400, **fields)["status"] == INVALID
    assert either.dump() == before


def test_who_gives_the_highest_order_and_takes_it_back_leaves_the_next_one_as_it_was(either):
    put(either, "a@corp.org", 10)
    add(either, "x@corp.org", address_order=HIGHEST)
    delete(either, "x@corp.org", HIGHEST)
    assert add(either, "%@one.org", "root") == 11 and add(either, "b@one.org", "root") == 12


def test_nobody_can_keep_others_from_adding_addresses(either):
    put(either, "a@one.org", 10)
    for taken in range(3):
        add(either, f"x{taken}@corp.org", address_order=HIGHEST - taken)
    assert [add(either, f"b{number}@one.org", "root") for number in range(3)] == [11, 12, 13]
    found = either("addresses/?get")["addresses"]
    assert [each["address_order"] for each in found] == [HIGHEST, HIGHEST - 1, HIGHEST - 2, 13, 12, 11, 10]


def test_what_gets_the_last_room_does_not_keep_others_from_adding(either):
    put(either, "a@one.org", 10)
    add(either, "x@corp.org", address_order=HIGHEST - 2)
    got = [add(either, f"b{number}@one.org", "root") for number in range(4)]
    assert got == [HIGHEST - 1, HIGHEST, 11, 12]


def test_only_the_highest_address_is_there(either):
    put(either, "a@corp.org", HIGHEST)
    assert add(either, "b@corp.org") == 1 and add(either, "c@corp.org") == 2


@pytest.mark.parametrize("beyond", [2**53, 10**18 - 1, 2**63 - 1])
def test_orders_beyond_of_an_older_version_count_for_nothing(either, beyond):
    """They are shown, can be given another order, and break nothing."""
    put(either, "old@corp.org", beyond)
    put(either, "a@corp.org", 10)
    put(either, "b@corp.org", 20)
    assert add(either, "c@corp.org") == 21 and orders(either)["old@corp.org"] == beyond
    first, second = (
        {"address_expression": f"{name}@corp.org", "address_order": number}
        for name, number in (("a", 10), ("b", 20))
    )
    assert either("addresses/?switch", user="dele", address1=first, address2=second)["status"] == "ok"
    assert either("addresses/?get&limit=10", user="root")["addresses"][0]["address_order"] == beyond
    page = either(f"addresses/?get&limit=10&after={beyond}")["addresses"]
    assert [each["address_order"] for each in page] == [21, 20, 10]
    answer = either(
        "addresses/?update",
        user="dele",
        **row(either, "old@corp.org", address_old_order=beyond, address_order=5),
    )
    assert answer["status"] == "ok" and orders(either)["old@corp.org"] == 5
    assert add(either, "d@corp.org") == 22


def test_deleted_address_beyond_counts_for_nothing(either):
    put(either, "old@corp.org", 10**18 - 1)
    put(either, "a@corp.org", 10)
    either.sql("DELETE FROM addresses WHERE address_order > 10")
    assert add(either, "b@corp.org") == 11


def test_no_order_is_given_twice(either):
    put(either, "a@corp.org", 10)
    number = add(either, "b@corp.org")
    delete(either, "b@corp.org", number)
    assert number == 11 and add(either, "c@corp.org") == 12
    fields = row(either, "c@corp.org", address_old_order=12, address_order=15)
    assert either("addresses/?update", user="dele", **fields)["status"] == "ok"
    assert add(either, "d@corp.org") == 16, "which only the update used"


def test_orders_below_zero_leave_the_first_one_at_1(either):
    add(either, "a@corp.org", address_order=-HIGHEST)
    add(either, "b@corp.org", address_order=-1)
    assert add(either, "c@corp.org") == 1


@pytest.mark.parametrize("field", ["after", "mail_id", "address_old_order"])
def test_no_number_is_too_large_for_the_database(site, field):
    for number in (10**18 - 1, 1 - 10**18):
        if field == "mail_id":
            assert site("queue/?get", mail_id=number, after=number)["queue"] == []
            assert site("mailbox/?read", mail_id=number)["status"] == "mail not found"
            assert site("mailbox/?delete", mail_id=number)["status"] == "mail not found"
        elif field == "after":
            assert site(f"addresses/?get&after={number}&limit={10**30}")["status"] == "ok"
        else:
            fields = row(site, "a@corp.org", address_old_order=number, address_order=1)
            assert site("addresses/?update", **fields)["status"] == "ok"
    assert (
        site(
            "addresses/?update",
            check=400,
            **row(site, "a@corp.org", address_order=1, address_old_order=2**63),
        )["status"]
        == "Invalid value for address_old_order."
    )


@pytest.mark.sqlite
def test_check_names_addresses_with_orders_beyond(either, tmp_path):
    put(either, "old@corp.org", 10**18 - 1)
    put(either, "a@corp.org", HIGHEST)
    (tmp_path / "config.py").write_text(CONFIG)
    printed = run_mailapi(tmp_path, "check", check=1)
    assert (
        f"FAIL  Address: old@corp.org has an order beyond {HIGHEST}" in printed
        and "a@corp.org" not in printed
    )


########## Several in another order ################################################################


def named(**numbers) -> list[dict]:
    return [
        {"address_expression": f"{name}@corp.org", "address_order": order} for name, order in numbers.items()
    ]


@pytest.fixture
def four(either):
    for name, order in {"a": 40, "b": 30, "c": 20, "d": 10}.items():
        put(either, f"{name}@corp.org", order)
    put(either, "x@one.org", 25)
    return either


def test_addresses_get_the_orders_of_one_another(four):
    for user in ("dele", "root"):
        put_back = named(c=40, a=30, b=20)
        moved = named(c=20, a=40, b=30)
        assert four("addresses/?reorder", user=user, addresses=moved)["status"] == "ok"
        assert {name: orders(four)[f"{name}@corp.org"] for name in "abcd"} == {
            "c": 40,
            "a": 30,
            "b": 20,
            "d": 10,
        }
        assert orders(four)["x@one.org"] == 25
        back = four("addresses/?reorder", user=user, addresses=[put_back[n] for n in (1, 2, 0)])
        assert back["status"] == "ok" and orders(four)["a@corp.org"] == 40


def test_what_cannot_be_reordered_changes_nothing(four):
    before = four.dump()
    foreign = {"address_expression": "x@one.org", "address_order": 25}
    for user, addresses, status in (
        ("root", named(b=30, a=41), "Address not found."),
        ("root", named(a=40, b=30) + named(a=40), "An address is there twice."),
        ("root", [], "Addresses are not set."),
        ("dele", named(b=30, a=40) + [foreign], "No access."),
        ("bob", named(b=30, a=40), "No access."),
    ):
        assert four("addresses/?reorder", user=user, addresses=addresses)["status"] == status
    for wrong in ("x", {}, [1], [{}], [None], named(a=None), named(a="x"), [named(a=1)], named(a=40) * 1001):
        assert four("addresses/?reorder", check=400, addresses=wrong)["status"].startswith(
            "Invalid value for"
        )
    assert four.dump() == before


def test_an_address_that_has_got_another_order_is_not_mistaken_for_the_one_that_has_it_now(site):
    """Two administrators: one has read the list before the other changed it."""
    first, second = add(site, "a@corp.org"), add(site, "b@corp.org")
    pair = [
        {"address_expression": name, "address_order": order}
        for name, order in [("a@corp.org", first), ("b@corp.org", second)]
    ]
    assert site("addresses/?switch", address1=pair[0], address2=pair[1])["status"] == "ok"
    before, old = site.dump(), {"address_old_expression": "a@corp.org"}
    change = row(site, "a@corp.org", address_order=99) | old
    gone = {"address_expression": "a@corp.org"} | old
    for action, fields in (("update", change | {"address_old_order": first}), ("delete", gone)):
        fields = {"address_order": first} | fields
        assert site(f"addresses/?{action}", **fields)["status"] == "Address not found."
    assert site.dump() == before
    assert site("addresses/?update", **change, address_old_order=second)["status"] == "ok"
    assert site("addresses/?delete", **gone, address_order=99)["status"] == "ok"


@pytest.mark.sqlite
@pytest.mark.parametrize("action", ["switch", "reorder"])
def test_a_route_that_is_no_text_is_not_changed(tmp_path, action):
    """It came from another program. Whoever sees it gets U+FFFD in place of what is not UTF-8."""
    site, route = Site(tmp_path), b"r\xe9ne@far.org"
    for name in ("one", "two"):
        site.sql("INSERT INTO addresses VALUES (?, NULL, 'redirect', CAST(? AS TEXT))", name, route)
    rows = site("addresses/?get")["addresses"]
    fields = {"addresses": rows[::-1]} if action == "reorder" else {"address1": rows[0], "address2": rows[1]}
    assert "not UTF-8" in site(f"addresses/?{action}", **fields)["status"]
    assert site.sql("SELECT CAST(address_route AS BLOB) FROM addresses") == [(route,), (route,)]
