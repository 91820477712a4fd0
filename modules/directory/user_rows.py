"""Rows that belong to a user by name: whoever is given a name of which some are left, is given what they hold."""

import time
from functools import reduce
from operator import or_

from peewee import Expression, Select, Table, Value, fn

from mailapi import GENERATIONS, PreparedQuery, Session, Users, param

# Table → the columns that name the user. They are foreign keys: rows of nobody are left where somebody deleted a user
# while foreign keys were off, as they are in a shell.
BELONGING = {
    "api_access": ("api_user",),
    "api_user_delegates": ("api_user", "api_delegate"),
    "api_address_delegates": ("api_user",),
    "popd": ("pop_user",),
    "users": ("user_alias",),
    "mailbox": ("mail_user",),
}
ROUTERS = {8: {"msa": ("msa_user",)}, 9: {"smtpd": ("smtpd_user",)}}
TABLES = {
    number: [Table(name, columns) for name, columns in (ROUTERS[number] | BELONGING).items()]
    for number in GENERATIONS
}


def belongs(table: Table, user) -> Expression:
    """Return the condition for a user's rows of a table."""
    return reduce(or_, [getattr(table, column) == user for column in table._columns])


def orphaned(table: Table, column: str) -> Select:
    """Return the query for the names in a column that no user has."""
    named = getattr(table, column)
    existing = Users.select(Users.user_name)
    return table.select(named.alias("user_name")).where(named.is_null(False), named.not_in(existing))


LEFT = {
    number: PreparedQuery(
        Select(
            columns=[
                fn.EXISTS(table.select(Value(1)).where(belongs(table, param("user")))).alias(
                    f"in_{table._path[-1]}"
                )
                for table in tables
            ]
        )
    )
    for number, tables in TABLES.items()
}
ORPHANS = {
    number: PreparedQuery(
        reduce(
            lambda query, other: query.union(other),
            [orphaned(table, column) for table in tables for column in table._columns],
        )
    )
    for number, tables in TABLES.items()
}
OUTBOX = Table("outbox", ("mail_submitter",))
SUBMITTED = [
    PreparedQuery(table.select(Value(1)).where(table.mail_submitter == param("user")).limit(1))
    for table in (OUTBOX, Table("mailbox", ("mail_submitter",)))
]
SESSIONS = PreparedQuery(
    Session.select(Session.session_id)
    .where(Session.user_name == param("user"), Session.created > param("after"))
    .limit(1)
)


def left(call, user_name: str) -> list[str]:
    """Return the tables that have rows of a user who has just been added."""
    found = call.db.one(LEFT[call.generation.number], user=user_name)
    return [name.removeprefix("in_") for name, there in found.items() if there]


def left_elsewhere(call, user_name: str) -> bool:
    """Return whether mail that somebody of that name submitted is there, or a session, or a module has rows."""
    if any(call.db.value(query, user=user_name) for query in SUBMITTED):
        return True
    with call.app.state.one_statement():
        if call.app.state.value(
            SESSIONS, user=user_name, after=int(time.time()) - call.config.session_lifetime
        ):
            return True
    return any(module.has_rows_of(user_name) for module in call.app.modules.values())


def orphans(call) -> set[str]:
    """Return the names of which there are rows, but no user."""
    return set(call.db.column(ORPHANS[call.generation.number]))


def delete(call, user_name: str):
    """Delete the rows of a user who is not there: no foreign key does."""
    for table in TABLES[call.generation.number]:
        mine = belongs(table, user_name)
        is_users = table._path[-1] == "users"  # of those whose alias it was
        call.db.execute(table.update(user_alias=None).where(mine) if is_users else table.delete().where(mine))
