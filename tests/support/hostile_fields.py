"""Sends hostile text into every declared field of every action, as a program in tests/.

`python -m support.hostile_fields FOLDER PART`, where PART is one of these:

- counts: the steps of regular expressions for short texts, and for ones four times as long;
- limits: texts as long as the body limit, and a fourth of that: all are answered, in bounded memory; calls are counted;
- memory: what the largest bodies take.
Standard output has what is under way, a line each, so that whoever waits sees what does not end; the last line is a
JSON object.
"""

import contextlib
import itertools
import json
import os
import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import mailapi
from support import regex_uses
from support.hostile_target import Target
from support.hostile_values import filled, inner_fields, values
from support.regex_steps import Counter

MB = 1024 * 1024


OWN_MODULES = [
    regex_uses.module_of(file) for file in regex_uses.FILES if not file.stem.startswith("command_")
]
CREDENTIALS = ("", "login", None, "auth", mailapi.AUTH["auth"], False)  # of every action


@contextlib.contextmanager
def calls_counted() -> Iterator[list[int]]:
    """Count how many functions are called, those of C, too."""
    counted = [0]

    def count(frame, event, argument):
        counted[0] += event != "return" and event != "c_return"

    sys.setprofile(count)
    try:
        yield counted
    finally:
        sys.setprofile(None)


def reading(counter: Counter, kind, value) -> int:
    """Return the steps of regular expressions with which a field is read."""
    before = counter.steps
    with contextlib.suppress(ValueError, mailapi.ApiError):
        kind(value)
    return counter.steps - before


def grows(few: int, many: int) -> bool:
    """Tell whether four times as much took more than in proportion."""
    return many > 5 * few + 2000


def counts(target: Target) -> dict:
    """Read each kind of field from short texts and from ones four times as long."""
    slow, kinds, done = [], {}, 0
    for path, action, _, name, kind, _ in [CREDENTIALS, *target.fields()]:
        kinds.setdefault(
            (
                kind,
                name
                if kind is not mailapi.php_text and inner_fields(kind) or name in ("next", "attachments")
                else "",
            ),
            (f"{path}/?{action}", name),
        )
    for (kind, _), (where, name) in kinds.items():
        print(where, name, flush=True)
        with Counter(OWN_MODULES) as counter:
            for what, make in values(name, kind):
                with contextlib.suppress(ValueError, RecursionError):
                    few, many = json.loads(make(60)), json.loads(make(240))
                    pair = reading(counter, kind, few), reading(counter, kind, many)
                    done += 1
                    if grows(*pair):
                        slow.append([where, name, what, *pair])
    return {"slow": slow, "done": done}


