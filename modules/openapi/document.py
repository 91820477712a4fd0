"""Makes the OpenAPI 3.1 document of mailapi (openapi.json) from the declarations of its modules."""

import inspect
import sys
import weakref

from mailapi import Application, Endpoint, Generation, Module, __version__

from .answers import Shapes
from .description import EVERYWHERE, Description
from .envelope import ANYWHERE, Refusals, envelope, refusal_schema, usual_answer
from .examples import example_of
from .schemas import Schema, schema_of
from .strict import field_types

INFO = {
    "title": "mailapi",
    "version": __version__,
    "summary": "An HTTP control plane for a mail server.",
    "description": (
        "Every action is at MODULE/ACTION. It takes POST with a JSON object; one that only reads takes GET, too, with its "
        "fields in the query. Beside the security schemes below, a member `auth` of the body, with `user_name` and "
        "`password`, logs in and starts a session, which POST ?logout ends. Unknown fields are refused, and null counts as not given."
    ),
    "license": {"name": "BSD-2-Clause", "identifier": "BSD-2-Clause"},
}
SECURITY = {
    "basic": {"type": "http", "scheme": "basic", "description": "User name and password; starts no session."},
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token, as tokens/add makes it."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "PHPSESSID",
        "description": "The session's cookie.",
    },
}
documents: weakref.WeakKeyDictionary[Application, dict[int, dict]] = weakref.WeakKeyDictionary()


def document_of(app: Application, generation: Generation, environ: dict) -> dict:
    """Return the OpenAPI document of the application's modules that exist in the schema version `generation`.

    `environ` is the WSGI environment of a request, which has the URL path of the application.
    """
    made = documents.setdefault(app, {})
    if generation.number not in made:
        made[generation.number] = Document(app, generation).whole()
    url = environ.get("SCRIPT_NAME", "").rstrip("/") or "/"
    return made[generation.number] | {"servers": [{"url": url}]}


class Document:
    """Builds the OpenAPI document of an application, which `whole()` returns."""

    def __init__(self, app: Application, generation: Generation):
        self.generation = generation
        self.modules = {path: m for path, m in app.modules.items() if generation.number in m.generations}
        self.schemas: dict[str, Schema] = {"Refusal": refusal_schema(generation)}

    def whole(self) -> dict:
        paths = {
            "/" + (f"{path}/{name}" if path else name): self.path_item(module, endpoint)
            for path, module in self.modules.items()
            for name, endpoint in module.endpoints.items()
        }
        return {
            "openapi": "3.1.0",
            "info": INFO,
            "servers": [],
            "tags": [
                {"name": tag_of(module), "description": summary_of_module(module)}
                for module in self.modules.values()
            ],
            "security": [{name: []} for name in SECURITY],
            "paths": paths,
            "components": {
                "schemas": self.schemas,
                "responses": Refusals().components(),
                "securitySchemes": SECURITY,
            },
        }

    def path_item(self, module: Module, endpoint: Endpoint) -> dict:
        """Return the OpenAPI operations of an action: {"post": …}, and also "get" if the action only reads."""
        item = {
            "post": self.operation(module, endpoint) | {"requestBody": self.request_body(module, endpoint)}
        }
        if endpoint.read_only:
            operation = self.operation(module, endpoint)
            operation["operationId"] += "_by_get"
            item["get"] = operation | {"parameters": self.parameters(module, endpoint)}
        return item

    def operation(self, module: Module, endpoint: Endpoint) -> dict:
        summary, _, more = docstring(endpoint).partition("\n\n")
        return {
            "operationId": "_".join(filter(None, [module.path, endpoint.name])),
            "summary": " ".join(summary.split()),
            "description": "\n\n".join(filter(None, [more, who_may(endpoint)])),
            "tags": [tag_of(module)],
            "responses": {"200": self.answer(module, endpoint)} | Refusals.of(endpoint),
        }

    ##### Fields

    def fields(self, module: Module, endpoint: Endpoint) -> dict[str, Schema]:
        """Return {name: JSON Schema} of the fields of an action. Each schema has a description."""
        words = words_for(module, endpoint)
        return {
            name: with_words(name, self.field(endpoint, name, schema_of(kind)), words)
            for name, kind in field_types(endpoint, self.generation).items()
        }

    def field(self, endpoint: Endpoint, name: str, schema: Schema) -> Schema:
        """Add an action's rules to a field's JSON Schema: the permitted values, and "not empty" if it is required."""
        if (values := endpoint.identifiers.get(name)) is not None:
            schema = schema | {"enum": list(values)}
        if name in endpoint.needed(self.generation):
            least = {"string": "minLength", "array": "minItems"}.get(schema.get("type", ""))
            return schema | ({least: 1} if least and "enum" not in schema else {})
        return schema

    def request_body(self, module: Module, endpoint: Endpoint) -> dict:
        needed, fields = list(endpoint.needed(self.generation)), self.fields(module, endpoint)
        properties = {name: schema if name in needed else or_null(schema) for name, schema in fields.items()}
        schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        schema |= {"required": needed} if needed else {}
        given = {name: fields[name] for name in needed}
        example = example_of({"type": "object", "properties": given}, self.schemas)
        example |= description_of(module).requests.get(endpoint.name, {})
        return {
            "required": bool(needed),
            "content": {"application/json": {"schema": schema, "example": example}},
        }

    def parameters(self, module: Module, endpoint: Endpoint) -> list[dict]:
        needed = endpoint.needed(self.generation)
        return [
            {
                "name": name,
                "in": "query",
                "required": name in needed,
                "description": schema["description"],
                "schema": schema,
            }
            for name, schema in self.fields(module, endpoint).items()
            if schema.get("format") != "password"
        ]

    ##### Answers

    def answer(self, module: Module, endpoint: Endpoint) -> dict:
        """Return the OpenAPI response of a successful action: JSON Schema, example, and links to other actions."""
        shape = description_of(module).answers.get(endpoint.name)
        if isinstance(shape, str):
            return {
                "description": "The file.",
                "content": {shape: {"schema": {"type": "string", "format": "binary"}}},
            }
        name = "".join(
            word.capitalize() for word in [*module.path.split("_"), *endpoint.name.split("_"), "answer"]
        )
        self.schemas[name] = schema = self.answer_schema(module, shape)
        content = {
            "schema": {"$ref": f"#/components/schemas/{name}"},
            "example": self.example(schema),
        }
        links = self.links(module, endpoint, shape)
        return {"description": "Done.", "content": {"application/json": content}} | (
            {"links": links} if links else {}
        )

    def example(self, schema: Schema) -> dict:
        """Make an example of a whole answer from the JSON Schema of the answer."""
        common = envelope(self.generation)["properties"]
        added = {name: each for name, each in schema["properties"].items() if name not in common}
        return usual_answer(self.generation) | example_of(
            {"type": "object", "properties": added}, self.schemas
        )

    def answer_schema(self, module: Module, shape: type | None) -> Schema:
        schema = envelope(self.generation)
        if shape:
            shapes = Shapes(self.generation, ANYWHERE | description_of(module).fields, self.schemas)
            schema["properties"] |= shapes.properties(shape)
            schema["required"] += shapes.required(shape)
        return schema

    def links(self, module: Module, endpoint: Endpoint, shape: type | None) -> dict:
        """Return the OpenAPI links of an action: from `add` to the actions for what was added. {} if it is not `add`.

        Those are the actions whose required fields are in the request or the answer of `add`. `shape`: its TypedDict.
        """
        given = {name: f"$request.body#/{name}" for name in endpoint.needed(self.generation)}
        given |= {name: f"$response.body#/{name}" for name in getattr(shape, "__annotations__", ())}
        found = {}
        for other in module.endpoints.values() if endpoint.name == "add" else ():
            body = {name: given[name] for name in other.fields(self.generation) if name in given}
            if other is not endpoint and body and other.needed(self.generation).keys() <= body.keys():
                found[other.name] = {"operationId": f"{module.path}_{other.name}", "requestBody": body}
        return found


