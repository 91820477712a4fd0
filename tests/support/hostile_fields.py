"""Sends hostile text into every declared field of every action, as a program: `python -m support.hostile_fields FOLDER PART` in tests/.

PART is one of these:
- counts: the steps of regular expressions for short texts, and for ones four times as long;
- limits: texts as long as the body limit, and a fourth of that: all are answered, in bounded memory; calls are counted;
- memory: what the largest bodies take.
Standard output has what is under way, a line each, so that whoever waits sees what does not end; the last line is a
JSON object.
"""

import contextlib
import inspect
import io
import itertools
import json
import os
import re
import resource
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import mailapi
from support import regex_uses
from support.regex_steps import Counter
from support.site import OPTIONAL, Site, authdata

MB = 1024 * 1024

########## What is sent #############################################################################

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


def values(name: str, kind, size: int) -> Iterator[tuple[str, str]]:
    """Yield values for a field, in JSON, each with its name."""
    usual = USUAL.get(name)
    for unit in UNITS:
        for ends in ENDS:
            yield f"{ends[0]}{unit}…{ends[1]}", f'"{filled(unit, size, ends)}"'
    if isinstance(usual, str) and " " in usual:
        words = json.dumps(usual)[1:-1].split(" ")
        for unit in ("1", ".", "x", r"\"", "-"):
            for place in range(len(words)):
                for end in ("", "x"):
                    text = " ".join([*words[:place], filled(unit, size) + end, *words[place + 1 :]])
                    yield f"{unit}…{end} as word {place}", f'"{text}"'
    for unit in ("1", '"",', '"a@b"', "[]", "{}", "null"):
        yield f"a list of {unit}", "[" + ",".join([unit.rstrip(",")] * (size // (len(unit) + 1))) + "]"
    yield "digits", "1" * size
    yield "digits behind a point", "0." + "1" * size
    yield "depth", "[" * (size // 2) + "]" * (size // 2)
    yield "names", "{" + ",".join(f'"{n}":1' for n in range(size // 12)) + "}"
    inner = {"attachments": ["filename", "content_type", "data"]}.get(name) or inner_fields(kind)
    for each in inner:
        for unit in UNITS:
            rest = "" if each == "data" else ',"data":""'
            value = f'{{"{each}":"{filled(unit, size)}"{rest if name == "attachments" else ""}}}'
            yield f"{each} {unit}…", f"[{value}]" if name == "attachments" else value


########## Whom it is sent to #######################################################################


def closed_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


class Target(Site):
    """A site with all modules, whose services are not there."""

    def __init__(self, folder: Path, generation: int = 9, **config):
        port = closed_port()
        services = {
            "smtp": f"smtp://127.0.0.1:{port}",
            "imap": f"imap://127.0.0.1:{port}",
            "pop": f"pop3://127.0.0.1:{port}",
            "dav": f"http://127.0.0.1:{port}",
            "antispam": f"spamd://127.0.0.1:{port}",
            "antivirus": f"clamd://127.0.0.1:{port}",
            "managesieve": f"sieve://127.0.0.1:{port}",
        }
        more = OPTIONAL | ({"MSA": "modules/msa.py"} if generation == 9 else {})
        super().__init__(folder, generation, more, free_attempts=10**9, services=services, **config)
        stores = (
            "address_user) VALUES (?"
            if generation == 8
            else "address_router, address_route) VALUES (?, 'store'"
        )
        for address in ("bob@one.org bob", "ann@corp.org ann", "root@one.org root"):
            self.sql(f"INSERT INTO addresses (address_expression, {stores}, ?)", *address.split())
        self.sql(
            "INSERT INTO msa (msa_user, msa_outrouter) VALUES ('root', 'any')"
            if generation == 8
            else "INSERT INTO smtpd (smtpd_user, smtpd_router) VALUES ('root', 'any')"
        )
        self.sql("INSERT INTO users (user_name, user_authdata) VALUES ('zoe', ?)", authdata("pw"))
        self.sql(
            "INSERT INTO mailbox (mail_id, mail_user, mail_envelopeto, mail_envelopefrom, mail_data, mail_submission,"
            " mail_submitter, mail_proto) VALUES (1, 'root', 'root@one.org', 'x@y.org', ?, '1', NULL, 'smtp')",
            "Subject: Hello\r\nFrom: x@y.org\r\n\r\nHello\r\n",
        )
        self.pristine = self.dbpath.read_bytes()
        self.cookie = self.log_in()

    def log_in(self) -> str:
        """Log in as root; return the Cookie header."""
        _, headers, answer = self.send("", "login", b'{"auth": {"user_name": "root", "password": "pw"}}')
        assert json.loads(answer)["login"], answer
        return dict(headers)["Set-Cookie"].split(";")[0]

    def send(self, path: str, query: str, body: bytes, cookie: str | None = None) -> tuple[int, list, bytes]:
        """Send a request as a WSGI server does; return status, headers and body of the answer."""
        environ = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": f"/{path}/" if path else "/",
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "localhost",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if cookie:
            environ["HTTP_COOKIE"] = cookie
        seen = []
        answer = self.app(environ, lambda status, headers, exc_info=None: seen.append((status, headers)))
        whole = b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
        ((status, headers),) = seen
        return int(status[:3]), headers, whole

    def restore(self):
        """Put the master database back as it was: what was written would make later requests slower."""
        if self.dbpath.read_bytes() != self.pristine:
            other = self.dbpath.with_suffix(".new")
            other.write_bytes(self.pristine)
            other.replace(self.dbpath)

    def fields(self) -> list[tuple]:
        """Return path, action, endpoint, name and kind of every declared field, and whether it is one of the query."""
        generation = mailapi.GENERATIONS[self.generation]
        found = []
        for path, module in self.app.modules.items():
            for action, endpoint in module.endpoints.items() if self.generation in module.generations else ():
                found += [
                    (path, action, endpoint, name, kind, False)
                    for name, kind in endpoint.fields(generation).items()
                ]
                found += [(path, action, endpoint, name, kind, True) for name, kind in endpoint.query.items()]
        return found

    def body(self, endpoint, name: str, value: str) -> bytes:
        """Return the body of an action: its usual fields, and one field with the value, which is in JSON."""
        usual = {
            other: USUAL[other]
            for other in endpoint.fields(mailapi.GENERATIONS[self.generation])
            if other in USUAL and other != name and not (other in ALONE and "subject" in endpoint.optional)
        }
        if name in ALONE and "subject" in endpoint.optional:
            usual = {}
        return (
            b"{"
            + b"".join(f"{json.dumps(key)}: {json.dumps(each)}, ".encode() for key, each in usual.items())
            + (f'"{name}": {value}}}').encode()
        )


OWN_MODULES = [
    regex_uses.module_of(file) for file in regex_uses.FILES if not file.stem.startswith("command_")
]
AUTH = mailapi.object_of(
    user_name=mailapi.php_text, password=mailapi.raw_text
)  # as mailapi.read_auth reads it
CREDENTIALS = ("", "login", None, "auth", AUTH, False)  # of every action


########## What is counted ##########################################################################


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
            for (what, few), (_, many) in zip(values(name, kind, 60), values(name, kind, 240)):
                with contextlib.suppress(ValueError, RecursionError):
                    pair = reading(counter, kind, json.loads(few)), reading(counter, kind, json.loads(many))
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
            choice = [*values(name, kind, 10)]
            for part in range(5):  # some of each kind of them, in the next field others
                number = (7 * turn + part * len(choice) // 5) % len(choice)
                spent = []
                for size in (limit // 4, limit):
                    value = next(v for n, (_, v) in enumerate(values(name, kind, size)) if n == number)
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


########## Memory ###################################################################################


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


########## The program ##############################################################################


def main():
    """Run one part and print what was found, in JSON."""
    folder, part = sys.argv[1:]
    most = 4096 if part == "memory" else 1024  # MB; the former are to be measured
    resource.setrlimit(resource.RLIMIT_AS, (most * MB, resource.RLIM_INFINITY))
    print(json.dumps({"counts": counts, "limits": limits, "memory": memory}[part](Target(Path(folder)))))


if __name__ == "__main__":
    main()
