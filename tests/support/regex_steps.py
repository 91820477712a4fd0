"""Counts the steps of patterns where a program uses them."""

import re

from support.regex_machine import Machine

FLAGS_AT = {"sub": 3, "subn": 3, "split": 2}  # behind the pattern; of the other functions 1


class Counted:
    """A pattern whose every use adds the steps that it takes; its results are `re`'s."""

    METHODS = {
        "match": "match",
        "fullmatch": "fullmatch",
        "search": "search",
        "sub": "finditer",
        "subn": "finditer",
        "split": "finditer",
        "findall": "finditer",
        "finditer": "finditer",
    }
    machines: dict = {}

    def __init__(self, pattern: re.Pattern, counter: "Counter"):
        self.pattern, self.counter = pattern, counter
        if pattern not in self.machines:
            self.machines[pattern] = Machine(pattern)

    def __getattr__(self, name):
        if name not in self.METHODS:
            return getattr(self.pattern, name)
        method, how = getattr(self.pattern, name), self.METHODS[name]

        def counted(*given, **options):
            places = 1 if name in ("sub", "subn") else 0  # of the text
            start, *end = (*given[places + 1 :], 0)[:2] if how != "finditer" else (0,)
            text = given[places][: end[0]] if end and len(given) > places + 2 else given[places]
            self.counter.steps += self.machines[self.pattern].spans(text, how, start=start)[1]
            return method(*given, **options)

        return counted


class Counter:
    """A context in which the steps of all patterns of the modules given are counted."""

    def __init__(self, modules):
        self.modules, self.steps, self.before = list(modules), 0, []

    def __enter__(self):
        self.steps = 0
        for module in self.modules:
            for name, value in list(vars(module).items()):
                if isinstance(value, re.Pattern):
                    self.put(module, name, Counted(value, self))
                elif value is re:
                    self.put(module, name, self.functions())
                elif name == "compiled":
                    self.put(module, name, lambda *given: Counted(re.compile(*given), self))
        return self

    def put(self, module, name: str, value):
        """Replace a name of a module until the end of the context."""
        self.before.append((module, name, getattr(module, name)))
        setattr(module, name, value)

    def __exit__(self, *_):
        for module, name, value in self.before:
            setattr(module, name, value)
        self.before = []

    def functions(self):
        """Return what stands for `re` in a module."""

        def function(name):
            def call(pattern, *given, flags=0):
                at = FLAGS_AT.get(name, 1)
                flags = given[at] if len(given) > at else flags
                return getattr(Counted(re.compile(pattern, flags), self), name)(*given[:at])

            return call

        plain = {name: getattr(re, name) for name in re.__all__}
        return type(
            "re",
            (),
            {name: staticmethod(value) if callable(value) else value for name, value in plain.items()}
            | {name: staticmethod(function(name)) for name in Counted.METHODS},
        )
