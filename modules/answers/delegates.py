"""Describes the request fields and answers of the module at delegates/, for openapi.json and docs/reference/."""

from typing import TypedDict

from ..openapi.description import Description

FIELDS = {
    "api_user": "The delegate.",
    "api_delegate": "The user whom the delegate manages.",
    "api_expression": "A pattern of addresses that the delegate manages, such as %@corp.org.",
    "delegates": "The delegations.",
    "users": "Which users are managed by whom.",
    "addresses": "Which addresses are managed by whom.",
}


class UserDelegation(TypedDict):
    api_user: str
    api_delegate: str


class AddressDelegation(TypedDict):
    api_user: str
    api_expression: str


class Delegations(TypedDict):
    users: list[UserDelegation]
    addresses: list[AddressDelegation]


class DelegationList(TypedDict):
    delegates: Delegations


DESCRIPTION = Description(FIELDS, {"get": DelegationList})
