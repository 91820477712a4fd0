"""openapi.json: valid, complete, and made of the declarations of the configured modules (docs/wire.md section 9)."""

import jsonschema_rs
import openapi_spec_validator
import pytest

import mailapi
from support.second_wire import send
from support.site import MODULES, Site


@pytest.fixture
def document(either_with_all_modules) -> dict:
    return either_with_all_modules.browser().get("/openapi.json").json


def operations(document):
    """Return each path, method and operation."""
    return [(path, m, each) for path, item in document["paths"].items() for m, each in item.items()]


def objects(node, where=""):
    """Return every schema in a document that lists members, and where it is."""
    if isinstance(node, dict):
        if isinstance(node.get("properties"), dict):
            yield where, node["properties"]
        for name, inner in node.items():
            yield from objects(inner, f"{where}/{name}")
    for number, inner in enumerate(node if isinstance(node, list) else ()):
        yield from objects(inner, f"{where}/{number}")


def test_it_is_valid(document):
    openapi_spec_validator.validate(document)
    assert document["openapi"] == "3.1.0" and document["info"]["version"] == mailapi.__version__


def test_it_has_every_action_and_no_other(document, either_with_all_modules):
    site = either_with_all_modules
    expected = {
        ("/" + f"{path}/{name}".lstrip("/"), method)
        for path, module in site.app.modules.items()
        if site.generation in module.generations
        for name, endpoint in module.endpoints.items()
        for method in (["post", "get"] if endpoint.read_only else ["post"])
    }
    assert {(path, method) for path, method, _ in operations(document)} == expected


def test_it_has_configured_modules_only(tmp_path):
    site = Site(tmp_path, modulelist={name: MODULES[name] for name in ("POP", "User")})
    document = site.browser().get("/openapi.json").json
    assert {path.split("/")[1] for path in document["paths"]} == {"get_modules", "pop", "users"}
    assert {tag["name"] for tag in document["tags"]} == {"mailapi", "pop", "users"}


def test_every_field_and_member_has_a_description_and_every_action_a_summary(document):
    for where, members in objects(document):
        for name, schema in members.items():
            words = schema.get("description", "")
            assert "$ref" in schema or words and words != name, f"{where}: {name} has no description"
    for path, _method, operation in operations(document):
        assert operation["summary"] and "Who may: " in operation["description"], path
        for parameter in operation.get("parameters", ()):
            assert parameter["description"] != parameter["name"], (path, parameter["name"])


def test_every_field_has_a_type(document):
    for path, _, operation in operations(document):
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            assert schema["additionalProperties"] is False
            for name, field in schema["properties"].items():
                assert "type" in field or "anyOf" in field, (path, name)


def test_every_example_fits_its_schema(document):
    for path, _, operation in operations(document):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in [each.get("content", {}).get("application/json") for each in bodies]:
            if content and "example" in content:
                schema = content["schema"] | {"components": document["components"]}
                problems = [
                    e.message for e in jsonschema_rs.validator_for(schema).iter_errors(content["example"])
                ]
                assert not problems, (path, problems)


def test_every_answer_that_adds_something_says_so(either_with_all_modules):
    """The other tests hold the answers to it (tests/support/answer_check.py); here, that none is declared in vain."""
    for path, module in either_with_all_modules.app.modules.items():
        description = module.description
        assert {*description.answers, *description.refusals} <= module.endpoints.keys(), path
        for name, endpoint in module.endpoints.items():
            assert endpoint.download is isinstance(description.answers.get(name), str), (path, name)


def test_every_code_is_in_it_with_its_status(document):
    codes = document["components"]["schemas"]["Refusal"]["properties"]["code"]["enum"]
    by_status = {
        name.removeprefix("Refused"): set(response["content"]["application/json"]["examples"])
        for name, response in document["components"]["responses"].items()
    }
    assert set().union(*by_status.values()) == set(codes)
    assert {"400", "401", "403", "404", "405", "409", "413", "415", "422", "429", "500", "503"} == set(
        by_status
    )


def test_links_lead_from_what_was_added_to_the_other_actions(document):
    links = document["paths"]["/users/add"]["post"]["responses"]["200"]["links"]
    assert links["delete"]["requestBody"] == {"user_name": "$request.body#/user_name"}
    links = document["paths"]["/tokens/add"]["post"]["responses"]["200"]["links"]
    assert links["delete"] == {
        "operationId": "tokens_delete",
        "requestBody": {"token_id": "$response.body#/token_id"},
    }


def test_anyone_may_read_it_wherever_it_is_mounted(site):
    browser = site.browser(SCRIPT_NAME="/cmail/api", HTTP_COOKIE="")
    response = browser.get("/cmail/api/openapi.json")
    assert response.json["servers"] == [{"url": "/cmail/api"}]
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert send(site, "openapi.json", None, "HEAD").status_int == 200
    assert send(site, "openapi.json", None, "PUT").status_int == 405
    assert send(site, "openapi.json", None, "OPTIONS").status_int == 204
    assert not [text for text in ("salt:", "root", str(site.dbpath)) if text in response.text]
