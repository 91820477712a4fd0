"""Random requests and random mail: the answer is always JSON, never HTTP 500, and nobody changes what is
not theirs. FUZZ=100 runs a hundred times as many examples."""

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
from conftest import Site
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_mailbox import PLAIN, deliver, give_database, multipart

import mailapi

TIMES = int(os.environ.get("FUZZ", "1"))
FUZZ = {"deadline": None, "derandomize": "CI" in os.environ, "print_blob": True,
        "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]}


########## An installation that every example finds as it was ######################################


class Installation(Site):
    """A site with something in every table, and a database that bob and ann share."""

    def __init__(self, folder, generation):
        super().__init__(folder, generation)
        self.people = give_database(self, "bob", "ann", name="people.db3")
        for user, path in itertools.product(("bob", "ann", "dele", "root"), (self.dbpath, self.people)):
            deliver(path, user)
            deliver(path, user, b"Subject: =?utf-8?Q?=FF?=\r\nContent-Type: text/html\r\n\r\n\xff", mail_read=1)
        for expression, user in (("bob@one.org", "bob"), ("ann@corp.org", "ann"), ("%@corp.org", "bob"), ("%", "root")):
            columns = "address_user" if generation == 8 else "address_router, address_route"
            values = f"'{user}'" if generation == 8 else f"'store', '{user}'"
            self.sql(f"INSERT INTO addresses (address_expression, {columns}) VALUES (?, {values})", expression)
        for user in ("bob", "ann", "root"):
            self.sql("INSERT INTO popd VALUES (?, 1)", user)
            self.sql(f"INSERT INTO {'msa (msa_user)' if generation == 8 else 'smtpd (smtpd_user)'} VALUES (?)", user)
        self.sql("INSERT INTO api_user_delegates VALUES ('root', 'bob')")
        self.sql("UPDATE users SET user_alias = 'bob' WHERE user_name = 'nologin'")
        self.before = self.bytes()
        for path in (self.dbpath, self.people):
            shutil.copy(path, f"{path}.pristine")
        self.rows = self.dump()
        self.tokens = {user: self.token(user) for user in ("root", "dele", "bob")}

    def token(self, user) -> str:
        browser = self.browser()
        browser.post_json("/", {"auth": {"user_name": user, "password": "pw"}})
        return browser.cookies["PHPSESSID"]

    def bytes(self) -> list[bytes]:
        return [path.read_bytes() for path in (self.dbpath, self.people)]

    def dump(self) -> list[str]:
        """The rows of both databases; without SQLite's own counters."""
        with closing(sqlite3.connect(self.people)) as connection:
            people = [f"people {row}" for row in connection.execute("SELECT * FROM mailbox")]
        return [row for row in super().dump() if not row.startswith("sqlite_")] + people

    def restore(self):
        """New files in the place of changed ones, as a backup program would."""
        for path, before in zip((self.dbpath, self.people), self.before):
            if path.read_bytes() != before:
                os.replace(shutil.copy(f"{path}.pristine", f"{path}.new"), path)

    def actions(self) -> list[tuple]:
        """Every action of every module: path, name, the fields of body and query."""
        generation = mailapi.GENERATIONS[self.generation]
        return [(path, name, list(endpoint.fields(generation)), list(endpoint.query))
                for path, module in self.app.modules.items() if self.generation in module.generations
                for name, endpoint in module.endpoints.items()]

    def send(self, body: bytes, **environ) -> tuple[int, list, bytes]:
        """One request as a WSGI server hands it over; status, headers and body of the answer."""
        environ = {"REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": "",
                   "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
                   "HTTP_HOST": "localhost", "CONTENT_LENGTH": str(len(body)), "wsgi.version": (1, 0),
                   "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body), "wsgi.errors": sys.stderr,
                   "wsgi.multithread": False, "wsgi.multiprocess": False, "wsgi.run_once": False} | environ
        seen = []
        answer = b"".join(self.app(environ, lambda status, headers, exc_info=None: seen.append((status, headers))))
        (status, headers), = seen
        return int(status[:3]), headers, answer


@pytest.fixture(scope="module", params=[9, 8], ids=["generation9", "generation8"])
def installation(request, tmp_path_factory) -> Installation:
    return Installation(tmp_path_factory.mktemp("fuzz"), request.param)


########## What is sent ############################################################################


USERS = ["root", "dele", "bob", "ann", "nologin", "new", "BOB", "main", "bob ", "bob\0", "\ud800"]
EXPRESSIONS = ["bob@one.org", "ann@corp.org", "%@corp.org", "_@CORP.org", "%", "x@corp.org", "%%%@corp.org", "\\"]
ROUTERS = ["store", "redirect", "handoff", "reject", "drop", "any", "defined", "forward", "x"]
ROUTES = [*USERS, "relay.org", "(to-local)@x.org", "/nowhere/x.db3", "", None]
ORDERS = [1, 2, 3, 4, "1", "4", 9, 0, -1, 10**17, 10**30, 1.5, 1e300, "x"]
TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
SCALARS = (st.none() | st.booleans() | st.integers() | st.floats() | TEXT
           | st.sampled_from([10**400, -2**63, 2**64, "\0", "a\0b", "\ud800", "\udfffx", "0", "", "é" * 60_000]))
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
                        max_leaves=6)
