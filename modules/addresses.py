"""Addresses: patterns of mail addresses, with the order in which they are tried and where mail to them goes."""

from mailapi import (
    Active,
    ApiError,
    Module,
    PreparedQuery,
    address,
    address_delegate,
    admin_or_delegate,
    anyone,
    endpoint,
    param,
    php_text,
    raw_text,
)

from .answers import addresses
from .directory.address_tables import ADDRESS_TABLES, Addresses, Addresses8
from .directory.lists import listing
from .mail.address_access import managed_row, require_managed, visibility
from .mail.address_checks import (
    DIRECTIONS,
    NO_DIRECTION,
    check_both_complete,
    check_direction,
    check_new_router,
    check_update,
)
from .mail.address_lists import ALL_ADDRESSES, STORING_TO_USER, selected_by, selected_rows
from .mail.address_orders import (
    address_row,
    list_of_addresses,
    next_order,
    optional_order_number,
    order_number,
    stored_order_number,
)
from .mail.dangerous_addresses import DANGEROUS_ADDRESSES
from .mail.routing_report import report_inbound, report_outbound

COLUMNS = {
    8: ("address_expression", "address_user"),
    9: ("address_expression", "address_router", "address_route"),
}
# Each column of a row → the parameter of that name.
ROW = {
    number: {name: param(name) for name in ("address_order", *columns)} for number, columns in COLUMNS.items()
}
INSERT = {number: PreparedQuery(table.insert(ROW[number])) for number, table in ADDRESS_TABLES.items()}
# In generation 8 requests change and delete rows by their expression.
UPDATE = {
    8: PreparedQuery(
        Addresses8.update(ROW[8]).where(Addresses8.address_expression == param("address_expression"))
    ),
    9: PreparedQuery(Addresses.update(ROW[9]).where(Addresses.address_order == param("address_old_order"))),
}
DELETE = {
    8: PreparedQuery(Addresses8.delete().where(Addresses8.address_expression == param("address_expression"))),
    9: PreparedQuery(Addresses.delete().where(Addresses.address_order == param("address_order"))),
}
REPLACE_ROW = {
    number: PreparedQuery(table.update(ROW[number]).where(table.address_order == param("address_order")))
    for number, table in ADDRESS_TABLES.items()
}
REQUIRE_EXPRESSION = {"address_expression": "We need an address expression."}
REQUIRED_TO_ADD = {
    8: REQUIRE_EXPRESSION | {"address_user": "We want also an username."},
    9: REQUIRE_EXPRESSION,
}
REQUIRED_TO_UPDATE = {
    8: REQUIRED_TO_ADD[8] | {"address_order": "We want also an order."},
    9: REQUIRE_EXPRESSION
    | {"address_old_order": "We want also the old order", "address_order": "We want also an order."},
}
REQUIRED_TO_DELETE = {
    8: REQUIRE_EXPRESSION,
    9: REQUIRE_EXPRESSION | {"address_order": "We need the address order."},
}
REQUIRED_TO_SWITCH = {"address1": "Adress 1 is not defined", "address2": "Address 2 is not defined"}
FIELDS = {
    "address_expression": address,
    "address_router": php_text,
    "address_route": address,
    "address_user": php_text,
}
OLD_EXPRESSION = {"address_old_expression": raw_text}


