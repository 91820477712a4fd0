"""Run an action of any module, with all rights or with those of a user (--as).

Without a module, list the modules. Without an action, list the module's actions. MODULE ACTION --help shows the fields
of an action, MODULE --help the module's actions.

Fields are given as field=value. A list is written as JSON or separated by commas, and an object as JSON. For a file,
the value is its path, or - for standard input. field=- asks for the value on the terminal without showing it. The name
of a secret field alone does the same. A required secret that is missing is asked for, too.

The answer is printed as tables on a terminal, otherwise as JSON. If the action returns a file, its bytes are written.
"""

import getpass
import json
import os
import pwd
import sys
from collections.abc import Callable
from pathlib import Path

import mailapi

from ..http.event import SUCCESSFUL, Event
from ..openapi.schemas import schema_of
from .call_help import describe_action, expected, list_actions, list_modules, suggestion
from .check_report import name_of
from .package_files import installed_modules
from .progress import TerminalLine
from .table import print_answer


def options(parser):
    parser.add_argument("-h", "--help", action="store_true", help="show this, or an action's fields")
    parser.add_argument("--as", dest="user_name", metavar="USER", help="act as this user, with their rights")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON even on a terminal")
    form.add_argument("--table", action="store_true", help="print tables even without a terminal")
    parser.add_argument("--limit", type=int, metavar="N", help="list at most N entries")
    parser.add_argument(
        "--after",
        metavar="KEY",
        help="list the entries after this one, such as the last one of the page before",
    )
    parser.add_argument("words", nargs="*", metavar="MODULE ACTION FIELD=VALUE")
    parser.set_defaults(print_help=parser.print_help)


def run(args):
    if args.help and not args.words:
        return args.print_help()
    app = mailapi.create_app(args.config)
    generation = app.generation()
    if not args.words:
        return list_modules(app, generation)
    module = find_module(app, generation, args.words[0])
    if len(args.words) == 1:
        return list_actions(module)
    endpoint = find_action(module, args.words[1])
    if args.help:
        return describe_action(module, endpoint, generation)
    return call_action(app, generation, module, endpoint, args)


def find_module(app: mailapi.Application, generation: mailapi.Generation, word: str) -> mailapi.Module:
    """Return the module at the URL path `word`, such as "users". If there is none, ApiError suggests another path."""
    try:
        return app.module(word.strip("/"), generation)
    except mailapi.ApiError as unknown:
        if unknown.http != 404:
            raise
        if f"modules/{word.strip('/')}.py" in installed_modules().values():
            hint = f"modulelist in config.py lacks it, or it is not for generation {generation.number}. "
        else:
            paths = [path for path, module in app.modules.items() if generation.number in module.generations]
            hint = suggestion(word.strip("/"), paths)
        raise mailapi.ApiError(f"{unknown.status} {hint}`mailapi call` lists the modules.") from None


def find_action(module: mailapi.Module, word: str) -> mailapi.Endpoint:
    """Return the action of a module with the name `word`. If there is none, ApiError suggests a similar name."""
    if endpoint := module.choose({word: ""}):
        return endpoint
    path, hint = module.path or "/", suggestion(word, module.endpoints)
    raise mailapi.ApiError(f"Unknown action {word}. {hint}`mailapi call {path}` lists the actions of {path}.")


def call_action(
    app: mailapi.Application,
    generation: mailapi.Generation,
    module: mailapi.Module,
    endpoint: mailapi.Endpoint,
    args,
) -> int:
    """Run an action, print its answer, and return the exit status. `args` are the arguments of the command line."""
    call = make_call(app, generation, module, endpoint, args)
    if endpoint.download and sys.stdout.isatty():
        raise mailapi.ApiError("A file is not for the terminal: redirect it, > FILE.")
    call.report_progress = line = TerminalLine()
    answer, content, audit = perform(app, call, module, endpoint)
    line("")
    notify(app, call, module, endpoint, audit)
    if content is not None:
        sys.stdout.buffer.write(content)
        return 0
    answer = mailapi.shorten(answer, call.limit) if call.limit else answer
    print_answer(answer, args.table or sys.stdout.isatty() and not args.json)
    return 0 if answer["status"] in SUCCESSFUL else 1