def with_words(name: str, schema: Schema, words: dict[str, str]) -> Schema:
    """Add descriptions, {name: sentence}, to the JSON Schema of the field `name`, and to those of its members."""
    inner = schema.get("items", schema)
    if "properties" in inner:
        members = {member: with_words(member, each, words) for member, each in inner["properties"].items()}
        described = inner | {"properties": members}
        schema = schema | {"items": described} if "items" in schema else described
    return schema | {"description": words.get(name, name)}


def or_null(schema: Schema) -> Schema:
    """Return a JSON Schema changed so that it also accepts null, by which a client leaves out an optional field."""
    if "anyOf" in schema:
        return schema | {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    more = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return schema | {"type": [schema["type"], "null"]} | more if "type" in schema else schema


def words_for(module: Module, endpoint: Endpoint) -> dict[str, str]:
    """Return a sentence about each field and answer of an action: {name: sentence}, its module's or its own."""
    description = description_of(module)
    return EVERYWHERE | description.fields | description.fields_of.get(endpoint.name, {})


def description_of(module: Module) -> Description:
    """Return a module's description of its fields and answers; an empty Description if the module has none."""
    return module.description if isinstance(module.description, Description) else Description()


def who_may(endpoint: Endpoint) -> str:
    """Return a sentence about the callers that an action permits: "Who may: admin." for administrators."""
    return "Who may: " + "; ".join(rule.description for rule in endpoint.allow) + "."


def docstring(endpoint: Endpoint) -> str:
    return inspect.cleandoc(endpoint.action.__doc__ or endpoint.name)


def tag_of(module: Module) -> str:
    return module.path or "mailapi"


def summary_of_module(module: Module) -> str:
    """Return the first line of the docstring of a module's file; "The API itself." for actions at the path /."""
    text = inspect.cleandoc(getattr(sys.modules.get(type(module).__module__), "__doc__", None) or "")
    return text.partition("\n")[0] if module.path else "The API itself."