class Address(Module):
    description = addresses.DESCRIPTION
    identifiers = dict.fromkeys(
        [
            "address_expression",
            "address_user",
            "address_old_order",
            "address_order",
            "address1",
            "address2",
            "addresses",
        ]
    ) | {"address_routing": DIRECTIONS}
    active = {
        8: Active(Addresses8.address_user),
        9: Active(Addresses.address_route, where=Addresses.address_router == "store"),
    }
    dangerous_rows = DANGEROUS_ADDRESSES

    @endpoint(
        allow=anyone,
        query={"test": address, "after": stored_order_number, "search": php_text},
        read_only=True,
        optional={
            "address_order": optional_order_number,
            "address_expression": php_text,
            "address_user": php_text,
        },
    )
    def get(self, call):
        """List the addresses that the caller may see, in the order in which the SMTP daemon tries them.

        To select addresses, give address_order, address_expression (the pattern), `test` in the URL's query (an
        address that must match) or address_user (who gets the mail). If several of these are given, only the first in
        this order is used. An admin sees all addresses, a delegate those of the users and patterns delegated to them,
        any other caller those whose mail they get.
        """
        number, selected = call.generation.number, selected_by(call)
        if not selected and call.caller.admin:
            return {"addresses": listing(call, ALL_ADDRESSES[number])}
        if not selected and not call.caller.delegate:
            return {"addresses": listing(call, STORING_TO_USER[number], user=call.user_name)}
        visible = list(filter(visibility(call), selected_rows(call, selected)))
        if call.body.get("address_order") and number == 9 and not visible and not call.caller.admin:
            raise ApiError("Not authorized.", code="not_allowed", addresses=[])
        return {"addresses": visible}

    @endpoint(
        required=REQUIRED_TO_ADD,
        optional=FIELDS | {"address_order": optional_order_number},
        validators=[check_new_router],
        allow=(
            admin_or_delegate.otherwise("No {permission} to add an address."),
            address_delegate("address_expression").otherwise("No {permission} to insert this expression."),
        ),
    )
    def add(self, call):
        """Add an address. Without address_order it gets the highest order, so that it is tried first."""
        order = call.body.get("address_order") or next_order(call)
        call.db.execute(INSERT[call.generation.number], **values_of(call) | {"address_order": order})

    @endpoint(
        required=REQUIRED_TO_UPDATE,
        optional=FIELDS
        | {"address_order": order_number, "address_old_order": stored_order_number}
        | OLD_EXPRESSION,
        allow=(
            admin_or_delegate.otherwise("No {permission} to update an address."),
            address_delegate("address_expression").otherwise("No {permission} to update this to address"),
        ),
    )
    def update(self, call):
        """Change the address whose order is address_old_order (in version 8, whose pattern is address_expression).

        Without address_route, the route is removed. With address_old_expression, the request is refused if that address
        has another pattern by now. A delegate must manage both the old and the new pattern.
        """
        number, old, new = (
            call.generation.number,
            call.body.get("address_old_order"),
            call.body["address_order"],
        )
        if number == 9:
            check_update(call, old, new)
        call.db.execute(UPDATE[number], **values_of(call), address_old_order=old)

    @endpoint(
        required=REQUIRED_TO_DELETE,
        optional={"address_order": optional_order_number} | OLD_EXPRESSION,
        allow=address_delegate("address_expression").otherwise("No access."),
    )
    def delete(self, call):
        """Delete an address. address_order is its order; in schema version 8, address_expression selects it.

        With address_old_expression, the request is refused if the address with this order has another pattern by now.
        A delegate must manage both the stored pattern and address_expression.
        """
        if call.generation.number == 9:
            require_managed(call, call.body["address_order"], "No access.")
        call.db.execute(DELETE[call.generation.number], **values_of(call))

    @endpoint(
        required=REQUIRED_TO_SWITCH,
        optional=dict.fromkeys(REQUIRED_TO_SWITCH, address_row),
        validators=[check_both_complete],
        allow=admin_or_delegate.otherwise("No access."),
    )
    def switch(self, call):
        """Exchange the order numbers of the addresses address1 and address2. A delegate must manage both addresses."""
        rows = [managed_row(call, call.body[name]) for name in ("address1", "address2")]
        give_orders(call, rows, [row["address_order"] for row in reversed(rows)])

    @endpoint(
        required={"addresses": "Addresses are not set."},
        optional={"addresses": list_of_addresses},
        allow=admin_or_delegate.otherwise("No access."),
    )
    def reorder(self, call):
        """Put the given addresses in the given order: the first gets the highest of their orders, to be tried first.

        All other addresses keep their orders. A delegate must manage all given addresses.
        """
        rows = [managed_row(call, given) for given in call.body["addresses"]]
        orders = sorted({row["address_order"] for row in rows}, reverse=True)
        if len(orders) < len(rows):
            raise ApiError("An address is there twice.", field="addresses")
        give_orders(call, rows, orders)

    @endpoint(
        required=REQUIRE_EXPRESSION | {"address_routing": NO_DIRECTION},
        validators=[check_direction],
        allow=anyone,
        optional={
            "address_expression": address,
            "sender": address,
            "smtpd_user": php_text,
            "recipient": address,
        },
        read_only=True,
    )
    def test(self, call):
        """Return what the SMTP daemon would do with a mail: `steps` (sentences) and `decision` (the outcome).

        With address_routing "inrouter", the mail comes from `sender` to the address address_expression. With
        "outrouter", the user smtpd_user sends it from the address address_expression to `recipient`. Addresses that
        the caller may not see are not revealed.
        """
        incoming = call.body["address_routing"] == "inrouter"
        return report_inbound(call) if incoming else report_outbound(call)


def give_orders(call, rows: list[dict], orders: list[int]):
    """Store a new address_order in each row of the table `addresses`: the number at the row's place in `orders`."""
    for row, order in zip(rows, orders):
        call.db.execute(REPLACE_ROW[call.generation.number], **row | {"address_order": order})


def values_of(call) -> dict:
    """Return the request's values for the columns of `addresses`: {"address_order": 3, …}. Missing values are None."""
    return {name: call.body.get(name) for name in ROW[call.generation.number]}
