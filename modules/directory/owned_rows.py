"""Rows that belong to a user: which of them a caller may list, and the pages of such a list."""

from collections.abc import Callable

import peewee

from mailapi import DELEGATED, PreparedQuery, RawJSON, param

from .pagination import KeysetPagination


def list_rows(call, query: PreparedQuery) -> RawJSON | list[dict]:
    """Return a query's rows for the caller, or the page that the request asks for."""
    return call.listing(query, user=call.user_name)


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
        pages, own = KeysetPagination(owner), owner == param("user")
        self.all = PreparedQuery(rows.order_by(owner), pages=pages)
        self.own = PreparedQuery(rows.where(own), pages=pages)
        self.own_and_delegated = PreparedQuery(
            rows.where(own | owner.in_(DELEGATED)).order_by(owner), pages=pages
        )
        self.of_user = PreparedQuery(rows.where(own))
        self.list_for_delegate = list_for_delegate

    def visible_to(self, call, user_name: str | None = None) -> RawJSON | list[dict]:
        """Return the rows of the user that is named, or else those that the caller may see.

        An admin sees all rows, a delegate their own ones and those of the delegated users, others their own ones.
        Whether the caller may name that user is for the endpoint's `allow` to decide.
        """
        if user_name:
            return call.listing(self.own, user=user_name)
        if call.caller.admin:
            return call.listing(self.all)
        if call.caller.delegate:
            return self.list_for_delegate(call, self.own_and_delegated)
        return list_rows(call, self.own)

    def named(self, call, user_name: str) -> RawJSON | list[dict]:
        """Return all rows of one user, whichever page the request asks for."""
        return call.listing(self.of_user, user=user_name)
