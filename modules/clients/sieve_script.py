"""Reads and writes mailapi's own lines in a user's Sieve script (RFC 5228): an automatic reply, and forwarding.

These lines are called the block. The block begins and ends with a comment. Another comment in the block has the
settings as JSON. All other lines of the script stay as they are.
"""

import json
import re
from datetime import UTC, datetime

from mailapi import ApiError

BEGIN = "# mailapi settings: accounts/?update writes the lines from here to the end mark."
END = "# mailapi settings end"
# An unclosed string or comment ends with the script, so that no part of the script is read twice.
TOKEN = re.compile(
    r"""
    (?P<blank>[ \t\r\n]+)
  | (?P<comment>\#[^\n]*\n?|/\*(?>.*?\*/|.*\Z))
  | (?P<string>"(?>(?:[^"\\]|\\.)*)"?)
  | (?P<word>[A-Za-z_]+)
  | (?P<sign>.)
""",
    re.VERBOSE | re.DOTALL,
)
REST_OF_LINE = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z)")
IN_REQUIRE = ("blank", "comment", "string")


def split(script: str) -> tuple[str, dict, str]:
    """Split a Sieve script into the text before mailapi's own lines, the settings in them, and the text after them.

    For example ("…", {"forward": "bob@example.com"}, "…"). If there are no such lines, the settings are {}, and the
    script is split where the lines belong. ApiError if the lines have no end, or if the settings cannot be read.
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
    """Return the index in a Sieve script after a `require` command and the rest of its line; 0 if it is invalid.

    `position`: the index after the word `require`. The rest of the line is included if it is blanks and a comment.
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
    """Split a Sieve script in which mailapi's own lines begin at the index `position`.

    Return the text before these lines, the settings in them, such as {"forward": "bob@example.com"}, and the text
    after them. ApiError if the lines have no end, or if the settings cannot be read.
    """
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
    """Return the index in a Sieve script after the comment that ends mailapi's own lines; 0 if there is none.

    `position`: the index at which these lines begin.
    """
    while match := TOKEN.match(script, position):
        position = match.end()
        if match.lastgroup == "comment" and match[0].strip() == END:
            return position
    return 0


def are_settings(value) -> bool:
    """Return whether a value read from a Sieve script is a dictionary of known settings, each of the right type."""
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
    """Return a Sieve script: the text before mailapi's own lines, new lines for `settings`, and the text after them.

    `settings`: such as {"forward": "bob@example.com"}. The other keys are autoReply, autoReplyEnabled, autoReplyStart
    and autoReplyEnd; the last two are seconds since 1970. If forward and autoReply are empty, no new lines are added.
    `addresses`: the user's own addresses. Only mail to one of them gets the automatic reply.
    """
    if not settings.get("forward") and not settings.get("autoReply"):
        return before + after
    separator = "" if not before or before.endswith("\n") else "\r\n"
    lines = [BEGIN, f"# {json.dumps(settings)}", *commands(settings, addresses), END, ""]
    return before + separator + "\r\n".join(lines) + after


def commands(settings: dict, addresses: list[str]) -> list[str]:
    """Return the Sieve commands for `settings`, as a list of lines. Return [] if there is no reply and no forwarding.

    `settings` and `addresses`: as in `joined`.
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
    """Return a list of Sieve tests (RFC 5260) that are true from autoReplyStart until autoReplyEnd.

    `settings`: has these two keys, in seconds since 1970. Returns [] if both are missing or None.
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
