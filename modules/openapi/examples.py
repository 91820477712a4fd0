"""Makes example values for the JSON Schemas of fields and answers."""

from .schemas import Schema

# By the name of a field, or by the last word of the name.
OF_NAME = {
    "user_name": "ann",
    "username": "ann",
    "user": "ann",
    "delegate": "bob",
    "authdata": "correct horse battery staple",
    "permission": "delegate",
    "permissions": "delegate",
    "alias": "bob",
    "expression": "%@corp.org",
    "router": "store",
    "inrouter": "store",
    "outrouter": "any",
    "smtpd_router": "any",
    "route": "ann",
    "status": "ok",
    "code": "ok",
    "modules": "User",
    "networks": "192.0.2.0/24",
    "script_name": "spam",
    "address": "192.0.2.7",
    "sender": "ann@corp.org",
    "recipients": "bob@else.example",
    "from": "ann@corp.org",
    "to": "bob@else.example",
    "subject": "Hi",
}
TIMES = ("time", "created", "expires", "used", "since", "until", "submission", "lasttry", "claimed")


def example_of(schema: Schema, components: dict[str, Schema], name: str = ""):
    """Return an example value for a JSON Schema.

    `components` has the schemas to which a "$ref" may refer, by name. `name` is the name of the field, on which the
    value depends: "ann" for user_name.
    """
    if reference := schema.get("$ref"):
        return example_of(components[reference.rpartition("/")[2]], components, name)
    if alternatives := schema.get("anyOf"):
        return example_of(alternatives[0], components, name)
    if "examples" in schema:
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        members = schema.get("properties", {})
        return {member: example_of(each, components, member) for member, each in members.items()}
    if kind == "array":
        return [] if schema.get("maxItems") == 0 else [example_of(schema["items"], components, name)]
    return {"boolean": True, "null": None}.get(kind, scalar(kind, name))


def scalar(kind: str, name: str):
    last = name.rpartition("_")[2]
    if kind == "string":
        return OF_NAME.get(name, OF_NAME.get(last, "text"))
    return 1_700_000_000 if last in TIMES else 1
