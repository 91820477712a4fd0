"""A client that holds every answer to the shape that its action declares (modules/answers), in all tests."""

import functools

import jsonschema_rs
import webtest

import mailapi

ENVELOPE = {
    *("status", "debug", "api_version", "schema_version", "session", "login", "auth_user", "permissions"),
    *("rights", "code", "field", "warning"),
}


class CheckedApp(webtest.TestApp):
    """A browser in this process. AssertionError for an answer that is not as declared."""

    def do_request(self, request, *args, **named):
        response = super().do_request(request, *args, **named)
        if response.body and response.content_type == "application/json":
            check_answer(self.site_app, request.environ["PATH_INFO"], request.query_string, response)
        return response


def check_answer(app: mailapi.Application, path: str, query: str, response):
    """Check an answer of an action that is done, or that was refused to somebody who is logged in."""
    answer = response.json
    if not isinstance(answer, dict) or answer.get("login") is not True or not answer.get("api_version"):
        return
    module, chosen = find_action(app, path.removeprefix("/"), query)
    if module is None or module.description is None:
        return
    done = answer["status"] in ("ok", "warning")
    action = chosen.name if chosen else ""
    validator = validator_of(module.description, action, answer["api_version"], done)
    problems = [f"{each.instance_path}: {each.message[:300]}" for each in validator.iter_errors(answer)]
    assert not problems, f"{path}?{query} answers what modules/answers does not declare: {problems[:3]}"


def find_action(app: mailapi.Application, path: str, query: str):
    """Return the module and the action of a request on either wire; None for each that there is not."""
    first, _, below = path.partition("/")
    if below and below != "index.php":
        module = app.modules.get(first)
        return module, module and module.endpoints.get(mailapi.canonical(below))
    root, module = app.modules[""], app.modules.get(mailapi.module_name(path))
    if module is None:
        return (root, root.endpoints[path]) if path in root.endpoints else (None, None)
    asked = mailapi.read_query(query)
    return module, None if "logout" in asked else module.choose(asked)


@functools.cache
def validator_of(description, action: str, generation: int, done: bool):
    """Return the validator of an action's answers; "" for no action: nothing is added."""
    from mailapi_modules.openapi.answers import Shapes

    shape = (description.answers if done else description.refusals).get(action)
    shape = None if isinstance(shape, str) else shape
    components: dict = {}
    shapes = Shapes(mailapi.GENERATIONS[generation], {}, components)
    schema = {
        "type": "object",
        "properties": dict.fromkeys(ENVELOPE, True) | (shapes.properties(shape) if shape else {}),
        "required": shapes.required(shape) if shape and done else [],
        "additionalProperties": False,
        "components": {"schemas": {n: s | {"additionalProperties": False} for n, s in components.items()}},
    }
    return jsonschema_rs.validator_for(schema)
