"""In which modules a user is active: SQL conditions for the lists of users, from what modules declare as `active`."""

import operator
from collections.abc import Iterable
from functools import reduce

from peewee import Expression, Field, fn

from mailapi import Active, Users, param


def is_active(active: Active) -> Expression:
    """Return the SQL condition that a user is active in a module, for a query that lists many users.

    `active` is the module's declaration of the rows that make a user active in it.
    """
    if active.where_user is not None:
        return active.where_user
    return any_of(Users.user_name.in_(query) for query in active.rows)


def is_active_on_page(active: Active) -> Expression:
    """Return the SQL condition that a user is active in a module, for a query that lists one page of users.

    The page has the user names from param("first") to param("last"); only rows of these users are read.
    """
    if active.where_user is not None:
        return active.where_user
    return any_of(
        Users.user_name.in_(query.where(on_page(query.selected_columns[0]))) for query in active.rows
    )


def is_one_active(active: Active) -> Expression:
    """Return the SQL condition that the user param("user") is active in a module, for a query about that user only."""
    return any_of(fn.EXISTS(query.where(query.selected_columns[0] == param("user"))) for query in active.rows)


def on_page(user: Field) -> Expression:
    """Return the SQL condition that a user name is between param("first") and param("last")."""
    return (user >= param("first")) & (user <= param("last"))


def any_of(conditions: Iterable) -> Expression:
    return reduce(operator.or_, conditions)


def same_rows(one: Active, other: Active) -> bool:
    """Check whether two modules declare users as active by the same rows of the database."""
    return [query.sql() for query in one.rows] == [query.sql() for query in other.rows]
