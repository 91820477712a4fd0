"""Queries by which `mailapi check` finds addresses that lose mail or make the mail daemons fail."""

from peewee import fn

from mailapi import PreparedQuery, Users

from ..directory.address_tables import Addresses, Addresses8
from .address_orders import MAX_ORDER
from .router_tables import IN_ROUTERS


def dangerous_in_both_generations(table) -> dict[str, PreparedQuery]:
    """Return queries for bad rows of `addresses`, by what is wrong: {"has letters beyond ASCII: …": query, …}.

    `table` is the model of table `addresses` in schema version 8 or 9.
    """
    expression, order = table.address_expression, table.address_order
    return {
        "has letters beyond ASCII: the SMTP daemon drops them from addresses, so that it never matches": PreparedQuery(
            table.select(expression).where(fn.LENGTH(fn.HEX(expression)) != 2 * fn.LENGTH(expression))
        ),
        f"has an order beyond {MAX_ORDER}, by which clients cannot name it: give it another": PreparedQuery(
            table.select(expression).where((order > MAX_ORDER) | (order < -MAX_ORDER))
        ),
    }


EXPRESSIONS = Addresses.select(Addresses.address_expression)
DANGEROUS_ADDRESSES = {  # generation → sentence → query
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
