"""A site that every example finds as it was, and what must hold of each of its answers."""

import io
import itertools
import json
import os
import re
import shutil
import sqlite3
import sys
from contextlib import closing

import pytest

import mailapi
from support.mails import deliver, give_user_database
from support.site import Site


class FuzzedSite(Site):
    """A site with something in every table, and a database that bob and ann share."""

    def __init__(self, folder, generation):
        super().__init__(folder, generation, free_attempts=10**9)
        self.people = give_user_database(self, "bob", "ann", name="people.db3")
        for user, path in itertools.product(("bob", "ann", "dele", "root"), (self.dbpath, self.people)):
            deliver(path, user)
            deliver(
                path, user, b"Subject: =?utf-8?Q?=FF?=\r\nContent-Type: text/html\r\n\r\n\xff", mail_read=1
            )
        stores = (
            "address_user) VALUES (?"
            if generation == 8
            else "address_router, address_route) VALUES (?, 'store'"
        )
        for address in ("bob@one.org bob", "ann@corp.org ann", "%@corp.org bob", "% root"):
            self.sql(f"INSERT INTO addresses (address_expression, {stores}, ?)", *address.split())
        sends = "msa (msa_user)" if generation == 8 else "smtpd (smtpd_user)"
        for user in ("bob", "ann", "root"):
            self.sql("INSERT INTO popd VALUES (?, 1)", user)
            self.sql(f"INSERT INTO {sends} VALUES (?)", user)
            self.sql(
                f"INSERT INTO outbox VALUES (NULL, NULL, '{user}@x.org', 'x@y.org', 1, '{user}', 'mail')"
            )
            self.sql(f"INSERT INTO faillog SELECT MAX(mail_id), 'mail by {user} failed', '1', 0 FROM outbox")
        self.sql(
            "UPDATE msa SET msa_outrouter = 'any'"
            if generation == 8
            else "UPDATE smtpd SET smtpd_router = 'any'"
        )
        self.sql("INSERT INTO api_user_delegates VALUES ('root', 'bob')")
        self.sql("UPDATE users SET user_alias = 'bob' WHERE user_name = 'nologin'")
        self.before = self.bytes()
        for path in (self.dbpath, self.people):
            shutil.copy(path, f"{path}.pristine")
        self.rows = self.dump()

    def cookie(self, user) -> str:
        """Log in anew and return the Cookie header: the twenty-first log-in ends the first session."""
        headers = self.send(to_json({"auth": {"user_name": user, "password": "pw"}}))[1]
        return dict(headers)["Set-Cookie"].split(";")[0]

    def bytes(self) -> list[bytes]:
        """Return the bytes of both databases."""
        return [path.read_bytes() for path in (self.dbpath, self.people)]

    def dump(self) -> list[str]:
        """Return the rows of both databases, without SQLite's own counters."""
        with closing(sqlite3.connect(self.people)) as connection:
            connection.text_factory = bytes
            people = [f"people {row}" for row in connection.execute("SELECT * FROM mailbox")]
        return [row for row in super().dump() if not row.startswith("sqlite_")] + people

    def restore(self):
        """Replace files that have changed, as a backup program would."""
        for path, before in zip((self.dbpath, self.people), self.before):
            if path.read_bytes() != before:
                os.replace(shutil.copy(f"{path}.pristine", f"{path}.new"), path)

    def actions(self) -> list[tuple]:
        """Return every action of every module: path, name, the fields of body and query."""
        generation = mailapi.GENERATIONS[self.generation]
        return [
            (path, name, list(endpoint.fields(generation)), list(endpoint.query))
            for path, module in self.app.modules.items()
            if self.generation in module.generations
            for name, endpoint in module.endpoints.items()
        ]

    def send(self, body: bytes, **environ) -> tuple[int, list, bytes]:
        """Send a request as a WSGI server does; return status, headers and body of the answer."""
        environ = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/",
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        } | environ
        seen = []
        answer = b"".join(
            self.app(environ, lambda status, headers, exc_info=None: seen.append((status, headers)))
        )
        ((status, headers),) = seen
        return int(status[:3]), headers, answer


@pytest.fixture(scope="module", params=[9, 8], ids=["generation9", "generation8"])
def fuzzed_site(request, tmp_path_factory) -> FuzzedSite:
    """A site of each generation, which all examples of a file share."""
    return FuzzedSite(tmp_path_factory.mktemp("fuzz"), request.param)


def to_json(value) -> bytes:
    """Encode a value as JSON."""
    return json.dumps(value).encode()


JSONP = re.compile(r"[A-Za-z_$][\w$.]{0,127}\('((?:[^'\\\r\n\u2028\u2029]|\\[\\'nu])*)'\)", re.ASCII)


def check_answer(status: int, headers: list, payload: bytes) -> dict:
    """Check that a response is well formed; return its decoded answer."""
    head = dict(headers)
    if "Content-Disposition" in head:
        return check_file(status, head, payload)
    text = payload.decode()
    assert status in (200, 400, 404, 405, 411, 413), text[:500]
    assert all(re.fullmatch(r"[\x20-\xff]*", value) for _, value in headers)
    assert "Traceback" not in text and 'File "' not in text and 'File \\"' not in text
    if head["Content-Type"] == "application/javascript":
        inner = JSONP.fullmatch(text)
        assert inner, text[:500]
        text = re.sub(r"\\(u202[89]|.)", lambda e: chr(int(e[1][1:], 16)) if e[1][1:] else e[1], inner[1])
    answer = json.loads(text)
    assert list(answer)[:2] == ["status", "debug"] and isinstance(answer["status"], str)
    assert ("login" in answer) == (status == 200)
    return answer


def check_file(status: int, head: dict, payload: bytes) -> dict:
    """Check that a download is well formed; return an answer in its place."""
    assert status == 200 and head["Content-Length"] == str(len(payload))
    if head["Content-Disposition"] == "inline":
        assert "sandbox" in head["Content-Security-Policy"] and b"<script" not in payload
        return {"status": "ok", "login": True}
    assert re.fullmatch(
        r"attachment; filename=\"[^\"\\%;/:]+\"; filename\*=UTF-8''[\w.~%-]+", head["Content-Disposition"]
    )
    assert (
        re.fullmatch(r"[a-z0-9.+-]+/[a-z0-9.+-]+", head["Content-Type"])
        and "html" not in head["Content-Type"]
    )
    return {"status": "ok", "login": True}
