"""Names of deleted users. Services may still have their data, which a delegate must not pass to somebody else."""

import hashlib

from peewee import IntegerField

from mailapi import Model, PreparedQuery, param

from . import user_names

# A name is one of so many numbers, so that the table is bounded and no number ever gives way to another: some 200 MB
# if all are taken. Of 10,000 names that nobody had, 6 share the number of one of 10,000 deleted users.
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
    """Return the number of a name, from 1; names that a service could take for each other have the same."""
    form = user_names.without_case(name)
    return int.from_bytes(hashlib.sha256(form.encode()).digest()[:8], "big") % NUMBERS + 1


def record(call, name: str):
    """Record that a user of this name is about to be deleted: where this cannot be written, nobody is deleted."""
    with call.app.state.transaction():
        call.app.state.execute(ADD, number=number_of(name))


def is_recorded(call, name: str) -> bool:
    """Return whether a user of this name, or of one that looks the same, was deleted."""
    return bool(call.app.state.read(FIND, number=number_of(name)))
