"""Defines the class Description, with which a module describes its request fields and answers."""

import dataclasses
from typing import Literal

Flag = Literal[0, 1]
# {"POP": true, ...}; PHP encodes an empty map as [] (docs/wire.md section 2).
ActiveModules = dict[str, Literal[True]] | list[None]


@dataclasses.dataclass(frozen=True, eq=False)
class Description:
    """The descriptions of a module's request fields and answers, for openapi.json, docs/reference/ and help pages.

    `fields` has a sentence about each request field, and each key of an answer, by its name.

    The other dictionaries have the name of an action as key. Their values are:

    `answers`: the TypedDict of the keys that the action adds to those of all answers, or the media type of its file.
    `refusals`: the TypedDict of the keys that the action adds to the answer even if it refuses a request.
    `requests`: fields to add to the action's example request, which otherwise has only the required fields.
    `fields_of`: sentences by name, which replace those in `fields`.
    """

    fields: dict[str, str] = dataclasses.field(default_factory=dict)
    answers: dict[str, type | str] = dataclasses.field(default_factory=dict)
    refusals: dict[str, type] = dataclasses.field(default_factory=dict)
    requests: dict[str, dict] = dataclasses.field(default_factory=dict)
    fields_of: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)


EVERYWHERE = {
    "after": "Only what comes after this one: the next page of a list.",
    "search": "Only names that begin with this text, and addresses that contain it.",
    "limit": "How many entries of each list are wanted.",
}
