"""Looks for texts for which the steps of a pattern grow faster than the text.

`super_linear` makes texts from a pattern: what each of its repeats takes, over and over, behind what leads there and
before what does not fit.
"""

import itertools
import re
import re._constants as constants
from collections.abc import Iterator

from support.regex_machine import ONE_CHARACTER, PLAIN_REPEATS, Accepts, Machine, TooManySteps

MANY = 10  # a repeat that may go on at least so often is taken for one without end
OTHERS = "\0\n !\"'0<=?a\\~\xe9"  # tried where a character is needed that a pattern does not name


def characters(node, flags: int) -> Iterator[str]:
    """Yield some of the characters that fit a part of a pattern that takes one."""
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
    """Return a text that nearly always fits; lookaheads and lookbehinds are ignored."""
    return "".join(example_of(node, flags, repeats) for node in nodes)


def example_of(node, flags: int, repeats: int) -> str:
    """Return a text that fits one part."""
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
    """Yield different short texts that fit."""
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
    """Yield for each repeat without end: a text that leads there, what it takes, and what may follow it."""
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
    """Yield characters that a pattern names."""
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
    """Return recipes of texts for which a pattern could take long."""
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
    """Make the text of a recipe, with n repetitions."""
    before, one, other, after = recipe
    return before + one * n + other * n + after


def given(machine: Machine, recipe: Recipe, n: int) -> str | bytes:
    """Make the text of a recipe as the pattern takes it: bytes or text."""
    return made(recipe, n).encode("latin-1", "replace") if machine.is_bytes else made(recipe, n)


def may_grow(machine: Machine, how: str, recipe: Recipe) -> bool:
    """Tell whether a short text takes so many steps that longer ones are worth a try."""
    text = given(machine, recipe, 3 * SHORT)
    try:
        machine.spans(text, how, 8 * len(text) + 50)
    except TooManySteps:
        return True
    return False


def grows(machine: Machine, how: str, recipe: Recipe, n: int) -> bool:
    """Tell whether a text four times as long takes more than FACTOR times the steps."""
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
