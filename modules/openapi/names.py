"""Finds unknown names of actions and fields in requests, and suggests similar names."""

import difflib
from collections.abc import Callable, Iterable

from mailapi import Call, Endpoint, Module, canonical, printable

CLOSE = 0.65  # of 1: how similar a name must be, so that nobody is led to another one
LONGEST = 64  # characters of a name that are compared and repeated: the comparison takes quadratic time
OTHER_WORDS = {  # that people try → what the API calls it
    "create": "add",
    "edit": "update",
    "list": "get",
    "msa": "smtpd",
    "password": "user_authdata",
    "remove": "delete",
    "show": "get",
    "smtpd": "msa",
}
FIRST_WIRE_QUERY = {"limit", "callback", "login", "logout"}


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return a sentence about an unknown name, such as `Unknown action gett: did you mean get?`.

    `kind` is a word for the sentence, such as "action". `known` has the names that may be suggested.
    """
    name, near = printable(name[:LONGEST]), nearest(name, known)
    return f"Unknown {kind} {name}: did you mean {near}?" if near else f"Unknown {kind} {name}."


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the name in `known` that means the same ("add" for "create") or is similar; "" if there is none."""
    word, names = name[:LONGEST].lower(), list(known)
    if OTHER_WORDS.get(word) in names:
        return OTHER_WORDS[word]
    return next(iter(difflib.get_close_matches(word, names, n=1, cutoff=CLOSE)), "")


def unknown_names(
    call: Call, module: Module | None, chosen: Endpoint | None, body: dict, query: dict
) -> list[str]:
    """Return warnings about unknown actions and fields in a request, such as ["Unknown field user_nam."].

    Use it for requests in the form of the original PHP API, which ignores unknown names. `chosen` is the action that
    the request runs, or None if it names no known action. `body` and `query` have the fields by name.
    """
    actions = module.endpoints if module else {}
    if chosen is None:
        names = [name for name in query if name not in FIRST_WIRE_QUERY]
        return [unknown("action", name, actions) for name in names[:1]]
    fields = chosen.fields(call.generation)
    known = {*fields, *(name.replace("permission", "right") for name in fields), "auth"}
    allowed = {*FIRST_WIRE_QUERY, *chosen.query, *actions, *(fields if chosen.download else ())}
    return [
        *(unknown("field", name, fields) for name in first_unknown(body, known)),
        *(unknown("field", name, chosen.query) for name in first_unknown(query, allowed)),
    ]


def first_unknown(
    names: Iterable[str], known: set[str], spelling: Callable[[str], str] = canonical
) -> list[str]:
    """Return [the first name in `names` that is unknown], or [] if all names are known.

    A name is known if `known` contains the name, or contains the result of `spelling(name)`.
    """
    return next(([name] for name in names if name not in known and spelling(name) not in known), [])
