"""The least that a read by session costs: a Bottle app that runs the same statements as mailapi, and nothing else.

It reads the body, checks two codes of the cookie, runs mailapi's SQL for the session and for the caller's permissions,
and encodes an answer as long as that to ?get_modules. No program in Python with these two databases can take less.
"""

import hashlib
import os
import re
import sqlite3

import bottle
import orjson

import mailapi

SESSION = mailapi.load_part("state.session_rows").FIND
application = bottle.Bottle()
databases: list[sqlite3.Connection] = []
statements = []


def connect():
    """Open the databases of config.py, as mailapi would."""
    config = mailapi.read_config(os.environ["MAILAPI_CONFIG"])
    for path, query in ((config.state, SESSION), (config.dbpath, mailapi.CALLER[mailapi.LATEST])):
        databases.append(sqlite3.connect(path, isolation_level=None))
        statements.append(mailapi.Store(path).compile(query)[0])


@application.route("/", ["GET", "POST"])
def answer():
    """Answer as many bytes as ?get_modules, after the statements of a read by session."""
    environ = bottle.request.environ
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    token = re.search("PHPSESSID=([a-z0-9]+)", environ["HTTP_COOKIE"])[1]
    for person in (b"check", b"code"):
        hashlib.blake2b(token.encode(), key=b"k" * 32, digest_size=16, person=person).digest()
    if not databases:
        connect()
    state, master = databases
    state.execute(statements[0], ("a" * 32, "b" * 32)).fetchall()
    master.execute("BEGIN")
    rows = master.execute(statements[1], ("root", "schema_version")).fetchall()
    master.execute("COMMIT")
    bottle.response.content_type = "application/json"
    return orjson.dumps({"status": "ok", "permissions": [row[3] for row in rows], "text": "x" * 110})
