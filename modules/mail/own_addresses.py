"""The addresses whose mail is stored for a user."""

from ..directory.address_tables import address_table
from ..directory.new_users import EXPRESSIONS_STORING_TO, ONE_ADDRESS
from .routing_rules import as_text, matching_rows

MOST_ADDRESSES = 50


def stores_to(call, address: str, user_name: str) -> bool:
    """Return whether the SMTP daemon stores mail to `address` in the mailbox of a user."""
    rows = matching_rows(call, address)
    return bool(rows) and address_table(call).user_of(rows[0]) == user_name


def addresses_of(call, user_name: str) -> list[str]:
    """Return the mail addresses of a user, 50 at most. Patterns such as `%@corp.org` are left out."""
    expressions = call.db.column(EXPRESSIONS_STORING_TO[call.generation.number], user=user_name)
    own = [user_name, *sorted(map(as_text, expressions))]
    return [each for each in own if ONE_ADDRESS.fullmatch(each)][:MOST_ADDRESSES]
