"""The lines that mailapi writes into a user's Sieve script (RFC 5228): an automatic reply, and copies to an address.

These lines are called the block. It begins and ends with a comment, and a third comment in it has the settings as
JSON. The block follows the script's own `require` commands, since these must come first. All other lines of the script
stay as they are.
"""

import json
import re
from datetime import UTC, datetime

from mailapi import ApiError

BEGIN = "# mailapi settings: accounts/?update writes the lines from here to the end mark."
END = "# mailapi settings end"
TOKEN = re.compile(
    r"""
    (?P<blank>[ \t\r\n]+)
  | (?P<comment>\#[^\n]*\n?|/\*(?>.*?\*/|.*\Z))
  | (?P<string>"(?>(?:[^"\\]|\\.)*)")
  | (?P<word>[A-Za-z_]+)
  | (?P<sign>.)
""",
    re.VERBOSE | re.DOTALL,
)
REST_OF_LINE = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z)")
IN_REQUIRE = ("blank", "comment", "string")


def split(script: str) -> tuple[str, dict, str]:
    """Split a script into the text before mailapi's block, the settings in the block, and the text after the block.

    Without a block, the settings are {}, and the first text ends where a block belongs. ApiError if the block has no
    end, or if its settings cannot be read.
    """
    position = end_of_requires = 0
    while match := TOKEN.match(script, position):
        kind, text = match.lastgroup, match[0]
        if kind == "comment" and text.strip() == BEGIN:
            return split_at_block(script, position)
        if kind == "word" and text.lower() == "require":
            position = end_of_require(script, match.end())
            if not position:
                break
            end_of_requires = position
        elif kind in ("blank", "comment"):
            position = match.end()
        else:
            break
    return script[:end_of_requires], {}, script[end_of_requires:]


def end_of_require(script: str, position: int) -> int:
    """Return the position after the line with the end of a `require` command; 0 if the command cannot be read.

    `position`: after the word `require`.
    """
    while match := TOKEN.match(script, position):
        position = match.end()
        if match[0] == ";":
            line = REST_OF_LINE.match(script, position)
            return line.end() if line else position
        if match.lastgroup not in IN_REQUIRE and match[0] not in "[],":
            return 0
    return 0


def split_at_block(script: str, position: int) -> tuple[str, dict, str]:
    """Split a script whose block begins at `position`. Return the same three values as `split`."""
    end = end_of_block(script, position)
    lines = script[position:end].split("\n")
    try:
        settings = json.loads(lines[1].removeprefix("# "))
    except (IndexError, ValueError, RecursionError):
        settings = None
    if not end or not are_settings(settings):
        raise ApiError("mailapi's lines in the filter script cannot be read: delete them from the script.")
    return script[:position], settings, script[end:]


def end_of_block(script: str, position: int) -> int:
    """Return the position after the comment that ends the block; 0 if there is none.

    `position`: where the block begins. The same text within a string does not count.
    """
    while match := TOKEN.match(script, position):
        position = match.end()
        if match.lastgroup == "comment" and match[0].strip() == END:
            return position
    return 0


def are_settings(value) -> bool:
    """Return whether a value from the block is a dictionary of known settings, with the right types.

    Users may have edited the block.
    """
    kinds = {
        "forward": (str, type(None)),
        "autoReply": (str, type(None)),
        "autoReplyEnabled": (int,),
        "autoReplyStart": (int, type(None)),
        "autoReplyEnd": (int, type(None)),
    }
    return isinstance(value, dict) and all(
        name in kinds
        and isinstance(entry, kinds[name])
        and (not isinstance(entry, int) or 0 <= entry < 2**31)
        for name, entry in value.items()
    )


def joined(before: str, settings: dict, after: str, addresses: list[str]) -> str:
    """Return a script: the text before the block, a block for the settings, and the text after it.

    `settings`: forward, autoReply, autoReplyEnabled, and autoReplyStart and autoReplyEnd in seconds since 1970; if
    forward and autoReply are empty, there is no block. `addresses`: the user's own; only mail to one of them gets the
    automatic reply.
    """
    if not settings.get("forward") and not settings.get("autoReply"):
        return before + after
    separator = "" if not before or before.endswith("\n") else "\r\n"
    lines = [BEGIN, f"# {json.dumps(settings)}", *commands(settings, addresses), END, ""]
    return before + separator + "\r\n".join(lines) + after


def commands(settings: dict, addresses: list[str]) -> list[str]:
    """Return the Sieve commands of the block, one in each line; [] without automatic reply and forwarding.

    `settings` and `addresses`: see `joined`.
    """
    forward, replies = settings.get("forward"), settings.get("autoReply") and settings.get("autoReplyEnabled")
    tests = date_tests(settings) if replies else []
    extensions = (
        (["copy"] if forward else [])
        + (["vacation"] if replies else [])
        + (["date", "relational"] if tests else [])
    )
    lines = [f"require [{listed(extensions)}];"] if extensions else []
    if replies:
        known = f" :addresses [{listed(addresses)}]" if addresses else ""
        vacation = f"vacation :days 1{known} {quoted(settings['autoReply'])};"
        lines += [f"if allof ({', '.join(tests)}) {{ {vacation} }}"] if tests else [vacation]
    return lines + ([f"redirect :copy {quoted(forward)};"] if forward else [])


def date_tests(settings: dict) -> list[str]:
    """Return Sieve tests (RFC 5260) that are true between the start and the end of the automatic reply.

    `settings`: has autoReplyStart and autoReplyEnd, in seconds since 1970. Returns [] if both are missing.
    """
    tests = []
    for name, comparison in (("autoReplyStart", "ge"), ("autoReplyEnd", "lt")):
        if settings.get(name) is not None:
            moment = datetime.fromtimestamp(settings[name], UTC).strftime("%Y-%m-%dT%H:%M:%S")
            tests.append(f'currentdate :zone "+0000" :value "{comparison}" "iso8601" "{moment}"')
    return tests or []


def listed(texts: list[str]) -> str:
    return ", ".join(map(quoted, texts))


def quoted(text: str) -> str:
    r"""Return a text as a quoted string of Sieve, in which `\` and `"` are escaped (RFC 5228 section 2.4.2)."""
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
