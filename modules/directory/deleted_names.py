"""Names of deleted users: delegates cannot add a user of such a name, who would get what services still have of it."""

import hashlib

from peewee import IntegerField

from mailapi import Model, PreparedQuery, param

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
    """Return a number from 1 to NUMBERS for a user name: the same for names that differ in case or look alike."""
    form = user_names.without_case(name)
    return int.from_bytes(hashlib.sha256(form.encode()).digest()[:8], "big") % NUMBERS + 1


def record(call, name: str):
    """Record the name of a user who is about to be deleted, in the state database.

    An error prevents that the user is deleted.
    """
    with call.app.state.transaction("EXCLUSIVE"):  # outlasts a power cut
        call.app.state.execute(ADD, number=number_of(name))


def is_recorded(call, name: str) -> bool:
    """Return whether a user of this name, or of one that looks the same, was deleted before."""
    return bool(call.app.state.read(FIND, number=number_of(name)))