ADDRESS = st.fixed_dictionaries({}, optional={
    "address_expression": st.sampled_from(EXPRESSIONS) | ANYTHING, "address_order": st.sampled_from(ORDERS) | ANYTHING,
    "address_router": st.sampled_from(ROUTERS), "address_user": st.sampled_from(USERS)})
LIKELY = {  # by what a field's name contains: the first that fits
    "sourcedb": st.sampled_from(["master", "user", ""]), "mail_id": st.integers(1, 9), "routing": st.sampled_from(
        ["inrouter", "outrouter"]), "expression": st.sampled_from(EXPRESSIONS), "order": st.sampled_from(ORDERS),
    "address1": ADDRESS, "address2": ADDRESS, "router": st.sampled_from(ROUTERS), "route": st.sampled_from(ROUTES),
    "permissions": st.lists(st.sampled_from(["admin", "delegate", "x", "", 1, None]), max_size=4),
    "permission": st.sampled_from(["admin", "delegate", "x"]), "": st.sampled_from(USERS)}


def values_of(field: str):
    likely = next(values for part, values in LIKELY.items() if part in field)
    return st.one_of(likely, likely, likely, ANYTHING)


def encoded(value) -> bytes:
    return json.dumps(value).encode()


@st.composite
def bodies(draw, fields: list, auth: dict | None) -> bytes:
    """Mostly an object with the declared fields, in both spellings, and the credentials."""
    kind = draw(st.sampled_from(["fields"] * 8 + ["any", "bytes", "deep", "cut"]))
    if kind == "bytes":
        return draw(st.binary(max_size=60) | st.sampled_from([b"[", b"{}{}", b"\xff{}", b"null", b" ", b"\xef\xbb\xbf{}"]))
    if kind == "any":
        return encoded(draw(ANYTHING))
    body = {} if auth is None else {"auth": auth}
    for field in draw(st.permutations(fields)):
        if draw(st.sampled_from([True, True, True, False])):
            old = draw(st.booleans()) and field.replace("permission", "right") or field
            body[old] = draw(values_of(field))
    body |= draw(st.dictionaries(TEXT | st.just("auth"), ANYTHING, max_size=2)) if draw(st.integers(0, 9)) == 0 else {}
    if kind == "cut":
        return encoded(body)[:draw(st.integers(0, 80))]
    if kind == "deep":
        depth = draw(st.sampled_from([1, 300, 900, 950, 970, 985, 995, 1000, 10_000, 100_000]))
        field, (left, right) = draw(st.sampled_from([*fields, "x", "auth"])), draw(st.sampled_from(["[]", ('{"":', "}")]))
        return encoded(body)[:-1] + f"{', ' * bool(body)}{json.dumps(field)}: {left * depth}1{right * depth}}}".encode()
    return encoded(body)


LATIN = st.text(st.characters(max_codepoint=255), max_size=20)
NAMES = st.sampled_from(["get", "add", "read", "logout", "login", "Get", "get[]", "limit", "callback", "__init__"])
NOISE = LATIN | st.sampled_from(["%", "%ff%00", "%u0041", "&&&", "=", ";", "get=get", "%67et", "limit=1", "limit=0",
                                 "limit=x", "callback=a.b", "callback=%3Cx", "callback=a&limit=2", "a=1&" * 101, "+"])
