"""The class with which a module describes its fields and answers, for openapi.json, the reference and the commands."""

import dataclasses
from typing import Literal

Flag = Literal[0, 1]
# {"POP": true, ...}; PHP encodes an empty map as [] (docs/wire.md section 2).
ActiveModules = dict[str, Literal[True]] | list[None]


@dataclasses.dataclass(frozen=True, eq=False)
class Description:
    """A module's description of its fields and answers (Module.description), for openapi.json and the reference.

    `fields` has a sentence about each field of a request, and each member of an answer, by name. The other
    dictionaries have the name of an action as key. `answers` has the TypedDict of what the action adds to the answer,
    or the media type of the file that it returns. `refusals` has the TypedDict of what the action adds even if it is
    refused. `requests` has the fields of an example request, if those in `required` do not suffice. `fields_of` has
    sentences about fields that replace those in `fields`.
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
