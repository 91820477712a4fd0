"""In which modules a user is active: SQL conditions for the lists of users, from what modules declare as `active`."""

import operator
from collections.abc import Iterable
from functools import reduce

from peewee import Expression, Field, fn

from mailapi import Active, Users, param


def is_active(active: Active) -> Expression:
    """Return the condition that a row's user is active, for a query over many users."""
    if active.where_user is not None:
        return active.where_user
    return any_of(Users.user_name.in_(query) for query in active.rows)


def is_active_on_page(active: Active) -> Expression:
    """Return that condition for a query over the users from param("first") to param("last")."""
    if active.where_user is not None:
        return active.where_user
    return any_of(
        Users.user_name.in_(query.where(on_page(query.selected_columns[0]))) for query in active.rows
    )


def is_one_active(active: Active) -> Expression:
    """Return that condition for a query over param("user") alone: with an index it reads a row of each table."""
    return any_of(fn.EXISTS(query.where(query.selected_columns[0] == param("user"))) for query in active.rows)


def on_page(user: Field) -> Expression:
    return (user >= param("first")) & (user <= param("last"))


def any_of(conditions: Iterable) -> Expression:
    return reduce(operator.or_, conditions)


def same_rows(one: Active, other: Active) -> bool:
    """Check whether two modules read the same rows."""
    return [query.sql() for query in one.rows] == [query.sql() for query in other.rows]
