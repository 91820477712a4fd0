"""Prints the help of `mailapi call` about modules, actions and fields."""

import re
from collections.abc import Callable, Iterable

import mailapi

from ..openapi.document import docstring, summary_of_module, who_may, words_for
from ..openapi.names import nearest
from ..openapi.schemas import schema_of, type_name

# Field types that the command line reads in another way than their JSON Schema says.
KINDS: dict[Callable, str] = {
    mailapi.address: "address",
    mailapi.secret: "secret: the field's name alone asks for it",
    mailapi.file_content: "path of a file; - is standard input",
    mailapi.boolean: "1 or 0",
    mailapi.list_of_text: "a,b,c or a JSON list",
}


def suggestion(word: str, words: Iterable[str]) -> str:
    """Return "Did you mean X? " with the name in `words` that is most similar to `word`; "" if none is similar."""
    near = nearest(word, words)
    return f"Did you mean {near}? " if near else ""


def list_modules(app: mailapi.Application, generation: mailapi.Generation):
    """Print the URL path of each module, with a sentence about the module."""
    modules = [module for module in app.modules.values() if generation.number in module.generations]
    print_pairs((module.path or "/", about_module(module)) for module in modules)
    print("\n`mailapi call MODULE` lists a module's actions.")


def list_actions(module: mailapi.Module):
    """Print the name of each action of a module, with a sentence about the action."""
    print(f"{about_module(module)}\n")
    print_pairs((name, first_sentence(each.action)) for name, each in module.endpoints.items())
    print(f"\n`mailapi call {module.path or '/'} ACTION --help` shows an action's fields.")


def describe_action(module: mailapi.Module, endpoint: mailapi.Endpoint, generation: mailapi.Generation):
    """Print what an action does, who may call it, its fields, and an example."""
    print(docstring(endpoint))
    print(f"\n{who_may(endpoint)}")
    needed, fields = endpoint.needed(generation), endpoint.fields(generation) | endpoint.query
    words = words_for(module, endpoint)
    if fields:
        print("\nFields:")
        print_pairs(
            (
                f"  {name}",
                describe_kind(kind) + (" (required)" if name in needed else "") + about(words, name),
            )
            for name, kind in sorted(fields.items(), key=lambda field: field[0] not in needed)
        )
    shown = [
        *needed,
        *(name for name, kind in fields.items() if kind is mailapi.secret and name not in needed),
    ]
    example = " ".join(f"{name}={'-' if fields[name] is mailapi.secret else '…'}" for name in shown)
    file = " > FILE" if endpoint.download else ""
    print(f"\nExample: mailapi call {module.path or '/'} {endpoint.name} {example}".rstrip() + file)


def expected(module: mailapi.Module, endpoint: mailapi.Endpoint, name: str, kind: Callable) -> str:
    """Return a sentence about the values that the field `name`, of the type `kind`, takes."""
    return f"Expected: {describe_kind(kind)}{about(words_for(module, endpoint), name)}"


def about(words: dict[str, str], name: str) -> str:
    """Return ": DESCRIPTION" for the field `name`; "" if `words`, the descriptions by name, does not contain it."""
    return f": {words[name]}" if name in words else ""


def describe_kind(kind: Callable) -> str:
    """Describe the values of a field type in a few words, such as "a,b,c or a JSON list"."""
    if kind in KINDS:
        return KINDS[kind]
    schema = schema_of(kind)
    return "JSON " * (schema.get("type") in ("array", "object")) + type_name(schema)


def about_module(module: mailapi.Module) -> str:
    """Return a phrase about what a module is for, taken from the docstring of its file."""
    return summary_of_module(module).partition(": ")[2] if module.path else "the API itself"


def first_sentence(action: Callable) -> str:
    return re.split(r"(?<=[.:]) |\n\n|;", " ".join((action.__doc__ or "").split()))[0].rstrip(".:")


def print_pairs(pairs: Iterable[tuple[str, str]]):
    """Print pairs of a name and a text as two columns."""
    found = list(pairs)
    width = max((len(name) for name, _ in found), default=0)
    for name, text in found:
        print(f"{name.ljust(width)}  {text}")
