"""Orders of addresses, by which the SMTP daemon goes through them: which there can be, and the next one (docs/wire.md F47)."""

import re

from peewee import fn

from mailapi import Addresses, PreparedQuery, empty, optional_number, param, raw_text, whole_number

HIGHEST = 2**53 - 1  # beyond it, and below its negative, clients whose numbers are doubles cannot name a row

ABOVE = Addresses.alias("above")
# The highest order with a free one right above it.
WITH_ROOM = PreparedQuery(
    Addresses.select(Addresses.address_order)
    .where(
        Addresses.address_order >= 0,
        Addresses.address_order < HIGHEST,
        ~fn.EXISTS(
            ABOVE.select(ABOVE.address_order).where(ABOVE.address_order == Addresses.address_order + 1)
        ),
    )
    .order_by(Addresses.address_order.desc())
    .limit(1)
)
TAKEN = PreparedQuery(
    Addresses.select(Addresses.address_order).where(Addresses.address_order == param("order"))
)


def order_number(value) -> int | None:
    """Read an order that a row is to get, or that names one; None stays None."""
    number = whole_number(value)
    if number is not None and abs(number) > HIGHEST:
        raise ValueError("an order that clients cannot name")
    return number


def optional_order_number(value) -> int | None:
    """Read an order; what is empty() counts as not given."""
    return order_number(optional_number(value))


def stored_order_number(value) -> int | None:
    """Read the order of a stored row: an older version or the original may have given any number of 64 bits.

    What is empty() counts as not given.
    """
    if empty(value):
        return None
    if not re.fullmatch(r"-?[0-9]{1,19}", raw_text(value)) or not -(2**63) <= int(value) < 2**63:
        raise ValueError("no row has this order")
    return int(value)


def next_order(call) -> int:
    """Return the order of a new address: above all others, and not one that an address had before.

    An address at HIGHEST, above which there is no room, is passed over, and orders beyond HIGHEST count for nothing:
    whoever may choose orders cannot keep others from adding addresses.
    """
    above_all = (call.db.value(WITH_ROOM) or 0) + 1
    never_given = call.db.next(Addresses.address_order)
    if never_given <= HIGHEST and call.db.value(TAKEN, order=never_given) is None:
        return max(above_all, never_given)
    return above_all
