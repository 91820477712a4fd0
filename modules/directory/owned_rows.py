"""Lists of rows that belong to users, such as POP users: which of them a caller may see."""

from collections.abc import Callable

import peewee

from mailapi import DELEGATED, RawJSON, param

from .lists import ListQuery, listing, whole_list


def list_rows(call, query: ListQuery) -> RawJSON | list[dict]:
    """Return the rows of a query for the caller's user name, or the page of them that the request asks for."""
    return listing(call, query, user=call.user_name)


class OwnedRows:
    """The rows of a table in which the column `owner` names a user, as lists in the order of that column.

    `list_for_delegate` is called in place of list_rows for delegates, for example to hide passwords.
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
        """Return the rows that the caller may see; or those of `user_name`, whom the caller must be allowed to see.

        An admin sees all rows, a delegate their own and those of users delegated to them, any other caller their own.
        """
        if user_name:
            return listing(call, self.own, user=user_name)
        if call.caller.admin:
            return listing(call, self.all)
        if call.caller.delegate:
            return self.list_for_delegate(call, self.own_and_delegated)
        return list_rows(call, self.own)

    def named(self, call, user_name: str) -> RawJSON | list[dict]:
        """Return all rows of one user, also if the request asks for a page."""
        return whole_list(call, self.own, user=user_name)
