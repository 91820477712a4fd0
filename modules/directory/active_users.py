"""SQL conditions that a user is active in a module, such as POP. They are made from the module's attribute `active`."""

import operator
from collections.abc import Iterable
from functools import reduce

from peewee import Expression, Field, fn

from mailapi import Active, Users, param


def is_active(active: Active) -> Expression:
    """Return the SQL condition that a module's tables have rows of a user, for a query that lists all users.

    Such a user is active in the module. `active` declares the rows: for POP, for example, those of the table popd.
    """
    if active.where_user is not None:
        return active.where_user
    return any_of(Users.user_name.in_(query) for query in active.rows)


def is_active_on_page(active: Active) -> Expression:
    """Return the SQL condition that a module's tables have rows of a user, for a query that lists one page of users.

    Such a user is active in the module. `active` declares the rows: for POP, for example, those of the table popd.
    Only rows of users on the page are read: names from `first` to `last`, two parameters of the query.
    """
    if active.where_user is not None:
        return active.where_user
    return any_of(
        Users.user_name.in_(query.where(on_page(query.selected_columns[0]))) for query in active.rows
    )


def is_one_active(active: Active) -> Expression:
    """Return the SQL condition that a module's tables have rows of the user whom the query's parameter `user` names.

    Such a user is active in the module. `active` declares the rows: for POP, for example, those of the table popd.
    """
    return any_of(fn.EXISTS(query.where(query.selected_columns[0] == param("user"))) for query in active.rows)


def on_page(user: Field) -> Expression:
    """Return the SQL condition that the column `user`, a user name, is from `first` to `last`, two query parameters.

    These are the first and the last user name on a page of a list.
    """
    return (user >= param("first")) & (user <= param("last"))


def any_of(conditions: Iterable) -> Expression:
    return reduce(operator.or_, conditions)


def same_rows(one: Active, other: Active) -> bool:
    """Return whether two modules' declarations of active users select the same rows, such as those of `mailbox`."""
    return [query.sql() for query in one.rows] == [query.sql() for query in other.rows]
