"""Functions for address_order, the number by which the SMTP daemon sorts addresses (docs/wire.md F47).

The address with the highest number is tried first.
"""

import re

from peewee import fn

from mailapi import PreparedQuery, address, object_of, optional_number, param, php_text, whole_number

from ..directory.address_tables import Addresses
from ..openapi.schemas import TEXT_OR_NULL, json_schema, schema_of

ORDER = Addresses.address_order
MAX_ORDER = 2**53 - 1  # clients whose numbers are doubles cannot name an order beyond it, or below -MAX_ORDER
ORDER_SCHEMA = {"type": "integer", "minimum": -MAX_ORDER, "maximum": MAX_ORDER}

NEXT_ROW = Addresses.alias("above")
# The highest order whose successor is free.
HIGHEST_WITH_FREE_SUCCESSOR = PreparedQuery(
    Addresses.select(Addresses.address_order)
    .where(
        Addresses.address_order >= 0,
        Addresses.address_order < MAX_ORDER,
        ~fn.EXISTS(
            NEXT_ROW.select(NEXT_ROW.address_order).where(
                NEXT_ROW.address_order == Addresses.address_order + 1
            )
        ),
    )
    .order_by(Addresses.address_order.desc())
    .limit(1)
)
ROW_WITH_ORDER = PreparedQuery(
    Addresses.select(Addresses.address_order).where(Addresses.address_order == param("order"))
)


@json_schema(ORDER_SCHEMA)
def order_number(value) -> int | None:
    """Return the address_order in a request as a number: 7 for 7 or "7". Return None for null.

    Raise ValueError unless it is a whole number from -(2**53 - 1) to 2**53 - 1.
    """
    number = whole_number(value)
    if number is not None and abs(number) > MAX_ORDER:
        raise ValueError("an order that clients cannot name")
    return number


@json_schema(ORDER_SCHEMA)
def optional_order_number(value) -> int | None:
    """Return an optional address_order in a request as a number. Return None for null, "" and 0.

    Raise ValueError for a number that order_number() refuses.
    """
    return order_number(optional_number(value))


@json_schema({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1})
def stored_order_number(value) -> int | None:
    """Convert the field address_order, which selects an existing address, to an int.

    Return None for null, "" and 0, which select none. Raise ValueError if it is not a whole number of 64 bits.
    """
    # Older versions stored numbers that order_number() refuses for new addresses.
    if (text := php_text(value)) is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or not -(2**63) <= int(text) < 2**63:
        raise ValueError("no row has this order")
    return int(text)


EXPRESSION_AND_ORDER = object_of(address_expression=address, address_order=optional_number)
# A row that addresses/get returned has other columns, too, which do not count.
OTHER_COLUMNS = dict.fromkeys(("address_router", "address_route", "address_user"), TEXT_OR_NULL)
ROW_SCHEMA = {
    "type": "object",
    "properties": schema_of(EXPRESSION_AND_ORDER)["properties"] | OTHER_COLUMNS,
    "additionalProperties": False,
    "examples": [{"address_expression": "%@corp.org", "address_order": 1}],
}
MOST_REORDERED = 1000  # addresses of a request


@json_schema(ROW_SCHEMA)
def address_row(value) -> dict | None:
    """Convert a row that addresses/get returned to its address_expression and address_order; null, "" … to None."""
    return EXPRESSION_AND_ORDER(value)


@json_schema({"type": "array", "items": ROW_SCHEMA, "maxItems": MOST_REORDERED})
def list_of_addresses(value) -> list[dict] | None:
    """Check and return a list in a request, such as [{"address_expression": "%@corp.org", "address_order": 7}].

    Return None for null. Raise ValueError if the list is too long, or if an entry lacks one of the two values.
    """
    if value is not None and (not isinstance(value, list) or len(value) > MOST_REORDERED):
        raise ValueError("not a list, or too long a one")
    listed = value and [address_row(entry) for entry in value]
    if listed and not all(entry and all(entry.values()) for entry in listed):
        raise ValueError("an address without expression or order")
    return listed


def next_order(call) -> int:
    """Return the address_order for a new address: a number above all others, and never used before if possible.

    Numbers from 2**53 - 1 on are ignored, since no higher number is allowed.
    """
    highest = (call.db.value(HIGHEST_WITH_FREE_SUCCESSOR) or 0) + 1
    unused = call.db.next(ORDER)
    if unused <= MAX_ORDER and call.db.value(ROW_WITH_ORDER, order=unused) is None:
        return max(highest, unused)
    return highest