HEADERS = st.dictionaries(
    st.sampled_from(["HTTP_ORIGIN", "HTTP_HOST", "HTTP_SEC_FETCH_SITE", "HTTP_COOKIE", "CONTENT_TYPE", "HTTP_IF_NONE_MATCH",
                     "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_ACCEPT", "HTTP_TRANSFER_ENCODING", "HTTP_RANGE",
                     "HTTP_AUTHORIZATION", "HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_EXPECT", "SCRIPT_NAME", "PATH_TRANSLATED"]),
    LATIN | st.sampled_from(["null", "http://[::1", "//[", "cross-site", "PHPSESSID=", "PHPSESSID=\"a\\073\"", "a" * 70_000,
                             "multipart/form-data; boundary=", "/mount", "bytes=0-1", "\0", "[", "localhost:x", "gzip"]),
    max_size=2)


@st.composite
def requests(draw, installation):
    """Who asks (None: nobody), the body and the WSGI environ."""
    path, name, fields, query = draw(st.sampled_from(installation.actions()))
    user = draw(st.sampled_from(["root", "dele", "bob", "bob", None]))
    environ = {"REQUEST_METHOD": draw(st.sampled_from(["POST"] * 5 + ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD", "X"]))}
    auth = draw(st.sampled_from([None, {}, {"user_name": "root", "password": "no"}, {"user_name": "nologin", "password": ""}]))
    if user and draw(st.booleans()):
        auth = {"user_name": user, "password": "pw"}
    elif user:
        auth, environ["HTTP_COOKIE"] = draw(st.sampled_from([None, {}, {"user_name": ""}])), f"a=b; PHPSESSID={installation.tokens[user]}"
    form = draw(st.sampled_from([f"{path}/"] * 9 + [path, f"{path}/index.php", f"/{path}/", f"{path}//", f"{path}/../users/"]))
    environ["PATH_INFO"] = "/" + (form.lstrip("/") if not path else form)
    parts = [name.replace("_", draw(st.sampled_from("_-")))] if draw(st.integers(0, 9)) else [draw(NAMES)]
    parts += [f"{key}={draw(st.sampled_from(EXPRESSIONS[:-1]) | LATIN)}" for key in query if draw(st.booleans())]
    parts += draw(st.lists(NOISE, max_size=2)) if draw(st.integers(0, 3)) == 0 else []
    environ["QUERY_STRING"] = "&".join(parts)
    if draw(st.integers(0, 9)) == 0:
        environ["PATH_INFO"] = "/" + draw(LATIN | st.sampled_from(["", "users/\0", "\xff/", "users/index.php/", "USERS/", "_/"]))
    body = draw(bodies(fields, auth))
    if draw(st.integers(0, 14)) == 0:
        environ["CONTENT_LENGTH"] = draw(st.sampled_from(["", "0", "1", "-1", "x", "9" * 30, "1e3", "1048576", "1048577", "٣"]))
        environ["wsgi.input_terminated"] = draw(st.booleans())
    return user, body, environ | (draw(HEADERS) if draw(st.integers(0, 3)) == 0 else {})


########## What must hold of every answer ##########################################################


JSONP = re.compile(r"[A-Za-z_$][\w$.]{0,127}\('((?:[^'\\\r\n\u2028\u2029]|\\[\\'nu])*)'\)", re.ASCII)
MINE = {"bob": ("'bob'",), "dele": ("'dele'", "'ann'", "@corp.org")}  # what a row has to mention


def answer_of(status: int, headers: list, payload: bytes) -> dict:
    """The decoded answer of a response that is well formed."""
    text, head = payload.decode(), dict(headers)
    assert status in (200, 400, 404, 413), text[:500]
    assert all(re.fullmatch(r"[\x20-\xff]*", value) for _, value in headers)
    assert "Traceback" not in text and 'File "' not in text and 'File \\"' not in text
    if head["Content-Type"] == "application/javascript":
        inner = JSONP.fullmatch(text)
        assert inner, text[:500]
        text = re.sub(r"\\(\\|'|u2028|u2029)", lambda e: {"u2028": "\u2028", "u2029": "\u2029"}.get(e[1], e[1]), inner[1])
    answer = json.loads(text)
    assert list(answer)[:2] == ["status", "debug"] and isinstance(answer["status"], str)
    assert ("login" in answer) == (status == 200)
    return answer


def foreign(rows: list[str], user: str | None) -> list[str]:
    """The rows that a user must not change; an administrator may change all."""
    return [] if user == "root" else sorted(
        row for row in rows if not any(word in row.lower() for word in MINE.get(user, ())))


@settings(max_examples=600 * TIMES, **FUZZ)
@given(data=st.data())
def test_random_requests(installation, data):
    user, body, environ = data.draw(requests(installation))
    try:
        status, headers, payload = installation.send(body, **environ)
        changed = installation.bytes() != installation.before
        rows = installation.dump() if changed else installation.rows
        if environ["REQUEST_METHOD"] != "HEAD":
            answer = answer_of(status, headers, payload)
            assert answer.get("auth_user", user) == user
            if answer["status"] not in ("ok", "warning") or not answer.get("login"):
                assert rows == installation.rows
        assert foreign(rows, user) == foreign(installation.rows, user)
    finally:
        installation.restore()
        if user and "logout" in environ["QUERY_STRING"]:
            installation.tokens[user] = installation.token(user)


@pytest.mark.parametrize("size", [1024 * 1024, 2 * 1024 * 1024, 30 * 1024 * 1024])
@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies(installation, size, chunked):
    start, end = b'{"auth": {"user_name": "root", "password": "pw"}, "user_name": "', b'"}'
    for body in (start + b"x" * (size - len(start + end)) + end, b"\xff" * size, b"[" * size, b" " * size,
                 start[:-1] + b"9" * (size - len(start)) + b"}"):
        environ = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True} if chunked else {}
        status, headers, payload = installation.send(body, PATH_INFO="/users/", QUERY_STRING="delete", **environ)
        answer_of(status, headers, payload)
        assert (status == 413) == (size > 1024 * 1024)
    assert installation.dump() == installation.rows


########## Mail ####################################################################################


PIECES = st.sampled_from([
    b"Subject: ", b"From: ", b"\r\n", b"\r\n", b"\r\n\r\n", b"\n", b" ", b"\t", b"\0", b"\xff", "ü€".encode(), b"--b\r\n", b"--b--",
    b"Content-Type: ", b"text/plain", b"text/html", b"multipart/mixed", b"multipart/digest", b"message/rfc822", b"/", b";",
    b"message/delivery-status", b"; charset=", b"; charset*=", b"; charset*0=", b"; charset*1*=", b"; boundary=b", b"\"", b"'",
    b"; boundary*=utf-8''b", b"; boundary*0=b", b"utf-8", b"utf-16", b"idna", b"unicode_escape", b"utf-7", b"hex", b"''",
    b"Content-Transfer-Encoding: ", b"base64", b"quoted-printable", b"x-uuencode", b"begin 644 x\n", b"end", b"=", b"+2AA-",
    b"=?utf-8?Q?", b"=?utf-8?B?", b"=?idna?Q?", b"?=", b"=FF", b"R3LD", b"R", b"xn--", b"\\ud800", b"%s%f", b"\x85", b"\xe2\x80\xa8"])
MAILS = st.one_of(st.lists(PIECES | st.binary(max_size=4), max_size=25).map(b"".join),
                  st.lists(st.lists(PIECES, max_size=8).map(b"".join), max_size=4).map(lambda parts: multipart(*parts, boundary=b"b")))


@settings(max_examples=400 * TIMES, **FUZZ)
@given(mail=MAILS, stored_as=st.sampled_from(["TEXT", "BLOB"]))
def test_random_mail(installation, mail, stored_as):
    try:
        mail_id = deliver(installation.dbpath, "bob", mail, stored_as=stored_as)
        for action in ("get", "read"):
            body = encoded({"auth": {"user_name": "bob", "password": "pw"}, "mail_id": mail_id, "mail_sourcedb": "master"})
            answer = answer_of(*installation.send(body, PATH_INFO="/mailbox/", QUERY_STRING=action))
            assert answer["status"] == "ok"
            shown = answer["mail"] if action == "read" else answer["mails"][0]
            assert all(isinstance(shown[f"mail_{name}"], str) for name in ("subject", "from", "to"))
        assert shown["mail_data"] == mail.decode(errors="replace") and isinstance(shown["mail_body"], str)
    finally:
        installation.restore()
