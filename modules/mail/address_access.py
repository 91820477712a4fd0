"""Permission checks: which rows of table `addresses` a caller may see or change (docs/wire.md section 4)."""

from collections.abc import Callable

from mailapi import ApiError, param

from ..directory.address_tables import address_table, each_address_table
from .routing_rules import as_text

EXPRESSION_WITH_ORDER = each_address_table(
    lambda table: table.select(table.address_expression).where(table.address_order == param("order"))
)
ROW = each_address_table(
    lambda table: table.select().where(
        table.address_expression == param("expression"), table.address_order == param("order")
    )
)


def visibility(call) -> Callable[[dict], bool]:
    """Return a function that says whether the caller may see a row of table `addresses` (docs/wire.md F08, F09).

    An admin may see all rows. A delegate may see rows that deliver to a user delegated to them, and rows within a
    pattern delegated to them, such as `%@corp.org`. Any other caller may see rows that deliver to them.
    """
    caller, user_of = call.caller, address_table(call).user_of
    if caller.admin:
        return lambda row: True
    if not caller.delegate:
        return lambda row: user_of(row) == call.user_name
    users = set(caller.delegated_users)  # in a list, each row would be compared with thousands of names
    return lambda row: user_of(row) in users or caller.may_manage(as_text(row["address_expression"]))


def require_managed(call, order: int, refusal: str):
    """Raise ApiError unless the caller may change or delete the address whose number address_order is `order`.

    An admin may do so, and a delegate if a pattern of theirs, such as `%@corp.org`, covers the address. The address as
    it is stored counts, not as the request has it (docs/wire.md F07). `refusal` is the error message; {permission} in
    it becomes "right" in schema version 8, and "permission" in version 9.

    Raise ApiError, too, if the request has an address_old_expression that differs from the stored address. The address
    was then changed after the client had read it.
    """
    expression = call.db.value(EXPRESSION_WITH_ORDER[call.generation.number], order=order)
    if not call.caller.admin and (expression is None or not call.caller.may_manage(as_text(expression))):
        raise ApiError(call.in_generation(refusal), code="not_allowed")
    expected = call.body.get("address_old_expression")
    if expected and expression != expected:
        raise ApiError("Address not found.", code="not_found", field="address_old_expression")


def managed_row(call, given: dict) -> dict:
    """Return the row of table `addresses` that has the address_expression and address_order in `given`.

    Raise ApiError if there is no such row, or if the caller may not manage addresses with this address_expression. Also
    raise it if the row could not be stored again as it is.
    """
    if not call.caller.may_manage(given["address_expression"]):
        raise ApiError("No access.", code="not_allowed")
    row = call.db.one(
        ROW[call.generation.number], expression=given["address_expression"], order=given["address_order"]
    )
    if row is None:
        raise ApiError("Address not found.", code="not_found")
    if "\ufffd" in str(row.get("address_route")):  # in place of bytes that would be lost
        raise ApiError("The route of an address is not UTF-8: update it first.")
    return row
