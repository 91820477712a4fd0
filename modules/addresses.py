"""Addresses: which mail comes in, matched by expressions from the highest order down, and where it goes."""

from peewee import Value, fn

from mailapi import (
    IN_ROUTERS,
    Active,
    Addresses,
    Addresses8,
    ApiError,
    KeysetPagination,
    Module,
    PreparedQuery,
    Users,
    address,
    address_delegate,
    admin_or_delegate,
    anyone,
    check_router,
    each_generation,
    endpoint,
    like,
    object_of,
    optional_number,
    param,
    php_text,
)

from .mail.address_orders import (
    HIGHEST,
    next_order,
    optional_order_number,
    order_number,
    stored_order_number,
)
from .mail.routing import (
    BY_ORDER,
    as_received,
    decision,
    inbound,
    matching,
    out_router,
    outbound,
    visible_route,
)

PAGES = {
    number: KeysetPagination(query.model.address_order, query.model.address_expression, descending=True)
    for number, query in BY_ORDER.items()
}
EVERYTHING = {number: PreparedQuery(query, pages=PAGES[number]) for number, query in BY_ORDER.items()}
OWN = {
    number: PreparedQuery(query.where(query.model.stores_to(param("user"))), pages=PAGES[number])
    for number, query in BY_ORDER.items()
}
COLUMNS = {
    8: ("address_expression", "address_user"),
    9: ("address_expression", "address_router", "address_route"),
}
ADD = each_generation(
    lambda g: g.address.insert({name: param(name) for name in ("address_order", *COLUMNS[g.number])})
)

EXPRESSIONS = Addresses.select(Addresses.address_expression)

ARGUMENT = "Address router needs an argument (address_route)."
DIRECTIONS = ("inrouter", "outrouter")
DIRECTION = "We need a routing direction (inrouter or outrouter)"
EXPRESSION = {"address_expression": "We need an address expression."}
ORDER = {"address_order": "We need the address order."}
TO_ADD = {8: EXPRESSION | {"address_user": "We want also an username."}, 9: EXPRESSION}
TO_UPDATE = {
    8: TO_ADD[8] | {"address_order": "We want also an order."},
    9: EXPRESSION
    | {"address_old_order": "We want also the old order", "address_order": "We want also an order."},
}
TO_SWITCH = {"address1": "Adress 1 is not defined", "address2": "Address 2 is not defined"}
FIELDS = {
    "address_expression": address,
    "address_router": php_text,
    "address_route": address,
    "address_user": php_text,
}
ADDRESS = object_of(address_expression=address, address_order=optional_number)


def router_works(call):
    """docs/wire.md F40's sentences after the expression's; in generation 8 routers are the MSA's."""
    if call.generation.number == 9:
        if not call.body.get("address_router"):
            raise ApiError("No address router defined.")
        check_router(call.body["address_router"], call.body.get("address_route"), IN_ROUTERS, ARGUMENT)


def complete(call):
    """Both addresses as `get` returns them."""
    first, second = call.body["address1"], call.body["address2"]
    for number, given in enumerate((first, second), 1):
        if not given["address_expression"]:
            raise ApiError(f"Adress {number} has no address expression")
    if not first["address_order"] or not second["address_order"]:
        raise ApiError("Both addresses needs an order number")


def direction_known(call):
    if call.body["address_routing"] not in DIRECTIONS:
        raise ApiError(DIRECTION)


def dangerous_in_both_generations(table) -> dict:
    """Select what harms in the addresses of both generations."""
    expression, number = table.address_expression, table.address_order
    return {
        "has letters beyond ASCII: the SMTP daemon drops them from addresses, so that it never matches": PreparedQuery(
            table.select(expression).where(fn.LENGTH(fn.HEX(expression)) != 2 * fn.LENGTH(expression))
        ),
        f"has an order beyond {HIGHEST}, by which clients cannot name it: give it another": PreparedQuery(
            table.select(expression).where((number > HIGHEST) | (number < -HIGHEST))
        ),
    }


