"""What a module says of its fields and answers, for the OpenAPI document, the reference and the command line."""

import dataclasses
from typing import Literal

Flag = Literal[0, 1]
# {"POP": true, ...}; PHP encodes an empty map as [] (docs/wire.md section 2).
ActiveModules = dict[str, Literal[True]] | list[None]


@dataclasses.dataclass(frozen=True, eq=False)
class Description:
    """The words and shapes of a module, for Module.description.

    fields: what each request field, and each member of an answer, means. answers: action → the TypedDict of what the
    action adds to the answer, or the media type of the file that it returns; an action without one adds nothing.
    refusals: action → what it adds to the answer even if it is refused. requests: action → the fields of an example, where
    that needs more than the required ones.
    """

    fields: dict[str, str] = dataclasses.field(default_factory=dict)
    answers: dict[str, type | str] = dataclasses.field(default_factory=dict)
    refusals: dict[str, type] = dataclasses.field(default_factory=dict)
    requests: dict[str, dict] = dataclasses.field(default_factory=dict)


EVERYWHERE = {
    "after": "Only what comes after this one: the next page of a list.",
    "search": "Only what has this text.",
    "limit": "How many entries of each list are wanted.",
}
