"""Stores the names of deleted users in the state database, so that no delegate adds a new user of such a name.

Otherwise the new user would get the data that other services may still have of the deleted user.
"""

import hashlib

from peewee import IntegerField

from mailapi import DURABLE, Model, PreparedQuery, param

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
FIND = PreparedQuery(
    DeletedName.select(DeletedName.name_number).where(DeletedName.name_number == param("number"))
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


def is_recorded(call, name: str) -> bool:
    """Return whether a user of this name, or of one that looks like it or differs only in case, was deleted.

    By chance it is also True for a few other names, since only hashes are stored.
    """
    return bool(call.app.state.read(FIND, number=number_of(name)))
