"""Counts the steps that a backtracking engine such as Python's takes to match a pattern, and looks for texts for which
they grow faster than the text.

`Machine` goes by what `re` itself makes of a pattern, so that flags, groups and repeats mean the same. `super_linear`
makes texts from a pattern: what each of its repeats takes, over and over, behind what leads there and before what does
not fit.
"""

import functools
import itertools
import re
import re._constants as constants
import re._parser as parser
from collections.abc import Iterator

PLAIN_REPEATS = {
    constants.MAX_REPEAT: "greedy",
    constants.MIN_REPEAT: "lazy",
    constants.POSSESSIVE_REPEAT: "possessive",
}
ONE_CHARACTER = {constants.LITERAL, constants.NOT_LITERAL, constants.ANY, constants.IN}
ASCII, MULTILINE = int(re.ASCII), int(re.MULTILINE)  # as numbers: `&` of flags takes longer than a step
COPIES = 300  # of what a repeat repeats; where it may repeat more often, as often as it likes


class TooManySteps(Exception):
    """A match took more steps than it was given."""


########## One character ###########################################################################


CATEGORIES = {
    constants.CATEGORY_DIGIT: r"\d",
    constants.CATEGORY_NOT_DIGIT: r"\D",
    constants.CATEGORY_SPACE: r"\s",
    constants.CATEGORY_NOT_SPACE: r"\S",
    constants.CATEGORY_WORD: r"\w",
    constants.CATEGORY_NOT_WORD: r"\W",
}


class Accepts:
    """Tells which characters fit a part of a pattern that takes exactly one."""

    def __init__(self, node, flags: int):
        self.node, self.flags, self.known = node, flags, {}

    def __call__(self, character: str) -> bool:
        if (fits := self.known.get(character)) is None:
            forms = {character}
            if self.flags & re.IGNORECASE:
                forms |= (
                    {character.lower(), character.upper()}
                    if character.isascii() or not self.flags & re.ASCII
                    else set()
                )
            fits = self.known[character] = any(
                self.test(self.node, ord(form)) for form in forms if len(form) == 1
            )
        return fits

    def test(self, node, code: int) -> bool:
        kind, value = node
        if kind is constants.ANY:
            return bool(self.flags & re.DOTALL) or code != 10
        if kind is constants.LITERAL:
            return code == value
        if kind is constants.NOT_LITERAL:
            return code != value
        if kind is constants.RANGE:
            return value[0] <= code <= value[1]
        if kind is constants.CATEGORY:
            return bool(re.match(CATEGORIES[value], chr(code), self.flags & re.ASCII))
        negated = value[0][0] is constants.NEGATE
        return any(self.test(one, code) for one in value[negated:]) is not negated


def is_word(text: str, position: int, flags: int) -> bool:
    return 0 <= position < len(text) and is_word_character(text[position], flags & ASCII)


@functools.cache
def is_word_character(character: str, flags: int) -> bool:
    return bool(re.match(r"\w", character, flags))


########## The machine #############################################################################


