"""Joining of the short lines into which mail programs break paragraphs in format=flowed (RFC 3676)."""

import re

QUOTES = re.compile(">*")
SIGNATURE = "-- "


def unflow(text: str, delete_space: bool = False) -> str:
    """Join the broken lines of each paragraph in a text in format=flowed.

    With `delete_space`, also remove the blank before each break, as the parameter DelSp=yes demands.
    """
    lines: list[tuple[int, list[str]]] = []  # depth of quoting, and pieces of the line
    flows = False  # whether the line before goes on
    for line in text.splitlines():
        quotes = QUOTES.match(line)
        depth = quotes.end() if quotes else 0
        content = line[depth:].removeprefix(" ")  # which the sender stuffed
        is_signature = content == SIGNATURE
        if not flows or is_signature or lines[-1][0] != depth:
            lines.append((depth, []))
        flows = content.endswith(" ") and not is_signature
        lines[-1][1].append(content[:-1] if flows and delete_space else content)
    return "".join(f"{'>' * depth}{' ' * (depth > 0)}{''.join(pieces)}\n" for depth, pieces in lines)
