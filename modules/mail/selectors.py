"""CSS selectors in received mail, rewritten so that they match only elements of that mail."""

import re

PREFIX = "mail-"  # of every class and id of a mail, so that none is one of the page that shows it
NAME = re.compile(r"-?[a-z_][a-z0-9_-]{0,80}", re.IGNORECASE | re.ASCII)
ROOTS = {"html", "body"}
PSEUDO_CLASSES = {"link", "visited", "hover", "active", "focus", "empty"}
PSEUDO_CLASSES |= {"first-child", "last-child", "only-child", "first-of-type", "last-of-type", "only-of-type"}
COMBINATORS = {">", "+", "~"}
MAX_COMPOUNDS = 12  # of a selector
MAX_SELECTORS = 500  # of a rule


class Unsupported(ValueError):
    """The error for a CSS selector that is not known to be harmless."""


class Compound:
    """A CSS compound selector such as `td.price`, with the combinator before it, such as `>`."""

    def __init__(self, combinator: str):
        self.combinator, self.is_root, self.pieces = combinator, False, list[str]()

    def add(self, piece: str):
        self.pieces.append(piece)

    @property
    def begun(self) -> bool:
        return self.is_root or bool(self.pieces)

    def __str__(self):
        return "".join(self.pieces)


def scoped_selectors(tokens: list, scope: str) -> str:
    """Return the selectors of a CSS rule as text, such as ".mail-1 td,.mail-1 p". Unknown kinds are left out.

    They match only elements inside of `scope`, a selector such as `.mail-1`. `tokens`: the selectors, as tokens of
    tinycss2.
    """
    selectors: list[list] = [[]]
    for token in tokens:
        if token.type == "literal" and token.value == ",":
            selectors.append([])
        else:
            selectors[-1].append(token)
    return ",".join(filter(None, (scoped_selector(each, scope) for each in selectors[:MAX_SELECTORS])))


def scoped_selector(tokens: list, scope: str) -> str | None:
    """Return a selector, such as `td`, restricted to elements inside of `scope`; None if not known to be harmless.

    `tokens`: the selector, as tokens of tinycss2. `scope`: a selector such as `.mail-1`, which gives ".mail-1 td".
    """
    try:
        found = compounds(tokens)
    except Unsupported:
        return None
    inside, own = False, ""
    pieces = [scope]
    for compound in found:
        if compound.is_root:
            if inside or compound.combinator not in ("", " ", ">"):
                return None  # nothing is around the root or beside it
            own += str(compound)
            continue
        if not inside and compound.combinator in ("+", "~"):
            return None
        pieces.append((compound.combinator or " ") + str(compound))
        inside = True
    pieces[0] += own
    return "".join(pieces)


def compounds(tokens: list) -> list[Compound]:
    """Split a selector such as `ul > li.new` into compound selectors: `ul` and `> li.new`.

    Raise Unsupported if the selector is not known to be harmless.
    """
    found, position = [Compound("")], 0
    while position < len(tokens):
        token = tokens[position]
        position += 1
        if token.type == "whitespace" or token.type == "literal" and token.value in COMBINATORS:
            begin_compound(found, token.value.strip() if token.type == "literal" else " ")
        elif token.type == "literal" and token.value in (".", ":"):
            add_class(found[-1], token.value, tokens[position] if position < len(tokens) else None)
            position += 1
        else:
            add_simple(found[-1], token)
        if len(found) > MAX_COMPOUNDS:
            raise Unsupported
    if not found[-1].begun and found[-1].combinator == " ":
        found.pop()  # white space at the end
    if not found or not all(compound.begun for compound in found):
        raise Unsupported
    return found


def begin_compound(found: list[Compound], combinator: str):
    """Append to `found` an empty compound selector that has a combinator, such as `>`, in front of it.

    `combinator` is " " for white space, which is ignored beside another combinator. Raise Unsupported if two
    combinators follow each other.
    """
    last = found[-1]
    if last.begun:
        found.append(Compound(combinator))
    elif combinator != " ":
        if len(found) == 1 or last.combinator != " ":
            raise Unsupported
        last.combinator = combinator


def add_class(compound: Compound, sign: str, token):
    """Add a class or a pseudo-class to a compound selector. Raise Unsupported for one that is not in PSEUDO_CLASSES.

    `sign` is "." for a class, ":" for a pseudo-class; `token` is its name.
    """
    if token is None or token.type != "ident" or not NAME.fullmatch(token.value):
        raise Unsupported
    if sign == ".":
        compound.add(f".{PREFIX}{token.value}")
    elif token.lower_value == "root" and not compound.begun:
        compound.is_root = True
    elif token.lower_value in PSEUDO_CLASSES:
        compound.add(f":{token.lower_value}")
    else:
        raise Unsupported


def add_simple(compound: Compound, token):
    """Add an id, an element's name or `*`, given as a token, to a compound selector. Raise Unsupported for others."""
    if token.type == "hash" and NAME.fullmatch(token.value):
        compound.add(f"#{PREFIX}{token.value}")
    elif compound.begun:
        raise Unsupported
    elif token.type == "ident" and token.lower_value in ROOTS:
        compound.is_root = True
    elif token.type == "ident" and NAME.fullmatch(token.value):
        compound.add(token.lower_value)
    elif token.type == "literal" and token.value == "*":
        compound.add("*")
    else:
        raise Unsupported
