"""Call any action of any module, with the rights of whoever can read the database file.

Fields are field=value; field=- reads a secret without echo. Lists are separated by commas or JSON, objects
are JSON. Prints a table on a terminal, JSON otherwise.
"""

import getpass
import json
import os
import sys

import mailapi


def options(parser):
    parser.add_argument("--as", dest="user_name", metavar="USER", help="act as this user, with their rights")
    parser.add_argument("--json", action="store_true", help="print JSON on a terminal, too")
    parser.add_argument("module", metavar="MODULE", help="a module's URL path, such as users; / for the API itself")
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
    mailapi.refuse_forbidden_text(given)
    call = mailapi.Call(app, generation, *chosen.read(generation, given, given))
    call.user_name = args.user_name
    if args.user_name is not None and app.db.one(mailapi.CREDENTIALS_OF, user=args.user_name) is None:
        raise mailapi.ApiError(f"There is no user {args.user_name}.")
    try:
        answer = {"status": "ok"} | app.perform(call, module, chosen)
    except mailapi.ApiError as refused:
        answer = {"status": refused.status} | refused.answer
    except mailapi.peewee.PeeweeException as error:
        answer = {"status": mailapi.refusal(error).status}
    else:
        if os.path.exists(app.config.state):  # without it nobody is logged in
            app.end_sessions(call)
    event = mailapi.Event(module.path, answer["status"], 200, "", "local")
    event.describe(call, chosen)
    event.user_name = event.user_name or f"local:{getpass.getuser()}"
    if event.changes:
        app.tell(lambda watcher: watcher.watch(event))
    show(answer, sys.stdout.isatty() and not args.json)
    return 0 if answer["status"] in ("ok", "warning") else 1


def field(argument: str, chosen: mailapi.Endpoint, generation: mailapi.Generation) -> tuple[str, object]:
    """A field's name and its value as a client would have sent it."""
    name, equals, value = argument.partition("=")
    name = mailapi.canonical(name)
    kinds = chosen.fields(generation) | chosen.query
    if not equals or name not in kinds:
        raise mailapi.ApiError(f"{argument}: give FIELD=VALUE; the fields are {', '.join(kinds) or 'none'}.")
    if value == "-":
        return name, getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if value[:1] in ("{", "[") and kinds[name] not in (mailapi.text, mailapi.password):
        return name, json.loads(value)
    if kinds[name] is mailapi.text_list:
        return name, [entry for entry in value.split(",") if entry]
    return name, value


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
    names = list(rows[0])
    cells = [names] + [[mailapi.printable(row.get(name)) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    return None
