"""Style sheets of received mail, reduced to harmless declarations for elements of that mail.

A new style sheet is written from the names, numbers and strings that are known to be harmless. No text is copied.
"""

import re
from collections.abc import Iterable, Iterator

from .selectors import NAME, scoped_selectors
from .styles import declaration

MAX_LENGTH = 128 * 1024  # characters of all sheets of a mail together
MAX_OUTPUT = 512 * 1024
MAX_NESTING = 3  # of @media
COLOURS = {"rgb", "rgba", "hsl", "hsla"}
NUMBER = re.compile(r"[+-]?[0-9.]{1,20}")
UNIT = re.compile(r"[a-z]{1,5}", re.IGNORECASE)
TEXT = re.compile(r"[\w .-]{0,100}", re.ASCII)
MEDIA = re.compile(r"[a-z0-9 (),:./%-]{0,300}", re.IGNORECASE)
HARMLESS = re.compile(r"[\w\s.,#%!/:;'\"(){}>+~*@-]*", re.ASCII)


def scoped_sheet(source: str, scope: str) -> str:
    """Return the harmless rules of a style sheet, restricted to elements inside of `scope`, a selector like `.mail-1`.

    The selectors `html`, `body` and `:root` are replaced by `scope`. ImportError if the package
    tinycss2 is not installed.
    """
    from tinycss2 import parse_component_value_list

    try:
        tokens = parse_component_value_list(source[:MAX_LENGTH], skip_comments=True)
    except (ValueError, RecursionError):  # a number of more digits than Python converts
        return ""
    rules, size = [], 0
    for rule in scoped_rules(tokens, scope):
        size += len(rule)
        if size > MAX_OUTPUT:
            break
        rules.append(rule)
    sheet = "".join(rules)
    return sheet if HARMLESS.fullmatch(sheet) else ""


def scoped_rules(tokens: Iterable, scope: str, nesting: int = 0) -> Iterator[str]:
    """Yield the harmless rules of a style sheet as CSS text, restricted to elements inside of `scope`.

    `tokens`: the rules, as tokens of tinycss2. `nesting`: the number of @media rules around them. Other rules that
    begin with @ are left out.
    """
    prelude: list = []
    for token in tokens:
        if token.type == "{} block":
            yield from scoped_rule(prelude, token.content, scope, nesting)
            prelude = []
        elif token.type == "literal" and token.value in ("<!--", "-->") and not nesting:
            continue
        elif token.type == "literal" and token.value == ";" and starts_with_at(prelude):
            prelude = []  # @import, @charset, @namespace
        elif prelude or token.type != "whitespace":
            prelude.append(token)


def starts_with_at(prelude: list) -> bool:
    return bool(prelude) and prelude[0].type == "at-keyword"


def scoped_rule(prelude: list, content: list, scope: str, nesting: int) -> Iterator[str]:
    if starts_with_at(prelude):
        query = media_query(prelude[1:]) if prelude[0].lower_value == "media" else None
        if query and nesting < MAX_NESTING:
            rules = "".join(scoped_rules(content, scope, nesting + 1))
            yield f"@media {query}{{{rules}}}\n" if rules else ""
    elif (selectors := scoped_selectors(prelude, scope)) and (body := declarations(content)):
        yield f"{selectors}{{{body}}}\n"


def media_query(tokens: list) -> str | None:
    """Return a media query as text, such as `(max-width: 600px)`; None if it is not known to be harmless.

    `tokens`: the query, as tokens of tinycss2.
    """
    pieces = []
    for token in tokens:
        piece = (
            "(" + (plain_text(token.content) or "") + ")" if token.type == "() block" else plain_text([token])
        )
        if piece is None:
            return None
        pieces.append(piece)
    query = "".join(pieces).strip().lower()
    return query if query and MEDIA.fullmatch(query) else None


def declarations(tokens: list) -> str:
    """Return the harmless declarations of a rule as text, such as `color:red;margin:0`. Nested rules are left out.

    `tokens`: the content of the rule, as tokens of tinycss2.
    """
    written: list[str] = []
    current: list = []
    for token in [*tokens, None]:
        if token is None or token.type == "literal" and token.value == ";":
            written.append(written_declaration(current))
            current = []
        elif token.type == "{} block":
            current = []
        elif current or token.type != "whitespace":
            current.append(token)
    return ";".join(filter(None, written))


def written_declaration(tokens: list) -> str:
    """Return a declaration as text, such as `color:red`; "" if it is not known to be harmless.

    `tokens`: the declaration, as tokens of tinycss2.
    """
    if not tokens or tokens[0].type != "ident":
        return ""
    colon = next((number for number, token in enumerate(tokens) if token.type == "literal"), 0)
    if tokens[colon] != ":" or any(token.type != "whitespace" for token in tokens[1:colon]):
        return ""
    name, values = tokens[0].lower_value, tokens[colon + 1 :]
    if name == "background":  # whose colour stays without its picture
        values = [token for token in values if token.type != "url" and not is_picture(token)]
    text = plain_text(values)
    return declaration(name, text) if text else ""


def is_picture(token) -> bool:
    return token.type == "function" and token.lower_name not in COLOURS


def plain_text(tokens: list, in_function: bool = False) -> str | None:
    """Return tokens of CSS as text if all are names, numbers, strings or colours, else None.

    `in_function`: whether the tokens are arguments of a function, in which no other function is allowed.
    """
    pieces = [plain_token(token, in_function) for token in tokens]
    return None if None in pieces else "".join(map(str, pieces))


def plain_token(token, in_function: bool) -> str | None:
    kind = token.type
    if kind == "whitespace":
        return " "
    if kind == "ident":
        return token.value if NAME.fullmatch(token.value) else None
    if kind in ("number", "percentage", "dimension"):
        unit = "%" if kind == "percentage" else token.unit if kind == "dimension" else ""
        good = NUMBER.fullmatch(token.representation) and (unit in ("", "%") or UNIT.fullmatch(unit))
        return token.representation + unit if good else None
    if kind == "hash":
        return f"#{token.value}" if NAME.fullmatch(f"a{token.value}") else None
    if kind == "string":
        return f'"{token.value}"' if TEXT.fullmatch(token.value) else None
    if kind == "literal":
        return token.value if token.value in (",", "/", "!", ":") else None
    if kind == "function" and token.lower_name in COLOURS and not in_function:
        arguments = plain_text(token.arguments, in_function=True)
        return None if arguments is None else f"{token.lower_name}({arguments})"
    return None
