"""Delegates: the users and the address expressions that a delegate manages for the administrator."""

from peewee import fn

from mailapi import Active, ApiAddressDelegates, ApiUserDelegates, Module, address, admin, anyone, endpoint

from .directory.address_tables import address_table
from .mail.routing import like

USER_DELEGATIONS = ApiUserDelegates.select(ApiUserDelegates.api_user, ApiUserDelegates.api_delegate).order_by(
    ApiUserDelegates.api_user, ApiUserDelegates.api_delegate
)
ADDRESS_DELEGATIONS = ApiAddressDelegates.select(
    ApiAddressDelegates.api_user, ApiAddressDelegates.api_expression
).order_by(ApiAddressDelegates.api_user, ApiAddressDelegates.api_expression)

OF_USER = {
    "required": {"api_user": "User is not set.", "api_delegate": "Delegated user is not set."},
    "allow": admin,
}
OF_ADDRESS = {
    "required": {"api_user": "User is not set.", "api_expression": "Address expression is not set."},
    "optional": {"api_expression": address},
    "allow": admin,
}


class Delegate(Module):
    identifiers = ("api_user", "api_delegate", "api_expression")
    active = Active(ApiUserDelegates.api_user, ApiAddressDelegates.api_user)

    @endpoint(allow=anyone, read_only=True)
    def get(self, call):
        """List the delegations that the caller may see: `users` and `addresses`.

        An admin sees all of them, a delegate their own, others those of themselves and of addresses that store to them.
        """
        users, addresses = USER_DELEGATIONS, ADDRESS_DELEGATIONS
        if not call.caller.admin and call.caller.delegate:
            users = users.where(ApiUserDelegates.api_user == call.user_name)
            addresses = addresses.where(ApiAddressDelegates.api_user == call.user_name)
        elif not call.caller.admin:
            table = address_table(call)
            storing_to_caller = table.select().where(
                table.stores_to(call.user_name),
                like(table.address_expression, ApiAddressDelegates.api_expression),
            )
            users = users.where(ApiUserDelegates.api_delegate == call.user_name)
            addresses = addresses.where(fn.EXISTS(storing_to_caller))
        return {"delegates": {"users": call.db.rows(users), "addresses": call.db.rows(addresses)}}

    @endpoint(**OF_USER)
    def user_add(self, call):
        """Let api_user manage the user api_delegate."""
        call.db.execute(
            ApiUserDelegates.insert(api_user=call.body["api_user"], api_delegate=call.body["api_delegate"])
        )

    @endpoint(**OF_USER)
    def user_delete(self, call):
        """Stop api_user from managing the user api_delegate."""
        call.db.execute(
            ApiUserDelegates.delete().where(
                ApiUserDelegates.api_user == call.body["api_user"],
                ApiUserDelegates.api_delegate == call.body["api_delegate"],
            )
        )

    @endpoint(**OF_ADDRESS)
    def address_add(self, call):
        """Let api_user manage the addresses that api_expression covers."""
        call.db.execute(
            ApiAddressDelegates.insert(
                api_user=call.body["api_user"], api_expression=call.body["api_expression"]
            )
        )

    @endpoint(**OF_ADDRESS)
    def address_delete(self, call):
        """Stop api_user from managing the addresses that api_expression covers."""
        call.db.execute(
            ApiAddressDelegates.delete().where(
                ApiAddressDelegates.api_user == call.body["api_user"],
                ApiAddressDelegates.api_expression == call.body["api_expression"],
            )
        )
