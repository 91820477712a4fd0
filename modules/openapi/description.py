"""Descriptions of modules' fields and answers, for the OpenAPI document, the reference and the command line."""

import dataclasses
from typing import Literal

Flag = Literal[0, 1]
# {"POP": true, ...}; PHP encodes an empty map as [] (docs/wire.md section 2).
ActiveModules = dict[str, Literal[True]] | list[None]


@dataclasses.dataclass(frozen=True, eq=False)
class Description:
    """Describes the fields and answers of a module, for the OpenAPI document and the reference (Module.description).

    `fields` has the meaning of each request field and each member of an answer, as a sentence. `answers` has
    by action the TypedDict of the members that it adds to the answer, or the media type of the file that it
    returns. `refusals` has by action the TypedDict of members that it adds even if it is refused. `requests`
    has by action the fields of an example request, if those in `required` do not suffice. `fields_of` has by
    action the meaning of fields that `fields` describes otherwise.
    """

    fields: dict[str, str] = dataclasses.field(default_factory=dict)
    answers: dict[str, type | str] = dataclasses.field(default_factory=dict)
    refusals: dict[str, type] = dataclasses.field(default_factory=dict)
    requests: dict[str, dict] = dataclasses.field(default_factory=dict)
    fields_of: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)


EVERYWHERE = {
    "after": "Only what comes after this one: the next page of a list.",
    "search": "Only what has this text.",
    "limit": "How many entries of each list are wanted.",
}
