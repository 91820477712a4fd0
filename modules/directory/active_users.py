"""SQL conditions that a user is active in a module, such as POP. They are made from the module's attribute `active`."""

import operator
from collections.abc import Iterable
from functools import reduce

from peewee import Expression, Field, fn

from mailapi import Active, Users, param


def is_active(active: Active) -> Expression:
    """Return the SQL condition that a user is active in a module, for a query that lists all users.

    `active` declares which rows make a user active in the module: for POP, for example, a row of table popd.
    """
    if active.where_user is not None:
        return active.where_user
    return any_of(Users.user_name.in_(query) for query in active.rows)


def is_active_on_page(active: Active) -> Expression:
    """Return the SQL condition that a user is active in a module, for a query that lists one page of users.

    `active` declares which rows make a user active. Only rows of users on the page are read: the query's parameters
    `first` and `last` are the first and the last user name on it.
    """
    if active.where_user is not None:
        return active.where_user
    return any_of(
        Users.user_name.in_(query.where(on_page(query.selected_columns[0]))) for query in active.rows
    )


def is_one_active(active: Active) -> Expression:
    """Return the SQL condition that one user is active in a module. The query's parameter `user` is the user's name.

    `active` declares which rows make a user active in the module.
    """
    return any_of(fn.EXISTS(query.where(query.selected_columns[0] == param("user"))) for query in active.rows)


def on_page(user: Field) -> Expression:
    """Return the SQL condition that the column `user`, a user name, is on a page of a list.

    The query's parameters `first` and `last` are the first and the last user name on the page.
    """
    return (user >= param("first")) & (user <= param("last"))


def any_of(conditions: Iterable) -> Expression:
    return reduce(operator.or_, conditions)


def same_rows(one: Active, other: Active) -> bool:
    """Return whether `one` and `other` select the same rows, so that the same users are active in both modules."""
    return [query.sql() for query in one.rows] == [query.sql() for query in other.rows]
