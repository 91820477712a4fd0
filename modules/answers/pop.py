"""Describes the request fields and answers of the module at pop/, for openapi.json and docs/reference/."""

from typing import TypedDict

from ..openapi.description import Description, Flag

FIELDS = {
    "pop_user": "The user who collects mail over POP3.",
    "pop_lock": "1: a POP3 session is open, or crashed.",
    "pop": "The users who may collect mail, by name.",
}


class PopUser(TypedDict):
    pop_user: str
    pop_lock: Flag


class PopUserList(TypedDict):
    pop: list[PopUser]


DESCRIPTION = Description(FIELDS, {"get": PopUserList})
