"""JSON Schemas of answers, made from the TypedDicts by which modules describe them."""

import types
import typing
from collections.abc import Mapping

from mailapi import Generation

from .schemas import Schema

SCALARS: dict[object, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    None: {"type": "null"},
    type(None): {"type": "null"},
    dict: {"type": "object"},
}


class Shapes:
    """Makes JSON Schemas of the TypedDicts that describe answers, and stores them by name in `components`.

    `generation` is the version of the database's schema, on which some names depend. `words` has the description of
    each member (key) of an answer by its name.
    """

    def __init__(self, generation: Generation, words: Mapping[str, str], components: dict[str, Schema]):
        self.generation, self.words, self.components = generation, words, components

    def member_name(self, name: str) -> str:
        """Return a member's name in the schema version: user_rights in place of user_permissions for version 8."""
        return name if self.generation.number > 8 else name.replace("permission", "right")

    def of(self, kind) -> Schema:
        """Return the JSON Schema of the type annotation `kind`: a TypedDict, list, dict, Literal, union or scalar."""
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.NotRequired, typing.Required):
            return self.of(inner[0])
        if origin in (typing.Union, types.UnionType):
            return self.of_union(inner)
        if origin is list:
            nothing = {"maxItems": 0} if inner[0] in (None, type(None)) else {}
            return {"type": "array", "items": self.of(inner[0])} | nothing
        if origin is dict:
            return {"type": "object", "additionalProperties": self.of(inner[1])}
        if origin is typing.Literal:
            return {"type": SCALARS[type(inner[0])]["type"], "enum": list(inner)}
        return SCALARS.get(kind) or self.reference(kind)

    def reference(self, typed_dict) -> Schema:
        """Add the JSON Schema of a TypedDict to the components, and return a reference to it: {"$ref": …}."""
        name = typed_dict.__name__
        if name not in self.components:
            self.components[name] = self.of_members(typed_dict)
        return {"$ref": f"#/components/schemas/{name}"}

    def of_union(self, kinds: tuple) -> Schema:
        schemas = [self.of(kind) for kind in kinds]
        if all(set(schema) == {"type"} for schema in schemas):
            return {"type": [schema["type"] for schema in schemas]}
        return {"anyOf": schemas}

    def of_members(self, typed_dict) -> Schema:
        """Return the JSON Schema of an object with the members (keys) of a TypedDict, each with its description."""
        return {
            "type": "object",
            "properties": self.properties(typed_dict),
            "required": self.required(typed_dict),
        }

    def required(self, typed_dict) -> list[str]:
        """Return the names of the members that a TypedDict always has, in the order of their declaration."""
        always = typed_dict.__required_keys__
        return [self.member_name(name) for name in typing.get_type_hints(typed_dict) if name in always]

    def properties(self, typed_dict) -> dict[str, Schema]:
        hints = typing.get_type_hints(typed_dict, include_extras=True)
        return {
            self.member_name(name): self.with_description(name, self.of(kind)) for name, kind in hints.items()
        }

    def with_description(self, name: str, schema: Schema) -> Schema:
        """Add the description of the member `name` to its JSON Schema. A reference gets none: its target has one."""
        words = None if "$ref" in schema else self.words.get(name)
        return schema | {"description": words} if words else schema
