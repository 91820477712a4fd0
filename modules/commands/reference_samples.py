"""Makes the sample answers of docs/reference/, by running each action in a temporary installation."""

import contextlib
import io
import json
import sqlite3
import sys
import tempfile
from pathlib import Path

import mailapi

from ..openapi.examples import TIMES
from .package_files import read_schema

NAME, PASSWORD = "root", "pw"
# The states of the installation, one after the other. An action's sample is from the first one in which it succeeds.
EVERYTHING = f"""
INSERT INTO users (user_name, user_authdata) VALUES ('{NAME}', 'salt:%s'), ('ann', NULL), ('bob', NULL);
INSERT INTO api_access VALUES ('{NAME}', 'admin'), ('ann', 'delegate');
INSERT INTO addresses VALUES ('%@corp.org', 1, 'store', 'ann'), ('info@corp.org', 2, 'store', '{NAME}');
INSERT INTO smtpd VALUES ('ann', 'any', NULL), ('{NAME}', 'any', NULL);
INSERT INTO popd VALUES ('ann', 0);
INSERT INTO api_user_delegates VALUES ('ann', 'bob');
INSERT INTO api_address_delegates VALUES ('ann', '%@corp.org');
INSERT INTO mailbox (mail_id, mail_user, mail_envelopeto, mail_envelopefrom, mail_submission, mail_proto, mail_data)
    VALUES (1, '{NAME}', 'info@corp.org', 'eve@else.example', '1700000000', 'smtp', CAST('From: Eve <eve@else.example>
Subject: Hi

Hello.
' AS TEXT));
INSERT INTO outbox (mail_id, mail_envelopefrom, mail_envelopeto, mail_submission, mail_submitter, mail_data)
    VALUES (1, 'info@corp.org', 'bob@else.example', 1700000000, '{NAME}', 'Subject: Hi');
"""
WITHOUT_ROWS = "DELETE FROM addresses; DELETE FROM popd; DELETE FROM api_user_delegates;"
WITHOUT_ROWS += "DELETE FROM smtpd WHERE smtpd_user = 'ann'; DELETE FROM api_address_delegates;"
WITHOUT_ANN = "DELETE FROM users WHERE user_name = 'ann'; DELETE FROM api_access WHERE api_user = 'ann';"
STATES = (EVERYTHING, WITHOUT_ROWS, WITHOUT_ANN)
MOST_ENTRIES = 2  # of a list in a sample
CREDENTIALS = {"user_name": NAME, "password": PASSWORD}


class Samples:
    """A temporary installation of mailapi that answers requests. Its files are deleted at the end of a `with` block.

    `modulelist` has the path of each module's file by class name: {"User": "modules/users.py", …}.
    """

    def __init__(self, modulelist: dict[str, str]):
        self.modulelist = modulelist
        self.folder = tempfile.TemporaryDirectory(prefix="mailapi-reference-")
        self.app = self.make_app()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.app.db.close()
        self.app.state.close()
        self.folder.cleanup()

    def make_app(self) -> mailapi.Application:
        path = Path(self.folder.name) / "master.db3"
        with contextlib.closing(sqlite3.connect(path)) as made:
            made.executescript(read_schema())
        return mailapi.create_app({"dbpath": str(path), "modulelist": self.modulelist})

    def reset(self, scripts: tuple[str, ...]):
        """Empty the database, then run SQL scripts that fill it. `scripts` are their texts, not file names."""
        with contextlib.closing(sqlite3.connect(self.app.config.dbpath)) as connection, connection:
            for (table,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            ).fetchall():
                if table not in ("meta", "sqlite_sequence"):
                    connection.execute(f"DELETE FROM {table}")
            hashed = mailapi.sha256("salt" + PASSWORD)
            for statements in scripts:
                connection.executescript(statements.replace("%s", hashed))

    def answer(self, path: str, fields: dict) -> dict | None:
        """Run an action to get its sample for docs/reference/: what it adds to its answer, such as {"users": […]}.

        Try it with rows in all tables, then with fewer rows, until it succeeds: an action `add`, for example, is
        refused if the row exists. STATES has the SQL for that. Return None if the action never succeeds.
        """
        for number in range(len(STATES)):
            self.reset(STATES[: number + 1])
            http, payload = self.request(path, fields)
            with contextlib.suppress(ValueError):
                answer = json.loads(payload)
                if http == 200 and answer["status"] == "ok":
                    return steady({name: each for name, each in answer.items() if name not in LEFT_OUT})
        return None

    def request(self, path: str, fields: dict) -> tuple[int, bytes]:
        """Post a request to an action as the administrator. Return the HTTP status and the body of the answer."""
        body = json.dumps(fields | {"auth": CREDENTIALS}).encode()
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": f"/{path}",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "REMOTE_ADDR": "192.0.2.7",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
        }
        heads: list[str] = []
        pieces = self.app(environ, lambda status, headers, exc_info=None: heads.append(status))
        return int(heads[0].split()[0]), b"".join(pieces)


LEFT_OUT = {
    *("debug", "api_version", "schema_version", "session", "permissions", "login", "auth_user"),
    *("code", "status"),
}


def steady(value, name: str = ""):
    """Replace times, tokens and passwords in an answer by fixed values, so that docs/reference/ stays the same.

    Cut lists to MOST_ENTRIES entries. `value` is the answer or a part of it, and `name` is the part's name.
    """
    if isinstance(value, dict):
        return {member: steady(each, member) for member, each in value.items()}
    if isinstance(value, list):
        return [steady(each, name) for each in value[:MOST_ENTRIES]]
    if name.rpartition("_")[2] in TIMES and value:
        return 1_700_000_000
    return {"token": "mailapi_…", "password": "…", "audit_session": ""}.get(name, value)
