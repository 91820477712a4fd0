"""Describes the answers of the actions that belong to no module, such as get_modules."""

from typing import TypedDict

from ..openapi.description import Description


class ModuleNames(TypedDict):
    modules: list[str]


DESCRIPTION = Description(
    {"modules": "The modules, by their names in modulelist."}, {"get_modules": ModuleNames}
)
