"""Joining of the lines of text in format=flowed (RFC 3676), in which mailers break paragraphs into short lines."""

import re

QUOTES = re.compile(">*")
SIGNATURE = "-- "


def unflow(text: str, delete_space: bool = False) -> str:
    """Return text in format=flowed with the broken lines of each paragraph joined.

    `delete_space` is the parameter DelSp=yes: also remove the blank before each break.
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
