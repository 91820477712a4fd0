"""Describes the answers of actions at the root URL path, such as get_modules, for openapi.json and docs/reference/."""

from typing import TypedDict

from ..openapi.description import Description


class ModuleNames(TypedDict):
    modules: list[str]


DESCRIPTION = Description(
    {"modules": "The modules, by their names in modulelist."}, {"get_modules": ModuleNames}
)
