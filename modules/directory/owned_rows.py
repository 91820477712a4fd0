"""Rows that belong to a user: which of them a caller may list, and the pages of such a list."""

from collections.abc import Callable

import peewee

from mailapi import DELEGATED, RawJSON, param

from .lists import ListQuery, listing, whole_list


def list_rows(call, query: ListQuery) -> RawJSON | list[dict]:
    """Return a query's rows for the caller, or the page that the request asks for."""
    return listing(call, query, user=call.user_name)


class OwnedRows:
    """The rows of a query, of which one column names the owner, ordered by that column.

    `list_for_delegate` replaces the plain list where a delegate must not see every column as it is stored.
    """

    def __init__(
        self,
        rows: peewee.Select,
        owner: peewee.Field,
        list_for_delegate: Callable[..., RawJSON | list[dict]] = list_rows,
    ):
        own = owner == param("user")
        self.all = ListQuery(rows.order_by(owner), owner)
        self.own = ListQuery(rows.where(own), owner)
        self.own_and_delegated = ListQuery(rows.where(own | owner.in_(DELEGATED)).order_by(owner), owner)
        self.list_for_delegate = list_for_delegate

    def visible_to(self, call, user_name: str | None = None) -> RawJSON | list[dict]:
        """Return the rows of the user that is named, or else those that the caller may see.

        An admin sees all rows, a delegate their own ones and those of the delegated users, others their own ones.
        Whether the caller may name that user is for the endpoint's `allow` to decide.
        """
        if user_name:
            return listing(call, self.own, user=user_name)
        if call.caller.admin:
            return listing(call, self.all)
        if call.caller.delegate:
            return self.list_for_delegate(call, self.own_and_delegated)
        return list_rows(call, self.own)

    def named(self, call, user_name: str) -> RawJSON | list[dict]:
        """Return all rows of one user, whichever page the request asks for."""
        return whole_list(call, self.own, user=user_name)