class Address(Module):
    identifiers = dict.fromkeys(
        ["address_expression", "address_user", "address_old_order", "address_order", "address1", "address2"]
    ) | {"address_routing": DIRECTIONS}
    active = {
        8: Active(Addresses8.address_user),
        9: Active(Addresses.address_route, where=Addresses.address_router == "store"),
    }
    dangerous_rows = {
        8: dangerous_in_both_generations(Addresses8),
        9: dangerous_in_both_generations(Addresses)
        | {
            "stores to nobody, which crashes the SMTP daemon": PreparedQuery(
                EXPRESSIONS.where(Addresses.address_router == "store", Addresses.address_route.is_null())
            ),
            "stores to a user that does not exist: its mail is rejected": PreparedQuery(
                EXPRESSIONS.where(
                    Addresses.address_router == "store",
                    Addresses.address_route.not_in(Users.select(Users.user_name)),
                )
            ),
            "has a router that the SMTP daemon does not know: its mail is lost": PreparedQuery(
                EXPRESSIONS.where(Addresses.address_router.not_in(IN_ROUTERS))
            ),
            "has a router without the route that it needs: its mail is rejected": PreparedQuery(
                EXPRESSIONS.where(
                    Addresses.address_router.in_(["redirect", "handoff"]), Addresses.address_route.is_null()
                )
            ),
        },
    }

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
        """The addresses that the caller may see, highest order first: all, or those of one look-up."""
        order, looked_up, number = call.body.get("address_order"), self.look_up(call), call.generation.number
        if looked_up is None and call.caller.admin:
            return {"addresses": call.listing(EVERYTHING[number])}
        if looked_up is None and not call.caller.delegate:
            return {"addresses": call.listing(OWN[number], user=call.user_name)}
        asked = BY_ORDER[number] if looked_up is None else BY_ORDER[number].where(looked_up)
        rows = call.db.rows(PAGES[number].of(asked, call.query.get("after"), call.query.get("search")))
        visible = [row for row in rows if self.visible(call, row)]
        if order and number == 9 and not visible and not call.caller.admin:
            raise ApiError("Not authorized.", addresses=[])
        return {"addresses": visible}

    @endpoint(
        required=TO_ADD,
        optional=FIELDS | {"address_order": optional_order_number},
        validators=[router_works],
        allow=(
            admin_or_delegate.otherwise("No {permission} to add an address."),
            address_delegate("address_expression").otherwise("No {permission} to insert this expression."),
        ),
    )
    def add(self, call):
        """A new address, last matched before all others unless an order is given."""
        given = call.body.get("address_order")
        call.db.execute(
            ADD[call.generation.number], **self.values(call), address_order=given or next_order(call)
        )

    @endpoint(
        required=TO_UPDATE,
        optional=FIELDS | {"address_order": order_number, "address_old_order": stored_order_number},
        allow=(
            admin_or_delegate.otherwise("No {permission} to update an address."),
            address_delegate("address_expression").otherwise("No {permission} to update this to address"),
        ),
    )
    def update(self, call):
        """Change the row with address_old_order; in generation 8 the rows with that expression."""
        table = call.generation.address
        if call.generation.number == 8:
            return self.change(call, table.address_expression == call.body["address_expression"])
        old, new = call.body["address_old_order"], call.body["address_order"]
        self.must_manage(call, old, "No {permission} to update this to address")
        if not call.body.get("address_router"):
            raise ApiError("No address router defined.")
        check_router(call.body["address_router"], "not checked yet", IN_ROUTERS, ARGUMENT)
        if new != old and call.db.column(table.select(table.address_order).where(table.address_order == new)):
            raise ApiError("Duplicate order.")
        router_works(call)
        return self.change(call, table.address_order == old)

    @endpoint(
        required={8: EXPRESSION, 9: EXPRESSION | ORDER},
        optional={"address_order": optional_order_number},
        allow=address_delegate("address_expression").otherwise("No access."),
    )
    def delete(self, call):
        """Remove the row with that order; in generation 8 the rows with that expression."""
        table = call.generation.address
        which = table.address_expression == call.body["address_expression"]
        if call.generation.number == 9:
            self.must_manage(call, call.body["address_order"], "No access.")
            which = table.address_order == call.body["address_order"]
        call.db.execute(table.delete().where(which))

    @endpoint(
        required=TO_SWITCH,
        optional={"address1": ADDRESS, "address2": ADDRESS},
        validators=[complete],
        allow=admin_or_delegate.otherwise("No access."),
    )
    def switch(self, call):
        """Let two addresses change places in the order."""
        table = call.generation.address
        stored = [self.stored(call, call.body[name]) for name in ("address1", "address2")]
        for row, other in zip(stored, reversed(stored)):
            call.db.execute(
                table.update(row | {"address_order": other["address_order"]}).where(
                    table.address_order == other["address_order"]
                )
            )

    @endpoint(
        required=EXPRESSION | {"address_routing": DIRECTION},
        validators=[direction_known],
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
        """What the SMTP daemon would do with mail to an address (inrouter) or from it (outrouter)."""
        return self.inbound(call) if call.body["address_routing"] == "inrouter" else self.outbound(call)

    def look_up(self, call):
        """The condition of the first look-up that is given; None without any."""
        table, body = call.generation.address, call.body
        if call.generation.number == 9 and body.get("address_order"):
            return table.address_order == body["address_order"]
        if body.get("address_expression"):
            return table.address_expression == body["address_expression"]
        if call.generation.number == 9 and call.query.get("test"):
            return like(Value(as_received(call.query["test"], [])), table.address_expression)
        if body.get("address_user"):
            return table.stores_to(body["address_user"])
        return None

    def visible(self, call, row: dict) -> bool:
        """Whether the caller may see an address (docs/wire.md section 4, F08, F09)."""
        caller, user = call.caller, call.generation.address.user_of(row)
        if caller.admin or not caller.delegate:
            return caller.admin or (user is not None and user == call.user_name)
        return user in caller.delegated_users or caller.may_manage(row["address_expression"])

    def must_manage(self, call, order: int, refusal: str):
        """The stored row, too, must be the caller's, not only what they claim of it (docs/wire.md F07)."""
        table = call.generation.address
        stored = call.db.value(table.select(table.address_expression).where(table.address_order == order))
        if not call.caller.admin and (stored is None or not call.caller.may_manage(stored)):
            raise ApiError(call.in_generation(refusal))

    def stored(self, call, claimed: dict) -> dict:
        """The row that the caller means and may manage."""
        table = call.generation.address
        if not call.caller.may_manage(claimed["address_expression"]):
            raise ApiError("No access.")
        row = call.db.one(
            table.select().where(
                table.address_expression == claimed["address_expression"],
                table.address_order == claimed["address_order"],
            )
        )
        if row is None:
            raise ApiError("Address not found.")
        return row

    def values(self, call) -> dict:
        return {name: call.body.get(name) for name in COLUMNS[call.generation.number]}

    def change(self, call, which):
        values = self.values(call) | {"address_order": call.body["address_order"]}
        call.db.execute(call.generation.address.update(values).where(which))

    def inbound(self, call) -> dict:
        dropped: list[str] = []
        recipient = as_received(call.body["address_expression"], dropped)
        sender = as_received(call.body.get("sender"), dropped)
        rows = matching(call, recipient)
        seen = rows and self.visible(call, rows[0])
        found = inbound(call, rows[0], sender, recipient) if seen else decision(["Address not found."])
        found["steps"][1:1] = dropped
        return found

    def outbound(self, call) -> dict:
        asked = call.body.get("smtpd_user") or None
        if asked and asked != call.user_name and not call.caller.may_act_for(asked):
            raise ApiError("Not allowed.")
        dropped: list[str] = []
        sender = as_received(call.body["address_expression"], dropped)
        recipient, user_of = as_received(call.body.get("recipient"), dropped), call.generation.address.user_of
        rows = matching(call, sender)
        hidden = rows and not asked and not self.visible(call, rows[0])
        rows = [row for row in rows if not hidden and (user_of(row) == asked or self.visible(call, row))]
        users = [user for row in rows if (user := user_of(row))]
        steps = [
            f"Address matched: {rows[0]['address_expression']}" if rows else "Address not found.",
            *dropped,
        ]
        user = asked or next(iter(users), None)
        if user is None:
            return decision(
                [*steps, "Rejected: the address stores to no user who could log in."] if rows else steps
            )
        router, route = out_router(call, user)
        return outbound(
            steps, user, (router, visible_route(call, route, user)), user in users, sender, recipient
        )
