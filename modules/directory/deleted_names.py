"""Stores the names of deleted users in the state database, so that no delegate adds a new user of such a name.

Otherwise the new user would get the data that other services may still have of the deleted user.
"""

import hashlib
from collections.abc import Collection

from peewee import SQL, IntegerField, Select, fn

from mailapi import DURABLE, Model, PreparedQuery, Store, param

from . import user_names

# Names are stored as hashes from 1 to NUMBERS, so that the table is bounded (some 200 MB) and never pruned.
# After 10,000 users were deleted, 6 of 10,000 new names are refused by chance, as their hash is stored already.
NUMBERS = 2**24


class DeletedName(Model):
    name_number = IntegerField()

    class Meta:
        table_name = "deleted_name"


STATE_SCHEMA = """
CREATE TABLE IF NOT EXISTS deleted_name (name_number INTEGER PRIMARY KEY);
"""
ADD = PreparedQuery(DeletedName.replace(name_number=param("number")))
# One parameter takes a list of any length.
FIND = PreparedQuery(
    DeletedName.select(DeletedName.name_number).where(
        DeletedName.name_number.in_(Select([fn.json_each(param("numbers"))], [SQL("value")]))
    )
)


def number_of(name: str) -> int:
    """Return the hash that is stored in place of a user name, an int from 1 to 2**24.

    Names that look alike or differ only in case have the same hash.
    """
    form = user_names.without_case(name)
    return int.from_bytes(hashlib.sha256(form.encode()).digest()[:8], "big") % NUMBERS + 1


def record(call, name: str):
    """Store the name of a user in the state database as that of a deleted user. Call it before the user is deleted.

    If it raises an error, do not delete the user.
    """
    with call.app.state.transaction(DURABLE):
        call.app.state.execute(ADD, number=number_of(name))


def recorded(state: Store, names: Collection[str]) -> list[str]:
    """Return those of `names` that belonged to deleted users. Case and invisible characters are ignored.

    By chance a few other names are among them, since only hashes of the deleted users' names are stored.
    """
    numbers = [*map(number_of, names)]
    found = set(state.read(FIND, numbers=str(numbers)))
    return [name for name, number in zip(names, numbers) if (number,) in found] if found else []
