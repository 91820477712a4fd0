"""The panel's pages about mail addresses: the list, one address, and a test of what happens to a mail."""

from mailapi import ApiError, covers

from ..mail.router_tables import IN_ROUTERS
from .templates import link
from .visitor import PageRefused, Visitor

ON_PAGE, MOST_PATTERNS = 100, 500  # addresses; those with % or _ before the ones on a page
# Characters of an address that is compared with patterns: with a thousand, the page would take more than a minute.
LONGEST_COMPARED = 100
COLUMNS = ("address_expression", "address_order", "address_router", "address_route", "address_user")


def addresses(visitor: Visitor) -> dict:
    """Return the template's values for the list of addresses: {"domains": [("example.org", [row, …]), …], …}."""
    search, after = visitor.query("search"), visitor.query("after")
    query = {name: value for name, value in (("search", search), ("after", after)) if value}
    rows = visitor.run("addresses", "get", query=query, limit=ON_PAGE + 1)["addresses"]
    more = visitor.next_page(rows, ON_PAGE, "address_order")
    rows = [{name: row.get(name) for name in COLUMNS} for row in rows[:ON_PAGE]]
    mark_unreachable(rows, patterns_before(visitor, rows) if query else [])
    return {
        "domains": by_domain(rows),
        "more": more,
        "is_first": not after,
        "search": search,
        "may_change": visitor.manages,
    }


def patterns_before(visitor: Visitor, rows: list[dict]) -> list[dict]:
    """Return the patterns, such as "%@example.org", that the mail server tries before the last address on a page.

    `rows`: the addresses on the page, in the order in which they are tried. The patterns are rows, too; they may be on
    other pages. Only the first MOST_PATTERNS patterns with % and as many with _ are read, to limit the time.
    """
    if not rows:
        return []
    found: dict[int, dict] = {}
    for sign in "%_":
        patterns = visitor.run("addresses", "get", query={"search": sign}, limit=MOST_PATTERNS)["addresses"]
        found |= {row["address_order"]: row for row in patterns}
    return [found[order] for order in sorted(found, reverse=True) if order > rows[-1]["address_order"]]


def mark_unreachable(rows: list[dict], patterns: list[dict]):
    """Set `behind` in each of `rows`: the pattern that is tried before the address and takes all its mail, or None.

    Patterns, such as "%@example.org", are looked for in `rows` and in the further rows `patterns`. Very long addresses
    and patterns are not compared.
    """
    named = [(row["address_order"], row["address_expression"] or "") for row in (*patterns, *rows)]
    short = [(order, name) for order, name in named if len(name) <= LONGEST_COMPARED]
    for row in rows:
        expression, row["behind"] = row["address_expression"] or "", None
        if len(expression) <= LONGEST_COMPARED:
            before = (name for order, name in short if order > row["address_order"])
            row["behind"] = next((name for name in before if covers(name, expression)), None)


def by_domain(rows: list[dict]) -> list[tuple[str, list[dict]]]:
    """Group rows of addresses by domain: [("example.org", [row, …]), …].

    Patterns for several domains have the domain "". Each row gets `above` and `below`: the rows next to it in the
    group, or None.
    """
    domains: dict[str, list[dict]] = {}
    for row in rows:
        domain = str(row["address_expression"] or "").rpartition("@")[2].lower()
        domains.setdefault("" if "%" in domain or "_" in domain else domain, []).append(row)
    for listed in domains.values():
        for row, above, below in zip(listed, [None, *listed], [*listed[1:], None]):
            row["above"], row["below"] = above, below
    return sorted(domains.items())


def address_form(visitor: Visitor) -> dict:
    """Return the template's values for the page that adds an address: {"row": {…}, "routers": ("store", …), …}."""
    return {
        "row": {name: visitor.query(name) for name in COLUMNS},
        "routers": in_routers(visitor),
        "suggested": "store" if visitor.query("address_route") else "",
    }