def make_call(
    app: mailapi.Application,
    generation: mailapi.Generation,
    module: mailapi.Module,
    endpoint: mailapi.Endpoint,
    args,
) -> mailapi.Call:
    """Return a call of an action with the fields in the command line's arguments. Ask for missing secrets.

    With --as, that user is the caller. ApiError if there is no such user, or if a field is invalid.
    """
    if args.limit is not None and args.limit < 1:
        raise mailapi.ApiError("--limit must be at least 1.")
    fields = dict(read_field(argument, endpoint, generation) for argument in args.words[2:])
    if args.after is not None:
        if "after" not in endpoint.query:
            raise mailapi.ApiError(f"{endpoint.name} has no pages: leave out --after.")
        fields["after"] = args.after
    fields |= ask_for_secrets(endpoint, generation, fields)
    mailapi.refuse_forbidden_text(fields)
    try:
        call = mailapi.Call(app, generation, *endpoint.read(generation, fields, fields), args.limit)
    except mailapi.ApiError as wrong:
        kind = (endpoint.fields(generation) | endpoint.query).get(wrong.field)
        values = f" {expected(module, endpoint, wrong.field, kind)}" if kind else ""
        raise mailapi.ApiError(wrong.status + values) from None
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
    """Run an action. Return the answer, the bytes of a download (or None), and the audit's outcome, such as "ok".

    If the action raises ApiError, the answer has the message: {"status": "There is no user ann."}.
    """
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
    """Report the call of an action to the modules if it is a change, so that the audit records it.

    `status` is the outcome. Without the option --as, the user in the record is the system's, such as local:root.
    """
    event = Event(module.path, status, 200, "", "local")
    event.describe(call, endpoint)
    event.user_name = event.user_name or f"local:{name_of(pwd.getpwuid, os.getuid())}"
    if event.changes:
        app.notify("on_request", event)


def read_field(
    argument: str, endpoint: mailapi.Endpoint, generation: mailapi.Generation
) -> tuple[str, object]:
    """Convert an argument FIELD=VALUE to (name, value). Ask on the terminal if VALUE is "-", or if a secret has none.

    Values have the form in which clients send them, such as a list for several texts. ApiError if the field is
    unknown.
    """
    name, equals, value = argument.partition("=")
    name = mailapi.canonical(name)
    kinds = endpoint.fields(generation) | endpoint.query
    if not equals and kinds.get(name) is mailapi.secret:
        return name, read_secret(name)
    if not equals or name not in kinds:
        hint = suggestion(name, kinds)
        raise mailapi.ApiError(
            f"{argument}: give FIELD=VALUE. {hint}The fields are {', '.join(kinds) or 'none'}."
        )
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
    if kinds[name] is mailapi.list_of_text or "," in value and takes_numbers(kinds[name]):
        return name, [entry for entry in value.split(",") if entry]
    return name, value


def takes_numbers(kind: Callable) -> bool:
    """Return whether a field of the type `kind` takes a list of whole numbers."""
    schema = schema_of(kind)
    lists = [each["items"] for each in [schema, *schema.get("anyOf", [])] if "items" in each]
    return any(items.get("type") == "integer" for items in lists)


def read_secret(name: str) -> str:
    """Ask for a secret on the terminal, without echo. Without a terminal, read a line of standard input."""
    return getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


def ask_for_secrets(endpoint: mailapi.Endpoint, generation: mailapi.Generation, fields: dict) -> dict:
    """Ask on the terminal for required secrets that `fields` lacks. Return them by name; {} without a terminal."""
    kinds = endpoint.fields(generation)
    missing = [
        name for name in endpoint.needed(generation) if kinds[name] is mailapi.secret and name not in fields
    ]
    return {name: read_secret(name) for name in missing} if sys.stdin.isatty() else {}


def read_document(path: str) -> str:
    """Return the text of a file, or of standard input for "-". ApiError if it is not UTF-8."""
    try:
        return (sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise mailapi.ApiError(f"{path} is not text in UTF-8.") from None
