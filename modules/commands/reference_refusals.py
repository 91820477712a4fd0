"""Finds the sentences with which mailapi refuses requests, by parsing its source files."""

import ast
import re
from typing import NamedTuple

from ..openapi.codes import HTTP_STATUS, OF_FIRST_WIRE
from .package_files import python_sources

RAISING = {"ApiError", "LoginRefused", "otherwise"}
DEFAULT_CODES = {"LoginRefused": "not_logged_in", "otherwise": "not_allowed"}


class Refusal(NamedTuple):
    """An error with which mailapi refuses a request, as its source code has it.

    `sentence` is its message, such as "Unknown router ROUTER." `code` is its code, such as "rule". `field` is the name
    of the field at fault, or "".
    """

    sentence: str
    code: str
    field: str

    @property
    def http(self) -> int:
        return HTTP_STATUS[self.code]


def all_refusals() -> list[Refusal]:
    """Parse mailapi's source files, and return a Refusal (sentence, code, field) for each error that they can raise.

    Leave out the files in commands/. Sort the list by HTTP status, code and sentence.
    """
    sources = [text for path, text in python_sources() if not path.startswith("commands/")]
    return sorted({refusal for text in sources for refusal in refusals_in(ast.parse(text))}, key=sort_key)


def sort_key(refusal: Refusal) -> tuple:
    return refusal.http, refusal.code, refusal.sentence, refusal.field


def refusals_in(tree: ast.Module) -> list[Refusal]:
    """Return a Refusal (sentence, code, field) for each error that a parsed source file raises with its message."""
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := called(node)) in RAISING and node.args:
            first = constants.get(getattr(node.args[0], "id", ""), node.args[0])
            if sentence := text_of(first):
                found.append(Refusal(sentence, code_in(node, name), constant(node, "field")))
    return found


def called(node: ast.Call) -> str:
    """Return the name of the function in a parsed call: "f" for both f() and module.f()."""
    return getattr(node.func, "id", "") or getattr(node.func, "attr", "")


def text_of(node: ast.AST) -> str:
    """Return the text of a string or f-string in a parsed source; "" for any other expression.

    Expressions in an f-string become words in capitals: f"Unknown router {router}." becomes "Unknown router ROUTER."
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.replace("{permission}", "permission")
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or placeholder(part) for part in node.values)
    if isinstance(node, ast.Call) and called(node) == "in_generation":
        return text_of(node.args[0]).replace("{permission}", "permission")
    return ""


def placeholder(part: ast.AST) -> str:
    words = re.findall(r"[a-z]{3,}", ast.unparse(part))
    return words[-1].upper() if words else "N"


def code_in(node: ast.Call, name: str) -> str:
    """Return the error code in a line of source code: "rule" for the call `ApiError("…", code="rule")`.

    `name` is the function that is called. Without an argument `code`, it is "not_logged_in" for LoginRefused,
    "not_allowed" for the permission check `otherwise`, and for ApiError the code that belongs to its HTTP status.
    """
    if name == "LoginRefused" and len(node.args) > 1:
        return text_of(node.args[1])
    http = next(
        (k.value.value for k in node.keywords if k.arg == "http" and isinstance(k.value, ast.Constant)), 200
    )
    return constant(node, "code") or DEFAULT_CODES.get(name) or OF_FIRST_WIRE.get(int(str(http)), "internal")


def constant(node: ast.Call, keyword: str) -> str:
    return next((text_of(each.value) for each in node.keywords if each.arg == keyword), "")