class Machine:
    """A pattern as instructions, and what runs them on a text; bytes are run as their characters in Latin-1."""

    def __init__(self, pattern: re.Pattern):
        self.is_bytes = isinstance(pattern.pattern, bytes)
        source, flags = pattern.pattern, pattern.flags
        self.tree = parser.parse(source, flags & ~re.DEBUG)
        self.flags = int(self.tree.state.flags) | (ASCII if self.is_bytes else 0)
        self.code: list[list] = []
        self.registers = 2 * self.tree.state.groups
        self.sequence(self.tree, self.flags)
        self.emit("match")

    def emit(self, *instruction) -> list:
        self.code.append([*instruction])
        return self.code[-1]

    def register(self) -> int:
        self.registers += 1
        return self.registers - 1

    def sequence(self, nodes, flags: int):
        for node in nodes:
            self.node(node, flags)

    def node(self, node, flags: int):
        kind, value = node
        if kind in ONE_CHARACTER:
            self.emit("one", Accepts(node, flags))
        elif kind in PLAIN_REPEATS:
            self.repeat(*value, PLAIN_REPEATS[kind], flags)
        elif kind is constants.SUBPATTERN:
            group, added, removed, inner = value
            if group:
                self.emit("save", 2 * group)
            self.sequence(inner, (flags | added) & ~removed)
            if group:
                self.emit("save", 2 * group + 1)
        elif kind is constants.BRANCH:
            self.branch(value[1], flags)
        elif kind is constants.AT:
            self.emit("at", value, flags)
        elif kind is constants.ATOMIC_GROUP:
            self.atomic(lambda: self.sequence(value, flags))
        elif kind in (constants.ASSERT, constants.ASSERT_NOT):
            self.look(kind is constants.ASSERT, *value, flags)
        elif kind is constants.GROUPREF:
            self.emit("again", value, flags)
        elif kind is constants.FAILURE:
            self.emit("fail")
        else:
            raise NotImplementedError(kind)

    def branch(self, branches: list, flags: int):
        ends = []
        for branch in branches[:-1]:
            split = self.emit("split", len(self.code) + 1, None)
            self.sequence(branch, flags)
            ends.append(self.emit("jump", None))
            split[2] = len(self.code)
        self.sequence(branches[-1], flags)
        for end in ends:
            end[1] = len(self.code)

    def repeat(self, least: int, most: int, inner, how: str, flags: int):
        if one := self.single(inner, flags):
            self.emit("repeat", one, least, most, how)
        elif how == "possessive":
            self.atomic(lambda: self.loop(least, most, inner, "greedy", flags))
        else:
            self.loop(least, most, inner, how, flags)

    def single(self, inner, flags: int) -> Accepts | None:
        """What a repeat repeats, if `re`, too, takes it for one character."""
        if len(inner) != 1:
            return None
        kind, value = inner[0]
        if kind is constants.SUBPATTERN and value[0] is None:
            return self.single(value[3], (flags | value[1]) & ~value[2])
        return Accepts(inner[0], flags) if kind in ONE_CHARACTER else None

    def loop(self, least: int, most: int, inner, how: str, flags: int):
        if least > COPIES:
            raise NotImplementedError(f"a repeat of at least {least}")
        for _ in range(least):
            self.sequence(inner, flags)
        begun = self.register()
        if most <= least + COPIES:
            ends = []
            for _ in range(most - least):
                ends += self.round(inner, begun, how, flags)
            for instruction, place in ends:
                instruction[place] = len(self.code)
            return
        again = len(self.code)
        ends = self.round(inner, begun, how, flags)
        self.emit("jump", again)
        for instruction, place in ends:
            instruction[place] = len(self.code)

    def round(self, inner, begun: int, how: str, flags: int) -> list[tuple[list, int]]:
        """What a loop does once; the instructions that leave it, with the place of where they go to."""
        split = self.emit("split", None, None)
        split[2 if how == "lazy" else 1] = len(self.code)
        self.emit("mark", begun)
        self.sequence(inner, flags)
        return [
            (split, 1 if how == "lazy" else 2),
            (self.emit("unmoved", begun, None), 2),
        ]  # an empty round is the last

    def atomic(self, make):
        height = self.register()
        self.emit("remember", height)
        make()
        self.emit("cut", height)

    def look(self, wanted: bool, direction: int, inner, flags: int):
        height, at = self.register(), self.register()
        skip = None if wanted else self.emit("split", len(self.code) + 1, None)
        self.emit("remember", height)
        self.emit("mark", at)
        if direction < 0:
            self.emit("back", inner.getwidth()[0])
        self.sequence(inner, flags)
        if wanted:
            self.emit("cut", height)
            self.emit("return", at)
        else:
            self.emit("cut_and_fail", height)
            skip[2] = len(self.code)

    # Running

    def text(self, given) -> str:
        return bytes(given).decode("latin-1") if self.is_bytes else given

    def run(self, text: str, start: int, how: str, most: float, not_to: int = -1) -> tuple[tuple | None, int]:
        """The spans of the match and its groups, or None, and the steps of one attempt from start; the match must not
        end at not_to."""
        end, code, steps = len(text), self.code, 0
        pc, position, stack, saved = 0, start, [], (-1,) * self.registers
        while True:
            steps += 1
            if steps > most:
                raise TooManySteps
            instruction = code[pc]
            kind = instruction[0]
            fits = True
            if kind == "one":
                fits = position < end and instruction[1](text[position])
                position += 1
            elif kind == "repeat":
                _, accepts, least, limit, mode = instruction
                limit = end - position if limit is constants.MAXREPEAT else min(limit, end - position)
                wanted = min(least, end - position) if mode == "lazy" else limit
                count, known = 0, accepts.known
                while count < wanted:
                    character = text[position + count]
                    if not (known[character] if character in known else accepts(character)):
                        break
                    count += 1
                steps += count
                if fits := count >= least:
                    if mode == "greedy" and count > least:
                        stack.append((pc + 1, position + count - 1, saved, position + least, None, 0))
                    elif mode == "lazy" and limit > count:
                        stack.append((pc + 1, position + count, saved, None, accepts, position + limit))
                    position += count
            elif kind == "split":
                stack.append((instruction[2], position, saved, None, None, 0))
                pc = instruction[1] - 1
            elif kind == "jump":
                pc = instruction[1] - 1
            elif kind in ("save", "mark"):
                saved = put(saved, instruction[1], position)
            elif kind == "unmoved":
                if saved[instruction[1]] == position:
                    pc = instruction[2] - 1
            elif kind == "remember":
                saved = put(saved, instruction[1], len(stack))
            elif kind == "cut":
                del stack[saved[instruction[1]] :]
            elif kind == "cut_and_fail":
                del stack[saved[instruction[1]] - 1 :]
                fits = False
            elif kind == "return":
                position = saved[instruction[1]]
            elif kind == "back":
                position -= instruction[1]
                fits = position >= 0
            elif kind == "at":
                fits = holds(instruction[1], text, position, instruction[2])
            elif kind == "again":
                first, last = saved[2 * instruction[1] : 2 * instruction[1] + 2]
                again = text[first:last]
                steps += len(again)
                fits = last >= 0 and text.startswith(again, position)
                position += len(again)
            elif kind == "fail":
                fits = False
            elif (how != "fullmatch" or position == end) and position != not_to:  # match
                groups = [saved[2 * n : 2 * n + 2] for n in range(1, self.tree.state.groups)]
                return ((start, position), *groups), steps
            else:
                fits = False
            pc += 1
            while not fits:
                if not stack:
                    return None, steps
                pc, position, saved, least, accepts, until = stack.pop()
                fits = True
                if least is not None and position > least:  # a greedy repeat: one less
                    stack.append((pc, position - 1, saved, least, None, 0))
                elif accepts is not None:  # a lazy one: one more
                    steps += 1
                    fits = accepts(text[position])
                    position += 1
                    if fits and position < until:
                        stack.append((pc, position, saved, None, accepts, until))

    def first(self) -> Accepts | None:
        """Return what the first character of every match is, if the first instruction takes one."""
        kind, *values = self.code[0]
        return values[0] if kind == "one" or (kind == "repeat" and values[1] > 0) else None

    def spans(self, given, how: str, most: float = float("inf"), start: int = 0) -> tuple[list[tuple], int]:
        """The matches that a method of re.Pattern finds, and the steps that it takes."""
        text, found, steps = self.text(given), [], 0
        if how in ("match", "fullmatch"):
            match, steps = self.run(text, start, how, most)
            return [match] if match else [], steps
        empty_at, begins = -1, self.first()
        while start <= len(text):
            if begins and not (start < len(text) and begins(text[start])):  # one step, as `run` would take
                start, empty_at, steps = start + 1, -1, steps + 1
                if steps > most:
                    raise TooManySteps
                continue
            match, more = self.run(text, start, how, most - steps, empty_at)
            steps += more
            if match is None:
                start, empty_at = start + 1, -1
                continue
            found.append(match)
            if how == "search":
                break
            (begin, start) = match[0]
            empty_at = start if begin == start else -1
        return found, steps


