"""Finds and deletes the rows of a user in all tables, and finds the rows that deleted users have left behind."""

from functools import reduce
from operator import or_

from peewee import Column, Expression, Select, SelectBase, Table, Value, fn

from mailapi import GENERATIONS, PreparedQuery, Users, param

# Table → the columns that name the user. They are foreign keys, which SQLite's shell does not enforce: whoever deletes
# a user there leaves these rows behind.
OWNED_TABLES = {
    "api_access": ("api_user",),
    "api_user_delegates": ("api_user", "api_delegate"),
    "api_address_delegates": ("api_user",),
    "popd": ("pop_user",),
    "users": ("user_alias",),
    "mailbox": ("mail_user",),
}
ROUTERS = {8: {"msa": ("msa_user",)}, 9: {"smtpd": ("smtpd_user",)}}


class OwnedTable(Table):
    """A table whose rows belong to users. `owners` are its columns with user names, such as popd.pop_user."""

    def __init__(self, name: str, columns: tuple[str, ...]):
        super().__init__(name)
        self.owners: list[Column] = [getattr(self.c, column) for column in columns]


TABLES = {
    number: [OwnedTable(name, columns) for name, columns in (ROUTERS[number] | OWNED_TABLES).items()]
    for number in GENERATIONS
}


def is_owned_by(table: OwnedTable, user) -> Expression:
    """Return the SQL condition for rows that have the user name `user` in one of the columns `table.owners`."""
    return reduce(or_, [owner == user for owner in table.owners])


def names_without_user(table: OwnedTable, owner: Column) -> SelectBase:
    """Return a query for the names in the column `owner` of a table that no existing user has."""
    existing = Users.select(Users.user_name)
    return table.select(owner.alias("user_name")).where(owner.is_null(False), owner.not_in(existing))


HAVE_ROWS = {
    number: PreparedQuery(
        Select(
            columns=[
                fn.EXISTS(table.select(Value(1)).where(is_owned_by(table, param("user")))) for table in tables
            ]
        )
    )
    for number, tables in TABLES.items()
}
ORPHANS = {
    number: PreparedQuery(
        reduce(
            lambda query, other: query.union(other),
            [names_without_user(table, owner) for table in tables for owner in table.owners],
        )
    )
    for number, tables in TABLES.items()
}
DELETE_OWNED = {  # a row of users is not deleted: it only loses its alias
    number: [
        PreparedQuery(
            (table.update(user_alias=None) if table.__name__ == "users" else table.delete()).where(
                is_owned_by(table, param("user"))
            )
        )
        for table in tables
    ]
    for number, tables in TABLES.items()
}
DELETE_USER = PreparedQuery(Users.delete().where(Users.user_name == param("user")))
SUBMITTED = [
    PreparedQuery(table.select(Value(1)).where(table.c.mail_submitter == param("user")).limit(1))
    for table in (Table("outbox"), Table("mailbox"))
]


def tables_with_rows_of(call, user_name: str) -> list[str]:
    """Return the names of the tables that have rows of a user, such as ["popd"].

    For a user who was just added, these rows belong to a former user of the same name.
    """
    number = call.generation.number
    [has_rows] = call.db.fetch(HAVE_ROWS[number], {"user": user_name})[1]
    return [table.__name__ for table, exists in zip(TABLES[number], has_rows) if exists]


def has_data_elsewhere(call, user_name: str) -> bool:
    """Return whether mail that a user of this name sent is still stored, or a module has data of such a user.

    Call it for a new user, to find the data of a former user of the same name.
    """
    if any(call.db.value(query, user=user_name) for query in SUBMITTED):
        return True
    return any(module.has_rows_of(user_name) for module in call.app.modules.values())


def orphans(call) -> set[str]:
    """Return the names of former users who have left rows in the tables of the master database."""
    return set(call.db.column(ORPHANS[call.generation.number]))


def delete(call, user_name: str):
    """Delete a former user's rows in all tables of the master database. Aliases to this user are removed, too."""
    for query in DELETE_OWNED[call.generation.number]:
        call.db.execute(query, user=user_name)
