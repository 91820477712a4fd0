"""The panel's pages about addresses, for each role, without a script."""

import pytest

from support.panel import Panel, panel_site

pytestmark = pytest.mark.every_engine
ROWS = [
    ("%@corp.org", "ann"),
    ("bob@corp.org", "bob"),
    ("root@one.org", "root"),
    ("%", "bob"),
]  # orders 1 to 4


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def site(request, tmp_path):
    site = panel_site(tmp_path, request.param)
    for expression, user in ROWS:
        target = (
            {"address_user": user}
            if request.param == 8
            else {"address_router": "store", "address_route": user}
        )
        assert site("addresses/?add", address_expression=expression, **target)["status"] == "ok"
    return site


def orders(site) -> dict:
    return dict(site.sql("SELECT address_expression, address_order FROM addresses"))


def target_of(site, user: str) -> dict:
    """Return the fields of a form that let an address store mail for a user."""
    return {"address_user": user} if site.generation == 8 else {"address_route": user}


def test_addresses_are_listed_by_domain_in_the_order_of_matching(site):
    root = Panel(site)
    root.get("addresses")
    assert [heading.text for heading in root.page.html.select("h2")] == [
        "Patterns for several domains",
        "corp.org",
        "one.org",
    ]
    assert [row.bdi.text for row in root.page.html.select("tbody th")] == [
        "%",
        "bob@corp.org",
        "%@corp.org",
        "root@one.org",
    ]


def test_rows_that_never_match_are_marked(site):
    root = Panel(site)
    root.get("addresses")
    assert root.text().count("Never matches: % comes first and takes all its mail.") == 3
    root.get("address?address_order=4&address_expression=%25")
    root.page = root.page.click("Delete address")
    root.submit("delete-address")
    root.shows("The address was deleted.")
    root.lacks("Never matches")


def test_each_role_sees_its_own(site):
    dele, ann = Panel(site, "dele"), Panel(site, "ann")
    dele.get("addresses")
    dele.shows("%@corp.org", "bob@corp.org", "Add an address")
    dele.lacks("root@one.org")
    ann.get("addresses")
    ann.shows("%@corp.org", "Where would a mail go?")
    ann.lacks("bob@corp.org", "Add an address", "Edit")
    for page in ("address-add", "address?address_order=1&address_expression=%25@corp.org"):
        ann.get(page, 403)
    dele.get("address?address_order=3&address_expression=root@one.org", 403 if site.generation == 9 else 404)
    bob = Panel(site, "bob")
    site.sql("DELETE FROM addresses")
    bob.get("addresses")
    bob.shows("No address stores mail for you yet.")
    root = Panel(site)
    root.get("addresses")
    root.shows("There is no address yet, so no mail comes in.")


def test_an_address_is_added(site):
    root = Panel(site)
    root.get("address-add")
    root.submit("add-address", address_expression="info@corp.org", **target_of(site, "ann"))
    root.shows("The address was added.", "info@corp.org")
    assert orders(site)["info@corp.org"] == 5
    root.get("address-add")
    root.submit(
        "add-address", address_expression="low@corp.org", address_order="-7", **target_of(site, "ann")
    )
    assert orders(site)["low@corp.org"] == -7


def test_what_is_wrong_stands_beside_its_field(site):
    root = Panel(site)
    root.get("address-add")
    root.submit("add-address", address_expression="", check=200, **target_of(site, "ann"))
    assert root.errors() == {"address_expression": "We need an address expression."}
    root.submit("add-address", address_expression="x@y.org", address_order="first", check=200)
    assert "address_order" in root.errors() or site.generation == 8
    assert root.form("add-address")["address_expression"].value == "x@y.org"
    assert "x@y.org" not in orders(site)


def test_a_delegate_adds_only_what_was_delegated(site):
    dele = Panel(site, "dele")
    dele.get("address-add")
    dele.submit("add-address", address_expression="x@other.org", check=200, **target_of(site, "ann"))
    dele.shows("to insert this expression")
    dele.submit("add-address", address_expression="x@corp.org", **target_of(site, "ann"))
    dele.shows("The address was added.")


def test_an_address_is_edited(site):
    root = Panel(site)
    root.get("address?address_order=2&address_expression=bob@corp.org")
    root.submit("set-address", **target_of(site, "root"))
    column = "address_user" if site.generation == 8 else "address_route"
    assert site.sql(f"SELECT {column} FROM addresses WHERE address_order = 2") == [("root",)]
    root.get("address?address_order=2&address_expression=bob@corp.org")
    if site.generation == 9:
        root.submit("set-address", address_order="1", check=200)
        root.shows("Duplicate order.")
        root.submit("set-address", address_expression="robert@corp.org", address_order="9")
        assert orders(site)["robert@corp.org"] == 9
    root.get("address?address_order=77&address_expression=x", 404)


@pytest.mark.parametrize("name", ["set-address", "delete-address"])
def test_a_page_from_before_another_change_touches_no_other_address(site, name):
    if site.generation == 8:
        pytest.skip("selects addresses by expression")
    root, others = Panel(site), Panel(site)
    page = "address-delete" if name == "delete-address" else "address"
    root.get(f"{page}?address_order=2&address_expression=bob@corp.org")
    others.get("addresses")
    others.submit("move-address", {"this_address_expression": "bob@corp.org"})
    before = site.dump()
    root.submit(name, check=404)
    root.shows("There is no such address")
    assert site.dump() == before


