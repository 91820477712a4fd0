"""Delegates: which users and address expressions somebody looks after for the administrator."""

from peewee import fn

from mailapi import Active, ApiAddressDelegates, ApiUserDelegates, Module, address, admin, anyone, endpoint

from .mail.routing import like

USERS = ApiUserDelegates.select(ApiUserDelegates.api_user, ApiUserDelegates.api_delegate).order_by(
    ApiUserDelegates.api_user, ApiUserDelegates.api_delegate
)
ADDRESSES = ApiAddressDelegates.select(
    ApiAddressDelegates.api_user, ApiAddressDelegates.api_expression
).order_by(ApiAddressDelegates.api_user, ApiAddressDelegates.api_expression)

USER = {
    "required": {"api_user": "User is not set.", "api_delegate": "Delegated user is not set."},
    "allow": admin,
}
ADDRESS = {
    "required": {"api_user": "User is not set.", "api_expression": "Address expression is not set."},
    "optional": {"api_expression": address},
    "allow": admin,
}


class Delegate(Module):
    identifiers = ("api_user", "api_delegate", "api_expression")
    active = Active(ApiUserDelegates.api_user, ApiAddressDelegates.api_user)

    @endpoint(allow=anyone, read_only=True)
    def get(self, call):
        """All delegations, for a delegate their own, for others those that put somebody in charge of them."""
        users, addresses = USERS, ADDRESSES
        if not call.caller.admin and call.caller.delegate:
            users = users.where(ApiUserDelegates.api_user == call.user_name)
            addresses = addresses.where(ApiAddressDelegates.api_user == call.user_name)
        elif not call.caller.admin:
            table = call.generation.address
            own = table.select().where(
                table.stores_to(call.user_name),
                like(table.address_expression, ApiAddressDelegates.api_expression),
            )
            users = users.where(ApiUserDelegates.api_delegate == call.user_name)
            addresses = addresses.where(fn.EXISTS(own))
        return {"delegates": {"users": call.db.rows(users), "addresses": call.db.rows(addresses)}}

    @endpoint(**USER)
    def user_add(self, call):
        """Put api_user in charge of the user api_delegate."""
        call.db.execute(
            ApiUserDelegates.insert(api_user=call.body["api_user"], api_delegate=call.body["api_delegate"])
        )

    @endpoint(**USER)
    def user_delete(self, call):
        """Take api_delegate out of api_user's charge."""
        call.db.execute(
            ApiUserDelegates.delete().where(
                ApiUserDelegates.api_user == call.body["api_user"],
                ApiUserDelegates.api_delegate == call.body["api_delegate"],
            )
        )

    @endpoint(**ADDRESS)
    def address_add(self, call):
        """Put api_user in charge of the addresses that api_expression covers."""
        call.db.execute(
            ApiAddressDelegates.insert(
                api_user=call.body["api_user"], api_expression=call.body["api_expression"]
            )
        )

    @endpoint(**ADDRESS)
    def address_delete(self, call):
        """Take api_expression out of api_user's charge."""
        call.db.execute(
            ApiAddressDelegates.delete().where(
                ApiAddressDelegates.api_user == call.body["api_user"],
                ApiAddressDelegates.api_expression == call.body["api_expression"],
            )
        )
