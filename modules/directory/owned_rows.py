"""Lists rows that belong to users, such as those of the table `popd`, as far as the caller may see them."""

from collections.abc import Callable

import peewee

from mailapi import DELEGATED, RawJSON, param

from .lists import ListQuery, listing, whole_list


def list_rows(call, query: ListQuery) -> RawJSON | list[dict]:
    """Return the rows of a query, or the page that the request asks for.

    The query's parameter `user` is set to the caller's name.
    """
    return listing(call, query, user=call.user_name)


class OwnedRows:
    """Lists those rows of a table that the caller may see. The column `owner` names the user to whom a row belongs.

    The rows are sorted by `owner`. The function `list_for_delegate` returns the rows for a caller who manages other
    users, for example without passwords.
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
        """Return the rows that the caller may see, or the page of them that the request asks for.

        An admin sees all rows, a delegate their own and those of users delegated to them, any other caller their own.
        With `user_name`, return that user's rows, without a check whether the caller may see them.
        """
        if user_name:
            return listing(call, self.own, user=user_name)
        if call.caller.admin:
            return listing(call, self.all)
        if call.caller.delegate:
            return self.list_for_delegate(call, self.own_and_delegated)
        return list_rows(call, self.own)

    def named(self, call, user_name: str) -> RawJSON | list[dict]:
        """Return all rows of the table that belong to `user_name`, even if the request asks for a page."""
        return whole_list(call, self.own, user=user_name)
