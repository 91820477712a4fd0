"""Joining of the short lines into which mail programs break paragraphs in format=flowed (RFC 3676)."""

from io import StringIO

SIGNATURE = "-- "


def unflow(text: str, delete_space: bool = False) -> str:
    """Join the broken lines of each paragraph in a text in format=flowed.

    With `delete_space`, also remove the blank before each break, as the parameter DelSp=yes demands.
    """
    joined = StringIO()  # a list of short lines would take 200 times the memory of the text
    flows, depth_before = False, 0  # of the line before: whether it goes on, and its depth of quoting
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip(">"))
        content = line[depth:].removeprefix(" ")  # which the sender stuffed
        is_signature = content == SIGNATURE
        if not flows or is_signature or depth != depth_before:
            joined.write(f"\n{'>' * depth}{' ' * (depth > 0)}")
        flows, depth_before = content.endswith(" ") and not is_signature, depth
        joined.write(content[:-1] if flows and delete_space else content)
    return joined.getvalue()[1:] + "\n" if text else ""
