"""JSON Schemas of answers, from the TypedDicts that modules declare."""

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
    """Makes JSON Schemas of the TypedDicts that describe answers, and collects them in `components` by name.

    generation: the version of the database's schema, which decides how members are called. words: a
    description of each member by name.
    """

    def __init__(self, generation: Generation, words: Mapping[str, str], components: dict[str, Schema]):
        self.generation, self.words, self.components = generation, words, components

    def spelled(self, name: str) -> str:
        """Return a member's name for the schema version: user_rights in place of user_permissions for version 8."""
        return name if self.generation.number > 8 else name.replace("permission", "right")

    def of(self, kind) -> Schema:
        """Return the JSON Schema of a type annotation: a TypedDict, list, Literal, union or scalar."""
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
        """Return a JSON Schema that refers to a TypedDict's, which is added to the components."""
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
        """Return the JSON Schema of an object with the members of a TypedDict, each with its description."""
        return {
            "type": "object",
            "properties": self.properties(typed_dict),
            "required": self.required(typed_dict),
        }

    def required(self, typed_dict) -> list[str]:
        """Return the names of those members of a TypedDict that are always present, in their order."""
        always = typed_dict.__required_keys__
        return [self.spelled(name) for name in typing.get_type_hints(typed_dict) if name in always]

    def properties(self, typed_dict) -> dict[str, Schema]:
        hints = typing.get_type_hints(typed_dict, include_extras=True)
        return {self.spelled(name): self.described(name, self.of(kind)) for name, kind in hints.items()}

    def described(self, name: str, schema: Schema) -> Schema:
        """Return the schema of a member with its description. A reference gets none: its target has one."""
        words = None if "$ref" in schema else self.words.get(name)
        return schema | {"description": words} if words else schema