def put(saved: tuple, register: int, value: int) -> tuple:
    return saved[:register] + (value,) + saved[register + 1 :]


def holds(where, text: str, position: int, flags: int) -> bool:
    """Whether what an anchor asks for is so."""
    if where is constants.AT_BEGINNING_STRING or where is constants.AT_BEGINNING:
        multiline = where is constants.AT_BEGINNING and flags & MULTILINE
        return position == 0 or bool(multiline) and text[position - 1] == "\n"
    if where is constants.AT_END:
        multiline = flags & MULTILINE
        return (
            position == len(text) or text[position] == "\n" and (bool(multiline) or position == len(text) - 1)
        )
    if where is constants.AT_END_STRING:
        return position == len(text)
    boundary = is_word(text, position - 1, flags) != is_word(text, position, flags)
    return boundary is (where is constants.AT_BOUNDARY)


########## Texts ###################################################################################


MANY = 10  # a repeat that may go on at least so often is taken for one without end
OTHERS = "\0\n !\"'0<=?a\\~\xe9"  # tried where a character is needed that a pattern does not name


def characters(node, flags: int) -> Iterator[str]:
    """Some of the characters that fit a part of a pattern that takes one."""
    kind, value = node
    named = [(node,)] if kind is not constants.IN else [value]
    found = []
    for one_kind, one in itertools.chain(*named):
        if one_kind in (constants.LITERAL, constants.NOT_LITERAL):
            found.append(chr(one))
        elif one_kind is constants.RANGE:
            found += [chr(one[0]), chr(one[1])]
    accepts = Accepts(node, flags)
    yield from dict.fromkeys(one for one in [*found, *"a0 x", *OTHERS, "1", "A", "\t"] if accepts(one))


