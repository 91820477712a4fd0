"""Makes JSON Schemas of answers from the TypedDicts with which modules describe their answers."""

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
    """Makes JSON Schemas from the TypedDicts that describe answers. `components` gets the schemas, by name.

    `generation` is the version of the database's schema: some names in answers depend on it. `words` has {name:
    description} of the members (keys) of answers.
    """

    def __init__(self, generation: Generation, words: Mapping[str, str], components: dict[str, Schema]):
        self.generation, self.words, self.components = generation, words, components

    def member_name(self, name: str) -> str:
        """Return the name that a member of an answer has in this version of the database's schema.

        In version 8, "right" replaces "permission": the result for "user_permissions" is "user_rights".
        """
        return name if self.generation.number > 8 else name.replace("permission", "right")

    def of(self, kind) -> Schema:
        """Convert a type annotation to a JSON Schema: `list[int]` to {"type": "array", "items": {"type": "integer"}}.

        `kind` may be a TypedDict, list, dict, Literal, union, or a simple type such as str.
        """
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
        """Add the JSON Schema of a TypedDict to `components`, and return a reference to it: {"$ref": …}."""
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
        """Convert a TypedDict to the JSON Schema of an object, with a description of each key."""
        return {
            "type": "object",
            "properties": self.properties(typed_dict),
            "required": self.required(typed_dict),
        }

    def required(self, typed_dict) -> list[str]:
        """Return the names of the required keys of a TypedDict, in the order of their declaration."""
        always = typed_dict.__required_keys__
        return [self.member_name(name) for name in typing.get_type_hints(typed_dict) if name in always]

    def properties(self, typed_dict) -> dict[str, Schema]:
        hints = typing.get_type_hints(typed_dict, include_extras=True)
        return {
            self.member_name(name): self.with_description(name, self.of(kind)) for name, kind in hints.items()
        }

    def with_description(self, name: str, schema: Schema) -> Schema:
        """Return a JSON Schema with the description of the member `name` added. A {"$ref": …} is left unchanged."""
        words = None if "$ref" in schema else self.words.get(name)
        return schema | {"description": words} if words else schema
