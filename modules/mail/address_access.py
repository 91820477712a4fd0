"""Rows of `addresses` that a caller may see or change (docs/wire.md section 4)."""

from mailapi import ApiError, param

from ..directory.address_tables import address_table, each_address_table

EXPRESSION_WITH_ORDER = each_address_table(
    lambda table: table.select(table.address_expression).where(table.address_order == param("order"))
)
ROW = each_address_table(
    lambda table: table.select().where(
        table.address_expression == param("expression"), table.address_order == param("order")
    )
)


def is_visible(call, row: dict) -> bool:
    """Return whether the caller may see an address (docs/wire.md F08, F09).

    An admin sees every address, a delegate those that store to delegated users or lie in delegated expressions, others
    those that store to them.
    """
    caller, user = call.caller, address_table(call).user_of(row)
    if caller.admin or not caller.delegate:
        return caller.admin or (user is not None and user == call.user_name)
    return user in caller.delegated_users or caller.may_manage(row["address_expression"])


def require_managed(call, order: int, refusal: str):
    """Refuse a caller who may not manage the stored address with that order.

    The expression in the request proves nothing: it may differ from the stored one (docs/wire.md F07).
    """
    expression = call.db.value(EXPRESSION_WITH_ORDER[call.generation.number], order=order)
    if not call.caller.admin and (expression is None or not call.caller.may_manage(expression)):
        raise ApiError(call.in_generation(refusal))


def managed_row(call, given: dict) -> dict:
    """Return the stored row with the expression and the order of an address that the caller may manage."""
    if not call.caller.may_manage(given["address_expression"]):
        raise ApiError("No access.")
    row = call.db.one(
        ROW[call.generation.number], expression=given["address_expression"], order=given["address_order"]
    )
    if row is None:
        raise ApiError("Address not found.")
    return row
