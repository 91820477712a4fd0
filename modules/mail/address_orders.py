"""Field types for address_order (the SMTP daemon tries the highest first), and the next number (docs/wire.md F47)."""

import re

from peewee import fn

from mailapi import PreparedQuery, optional_number, param, php_text, whole_number

from ..directory.address_tables import Addresses

ORDER = Addresses.address_order
MAX_ORDER = 2**53 - 1  # clients whose numbers are doubles cannot name an order beyond it, or below -MAX_ORDER

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


def order_number(value) -> int | None:
    """Read an address_order, a whole number from -MAX_ORDER to MAX_ORDER. None stays None."""
    number = whole_number(value)
    if number is not None and abs(number) > MAX_ORDER:
        raise ValueError("an order that clients cannot name")
    return number


def optional_order_number(value) -> int | None:
    """Read an optional address_order; "", 0 and null count as not given (None)."""
    return order_number(optional_number(value))


def stored_order_number(value) -> int | None:
    """Read the address_order of an existing row, which may be any 64-bit number; "", 0 and null return None.

    Old versions and the original PHP API stored numbers beyond MAX_ORDER, too.
    """
    if (text := php_text(value)) is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or not -(2**63) <= int(text) < 2**63:
        raise ValueError("no row has this order")
    return int(text)


def next_order(call) -> int:
    """Return an address_order for a new address: higher than that of all other addresses, and never used before.

    Ignores orders of MAX_ORDER and beyond. Otherwise a user could store one, and nobody could add addresses any more.
    """
    highest = (call.db.value(HIGHEST_WITH_FREE_SUCCESSOR) or 0) + 1
    unused = call.db.next(ORDER)
    if unused <= MAX_ORDER and call.db.value(ROW_WITH_ORDER, order=unused) is None:
        return max(highest, unused)
    return highest
