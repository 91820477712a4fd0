"""Call any action of any module, with the rights of whoever can read the database file.

Fields are field=value; field=- reads a secret without echo, and so does the name alone of a field for secrets. One
that is needed and not given is asked for. Lists are separated by commas or JSON, objects
are JSON, a file is named by its path (- is standard input). Prints a table on a terminal, JSON otherwise; an
action that answers a file writes its bytes.
"""

import getpass
import json
import os
import sys
from pathlib import Path

import mailapi


def options(parser):
    parser.add_argument("--as", dest="user_name", metavar="USER", help="act as this user, with their rights")
    parser.add_argument("--json", action="store_true", help="print JSON on a terminal, too")
    parser.add_argument(
        "module", metavar="MODULE", help="a module's URL path, such as users; / for the API itself"
    )
    parser.add_argument("action", metavar="ACTION", help="an action, such as get or set_password")
    parser.add_argument("fields", nargs="*", metavar="FIELD=VALUE")


def run(args):
    app = mailapi.create_app(args.config)
    generation = app.generation()
    module = app.module(args.module.strip("/"), generation)
    chosen = module.choose({args.action: ""})
    if chosen is None:
        known = ", ".join(module.endpoints)
        raise mailapi.ApiError(f"Unknown action {args.action}. {args.module} has: {known}.")
    given = dict(field(argument, chosen, generation) for argument in args.fields)
    given |= ask_for_secrets(chosen, generation, given)
    mailapi.refuse_forbidden_text(given)
    call = mailapi.Call(app, generation, *chosen.read(generation, given, given))
    call.user_name, call.external_user = (
        args.user_name,
        app.external_credentials(args.user_name) if args.user_name else None,
    )
    call.report_progress = Progress()
    user = args.user_name is None or app.credentials(args.user_name)
    if not user or user is not True and user["user_name"] != args.user_name:
        raise mailapi.ApiError(f"There is no user {args.user_name}.")
    if chosen.download and sys.stdout.isatty():
        raise mailapi.ApiError("A file is not for the terminal: redirect it, > FILE.")
    audit = ""
    try:
        added = app.perform(call, module, chosen)
        answer = {"status": "ok"} | ({} if chosen.download else added)
    except mailapi.ApiError as refused:
        answer, audit = {"status": refused.status} | refused.answer, refused.audit
    except mailapi.peewee.PeeweeException as error:
        answer = {"status": mailapi.refusal(error).status}
    else:
        if mailapi.is_url(app.config.state) or os.path.exists(
            app.config.state
        ):  # without it nobody is logged in
            app.end_sessions(call)
    call.report_progress("")
    event = mailapi.Event(module.path, audit or answer["status"], 200, "", "local")
    event.describe(call, chosen)
    event.user_name = event.user_name or f"local:{getpass.getuser()}"
    if event.changes:
        app.notify(lambda watcher: watcher.on_request(event))
    if chosen.download and answer["status"] == "ok":
        sys.stdout.buffer.write(added.content)
        return 0
    show(answer, sys.stdout.isatty() and not args.json)
    return 0 if answer["status"] in ("ok", "warning") else 1


class Progress:
    """On a terminal, how far a long action is, in a line that "" frees for the answer."""

    shown = ""

    def __call__(self, sentence: str):
        if sys.stderr.isatty() and sentence != self.shown:
            print(f"\r{sentence}\033[K", end="", file=sys.stderr, flush=True)
            self.shown = sentence


def field(argument: str, chosen: mailapi.Endpoint, generation: mailapi.Generation) -> tuple[str, object]:
    """A field's name and its value as a client would have sent it."""
    name, equals, value = argument.partition("=")
    name = mailapi.canonical(name)
    kinds = chosen.fields(generation) | chosen.query
    if not equals and kinds.get(name) is mailapi.secret:
        return name, read_secret(name)
    if not equals or name not in kinds:
        raise mailapi.ApiError(f"{argument}: give FIELD=VALUE; the fields are {', '.join(kinds) or 'none'}.")
    if kinds[name] is mailapi.file_content:
        return name, read_document(value)
    if value == "-":
        return name, read_secret(name)
    if value[:1] in ("{", "[") and kinds[name] not in (
        mailapi.php_text,
        mailapi.raw_text,
        mailapi.secret,
        mailapi.long_text,
    ):
        return name, json.loads(value)
    if kinds[name] is mailapi.list_of_text:
        return name, [entry for entry in value.split(",") if entry]
    return name, value


def read_secret(name: str) -> str:
    return getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


def ask_for_secrets(chosen: mailapi.Endpoint, generation: mailapi.Generation, given: dict) -> dict:
    """The secrets that the action needs and nobody has given, from whoever sits at the terminal."""
    missing = (
        [
            name
            for name in chosen.needed(generation)
            if chosen.optional.get(name) is mailapi.secret and name not in given
        ]
        if sys.stdin.isatty()
        else []
    )
    return {name: read_secret(name) for name in missing}


def read_document(path: str) -> str:
    try:
        return (sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise mailapi.ApiError(f"{path} is not text in UTF-8.") from None


def show(answer: dict, as_table: bool):
    lists = [value for value in answer.values() if isinstance(value, list)]
    if not as_table or any(isinstance(value, dict) for value in answer.values()):
        print(json.dumps(answer, ensure_ascii=sys.stdout.isatty(), indent=2, default=mailapi.readable))
        return
    for rows in lists:
        table([row if isinstance(row, dict) else {"": row} for row in rows])
    for name, value in answer.items():
        if not isinstance(value, list) and (name != "status" or value != "ok" or len(answer) == 1):
            print(mailapi.printable(value if name == "status" else f"{name}: {value}"))


def table(rows: list[dict]):
    """The rows in columns; nothing in a cell can move the cursor."""
    if not rows:
        return print("(none)")
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names] + [[cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    return None


def cell(value) -> str:
    """A value on one line; a list of rows as what they have in them, one after the other."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ", ".join(
            mailapi.printable([part for part in row.values() if part is not None]) for row in value
        )
    return mailapi.printable(value)
