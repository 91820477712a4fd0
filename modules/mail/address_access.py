"""Checks which mail addresses (rows of table `addresses`) a caller may see or change (docs/wire.md section 4)."""

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
    """Return whether the caller may see `row`, a row of `addresses` (docs/wire.md F08, F09).

    An admin may see every row. A delegate may see a row if its mail goes to a user delegated to them, or if a
    pattern delegated to them, such as `%@corp.org`, covers it. Any other caller may see the rows whose mail they
    get.
    """
    caller, user = call.caller, address_table(call).user_of(row)
    if caller.admin or not caller.delegate:
        return caller.admin or (user is not None and user == call.user_name)
    return user in caller.delegated_users or caller.may_manage(row["address_expression"])


def require_managed(call, order: int, refusal: str):
    """Raise ApiError with the message `refusal` unless the caller may manage the address with this address_order.

    `order` is the address_order. The pattern in its row decides, not a pattern in the request (docs/wire.md F07).
    {permission} in `refusal` is replaced by the word that the schema version uses.
    """
    expression = call.db.value(EXPRESSION_WITH_ORDER[call.generation.number], order=order)
    if not call.caller.admin and (expression is None or not call.caller.may_manage(expression)):
        raise ApiError(call.in_generation(refusal), code="not_allowed")


def managed_row(call, given: dict) -> dict:
    """Return the row of `addresses` that has the address_expression (pattern) and address_order in `given`.

    ApiError if there is no such row, or if the caller may not manage addresses with this pattern.
    """
    if not call.caller.may_manage(given["address_expression"]):
        raise ApiError("No access.", code="not_allowed")
    row = call.db.one(
        ROW[call.generation.number], expression=given["address_expression"], order=given["address_order"]
    )
    if row is None:
        raise ApiError("Address not found.", code="not_found")
    return row
