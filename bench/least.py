"""Measure the least that a request costs in Python: a Bottle app that runs mailapi's main statements, and nothing else.

The app reads the body, makes the two codes of a session id, and runs the statements for the session and for the
caller's permissions. For users/?set_password it also changes the password and commits. No check is made, nothing is
refused or recorded: mailapi cannot take less. All is under uWSGI, beside the floor, in the same rounds.
"""

import contextlib
import hashlib
import os
import re
import shutil
import sqlite3
import statistics

import bottle
import orjson

import mailapi
from bench.databases import FOLDER, name

application = bottle.Bottle()
databases: dict[str, sqlite3.Connection] = {}
FIND_SESSION = mailapi.load_part("state.session_rows").FIND
REQUESTS = ("?get_modules", "users/?set_password")


def connect():
    """Open the databases of the config, as mailapi would."""
    config = mailapi.read_config(os.environ["MAILAPI_CONFIG"])
    for database, path in (("state", config.state), ("master", config.dbpath)):
        databases[database] = sqlite3.connect(path, isolation_level=None)


def sql_of(query: mailapi.PreparedQuery) -> str:
    return mailapi.Store("").compile(query)[0]


SET_PASSWORD = "UPDATE users SET user_authdata = ? WHERE user_name = ?"
SESSION, CALLER = sql_of(FIND_SESSION), sql_of(mailapi.CALLER[mailapi.LATEST])


@application.route("/<path:re:.*>", ["GET", "POST"])
def answer(path: str):
    """Run the statements of a request by session, and answer about as many bytes as ?get_modules."""
    environ = bottle.request.environ
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    token = re.search("PHPSESSID=([a-z0-9]+)", environ["HTTP_COOKIE"])[1]
    for person in (b"check", b"code"):
        hashlib.blake2b(token.encode(), key=b"k" * 32, digest_size=16, person=person).digest()
    if not databases:
        connect()
    databases["state"].execute(SESSION, ("a" * 32, "b" * 32)).fetchall()
    master = databases["master"]
    master.execute("BEGIN IMMEDIATE" if path else "BEGIN")
    permissions = [row[3] for row in master.execute(CALLER, ("root", "schema_version"))]
    if path:
        master.execute(SET_PASSWORD, (os.urandom(40).hex(), name(3)))
    master.execute("COMMIT")
    bottle.response.content_type = "application/json"
    return orjson.dumps({"status": "ok", "permissions": permissions, "text": "x" * 110})


def options(parser):
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1, help="of each stretch (default: %(default)s)")


def run(args):
    """Print the CPU of each request as a multiple of the floor: the least, and mailapi's."""
    from bench import rows
    from bench.load import load
    from bench.servers import serve
    from bench.traffic import Installation

    folder = FOLDER / f"least-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        mailapi_ = Installation(stack, "uwsgi", 5, folder / "mailapi")
        least = stack.enter_context(serve("uwsgi", "bench.least", folder / "mailapi", mailapi_.dbpath))
        floor = stack.enter_context(serve("uwsgi", "bench.floor", folder / "floor"))
        found: dict[tuple[str, str], list[float]] = {}
        first = rows.repeated(rows.BY_NAME[REQUESTS[0]], mailapi_.cookies)
        for _ in range(args.rounds):
            unit = load(floor, first, args.seconds).microseconds()
            for request in REQUESTS:
                requests = rows.repeated(rows.BY_NAME[request], mailapi_.cookies)
                for label, server in (("the least", least), ("mailapi", mailapi_.server)):
                    sample = load(server, requests, args.seconds)
                    if sample.unexpected:
                        raise AssertionError(f"{label}, {request}: {sample.unexpected[0]}")
                    found.setdefault((request, label), []).append(sample.microseconds() / unit)
        for (request, label), multiples in found.items():
            original = rows.BY_NAME[request].original / rows.ORIGINAL_FLOOR
            print(
                f"{request}, {label}: {statistics.median(multiples):.2f} × the floor; the original: {original:.2f}"
            )
