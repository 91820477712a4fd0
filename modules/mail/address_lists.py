"""The lists of addresses that `addresses/?get` returns, highest order first, and the conditions that select from them."""

from peewee import Expression, Value

from mailapi import GENERATIONS, PreparedQuery, param

from ..directory.pagination import KeysetPagination
from .routing import ROWS_BY_ORDER, address_as_received, like

PAGINATION = {
    number: KeysetPagination(g.address.address_order, g.address.address_expression, descending=True)
    for number, g in GENERATIONS.items()
}
ALL_ADDRESSES = {
    number: PreparedQuery(query, pages=PAGINATION[number]) for number, query in ROWS_BY_ORDER.items()
}
STORING_TO_USER = {
    number: PreparedQuery(
        query.where(GENERATIONS[number].address.stores_to(param("user"))), pages=PAGINATION[number]
    )
    for number, query in ROWS_BY_ORDER.items()
}


def selection(call) -> Expression | None:
    """Return the condition of the first field that selects addresses, or None."""
    table, body = call.generation.address, call.body
    if call.generation.number == 9 and body.get("address_order"):
        return table.address_order == body["address_order"]
    if body.get("address_expression"):
        return table.address_expression == body["address_expression"]
    if call.generation.number == 9 and call.query.get("test"):
        return like(Value(address_as_received(call.query["test"], [])), table.address_expression)
    if body.get("address_user"):
        return table.stores_to(body["address_user"])
    return None


def selected_page(call, condition: Expression | None) -> PreparedQuery:
    """Return the query for the addresses that a condition selects, all if it is None, from the page that is asked for on."""
    number = call.generation.number
    query = ROWS_BY_ORDER[number] if condition is None else ROWS_BY_ORDER[number].where(condition)
    return PAGINATION[number].of(query, call.query.get("after"), call.query.get("search"))
