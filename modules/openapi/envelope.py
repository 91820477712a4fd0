"""Makes the JSON Schemas of the keys that the answers of all actions have (docs/wire.md sections 2 and 9)."""

from mailapi import GENERATIONS, Endpoint, Generation

from .codes import CODES, HTTP_STATUS
from .schemas import Schema

ANYWHERE = {"warning": "What is missing in the answer, or was done and may be a mistake."}
VERSION: Schema = {"type": "integer", "enum": list(GENERATIONS)}


def members(generation: Generation) -> dict[str, Schema]:
    """Return {name: JSON Schema} of the keys that all answers have, such as `login`, except `status` and `code`."""
    granted = {"type": "object", "additionalProperties": {"type": "boolean", "enum": [True]}}
    nothing = {"type": "array", "items": {"type": "string"}, "maxItems": 0}
    return {
        "debug": {
            "type": "array",
            "items": {"type": "string"},
            "description": "With `debug` on, the SQL statements that were run.",
        },
        "api_version": VERSION | {"description": "The generation of the database's schema."},
        "schema_version": VERSION | {"description": "The generation of the database's schema."},
        "session": {"type": "boolean", "description": "Always false."},
        f"{generation.permission}s": {
            "anyOf": [granted, nothing],
            "description": f"The caller's {generation.permission}s; [] if there are none.",
        },
        "login": {"type": "boolean", "description": "Whether the caller is logged in."},
        "auth_user": {"type": "string", "description": "The caller's name."},
    }


def envelope(generation: Generation) -> Schema:
    """Return the JSON Schema of a successful answer that has only the keys that all answers have, such as `status`."""
    properties = {
        "status": {
            "type": "string",
            "enum": ["ok", "warning"],
            "description": "ok, or warning with a `warning`.",
        },
        "code": {"type": "string", "enum": ["ok"], "description": "The outcome, for programs."},
        "warning": {"type": "string", "description": ANYWHERE["warning"]},
    }
    common = members(generation)
    return {
        "type": "object",
        "properties": properties | common,
        "required": ["status", "code", *common],
    }


def usual_answer(generation: Generation) -> dict:
    """Return an example of a successful answer that has only the keys that all answers have: {"status": "ok", …}."""
    versions = dict.fromkeys(("api_version", "schema_version"), generation.number)
    return {
        "status": "ok",
        "debug": [],
        **versions,
        "session": False,
        f"{generation.permission}s": {"delegate": True},
        "login": True,
        "auth_user": "ann",
        "code": "ok",
    }


def refusal_schema(generation: Generation) -> Schema:
    """Return the JSON Schema of the answer to a refused request. It is the same for all actions."""
    versions = {
        "schema_version": {
            "type": ["integer", "number", "string", "null"],
            "description": "The version of the database's schema; null before it is read.",
        }
    }
    properties = {
        "status": {"type": "string", "description": "The reason, as a sentence for people."},
        "code": {
            "type": "string",
            "enum": [code for code in HTTP_STATUS if code != "ok"],
            "description": "The reason, for programs.",
        },
        "field": {"type": "string", "description": "The field at fault."},
    }
    return {
        "type": "object",
        "properties": properties | members(generation) | versions,
        "required": ["status", "code", "api_version", "schema_version"],
    }


class Refusals:
    """Makes the OpenAPI responses to refused requests, one for each HTTP status."""

    def components(self) -> dict:
        return {f"Refused{http}": self.response(http, codes) for http, codes in CODES.items()}

    def response(self, http: int, codes: dict[str, str]) -> dict:
        content = {
            "schema": {"$ref": "#/components/schemas/Refusal"},
            "examples": {
                code: {
                    "summary": when,
                    "value": {"status": when, "code": code, "api_version": 9, "schema_version": 9},
                }
                for code, when in codes.items()
            },
        }
        response: dict = {
            "description": " ".join(f"`{code}`: {when}" for code, when in codes.items()),
            "content": {"application/json": content},
        }
        if http in (429, 503):
            response["headers"] = {
                "Retry-After": {"schema": {"type": "string"}, "description": "Seconds to wait."}
            }
        if http == 401:
            response["headers"] = {
                "WWW-Authenticate": {"schema": {"type": "string"}, "description": "How to log in."}
            }
        return response

    @staticmethod
    def of(endpoint: Endpoint) -> dict:
        """Return the OpenAPI responses with which an action may refuse a request: {"404": {"$ref": …}, …}."""
        left_out = {405} | ({409} if endpoint.read_only else set())
        return {
            str(http): {"$ref": f"#/components/responses/Refused{http}"}
            for http in CODES
            if http not in left_out
        }