def test_addresses_change_places(site):
    root = Panel(site)
    root.get("addresses")
    root.submit("move-address", {"this_address_expression": "%@corp.org"})
    root.shows("The two addresses have changed places.")
    assert orders(site) == {"%": 4, "root@one.org": 3, "%@corp.org": 2, "bob@corp.org": 1}
    # The same once more, from a page that is older than the change:
    root.page = root.page.goto("addresses")
    old = root.form("move-address", this_address_expression="%@corp.org")
    root.submit("move-address", {"this_address_expression": "%@corp.org"})
    root.page = old.submit()
    root.shows("Address not found.")


def test_a_moved_address_is_where_the_keyboard_goes_on(site):
    root = Panel(site)
    root.get("addresses")
    answer = root.form("move-address", this_address_expression="%@corp.org").submit()
    assert answer.location == "addresses#order-2"
    assert root.page.html.select_one("#order-2")["tabindex"] == "-1"


def test_addresses_are_brought_into_another_order(site):
    dele = Panel(site, "dele")
    dele.get("addresses")
    token = dele.form("move-address")["token"].value
    fields = [("form", "reorder-addresses"), ("token", token), ("moved_to", "2")]
    for name, order in (("%@corp.org", 1), ("bob@corp.org", 2)):
        fields += [("address_expression", name), ("address_order", order)]
    dele.page = dele.browser.post("/panel/addresses", fields, status=303)
    assert dele.page.location == "addresses#order-2"
    assert orders(site) == {"%": 4, "root@one.org": 3, "%@corp.org": 2, "bob@corp.org": 1}
    dele.page = dele.browser.post("/panel/addresses", fields)
    dele.shows("Address not found.")
    fields[2] = ("moved_to", "<script>")
    fields[3:] = [("address_expression", "root@one.org"), ("address_order", 3)]
    dele.page = dele.browser.post("/panel/addresses", fields)
    dele.shows("No access.")


def test_rows_that_never_match_are_marked_on_later_pages_and_in_searches(site):
    site.sql("DELETE FROM addresses WHERE address_expression = '%'")
    column = "address_user" if site.generation == 8 else "address_router"
    value = "ann" if site.generation == 8 else "drop"
    table = f"INSERT INTO addresses (address_order, address_expression, {column}) VALUES (?, ?, '{value}')"
    site.insert_many(table, [[500, "%@many.org"], [499, "_@few.org"]])
    site.insert_many(table, [[100 + number, f"a{number}@many.org"] for number in range(150)])
    site.insert_many(table, [[99, "x@few.org"], [98, "xy@few.org"]])
    root = Panel(site)
    root.get("addresses")
    root.page = root.page.click("Next page")
    root.shows("a0@many.orgNever matches: %@many.org comes first", "x@few.orgNever matches: _@few.org")
    root.lacks("xy@few.orgNever")
    root.get("addresses?search=a7@many")
    root.shows("Never matches: %@many.org comes first")


@pytest.mark.parametrize(("length", "marked"), [(100, True), (101, False)])
def test_very_long_addresses_are_not_compared(site, length, marked):
    """Those of a thousand characters on one page would take a minute."""
    long = "a" * (length - len("@many.org")) + "@many.org"
    site.sql("UPDATE addresses SET address_expression = ? WHERE address_expression = 'bob@corp.org'", long)
    site.sql("UPDATE addresses SET address_expression = '%@many.org' WHERE address_expression = '%'")
    root = Panel(site)
    root.get("addresses")
    assert ("Never matches: %@many.org comes first" in root.text()) == marked


def test_where_a_mail_would_go(site):
    root, ann = Panel(site), Panel(site, "ann")
    root.get("address-test")
    root.fill(root.page.forms[1], address_expression="x@corp.org", sender="me@far.org")
    root.page = root.page.forms[1].submit()
    if site.generation == 9:
        root.shows("It would be accepted", "Address matched: %", "Stored for bob")
    german = Panel(site, HTTP_ACCEPT_LANGUAGE="de")
    german.get("address-test?address_expression=x@corp.org")
    if site.generation == 9:
        german.shows("Es passt: %", "Aufbewahrt für bob.")
    ann.get("address-test?address_expression=x@corp.org")
    ann.shows("It would not be accepted", "Address not found.")
    root.get("address-test?address_expression=" + "x" * 2000)
    root.shows("Invalid value for address_expression.")


def test_pages_and_search(site):
    table = (
        "INSERT INTO addresses (address_expression, address_user) VALUES (?, 'ann')"
        if site.generation == 8
        else "INSERT INTO addresses (address_expression, address_router) VALUES (?, 'drop')"
    )
    site.sql("DELETE FROM addresses")
    site.insert_many(table, [[f"a{number}@many.org"] for number in range(150)])
    root = Panel(site)
    root.get("addresses?search=many")
    first = len(root.page.html.select("tbody tr"))
    root.page = root.page.click("Next page")
    assert (first, len(root.page.html.select("tbody tr"))) == (100, 50)
    root.page = root.page.click("First page")
    root.get("addresses?search=nothing")
    root.shows("No address contains this text.")


def test_from_a_persons_page_to_an_address_and_back(site):
    site("users/?add", user_name="carol@corp.org")
    root = Panel(site)
    root.get("person?user_name=carol@corp.org")
    root.page = root.page.click("Add an address")
    assert root.form("add-address")["address_expression"].value == "carol@corp.org"
    root.submit("add-address")
    assert root.page.request.path_qs == "/panel/person?user_name=carol%40corp.org"
    root.shows("carol@corp.org")
