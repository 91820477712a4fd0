"""Describes the request fields and answers of the module at tokens/, for openapi.json and docs/reference/."""

from typing import TypedDict

from ..openapi.description import Description, Flag

FIELDS = {
    "token_id": "The token's number.",
    "token_name": "A name by which the audit and people know the token.",
    "token_user": "The user whose token it is.",
    "token_created": "When it was made, in seconds since 1970.",
    "token_expires": "When it ends, in seconds since 1970; null: never.",
    "token_used": "When it was last used, in seconds since 1970; null: never.",
    "token_reads_only": "Whether it can change nothing.",
    "token_modules": "The modules that it is good for, by their names in get_modules, such as User; null or empty: all.",
    "token_networks": "The networks that it may be used from, such as 192.0.2.0/24; null or empty: all.",
    "tokens": "The tokens, oldest first.",
    "token": "The token itself. No other answer has it.",
}


class Token(TypedDict):
    token_id: int
    token_user: str
    token_name: str
    token_created: int
    token_expires: int | None
    token_used: int | None
    token_reads_only: Flag
    token_modules: list[str] | None
    token_networks: list[str] | None


class TokenList(TypedDict):
    tokens: list[Token]


class TokenAdded(TypedDict):
    token: str
    token_id: int


DESCRIPTION = Description(FIELDS, {"get": TokenList, "add": TokenAdded})
