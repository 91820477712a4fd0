"""Checks of requests to the URL addresses/. Each raises ApiError for an invalid request (docs/wire.md section 4)."""

from mailapi import ApiError

from .address_access import require_managed
from .address_orders import ROW_WITH_ORDER
from .router_tables import IN_ROUTERS, check_router

ROUTER = "address_router"
ROUTE_MISSING = "Address router needs an argument (address_route)."
DIRECTIONS = ("inrouter", "outrouter")
NO_DIRECTION = "We need a routing direction (inrouter or outrouter)"


def check_new_router(call):
    """Raise ApiError unless the request has a known address_router, and the address_route that this router needs.

    The router, such as "handoff", says what happens to mail to the address, and the route, such as a host, where it
    goes (docs/wire.md F40). Addresses in schema version 8 have no router, so nothing is checked there.
    """
    if call.generation.number == 9:
        if not call.body.get("address_router"):
            raise ApiError("No address router defined.", code="missing_field", field="address_router")
        check_router(
            call.body["address_router"], call.body.get("address_route"), IN_ROUTERS, ROUTE_MISSING, ROUTER
        )


def check_both_complete(call):
    """Raise ApiError unless address1 and address2 in the request each have an address_expression and address_order."""
    first, second = call.body["address1"], call.body["address2"]
    for number, given in enumerate((first, second), 1):
        if not given["address_expression"]:
            raise ApiError(
                f"Adress {number} has no address expression", code="missing_field", field=f"address{number}"
            )
    if not first["address_order"] or not second["address_order"]:
        raise ApiError("Both addresses needs an order number", code="missing_field")


def check_direction(call):
    """Raise ApiError if address_routing is neither "inrouter" (incoming mail) nor "outrouter" (outgoing mail)."""
    if call.body["address_routing"] not in DIRECTIONS:
        raise ApiError(NO_DIRECTION, field="address_routing")


def check_update(call, old: int, new: int):
    """Raise ApiError unless the caller may change the address as requested, and its new values are valid.

    `old` and `new`: the number address_order, by which addresses are selected, before and after the change. No other
    address may have the number `new`.
    """
    require_managed(call, old, "No {permission} to update this to address")
    if not call.body.get("address_router"):
        raise ApiError("No address router defined.", code="missing_field", field="address_router")
    check_router(call.body["address_router"], "not checked yet", IN_ROUTERS, ROUTE_MISSING, ROUTER)
    if new != old and call.db.value(ROW_WITH_ORDER, order=new) is not None:
        raise ApiError("Duplicate order.", code="duplicate", field="address_order")
    check_new_router(call)
