"""Counts the steps that a backtracking engine such as Python's takes to match a pattern.

`Machine` goes by what `re` itself makes of a pattern, so that flags, groups and repeats mean the same.
"""

import functools
import re
import re._constants as constants
import re._parser as parser

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


CATEGORIES = {
    constants.CATEGORY_DIGIT: r"\d",
    constants.CATEGORY_NOT_DIGIT: r"\D",
    constants.CATEGORY_SPACE: r"\s",
    constants.CATEGORY_NOT_SPACE: r"\S",
    constants.CATEGORY_WORD: r"\w",
    constants.CATEGORY_NOT_WORD: r"\W",
}


class Accepts:
    """A test of which characters fit a part of a pattern that takes exactly one."""

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
        """Tell whether a part of the pattern takes a character."""
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
    """Tell whether a character of a word is at a position."""
    return 0 <= position < len(text) and is_word_character(text[position], flags & ASCII)


@functools.cache
def is_word_character(character: str, flags: int) -> bool:
    """Tell whether a character is one of a word."""
    return bool(re.match(r"\w", character, flags))


class Machine:
    """A pattern as instructions, and the loop that runs them on a text; bytes are run as Latin-1."""

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
        """Append an instruction and return it."""
        self.code.append([*instruction])
        return self.code[-1]

    def register(self) -> int:
        """Return the number of a new register."""
        self.registers += 1
        return self.registers - 1

    def sequence(self, nodes, flags: int):
        """Compile parts that follow each other."""
        for node in nodes:
            self.node(node, flags)

    def node(self, node, flags: int):
        """Compile one part."""
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
        """Compile alternatives."""
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
        """Compile a repeat."""
        if one := self.single(inner, flags):
            self.emit("repeat", one, least, most, how)
        elif how == "possessive":
            self.atomic(lambda: self.loop(least, most, inner, "greedy", flags))
        else:
            self.loop(least, most, inner, how, flags)

    def single(self, inner, flags: int) -> Accepts | None:
        """Return a test for what a repeat repeats, if `re`, too, takes it for one character."""
        if len(inner) != 1:
            return None
        kind, value = inner[0]
        if kind is constants.SUBPATTERN and value[0] is None:
            return self.single(value[3], (flags | value[1]) & ~value[2])
        return Accepts(inner[0], flags) if kind in ONE_CHARACTER else None

    def loop(self, least: int, most: int, inner, how: str, flags: int):
        """Compile a repeat of more than one character."""
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
        """Compile one pass of a loop; return the instructions that leave it, with the index of their target."""
        split = self.emit("split", None, None)
        split[2 if how == "lazy" else 1] = len(self.code)
        self.emit("mark", begun)
        self.sequence(inner, flags)
        return [
            (split, 1 if how == "lazy" else 2),
            (self.emit("unmoved", begun, None), 2),
        ]  # an empty round is the last

    def atomic(self, make):
        """Compile a part that is not tried again once it has matched."""
        height = self.register()
        self.emit("remember", height)
        make()
        self.emit("cut", height)

    def look(self, wanted: bool, direction: int, inner, flags: int):
        """Compile a lookahead or lookbehind."""
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
        """Return what is matched as text."""
        return bytes(given).decode("latin-1") if self.is_bytes else given

    def run(self, text: str, start: int, how: str, most: float, not_to: int = -1) -> tuple[tuple | None, int]:
        """Match at one position; return the spans of the match and its groups, or None, and the steps taken.

        The match must not end at not_to.
        """
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
        """Return the matches that a method of re.Pattern finds, and the steps taken."""
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
    """Return the registers with one of them changed."""
    return saved[:register] + (value,) + saved[register + 1 :]


def holds(where, text: str, position: int, flags: int) -> bool:
    """Tell whether an anchor matches at a position."""
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
