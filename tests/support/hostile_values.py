"""Hostile values for declared fields: long runs of digits, quotes, brackets, escapes, blanks and separators."""

import inspect
import json
from collections.abc import Callable, Iterator
from functools import partial

# As it stands in JSON between quotation marks, to be repeated.
UNITS = [
    "1",
    r"\"",
    "'",
    "(",
    ")",
    "[",
    "]",
    "{",
    "<",
    ">",
    r"\\",
    r"\n",
    r"\r\n",
    r"\t",
    r"\u0000",
    r"\ud800",
    r"\u00e9",
    "é",
    r"\u2028",
    "\U0001f600",
    " ",
    ",",
    ";",
    ":",
    "@",
    "%",
    "_",
    ".",
    "-",
    "/",
    "=",
    "=?",
    "=?a?q?b?=",
    "&#",
    "a@b,",
    r"\"\\\"@",
    r"(\\(",
    "<a>",
    "To: ",
    r"a\n b\n",
    "0",
    "x",
]
# Around them: what goes on for long may still be refused for its end.
ENDS = [("", ""), ("", "x"), ("1", ""), (".", "x"), ("a@", ""), ("From: ", r"\n"), ("", "=")]

# What the other fields have meanwhile, so that the one that is looked at is not refused for their sake.
USUAL = {
    "user_name": "ann",
    "username": "ann",
    "user_authdata": "secret",
    "user_alias": "bob",
    "user_permission": "delegate",
    "user_permissions": ["delegate"],
    "file": "user_name\nnew\n",
    "dry_run": 1,
    "address_expression": "bob@one.org",
    "address_order": 1,
    "address_old_order": 1,
    "address_router": "store",
    "address_route": "bob",
    "address_user": "bob",
    "address1": {"address_expression": "bob@one.org", "address_order": 1},
    "address2": {"address_expression": "ann@corp.org", "address_order": 2},
    "address_routing": "inrouter",
    "sender": "root@one.org",
    "recipient": "x@y.org",
    "recipients": ["x@y.org"],
    "smtpd_user": "ann",
    "smtpd_router": "any",
    "smtpd_route": "relay.org",
    "msa_user": "ann",
    "msa_inrouter": "store",
    "msa_inroute": "x",
    "msa_outrouter": "any",
    "msa_outroute": "x",
    "pop_user": "ann",
    "api_user": "dele",
    "api_delegate": "bob",
    "api_expression": "%@corp.org",
    "mail_id": 1,
    "mail_sourcedb": "master",
    "part": 1,
    "mail_only_unread": 0,
    "unread": 0,
    "next": "1 1 master",
    "subject": "Hello",
    "from": "root@one.org",
    "to": "x@y.org",
    "text": "Hello",
    "before": 10**10,
    "after": 0,
    "message": "From: root@one.org\nTo: x@y.org\nSubject: x\n\nHello\n",
    "attachments": [{"filename": "x", "data": "QUJD"}],
    "references": "<a@b>",
    "in_reply_to": "<a@b>",
    "token_name": "x",
    "token_id": 1,
    "token_modules": ["User"],
    "token_networks": ["127.0.0.1"],
    "encoding": None,
    "script_name": "x",
    "script": "keep;",
    "Active": 1,
    "provision": 0,
    "mail_state": "waiting",
}
ALONE = {"message"}  # where it is given, the parts of a mail must not be


def filled(unit: str, size: int, ends: tuple[str, str] = ("", "")) -> str:
    """Return a text of so many bytes, in JSON."""
    return ends[0] + unit * (size // len(unit.encode())) + ends[1]


def inner_fields(kind) -> list[str]:
    """Return the fields of a field that is an object."""
    nonlocals = inspect.getclosurevars(kind).nonlocals if inspect.isfunction(kind) else {}
    return list(nonlocals.get("kinds", ()))


def values(name: str, kind) -> Iterator[tuple[str, Callable[[int], str]]]:
    """Yield values for a field: the name of each, and a function that makes it so many bytes long, in JSON."""
    for unit in UNITS:
        for ends in ENDS:
            yield f"{ends[0]}{unit}…{ends[1]}", partial(text, unit, ends)
    usual = USUAL.get(name)
    if isinstance(usual, str) and " " in usual:
        words = json.dumps(usual)[1:-1].split(" ")
        for unit in ("1", ".", "x", r"\"", "-"):
            for place in range(len(words)):
                before = "".join(word + " " for word in words[:place])
                after = "".join(" " + word for word in words[place + 1 :])
                for end in ("", "x"):
                    yield f"{unit}…{end} as word {place}", partial(text, unit, (before, end + after))
    for unit in ("1", '"",', '"a@b"', "[]", "{}", "null"):
        yield f"a list of {unit}", partial(list_of, unit)
    yield "digits", lambda size: "1" * size
    yield "digits behind a point", lambda size: "0." + "1" * size
    yield "depth", lambda size: "[" * (size // 2) + "]" * (size // 2)
    yield "names", lambda size: "{" + ",".join(f'"{n}":1' for n in range(size // 12)) + "}"
    attached = name == "attachments"
    for each in ("filename", "content_type", "data") if attached else inner_fields(kind):
        start, end = ("[{", "}]") if attached else ("{", "}")
        rest = ',"data":""' if attached and each != "data" else ""
        for unit in UNITS:
            yield f"{each} {unit}…", partial(wrapped, f'{start}"{each}":', unit, rest + end)


def text(unit: str, ends: tuple[str, str], size: int) -> str:
    """Return a text of so many bytes between its ends, in JSON with its quotation marks."""
    return f'"{filled(unit, size, ends)}"'


def wrapped(before: str, unit: str, after: str, size: int) -> str:
    """Return a text of so many bytes as a part of a JSON value."""
    return before + text(unit, ("", ""), size) + after


def list_of(unit: str, size: int) -> str:
    """Return a JSON list of so many bytes."""
    return "[" + ",".join([unit.rstrip(",")] * (size // (len(unit) + 1))) + "]"
