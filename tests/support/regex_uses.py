"""Finds every regular expression of the code base, and by which methods it is used."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mailapi

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = [ROOT / "mailapi.py", *sorted((ROOT / "modules").rglob("*.py"))]
# Functions of `re` that take a pattern → where their flags are.
FUNCTIONS = {
    "compile": 1,
    "match": 2,
    "fullmatch": 2,
    "search": 2,
    "findall": 2,
    "finditer": 2,
    "split": 3,
    "sub": 4,
    "subn": 4,
}
# What a method comes to: sub, findall and split look for all matches.
HOW = {"match": "match", "fullmatch": "fullmatch", "search": "search"}
# Functions that make a pattern of what they are given, and some patterns that they make.
MAKERS = {
    ("mailapi", "covering"): lambda: map(
        mailapi.covering,
        ("%", "%@corp.org", "a%b%c@x", "a_%_@%.corp.org", "%%%a%%", "%aaaab", "%ab%ab%aab", "_%_%_%x"),
    )
}
# Patterns that others use, and how.
HANDED_ON = {("header_line", "FIRST_LINE"): "fullmatch", ("header_line", "HEADER_LINE"): "match"}
# Uses of `re` that neither are calls nor take a pattern.
NO_PATTERN = {
    "re.escape",
    "re.Pattern",
    "re.Match",
    "re.error",
    "re.ASCII",
    "re.DOTALL",
    "re.IGNORECASE",
    "re.MULTILINE",
    "re.VERBOSE",
}


class Use(NamedTuple):
    """A pattern and one way in which it is used."""

    where: str
    pattern: re.Pattern
    how: str  # match, fullmatch, search or finditer


class Unresolved(Exception):
    """A use of `re` whose pattern cannot be told from the source: give it to MAKERS, or write it plainly."""


def module_of(file: Path):
    """Return the module of a file, as the program has loaded it."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    name = ".".join(["mailapi_modules", *parts[1:]]) if parts[0] == "modules" else file.stem
    return importlib.import_module(name)


def patterns_in(value, depth: int = 0) -> Iterator[re.Pattern]:
    """Yield the compiled patterns in the value of a name."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, (list, tuple, set, frozenset)) and depth < 4:
        for one in value:
            yield from patterns_in(one, depth + 1)
    elif isinstance(value, dict) and depth < 4:
        yield from patterns_in([*value, *value.values()], depth + 1)
    elif isinstance(value, type) and depth < 4 and value.__module__.startswith("mailapi"):
        yield from patterns_in(vars(value).values() and dict(vars(value)), depth + 1)


class Reader(ast.NodeVisitor):
    """A visitor that finds all uses in one file."""

    def __init__(self, file: Path, module=None):
        self.file, self.module, self.found, self.functions = file, module or module_of(file), [], []
        self.seen: set[int] = set()  # the patterns whose methods are used by name
        self.called: set[int] = set()  # the nodes that are the function of a call
        self.visit(ast.parse(file.read_text()))

    def where(self, node) -> str:
        """Return file and line of a node."""
        return f"{self.file.name}:{node.lineno}"

    def value(self, node):
        """Return the value that an expression has at import."""
        return eval(compile(ast.Expression(node), str(self.file), "eval"), dict(vars(self.module)))

    def add(self, node, pattern: re.Pattern, method: str):
        """Add a use."""
        self.found.append(Use(self.where(node), pattern, HOW.get(method, "finditer")))

    def visit_FunctionDef(self, node):
        """Remember the function that we are in."""
        self.functions.append(node.name)
        self.generic_visit(node)
        self.functions.pop()

    def visit_ImportFrom(self, node):
        """Refuse `from re import …`."""
        if node.module == "re":
            raise Unresolved(f"{self.where(node)}: import re as a whole")

    def visit_Import(self, node):
        """Refuse other names and other engines."""
        if any(
            name.name in ("regex", "fnmatch", "sre_compile") or name.name == "re" and name.asname
            for name in node.names
        ):
            raise Unresolved(f"{self.where(node)}: import re, and nothing else")

    def visit_Constant(self, node):
        """Add the patterns of Bottle's routes."""
        for pattern in re.findall(r"<\w*:re:(.*)>", node.value) if isinstance(node.value, str) else ():
            self.add(node, re.compile(f"^({pattern})$"), "match")

    def visit_Call(self, node):
        """Add a call of `re` or of a compiled pattern."""
        function = node.func
        if (
            isinstance(function, ast.Attribute)
            and ast.unparse(function.value) == "re"
            and function.attr in FUNCTIONS
        ):
            self.called.add(id(function))
            self.direct(node, function.attr)
        elif isinstance(function, ast.Attribute) and isinstance(function.value, ast.Call):
            self.made(node, function)
        self.generic_visit(node)

    def direct(self, node, name: str):
        """Add a call of `re`'s own functions."""
        flags = [word.value for word in node.keywords if word.arg == "flags"] + node.args[FUNCTIONS[name] :]
        try:
            given = self.value(node.args[0])
            pattern = re.compile(given, self.value(flags[0]) if flags else 0)
        except NameError:
            # At import it is what a name of the module then has: `patterns_in` finds it there.
            if self.functions and (self.module.__name__, *self.functions) not in MAKERS:
                raise Unresolved(f"{self.where(node)}: {ast.unparse(node)}") from None
            return
        if name != "compile":
            self.add(node, pattern, name)
        elif self.functions:
            self.add(node, pattern, "finditer")  # nobody knows what becomes of it

    def made(self, node, function: ast.Attribute):
        """Add `compiled(…).match(…)`, or a method of a pattern that one of MAKERS makes."""
        made_by = function.value.func
        if function.attr not in FUNCTIONS or not isinstance(made_by, ast.Name):
            return
        if made_by.id == "compiled":
            self.add(node, re.compile(self.value(function.value.args[0])), function.attr)
        for pattern in MAKERS.get((self.module.__name__, made_by.id), lambda: ())():
            self.add(node, pattern, function.attr)

    def visit_Attribute(self, node):
        """Add a method of a named pattern; refuse uses of `re` that are no calls."""
        words = ast.unparse(node)
        of_re = isinstance(node.value, ast.Name) and node.value.id == "re"
        if of_re and id(node) not in self.called and words not in NO_PATTERN:
            if not (
                words == "re.compile" and self.file.parts[-2:] == ("mail", "addresses.py")
            ):  # `compiled`, above
                raise Unresolved(f"{self.where(node)}: {words}")
        if node.attr in FUNCTIONS and isinstance(node.value, ast.Name):
            pattern = vars(self.module).get(node.value.id)
            if isinstance(pattern, re.Pattern):
                self.seen.add(id(pattern))
                self.add(node, pattern, node.attr)
        self.generic_visit(node)


def find_uses() -> list[Use]:
    """Return every pattern with every way in which it is used, once."""
    files = [Reader(file) for file in FILES]
    found = [use for file in files for use in file.found]
    seen = {number for file in files for number in file.seen}
    for file in files:  # what is in lists, or handed on
        found += [
            Use(file.file.name, pattern, HANDED_ON.get((file.file.stem, name), "finditer"))
            for name, value in vars(file.module).items()
            for pattern in patterns_in(value)
            if id(pattern) not in seen
        ]
    return list({(use.pattern, use.how): use for use in reversed(found)}.values())[::-1]
