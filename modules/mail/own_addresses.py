"""The addresses whose mail is stored for a user."""

from collections.abc import Iterable

from mailapi import param

from ..directory.address_tables import address_table, each_address_table
from ..directory.new_users import EXPRESSIONS_STORING_TO, ONE_ADDRESS
from .routing_rules import as_text, like, matching_rows

MOST_ADDRESSES = 50
STORING_TO = each_address_table(
    lambda table: (
        table.select(table.address_order)
        .where(table.stores_to(param("user")), like(param("address"), table.address_expression))
        .limit(1)
    )
)


def stores_to(call, address: str, user_name: str) -> bool:
    """Return whether the SMTP daemon stores mail to `address` in the mailbox of a user."""
    rows = matching_rows(call, address)
    return bool(rows) and address_table(call).user_of(rows[0]) == user_name


def addresses_of(call, user_name: str) -> list[str]:
    """Return the mail addresses of a user, 50 at most. Patterns such as `%@corp.org` are left out."""
    expressions = call.db.column(EXPRESSIONS_STORING_TO[call.generation.number], user=user_name)
    own = [user_name, *sorted(map(as_text, expressions))]
    return [each for each in own if ONE_ADDRESS.fullmatch(each)][:MOST_ADDRESSES]


def may_be_sender(call, router: str | None, addresses: Iterable[str]) -> bool:
    """Return whether the caller's router passes on mail from an address, given in all its spellings (`addresses`).

    Only the router `defined` demands an address that stores to the caller. No patterns of other users are compared: a
    delegate's could take seconds, in which nobody else may write.
    """
    query, user = STORING_TO[call.generation.number], call.user_name
    return router != "defined" or any(call.db.column(query, user=user, address=each) for each in addresses)
