"""Delegates: users who may manage other users, or mail addresses that match a pattern such as `%@corp.org`."""

from peewee import fn

from mailapi import (
    Active,
    ApiAddressDelegates,
    ApiUserDelegates,
    Module,
    PreparedQuery,
    address,
    admin,
    anyone,
    endpoint,
    param,
)

from .answers import delegates
from .directory.address_tables import each_address_table
from .directory.devices import refuse_devices
from .mail.routing_rules import like

DELEGATES, EXPRESSIONS = ApiUserDelegates, ApiAddressDelegates
USERS = DELEGATES.select(DELEGATES.api_user, DELEGATES.api_delegate).order_by(
    DELEGATES.api_user, DELEGATES.api_delegate
)
ADDRESSES = EXPRESSIONS.select(EXPRESSIONS.api_user, EXPRESSIONS.api_expression).order_by(
    EXPRESSIONS.api_user, EXPRESSIONS.api_expression
)
ALL_USERS, ALL_ADDRESSES = PreparedQuery(USERS), PreparedQuery(ADDRESSES)
USERS_OF_DELEGATE = PreparedQuery(USERS.where(DELEGATES.api_user == param("user")))
ADDRESSES_OF_DELEGATE = PreparedQuery(ADDRESSES.where(EXPRESSIONS.api_user == param("user")))
DELEGATES_OF_USER = PreparedQuery(USERS.where(DELEGATES.api_delegate == param("user")))
# The delegations whose expression matches an address that stores to the user.
DELEGATES_OF_ADDRESSES = each_address_table(
    lambda table: ADDRESSES.where(
        fn.EXISTS(
            table.select().where(
                table.stores_to(param("user")), like(table.address_expression, EXPRESSIONS.api_expression)
            )
        )
    )
)
USER_DELEGATION = {name: param(name) for name in ("api_user", "api_delegate")}
ADDRESS_DELEGATION = {name: param(name) for name in ("api_user", "api_expression")}
ADD_USER = PreparedQuery(DELEGATES.insert(USER_DELEGATION))
DELETE_USER = PreparedQuery(
    DELEGATES.delete().where(
        DELEGATES.api_user == param("api_user"), DELEGATES.api_delegate == param("api_delegate")
    )
)
ADD_ADDRESS = PreparedQuery(EXPRESSIONS.insert(ADDRESS_DELEGATION))
DELETE_ADDRESS = PreparedQuery(
    EXPRESSIONS.delete().where(
        EXPRESSIONS.api_user == param("api_user"), EXPRESSIONS.api_expression == param("api_expression")
    )
)

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
    description = delegates.DESCRIPTION
    identifiers = ("api_user", "api_delegate", "api_expression")
    active = Active(ApiUserDelegates.api_user, ApiAddressDelegates.api_user)

    @endpoint(allow=anyone, read_only=True)
    def get(self, call):
        """List the delegations that the caller may see: who manages which `users`, and who manages which `addresses`.

        An admin sees all, a delegate their own. Any other caller sees who manages them, and who manages the addresses
        whose mail they get.
        """
        if call.caller.admin:
            users, addresses = ALL_USERS, ALL_ADDRESSES
        elif call.caller.delegate:
            users, addresses = USERS_OF_DELEGATE, ADDRESSES_OF_DELEGATE
        else:
            users, addresses = DELEGATES_OF_USER, DELEGATES_OF_ADDRESSES[call.generation.number]
        values = {"user": call.user_name}
        return {
            "delegates": {
                "users": call.db.rows(users, **values),
                "addresses": call.db.rows(addresses, **values),
            }
        }

    @endpoint(**OF_USER)
    def user_add(self, call):
        """Let the user api_user manage another user, whose name is api_delegate."""
        refuse_devices(call, call.body["api_user"], call.body["api_delegate"])
        call.db.execute(ADD_USER, api_user=call.body["api_user"], api_delegate=call.body["api_delegate"])

    @endpoint(**OF_USER)
    def user_delete(self, call):
        """Stop the user api_user from managing another user, whose name is api_delegate."""
        call.db.execute(DELETE_USER, api_user=call.body["api_user"], api_delegate=call.body["api_delegate"])

    @endpoint(**OF_ADDRESS)
    def address_add(self, call):
        """Let the user api_user manage the addresses that match the pattern api_expression."""
        refuse_devices(call, call.body["api_user"])
        call.db.execute(
            ADD_ADDRESS, api_user=call.body["api_user"], api_expression=call.body["api_expression"]
        )

    @endpoint(**OF_ADDRESS)
    def address_delete(self, call):
        """Stop the user api_user from managing the addresses that match the pattern api_expression."""
        call.db.execute(
            DELETE_ADDRESS, api_user=call.body["api_user"], api_expression=call.body["api_expression"]
        )
