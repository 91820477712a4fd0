"""conformance/replay.py with its databases on a private MariaDB: `python tests/support/replay_on_mariadb.py REPLAY.PY [FILE …]`."""

import contextlib
import importlib.util
import os
import sqlite3
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path[:1] = [str(TESTS), str(TESTS.parent)]

import pymysql  # noqa: E402

import mailapi  # noqa: E402
from support import engines  # noqa: E402

spec = importlib.util.spec_from_file_location("replay", sys.argv.pop(1))
replay = importlib.util.module_from_spec(spec)
spec.loader.exec_module(replay)
build, create_app = replay.build, mailapi.create_app
databases: dict[str, engines.ReusedDatabase] = {}  # by the path of the file that replay.py makes


def build_and_move(path, scenario):
    """Make the file as replay.py does, and store its rows on the server."""
    engines.give_back_databases()
    build(path, scenario)
    with contextlib.closing(sqlite3.connect(path)) as source:
        databases[path] = engines.take_database(scenario["schema"], source)


def dump(path, tables):
    """Return the rows on the server in the form of replay.py."""
    cursor, out = databases[path].connection.cursor(pymysql.cursors.DictCursor), {}
    for table in tables:
        cursor.execute(f"SELECT * FROM {table}")
        rows = list(cursor.fetchall())
        for row in rows:
            if "user_authdata" in row:
                row["user_authdata"] = None if row["user_authdata"] is None else "set"
            row.pop("mail_data", None)
        out[table] = sorted(rows, key=replay.key)
    return out


def create_app_there(config):
    """Make the app on the database that has the rows of a file."""
    app = create_app(config | {"dbpath": databases[config["dbpath"]].url})
    assert not os.path.exists(config["dbpath"] + ".state") and mailapi.is_url(app.config.state)
    return app


replay.build, replay.dump, mailapi.create_app = build_and_move, dump, create_app_there
sys.exit(replay.main())
