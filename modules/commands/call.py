"""Call any action of any module, with the rights of whoever can read the database file.

Fields are field=value. field=- reads the value without echo, and so does the name alone of a field for a secret; a
required secret that is not given is asked for. Lists are JSON or separated by commas, objects are JSON, a file is
named by its path (- is standard input). On a terminal the command prints tables, otherwise JSON; of an action that
answers a file it writes the bytes.
"""

import getpass
import json
import os
import sys
from pathlib import Path

import mailapi

from ..http.event import Event
from .progress import TerminalLine


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
    endpoint = module.choose({args.action: ""})
    if endpoint is None:
        actions = ", ".join(module.endpoints)
        raise mailapi.ApiError(f"Unknown action {args.action}. {args.module} has: {actions}.")
    call = make_call(app, generation, endpoint, args)
    if endpoint.download and sys.stdout.isatty():
        raise mailapi.ApiError("A file is not for the terminal: redirect it, > FILE.")
    call.report_progress = line = TerminalLine()
    answer, content, audit = perform(app, call, module, endpoint)
    line("")
    notify(app, call, module, endpoint, audit)
    if content is not None:
        sys.stdout.buffer.write(content)
        return 0
    print_answer(answer, sys.stdout.isatty() and not args.json)
    return 0 if answer["status"] in ("ok", "warning") else 1


def make_call(
    app: mailapi.Application, generation: mailapi.Generation, endpoint: mailapi.Endpoint, args
) -> mailapi.Call:
    """Return the call of an action from the command line's arguments: its fields, and the user of --as if given."""
    fields = dict(read_field(argument, endpoint, generation) for argument in args.fields)
    fields |= ask_for_secrets(endpoint, generation, fields)
    mailapi.refuse_forbidden_text(fields)
    call = mailapi.Call(app, generation, *endpoint.read(generation, fields, fields))
    call.warns = True
    name = args.user_name
    call.user_name, call.external_user = name, app.external_credentials(name) if name else None
    user = name is None or app.credentials(name)
    if not user or user is not True and user["user_name"] != name:
        raise mailapi.ApiError(f"There is no user {name}.")
    return call


def perform(
    app: mailapi.Application, call: mailapi.Call, module: mailapi.Module, endpoint: mailapi.Endpoint
) -> tuple[dict, bytes | None, str]:
    """Run the action. Return its answer, the bytes of the file that it returns or None, and the audit's status."""
    try:
        result = app.perform(call, module, endpoint)
    except mailapi.ApiError as refused:
        return {"status": refused.status} | refused.answer, None, refused.audit
    except mailapi.peewee.PeeweeException as error:
        problem = mailapi.refusal(error)
        return {"status": problem.status}, None, problem.audit
    if mailapi.is_url(app.config.state) or os.path.exists(app.config.state):  # else there are no sessions
        app.end_sessions(call)
    if isinstance(result, mailapi.File):
        return {"status": "ok"}, result.content, "ok"
    answer = {"status": "ok"} | result
    return answer, None, answer["status"]


def notify(
    app: mailapi.Application,
    call: mailapi.Call,
    module: mailapi.Module,
    endpoint: mailapi.Endpoint,
    status: str,
):
    """Report a change to the modules' on_request, as the audit needs it; without --as under the system user's name."""
    event = Event(module.path, status, 200, "", "local")
    event.describe(call, endpoint)
    event.user_name = event.user_name or f"local:{getpass.getuser()}"
    if event.changes:
        app.notify("on_request", event)


def read_field(
    argument: str, endpoint: mailapi.Endpoint, generation: mailapi.Generation
) -> tuple[str, object]:
    """Return the field's name and value from the argument FIELD=VALUE; a secret's value may be asked for.

    The value is as a client would send it, for example a list for a field of the type list_of_text.
    """
    name, equals, value = argument.partition("=")
    name = mailapi.canonical(name)
    kinds = endpoint.fields(generation) | endpoint.query
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
    """Ask for a secret at the terminal without echo; without a terminal, read a line of standard input."""
    return getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


def ask_for_secrets(endpoint: mailapi.Endpoint, generation: mailapi.Generation, fields: dict) -> dict:
    """Ask at the terminal for required secrets that `fields` lacks. Return {name: secret}; {} without a terminal."""
    missing = (
        [
            name
            for name in endpoint.needed(generation)
            if endpoint.optional.get(name) is mailapi.secret and name not in fields
        ]
        if sys.stdin.isatty()
        else []
    )
    return {name: read_secret(name) for name in missing}


def read_document(path: str) -> str:
    """Return the text of a file, or of standard input if the path is "-"; ApiError unless it is UTF-8."""
    try:
        return (sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise mailapi.ApiError(f"{path} is not text in UTF-8.") from None


def print_answer(answer: dict, as_table: bool):
    """Print an answer's lists as tables and its other members below.

    Print JSON if the answer contains objects, or if `as_table` is false.
    """
    lists = [value for value in answer.values() if isinstance(value, list)]
    if not as_table or any(isinstance(value, dict) for value in answer.values()):
        print(json.dumps(answer, ensure_ascii=sys.stdout.isatty(), indent=2, default=mailapi.readable))
        return
    for rows in lists:
        print_table([row if isinstance(row, dict) else {"": row} for row in rows])
    for name, value in answer.items():
        if not isinstance(value, list) and (name != "status" or value != "ok" or len(answer) == 1):
            print(mailapi.printable(value if name == "status" else f"{name}: {value}"))


def print_table(rows: list[dict]):
    """Print rows in columns, with the keys of the dictionaries as headings. Control characters are replaced."""
    if not rows:
        return print("(none)")
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names] + [[cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    return None


def cell(value) -> str:
    """Return a value as one line of text; for a list of objects, their values separated by commas."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ", ".join(
            mailapi.printable([part for part in row.values() if part is not None]) for row in value
        )
    return mailapi.printable(value)