def example(nodes, flags: int, repeats: int = 1) -> str:
    """A text that fits, nearly always: what looks around is not looked at."""
    return "".join(example_of(node, flags, repeats) for node in nodes)


def example_of(node, flags: int, repeats: int) -> str:
    kind, value = node
    if kind in ONE_CHARACTER:
        return next(characters(node, flags), "")
    if kind in PLAIN_REPEATS:
        return example(value[2], flags) * min(max(value[0], repeats), value[1])
    if kind is constants.SUBPATTERN:
        return example(value[3], (flags | value[1]) & ~value[2], repeats)
    if kind is constants.BRANCH:
        return example(value[1][0], flags, repeats)
    return example(value, flags, repeats) if kind is constants.ATOMIC_GROUP else ""


def pieces(nodes, flags: int) -> Iterator[str]:
    """Different short texts that fit."""
    if len(nodes) == 1:
        kind, value = nodes[0]
        if kind in ONE_CHARACTER:
            yield from itertools.islice(characters(nodes[0], flags), 6)
        elif kind is constants.BRANCH:
            for branch in value[1]:
                yield from itertools.islice(pieces(branch, flags), 2)
        elif kind is constants.SUBPATTERN:
            yield from pieces(value[3], flags)
        elif kind in PLAIN_REPEATS:
            yield from pieces(value[2], flags)
        elif kind is constants.ATOMIC_GROUP:
            yield from pieces(value, flags)
    yield example(nodes, flags)


def repeats_in(nodes, flags: int, before: str) -> Iterator[tuple[str, list[str], str]]:
    """Of each repeat that can go on for long: what leads there, what it takes, and what may follow it."""
    for number, node in enumerate(nodes):
        kind, value = node
        after = example(nodes[number + 1 :], flags)
        if kind in PLAIN_REPEATS:
            if value[1] >= MANY:
                yield before, list(pieces(value[2], flags)), after
            yield from repeats_in(value[2], flags, before)
        elif kind is constants.SUBPATTERN:
            yield from repeats_in(value[3], (flags | value[1]) & ~value[2], before)
        elif kind is constants.BRANCH:
            for branch in value[1]:
                yield from repeats_in(branch, flags, before)
        elif kind is constants.ATOMIC_GROUP:
            yield from repeats_in(value, flags, before)
        elif kind in (constants.ASSERT, constants.ASSERT_NOT):
            yield from repeats_in(value[1], flags, before)
        before += example_of(node, flags, 1)


