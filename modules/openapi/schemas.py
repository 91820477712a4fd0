"""Defines the JSON Schemas (2020-12) of request fields, and validates values by them."""

from collections.abc import Callable

from mailapi import (
    LONGEST,
    address,
    boolean,
    file_content,
    list_of_text,
    long_text,
    optional_number,
    php_text,
    raw_text,
    secret,
    whole_number,
)

Schema = dict
TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"anyOf": [TEXT, {"type": "null"}]}
MOST = 10**18 - 1
NUMBER: Schema = {"type": "integer", "minimum": -MOST, "maximum": MOST}
OF_TYPE: dict[Callable, Schema] = {
    php_text: TEXT,
    raw_text: TEXT,
    long_text: TEXT,
    file_content: TEXT,
    secret: {"type": "string", "format": "password"},
    address: {"type": "string", "maxLength": LONGEST},
    whole_number: NUMBER,
    optional_number: NUMBER,
    boolean: {"type": "boolean"},
    list_of_text: {"type": "array", "items": TEXT, "maxItems": LONGEST},
}
PYTHON_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": (str, bytes),
    "array": list,
    "object": dict,
    "boolean": bool,
    "null": type(None),
}
EXPECTED = {
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
TYPE_NAMES = {
    "string": "text",
    "integer": "whole number",
    "boolean": "true or false",
    "object": "object",
    "null": "",
}


def json_schema(schema: Schema) -> Callable[[Callable], Callable]:
    """Return a decorator that attaches a JSON Schema to a field type (a function that converts a field's value)."""

    def declare(field_type: Callable) -> Callable:
        field_type.schema = schema  # type: ignore[attr-defined]
        return field_type

    return declare


def schema_of(field_type: Callable) -> Schema:
    """Return the JSON Schema of a field type, such as {"type": "boolean"}.

    Return {}, which accepts every value, if the field type has no schema.
    """
    if types := getattr(field_type, "types", None):  # of object_of
        properties = {name: schema_of(kind) for name, kind in types.items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}
    return getattr(field_type, "schema", None) or OF_TYPE.get(field_type, {})


def type_name(schema: Schema) -> str:
    """Describe the values that a JSON Schema accepts in a few words, such as "text, 128 characters at most"."""
    if "anyOf" in schema:
        return " or ".join(name for each in schema["anyOf"] if (name := type_name(each)))
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"] if each is not None)
    if "type" not in schema:
        return "JSON"
    kind = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
    if kind == "array":
        return f"list of {type_name(schema['items'])}"
    most = f", {schema['maxLength']} characters at most" if "maxLength" in schema else ""
    return TYPE_NAMES[kind] + most


def problem(value, schema: Schema, name: str) -> str | None:
    """Validate a JSON value. Return a sentence about the problem, such as "limit is empty."; None if it is valid.

    `name` is the name of the field, with which the sentence begins.
    """
    if alternatives := schema.get("anyOf"):
        problems = [problem(value, each, name) for each in alternatives]
        return None if None in problems else problems[0]
    kind = schema.get("type")
    if kind and not is_of_type(value, kind):
        return f"{name} must be {EXPECTED[kind]}."
    if "enum" in schema and value not in schema["enum"]:
        return f"{name} must be one of {', '.join(map(str, schema['enum']))}."
    return beyond_limits(value, schema, name) or inner_problem(value, schema, name)


def is_of_type(value, kind: str) -> bool:
    if kind == "integer":  # 5.0 is one, too
        return not isinstance(value, bool) and (
            isinstance(value, int) or isinstance(value, float) and value.is_integer()
        )
    return isinstance(value, PYTHON_TYPES[kind])


def beyond_limits(value, schema: Schema, name: str) -> str | None:
    """Return a sentence, such as "after is empty.", if a value's length or size is not permitted; otherwise None."""
    size = len(value) if isinstance(value, (str, bytes, list)) else None
    least, most = (
        schema.get("minLength", schema.get("minItems")),
        schema.get("maxLength", schema.get("maxItems")),
    )
    if size is not None and most is not None and size > most:
        return f"{name} is too long: {most} at most."
    if size is not None and least is not None and size < least:
        return f"{name} is empty."
    if size is None and ("minimum" in schema and not schema["minimum"] <= value <= schema["maximum"]):
        return f"{name} must be from {schema['minimum']} to {schema['maximum']}."
    return None


def inner_problem(value, schema: Schema, name: str) -> str | None:
    """Validate the entries of a list, or the members of an object.

    Return a sentence about the first invalid one; None if all are valid.
    """
    if isinstance(value, list):
        inner = ((entry, schema.get("items", {}), f"{name}[{n}]") for n, entry in enumerate(value))
        return next((found for each in inner if (found := problem(*each))), None)
    if not isinstance(value, dict) or "properties" not in schema:
        return None
    for member, entry in value.items():
        if member not in schema["properties"]:
            known = ", ".join(schema["properties"])
            return f"{name} cannot have a member {member[:64]}, only {known}."
        if found := problem(entry, schema["properties"][member], f"{name}.{member}"):
            return found
    missing = [member for member in schema.get("required", ()) if member not in value]
    return f"{name}.{missing[0]} is missing." if missing else None