def limits(target: Target) -> dict:
    """Send bodies as long as an action takes, and ones a fourth of that, into each field in turn."""
    slow, failed, done, turn = [], [], 0, 0
    for path, action, endpoint, name, kind, in_query in [CREDENTIALS, *target.fields()]:
        print(f"{path}/?{action}", name, flush=True)
        limit = 24 * 1024 if in_query else target.app.config.max_body - 2000
        for cookie in (None, target.cookie):
            choice = [*values(name, kind)]
            for part in range(5):  # some of each kind of them, in the next field others
                number = (7 * turn + part * len(choice) // 5) % len(choice)
                spent = []
                for size in (limit // 4, limit):
                    value = choice[number][1](size)
                    done += 1
                    with calls_counted() as calls:
                        status = attempt(target, path, action, endpoint, name, value, in_query, cookie)
                    spent.append(calls[0])
                    if status >= 500 and status != 503:
                        failed.append([f"{path}/?{action}", name, choice[number][0], size, status])
                if grows(*spent):
                    slow.append([f"{path}/?{action}", name, choice[number][0], *spent])
            turn += 1
            target.restore()
    logged_in = json.loads(target.send("", "login", b"{}", target.cookie)[2])[
        "login"
    ]  # and was so all the time
    return {"slow": slow, "failed": failed, "done": done, "logged_in": logged_in}


def attempt(
    target: Target, path: str, action: str, endpoint, name: str, value: str, in_query: bool, cookie
) -> int:
    """Send one value in one field; return the HTTP status."""
    if endpoint is None:
        return target.send("", action, f'{{"{name}": {value}}}'.encode(), cookie)[0]
    if not in_query:
        return target.send(path, action, target.body(endpoint, name, value), cookie)[0]
    try:
        given = str(json.loads(value))
    except (ValueError, RecursionError):
        given = value
    quoted = given.encode(errors="replace").decode("latin-1").replace("&", "%26").replace("#", "%23")
    return target.send(path, f"{action}&{name}={quoted}", b"", cookie)[0]


def resident(what: str = "VmRSS") -> int:
    """Return the bytes of this process in memory, or with VmHWM the most that there were."""
    return int(re.search(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024


LARGE = {  # action, field and what is in it
    "message of line ends": ("mailbox", "send", "message", r"\n"),
    "message of quotes": ("mailbox", "send", "message", r"\""),
    "text of line ends": ("mailbox", "send", "text", r"\n"),
    "text of escaped letters": ("mailbox", "send", "text", r"\u4e00"),
    "text with one wide letter": ("mailbox", "send", "text", "x"),
    "HTML of quotes": ("mailbox", "send", "html", r"\""),
    "attachment of line ends": ("mailbox", "send", "attachments", r"\n"),
    "many attachments": ("mailbox", "send", "attachments", "{}"),
    "recipients": ("mailbox", "send", "to", r"\""),
    "message to hand over": ("services", "send", "message", r"\n"),
    "message to scan": ("services", "scan", "message", r"\u00e9"),
    "file of users": ("users", "import", "file", r"\n"),
    "plain message": ("mailbox", "send", "message", "x"),
}


def memory(target: Target) -> dict:
    """Measure each of LARGE in a process of its own, for a caller who is logged in and for one who is not."""
    found = {}
    for what, cookie in itertools.product(LARGE, (target.cookie, None)):
        print(what, "logged in" if cookie else "", flush=True)
        read, write = os.pipe()
        if not (child := os.fork()):
            os.close(read)
            with open(write, "w") as pipe:
                json.dump(large(target, what, cookie), pipe)
            os._exit(0)
        os.close(write)
        with open(read) as pipe:
            answer = pipe.read()
        os.waitpid(child, 0)
        found[what + (", logged in" if cookie else "")] = json.loads(answer or "null")
    return found


def large(target: Target, what: str, cookie: str | None) -> dict:
    """Send one body that is as long as the action takes; return how much memory that takes."""
    path, action, name, unit = LARGE[what]
    endpoint = target.app.modules[path].endpoints[action]
    limit = endpoint.max_body
    size = (getattr(target.app.config, limit) if isinstance(limit, str) else limit) - 2000
    value = f'"{filled(unit, size)}"'
    if what == "text with one wide letter":
        value = f'"{"x" * size}\\ud83d\\ude00"'
    elif what == "many attachments":
        value = "[" + ",".join(['{"data":""}'] * (size // 12)) + "]"
    elif name == "attachments":
        value = f'[{{"data": {value}}}]'
    body = target.body(endpoint, name, value)
    del value
    target.send(path, action, b'{"x": 1}', target.cookie)  # what is loaded at the first use
    before = resident()
    status, _, answer = target.send(path, action, body, cookie)
    return {
        "body": len(body),
        "taken": resident("VmHWM") - before,
        "status": status,
        "answer": answer[:100].decode(),
    }


def main():
    """Run one part and print what was found, in JSON."""
    folder, part = sys.argv[1:]
    most = 4096 if part == "memory" else 1024  # MB; the former are to be measured
    resource.setrlimit(resource.RLIMIT_AS, (most * MB, resource.RLIM_INFINITY))
    print(json.dumps({"counts": counts, "limits": limits, "memory": memory}[part](Target(Path(folder)))))


if __name__ == "__main__":
    main()