def alphabet(nodes, flags: int) -> Iterator[str]:
    for kind, value in nodes:
        if kind in ONE_CHARACTER:
            yield from itertools.islice(characters((kind, value), flags), 4)
        elif kind in PLAIN_REPEATS:
            yield from alphabet(value[2], flags)
        elif kind is constants.SUBPATTERN:
            yield from alphabet(value[3], flags)
        elif kind is constants.BRANCH:
            for branch in value[1]:
                yield from alphabet(branch, flags)
        elif kind is constants.ATOMIC_GROUP:
            yield from alphabet(value, flags)
        elif kind in (constants.ASSERT, constants.ASSERT_NOT):
            yield from alphabet(value[1], flags)


Recipe = tuple[
    str, str, str, str
]  # a text is the first, then the second and the third n times each, then the last


def recipes(machine: Machine) -> list[Recipe]:
    """How texts are made for which a pattern could take long."""
    tree, flags = machine.tree, machine.flags
    signs = list(dict.fromkeys([*alphabet(tree, flags), *OTHERS]))[:24]
    found: dict[Recipe, None] = {}
    for sign in signs:
        found |= {("", sign, "", end): None for end in ("", "\0", "!", "\n")}
    for first, second in itertools.product(signs[:8], repeat=2):
        found |= {("", first + second, "", ""): None, ("", first, second, "\0"): None}
    every = list(repeats_in(tree, flags, ""))
    for before, taken, after in every:
        ends = dict.fromkeys(
            ["", "\0", "!", after[:-1], after + "\0", next((s for s in OTHERS if s not in taken), "")]
        )
        for piece, end in itertools.product(dict.fromkeys(taken), ends):
            found |= {(before, piece, "", end): None, ("", before + piece, "", end): None}
            found |= {
                ("", before + piece + after, "", end): None,
                (before, piece + after[:-1], "", end): None,
            }
    for (before, taken, _), (_, others, after) in itertools.product(every[:8], repeat=2):
        for one, other in itertools.product(dict.fromkeys(taken[:2]), dict.fromkeys(others[:2])):
            found |= {(before, one, other, end): None for end in ("", "\0", after[:-1])}
            found |= {("", before + one, other, "\0"): None}
    return list(found)


def made(recipe: Recipe, n: int) -> str:
    before, one, other, after = recipe
    return before + one * n + other * n + after


def given(machine: Machine, recipe: Recipe, n: int) -> str | bytes:
    return made(recipe, n).encode("latin-1", "replace") if machine.is_bytes else made(recipe, n)


def may_grow(machine: Machine, how: str, recipe: Recipe) -> bool:
    """Whether so many steps are taken for each character of a short text that it is worth to look closer."""
    text = given(machine, recipe, 3 * SHORT)
    try:
        machine.spans(text, how, 8 * len(text) + 50)
    except TooManySteps:
        return True
    return False


def grows(machine: Machine, how: str, recipe: Recipe, n: int) -> bool:
    """Whether a text four times as long takes more than FACTOR times the steps."""
    try:
        _, steps = machine.spans(given(machine, recipe, n), how, 1000 * n)
        machine.spans(given(machine, recipe, 4 * n), how, FACTOR * steps + 100)
    except TooManySteps:
        return True
    return False


FACTOR = 5.5  # between 4, which linear growth comes to, and 16
SHORT, LONG = 25, 350  # longer than the short ends of repeats such as {0,254}


def super_linear(pattern: re.Pattern, how: str) -> Recipe | None:
    """Return a recipe of texts for which a method of re.Pattern takes more than linear time, or None."""
    machine = Machine(pattern)
    for recipe in recipes(machine):
        if may_grow(machine, how, recipe) and all(grows(machine, how, recipe, n) for n in (SHORT, LONG)):
            return recipe
    return None


########## Counting where patterns are used ########################################################


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
    """Counts the steps of all patterns of the modules given, while it is entered."""

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
        self.before.append((module, name, getattr(module, name)))
        setattr(module, name, value)

    def __exit__(self, *_):
        for module, name, value in self.before:
            setattr(module, name, value)
        self.before = []

    def functions(self):
        """What stands for `re` in a module."""

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
