"""Reads the fields of a request, and refuses unknown, missing and invalid fields (docs/wire.md section 9)."""

import contextlib
import json
import urllib.parse
from collections.abc import Callable, Iterable

from mailapi import (
    AUTH,
    NEW_SPELLING,
    ApiError,
    Call,
    Endpoint,
    Generation,
    empty,
    printable,
    read_fields,
    refuse_forbidden_text,
    secret,
    whole_number,
)

from .names import first_unknown, unknown
from .schemas import MOST, Schema, json_schema, problem, schema_of

MOST_FIELDS = 100  # in a query


@json_schema({"type": "integer", "minimum": 1, "maximum": MOST})
def limit(value) -> int | None:
    """Convert the field `limit`, the largest number of entries in each list of an answer, to a number or None."""
    return whole_number(value)


def field_types(chosen: Endpoint, generation: Generation) -> dict[str, Callable]:
    """Return {name: field type} of all fields that an action takes, including `limit` for actions that only read."""
    lists = {"limit": limit} if chosen.read_only and not chosen.download else {}
    return chosen.fields(generation) | chosen.query | lists


def check_auth(auth):
    """Raise ApiError if the member `auth` of a body is no object, or has an unknown member or one that is no text."""
    if not isinstance(auth, dict):
        raise ApiError("Invalid value for auth: it must be an object.", code="invalid_field", field="auth")
    known = schema_of(AUTH["auth"])["properties"]
    for member, value in auth.items():
        name = f"auth.{printable(member[:64])}"
        if member not in known:
            sentence = unknown("field", f"auth.{member}", [f"auth.{each}" for each in known])
            raise ApiError(sentence, audit="Unknown field.", code="unknown_field", field=name)
        if value is not None and (wrong_type := problem(value, known[member], name)):
            audit = f"Invalid value for {name}."
            raise ApiError(
                f"Invalid value for {name}: {wrong_type}", audit=audit, code="invalid_field", field=name
            )


def read_strictly(call: Call, chosen: Endpoint, given: dict):
    """Validate the fields of a request, and store them in call.body and call.query; `limit` in call.limit.

    `chosen` is the action. `given` has the JSON value of each field by name. ApiError if a field is unknown, missing
    or invalid.
    """
    types = field_types(chosen, call.generation)
    given = {NEW_SPELLING.sub(r"permission\1", name): value for name, value in given.items()}
    if wrong := first_unknown(given, set(types), spelling=str):
        sentence = unknown("field", wrong[0], types)
        raise ApiError(sentence, audit="Unknown field.", code="unknown_field", field=printable(wrong[0][:64]))
    try:
        fields = {n: without_fraction(v) for n, v in given.items()}
    except RecursionError:
        raise ApiError("The body is nested too deeply.", http=400, code="invalid_json") from None
    refuse_forbidden_text(fields)
    for name, sentence in chosen.needed(call.generation).items():
        if empty(fields.get(name)):
            raise ApiError(call.in_generation(sentence), code="missing_field", field=name)
    for name, value in fields.items():
        if value is not None and (wrong_type := problem(value, schema_of(types[name]), name)):
            audit = f"Invalid value for {name}."
            raise ApiError(
                f"Invalid value for {name}: {wrong_type}", audit=audit, code="invalid_field", field=name
            )
    call.limit = limit(fields.pop("limit", None)) if "limit" not in chosen.fields(call.generation) else None
    in_query = {name: fields.pop(name) for name in chosen.query if name in fields}
    call.body, call.query = read_fields(fields, types), read_fields(in_query, types)


def without_fraction(value):
    """Convert each float that is a whole number, such as 5.0, to int, also within lists and objects.

    Any other value is returned unchanged.
    """
    if isinstance(value, list):
        return [without_fraction(entry) for entry in value]
    if isinstance(value, dict):
        return {name: without_fraction(entry) for name, entry in value.items()}
    # JSON Schema accepts 5.0 as an integer.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def query_fields(query_string: str, types: dict[str, Callable]) -> dict:
    """Read the query string of a GET request, and return its fields as JSON values: {"after": 7, "search": "ann"}.

    `types` has the type of each field by name. ApiError if a field is a secret.
    """
    try:
        pairs = urllib.parse.parse_qsl(
            query_string, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS
        )
    except ValueError:
        raise ApiError("The query cannot be read.", http=400) from None
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    refuse_secrets(values, types)
    return {name: from_texts(texts, schema_of(types.get(name, secret))) for name, texts in values.items()}


def is_plain(value, text: str) -> bool:
    """Return whether `text`, which is `value` in JSON, has the usual form of a number or flag: "5", not "5.0".

    For an object, return True: any form of it will do.
    """
    return isinstance(value, dict) or json.dumps(value) == text and not isinstance(value, float)


def refuse_secrets(names: Iterable[str], types: dict[str, Callable]):
    """Raise ApiError if one of the fields `names` in a URL is a secret, since URLs are logged."""
    for name in names:
        if types.get(name) is secret or name == "auth":
            raise ApiError("Use POST: a secret does not belong in a URL.", code="invalid_field", field=name)


def from_texts(texts: list[str], schema: Schema):
    """Convert the texts of one field in a URL's query to a JSON value: ["5"] to 5 if the schema has numbers.

    A list has one text for each entry. A text that does not fit the schema is returned unchanged.
    """
    alternatives = schema.get("anyOf", [schema])
    for each in alternatives:
        if each.get("type") == "array" and (len(texts) > 1 or len(alternatives) == 1):
            return [from_texts([text], each.get("items", {})) for text in texts]
    if len(texts) > 1:
        return texts
    for each in alternatives:
        if each.get("type") in ("integer", "boolean", "object"):
            with contextlib.suppress(ValueError, RecursionError):
                value = json.loads(texts[0])
                if not problem(value, {"type": each["type"]}, "") and is_plain(value, texts[0]):
                    return value
    return texts[0]
