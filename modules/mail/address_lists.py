"""Queries for the address lists that `addresses/?get` returns, and the choice of a query by the request's fields."""

from peewee import Expression

from mailapi import param

from ..directory.address_tables import ADDRESS_TABLES
from ..directory.lists import ListQuery, asks_for_page
from .routing_rules import ROWS_BY_ORDER, address_as_received, like


def address_list(number: int, condition: Expression | None = None) -> ListQuery:
    """Return a query for rows of `addresses` in schema version `number` (8 or 9), highest address_order first.

    `condition` is an SQL condition on the rows. If it is None, the query returns all rows.
    """
    table, rows = ADDRESS_TABLES[number], ROWS_BY_ORDER[number]
    rows = rows if condition is None else rows.where(condition)
    return ListQuery(rows, table.address_order, table.address_expression, descending=True)


ALL_ADDRESSES = {number: address_list(number) for number in ADDRESS_TABLES}
STORING_TO_USER = {
    number: address_list(number, table.stores_to(param("user"))) for number, table in ADDRESS_TABLES.items()
}
SELECTED = {
    number: {
        "address_order": address_list(number, table.address_order == param("value")),
        "address_expression": address_list(number, table.address_expression == param("value")),
        "test": address_list(number, like(param("value"), table.address_expression)),
        "address_user": address_list(number, table.stores_to(param("value"))),
    }
    for number, table in ADDRESS_TABLES.items()
}


def selected_by(call) -> tuple[ListQuery, object] | None:
    """Return the query for the addresses that the request asks for, and the value of the query's parameter.

    The first of these request fields that is set selects the query: address_order, address_expression, `test` (an
    address that the patterns must match), address_user. Return None if no field is set: the request asks for all
    addresses.
    """
    lists, body = SELECTED[call.generation.number], call.body
    if call.generation.number == 9 and body.get("address_order"):
        return lists["address_order"], body["address_order"]
    if body.get("address_expression"):
        return lists["address_expression"], body["address_expression"]
    if call.generation.number == 9 and call.query.get("test"):
        return lists["test"], address_as_received(call.query["test"], [])
    if body.get("address_user"):
        return lists["address_user"], body["address_user"]
    return None


def selected_rows(call, selected: tuple[ListQuery, object] | None) -> list[dict]:
    """Return the rows of `addresses` that the request asks for, without a check of permissions.

    `selected`: a query, and the value of its parameter; None for all addresses. The limit in the request is not
    applied.
    """
    query, value = selected or (ALL_ADDRESSES[call.generation.number], None)
    if not asks_for_page(call):
        return call.db.rows(query, value=value)
    page, more = query.page(call, limited=False)
    return call.db.rows(page, value=value, **more)