def in_routers(visitor: Visitor) -> tuple[str, ...]:
    """Return the routers, what can happen to mail to an address: ("store", …); () in database generation 8."""
    return IN_ROUTERS if visitor.generation.number == 9 else ()


def address(visitor: Visitor) -> dict:
    """Return the template's values for the page that changes or deletes an address: {"row": {…}, "routers": (…), …}.

    The URL has the address_order of the address, and may have its address_expression, such as "ann@example.org".
    ApiError if no address has these values any more, or if the user may not change it.
    """
    order, expression = visitor.query("address_order"), visitor.query("address_expression")
    fields = (
        {"address_order": order} if visitor.generation.number == 9 else {"address_expression": expression}
    )
    rows = visitor.run("addresses", "get", fields)["addresses"] if order else []
    rows = [row for row in rows if str(row["address_order"]) == order]
    rows = [row for row in rows if expression in ("", str(row["address_expression"]).strip())]
    if not rows:
        raise ApiError(visitor.t.no_such_address, http=404)
    if not visitor.may("addresses", "update", address_expression=rows[0]["address_expression"]):
        raise PageRefused(visitor)
    return {"row": rows[0], "routers": in_routers(visitor), "suggested": rows[0].get("address_router")}


def address_test(visitor: Visitor) -> dict:
    """Return the template's values for the page that shows what would happen to a mail: {"report": {…}, …}.

    The URL has the mail's recipient and sender. Without a recipient, the report is None.
    """
    recipient, sender = visitor.query("address_expression"), visitor.query("sender")
    if not recipient:
        return {"recipient": "", "sender": sender, "report": None}
    fields = {"address_expression": recipient, "sender": sender, "address_routing": "inrouter"}
    try:
        report = visitor.run("addresses", "test", fields)
    except ApiError as error:
        visitor.problem = visitor.t.sentence(error.status)
        report = None
    return {"recipient": recipient, "sender": sender, "report": report}


def changed_address(visitor: Visitor) -> dict:
    """Return the fields for the action addresses/?update from the form: {"address_expression": …, …}.

    The order of the address stays as it is if its input is empty.
    """
    fields = {name: visitor.form(name) for name in COLUMNS}
    fields["address_old_order"] = visitor.query("address_order")
    fields["address_old_expression"] = visitor.form.exactly("address_old_expression")
    fields["address_order"] = fields["address_order"] or fields["address_old_order"]
    if visitor.generation.number == 8:  # a row is changed by its expression
        fields["address_expression"] = visitor.query("address_expression")
    return fields


def move_address(visitor: Visitor) -> tuple[str, str]:
    """Exchange the places of the form's two addresses in the list.

    Return the list's URL, and the name of the message to show: ("addresses#order-12", "address_moved").
    """
    pairs = [
        {name: visitor.form(f"{side}_{name}") for name in ("address_expression", "address_order")}
        for side in ("this", "other")
    ]
    visitor.run("addresses", "switch", {"address1": pairs[0], "address2": pairs[1]})
    return row_in_list(visitor, pairs[1]["address_order"]), "address_moved"


def reorder_addresses(visitor: Visitor) -> tuple[str, str]:
    """Store the order of the addresses in the form, in which the user has dragged them.

    Return the list's URL, and the name of the message to show: ("addresses#order-12", "saved").
    """
    names, orders = visitor.form.all("address_expression"), visitor.form.all("address_order")
    listed = [{"address_expression": name, "address_order": order} for name, order in zip(names, orders)]
    visitor.run("addresses", "reorder", {"addresses": listed})
    return row_in_list(visitor, visitor.form("moved_to")), "saved"


def row_in_list(visitor: Visitor, order: str) -> str:
    """Return the URL of the list that moves the focus to the row with this address_order: "addresses#order-12"."""
    return link("addresses", **visitor.query.without()) + (
        f"#order-{order}" if order.lstrip("-").isdecimal() else ""
    )
