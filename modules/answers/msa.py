"""Describes the request fields and answers of the module at msa/, for openapi.json and docs/reference/."""

from typing import TypedDict

from ..openapi.description import Description

FIELDS = {
    "msa_user": "The user.",
    "msa_inrouter": "What the daemons do with the user's incoming mail: store, forward, handoff, reject or drop.",
    "msa_inroute": "The argument of msa_inrouter: a file for store, an address for forward, a host for handoff.",
    "msa_outrouter": "What the SMTP daemon does with mail that the user sends.",
    "msa_outroute": "The argument of msa_outrouter: a host for handoff.",
    "msa": "The users with their routers, by name.",
}


class Routers(TypedDict):
    msa_user: str
    msa_inrouter: str
    msa_inroute: str | None
    msa_outrouter: str
    msa_outroute: str | None


class RouterList(TypedDict):
    msa: list[Routers]


class RoutersAdded(TypedDict):
    msa: int


DESCRIPTION = Description(FIELDS, {"get": RouterList, "add": RoutersAdded}, {"add": RoutersAdded})
