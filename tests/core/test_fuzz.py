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
from hypothesis import given, settings
from hypothesis import strategies as st

import mailapi
from support.fuzzing import FUZZ, TIMES
from support.html_check import check as check_html
from support.mails import deliver, give_database, multipart
from support.site import Site

pytestmark = pytest.mark.slow

########## An installation that every example finds as it was ######################################


class Installation(Site):
    """A site with something in every table, and a database that bob and ann share."""

    def __init__(self, folder, generation):
        super().__init__(folder, generation, free_attempts=10**9)
        self.people = give_database(self, "bob", "ann", name="people.db3")
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
        """A session that has just begun: the twenty-first log-in ends the first one's."""
        headers = self.send(encoded({"auth": {"user_name": user, "password": "pw"}}))[1]
        return dict(headers)["Set-Cookie"].split(";")[0]

    def bytes(self) -> list[bytes]:
        return [path.read_bytes() for path in (self.dbpath, self.people)]

    def dump(self) -> list[str]:
        """The rows of both databases; without SQLite's own counters."""
        with closing(sqlite3.connect(self.people)) as connection:
            connection.text_factory = bytes
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
        return [
            (path, name, list(endpoint.fields(generation)), list(endpoint.query))
            for path, module in self.app.modules.items()
            if self.generation in module.generations
            for name, endpoint in module.endpoints.items()
        ]

    def send(self, body: bytes, **environ) -> tuple[int, list, bytes]:
        """One request as a WSGI server hands it over; status, headers and body of the answer."""
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
def installation(request, tmp_path_factory) -> Installation:
    return Installation(tmp_path_factory.mktemp("fuzz"), request.param)


########## What is sent ############################################################################


def one_of(*values):
    return st.sampled_from(values)


def rarely(draw, strategy, otherwise, one_in=10):
    return draw(strategy) if draw(st.integers(1, one_in)) == one_in else otherwise


USERS = ["root", "dele", "bob", "ann", "nologin", "new", "new", "BOB", "main"]
EXPRESSIONS = [
    "bob@one.org",
    "ann@corp.org",
    "%@corp.org",
    "_@CORP.org",
    "%",
    "x@corp.org",
    "%%%@corp.org",
    "\\",
]
ROUTERS = ["store", "redirect", "handoff", "reject", "drop", "any", "defined", "forward", "x"]
ROUTES = [*USERS, "relay.org", "(to-local)@x.org", "/nowhere/x.db3", "", None]
ORDERS = [1, 2, 3, 4, "1", "4", 9, 0, -1, 10**17, 10**30, 1.5, 1e300, "x"]
TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
NASTY = one_of(
    "\0",
    "a\0b",
    "\ud800",
    "\udfffx",
    10**400,
    -(2**63),
    2**64,
    float("nan"),
    "",
    "0",
    "é" * 60_000,
    [],
    {},
    True,
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | NASTY
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ADDRESS = st.fixed_dictionaries(
    {},
    optional={
        "address_expression": one_of(*EXPRESSIONS) | ANYTHING,
        "address_order": one_of(*ORDERS) | ANYTHING,
        "address_router": one_of(*ROUTERS),
        "address_user": one_of(*USERS),
    },
)
LIKELY = {  # by what a field's name contains: the first that fits
    "sourcedb": one_of("master", "user", ""),
    "mail_id": st.integers(1, 9),
    "part": st.integers(1, 3),
    "next": one_of(None, "100 3 master", "1e2 9 user", "x"),
    "address1": ADDRESS,
    "address2": ADDRESS,
    "routing": one_of("inrouter", "outrouter"),
    "expression": one_of(*EXPRESSIONS),
    "order": one_of(*ORDERS),
    "router": one_of(*ROUTERS),
    "route": one_of(*ROUTES),
    "permissions": st.lists(one_of("admin", "delegate", "x", "", 1, None), max_size=4),
    "permission": one_of("admin", "delegate", "x"),
    "": one_of(*USERS),
}
PEOPLE = one_of(
    "x@y.org",
    "Jörg <j@bücher.org>, b@c",
    "bob@one.org",
    't: a@b, "c d"@e;',
    ["a@b", "c@d"],
    "a@b\r\nX: y",
    "a@",
    "",
)
MESSAGE = one_of(
    "From: bob@one.org\n",
    "To: x@y.org\n",
    "Bcc: z@y.org\r\n",
    "Sender: a@b\n",
    "Resent-To: a@b\n",
    "\n",
    "text ü\r",
    " x\n",
    "QUJD",
    "\r\n.\r\n",
    "Date: x\n",
    ":",
)
LIKELY_IN_MAIL = dict.fromkeys(["from", "to", "cc", "bcc", "reply_to"], PEOPLE) | {
    "message": one_of(None, None, "") | st.lists(MESSAGE, max_size=6).map("".join),
    "subject": TEXT,
    "text": TEXT,
    "html": TEXT,
    "in_reply_to": one_of("<a@b>", "<a@b> <c@d>", "a", ""),
    "references": one_of("<a@b>", "x", ""),
    "attachments": st.lists(
        st.fixed_dictionaries(
            {"data": one_of("QUJD", "", "x")},
            optional={"filename": TEXT, "content_type": one_of("text/plain", "message/rfc822", "x", "")},
        ),
        max_size=2,
    ),
    "after": st.integers(0, 4),
    "mail_state": one_of("waiting", "deferred", "failed", ""),
    "mail_id": st.integers(1, 9) | st.lists(st.integers(1, 4), max_size=2),
}


def values_of(field: str):
    if field in LIKELY_IN_MAIL:
        return LIKELY_IN_MAIL[field]
    return next(values for part, values in LIKELY.items() if part in field)


def encoded(value) -> bytes:
    return json.dumps(value).encode()


@st.composite
def bodies(draw, fields: list, auth: dict | None) -> bytes:
    """Mostly an object with the declared fields, in both spellings, and the credentials."""
    kind = rarely(draw, one_of("any", "bytes", "deep", "cut", "wild", "wild", "wild", "wild"), "fields", 3)
    if kind == "bytes":
        return draw(
            st.binary(max_size=60) | one_of(b"[", b"{}{}", b"\xff{}", b"null", b" ", b"\xef\xbb\xbf{}")
        )
    if kind == "any":
        return encoded(draw(ANYTHING))
    body = {} if auth is None else {"auth": auth}
    for position, field in enumerate(draw(st.permutations(fields))):
        if rarely(draw, st.just(False), True, 8):
            spelling = draw(one_of(field, field.replace("permission", "right"), field.replace("_", "-")))
            body[spelling] = draw(NASTY | ANYTHING if kind == "wild" and position == 0 else values_of(field))
    body |= rarely(draw, st.dictionaries(TEXT | one_of("auth", "user-name"), ANYTHING, max_size=2), {})
    if kind == "cut":
        return encoded(body)[: draw(st.integers(0, 80))]
    if kind == "deep":
        depth = draw(one_of(1, 300, 900, 950, 970, 985, 995, 1000, 10_000, 100_000))
        name, (left, right) = (
            encoded(draw(one_of(*fields, "x", "auth"))),
            draw(one_of((b"[", b"]"), (b'{"":', b"}"))),
        )
        return b"{" + name + b":" + left * depth + b"1" + right * depth + b"," + encoded(body | {"a": 1})[1:]
    return encoded(body)


LATIN = st.text(st.characters(max_codepoint=255), max_size=20)
NAMES = one_of("get", "add", "read", "logout", "login", "Get", "get[]", "limit", "callback", "__init__")
NOISE = LATIN | one_of(
    "%",
    "%ff%00",
    "%u0041",
    "&&&",
    "=",
    ";",
    "get=get",
    "%67et",
    "limit=1",
    "limit=0",
    "limit=x",
    "callback=a.b",
    "callback=%3Cx",
    "callback=a&limit=2",
    "a=1&" * 101,
    "+",
)
PATHS = one_of("{}", "{}/index.php", "/{}/", "{}//", "{}/../users/", "{}/index.php/") | LATIN
LENGTHS = one_of("", "0", "1", "-1", "x", "9" * 30, "1e3", "1048576", "1048577", "٣")
HEADERS = st.dictionaries(
    one_of(
        "HTTP_ORIGIN",
        "HTTP_HOST",
        "HTTP_SEC_FETCH_SITE",
        "HTTP_COOKIE",
        "CONTENT_TYPE",
        "HTTP_TRANSFER_ENCODING",
        "HTTP_IF_NONE_MATCH",
        "HTTP_X_FORWARDED_FOR",
        "HTTP_X_FORWARDED_HOST",
        "HTTP_ACCEPT",
        "HTTP_RANGE",
        "HTTP_AUTHORIZATION",
        "HTTP_X_HTTP_METHOD_OVERRIDE",
        "HTTP_EXPECT",
        "SCRIPT_NAME",
        "PATH_TRANSLATED",
    ),
    LATIN
    | one_of(
        "null",
        "http://[::1",
        "//[",
        "cross-site",
        "PHPSESSID=",
        'PHPSESSID="a\\073"',
        "a" * 70_000,
        "\0",
        "multipart/form-data; boundary=",
        "/mount",
        "bytes=0-1",
        "[",
        "localhost:x",
        "gzip",
    ),
    max_size=2,
)
METHODS = one_of("GET", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD", "X")
NOBODY = one_of(
    None,
    {},
    {"user_name": ""},
    {"user_name": "root", "password": "no"},
    {"user_name": "nologin", "password": ""},
)


@st.composite
def requests(draw, installation):
    """Who asks (None: nobody), the body and the WSGI environ."""
    path, name, fields, query = draw(one_of(*installation.actions()))
    user, environ = draw(one_of("bob", "dele", "root", "bob", "dele", "root", None)), {}
    environ["REQUEST_METHOD"] = rarely(draw, METHODS, "POST", 3)
    auth = draw(NOBODY)
    if user and draw(st.booleans()):
        auth = {"user_name": user, "password": "pw"}
    elif user:
        environ["HTTP_COOKIE"] = f"a=b; {installation.cookie(user)}"
        auth = draw(one_of(None, {}, {"user_name": ""}))
    environ["PATH_INFO"] = "/" + rarely(draw, PATHS, "{}/").replace("{}", path).removeprefix(
        "" if path else "/"
    )
    parts = [rarely(draw, NAMES, name.replace("_", draw(one_of("_", "-"))))]
    parts += [f"{key}={draw(one_of(*EXPRESSIONS[:-1]) | LATIN)}" for key in query if draw(st.booleans())]
    environ["QUERY_STRING"] = "&".join(parts + rarely(draw, st.lists(NOISE, max_size=2), [], 6))
    body = draw(bodies(fields, auth))
    environ["CONTENT_LENGTH"] = rarely(draw, LENGTHS, str(len(body)))
    environ["wsgi.input_terminated"] = draw(st.booleans())
    return user, body, environ | rarely(draw, HEADERS, {}, 6)


########## What must hold of every answer ##########################################################


JSONP = re.compile(r"[A-Za-z_$][\w$.]{0,127}\('((?:[^'\\\r\n\u2028\u2029]|\\[\\'nu])*)'\)", re.ASCII)
MINE = {  # the rows that somebody may change; an administrator all
    "root": re.compile(""),
    None: re.compile("(?!)"),
    "dele": re.compile(r"'dele'|'ann['@]|@(?i:corp\.org)|by (ann|dele)\b"),
    "bob": re.compile(r"(users|popd|mailbox|people) \((\d+, )?b'bob'|outbox .* b'bob', b|by bob\b"),
}


def answer_of(status: int, headers: list, payload: bytes) -> dict:
    """The decoded answer of a response that is well formed."""
    head = dict(headers)
    if "Content-Disposition" in head:
        return file_of(status, head, payload)
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


def file_of(status: int, head: dict, payload: bytes) -> dict:
    """A download that is well formed."""
    assert status == 200 and head["Content-Length"] == str(len(payload))
    assert re.fullmatch(
        r"attachment; filename=\"[^\"\\%;/:]+\"; filename\*=UTF-8''[\w.~%-]+", head["Content-Disposition"]
    )
    assert (
        re.fullmatch(r"[a-z0-9.+-]+/[a-z0-9.+-]+", head["Content-Type"])
        and "html" not in head["Content-Type"]
    )
    return {"status": "ok", "login": True}


def foreign(rows: list[str], user: str | None) -> list[str]:
    """The rows that a user must not change."""
    return sorted(row for row in rows if not MINE[user].search(row))


@settings(max_examples=2000 * TIMES, **FUZZ)
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


@pytest.mark.parametrize("size", [1024 * 1024, 2 * 1024 * 1024, 30 * 1024 * 1024])
@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies(installation, size, chunked):
    start, end = b'{"auth": {"user_name": "root", "password": "pw"}, "user_name": "', b'"}'
    for body in (
        start + b"x" * (size - len(start + end)) + end,
        b"\xff" * size,
        b"[" * size,
        b" " * size,
        start[:-1] + b"9" * (size - len(start)) + b"}",
    ):
        environ = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True} if chunked else {}
        status, headers, payload = installation.send(
            body, PATH_INFO="/users/", QUERY_STRING="delete", **environ
        )
        answer_of(status, headers, payload)
        assert (status == 413) == (size > 1024 * 1024)
    assert installation.dump() == installation.rows


@pytest.mark.parametrize("path", ["", "*", "localhost:80", "pop/"])  # waitress hands on OPTIONS * and CONNECT
def test_a_path_without_its_first_slash_is_answered_in_json(installation, path):
    answer_of(*installation.send(b"", PATH_INFO=path, QUERY_STRING="get"))


########## Mail ####################################################################################


PIECES = one_of(
    b"Subject: ",
    b"From: ",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b" ",
    b"\t",
    b"\0",
    b"\xff",
    "€\u2028\x85".encode(),
    b"--zz\r\n",
    b"--zz--",
    b"Content-Type: ",
    b"text/plain",
    b"text/html",
    b"multipart/mixed",
    b"multipart/digest",
    b"message/rfc822",
    b"message/delivery-status",
    b"; charset=",
    b"; charset*=",
    b"; charset*0=",
    b"; charset*1*=",
    b"; boundary=zz",
    b"; boundary*=utf-8''zz",
    b"; boundary*0=zz",
    b'"',
    b"'",
    b"utf-8",
    b"utf-16",
    b"idna",
    b"hex",
    b"utf-7",
    b"unicode_escape",
    b"''",
    b"Content-Transfer-Encoding: ",
    b"base64",
    b"quoted-printable",
    b"x-uuencode",
    b"begin 644 x\n",
    b"end",
    b"=",
    b"+2AA-",
    b"=?utf-8?Q?",
    b"=?utf-8?B?",
    b"=?idna?Q?",
    b"?=",
    b"=FF",
    b"R3LD",
    b"R",
    b"xn--",
    b"\\ud800",
    b"%s%f",
    b";",
    b"/",
    b"Content-Disposition: attachment",
    b"; filename=",
    b"; filename*=",
    b"Content-ID: <a>",
    b"References: <a> <b>",
    b"Message-ID: <a>",
    b"<img src=cid:a>",
    b"<a href=",
    b"&#9",
    b"image/png",
)
PARTS = st.lists(st.lists(PIECES, max_size=8).map(b"".join), max_size=4)
MAILS = st.lists(PIECES | st.binary(max_size=4), max_size=25).map(b"".join) | PARTS.map(
    lambda parts: multipart(*parts)
)


@settings(max_examples=1000 * TIMES, **FUZZ)
@given(
    mail=MAILS,
    stored_as=one_of("TEXT", "BLOB"),
    other=one_of("raw", "parts", "attachment", "html", "search", "threads"),
)
def test_random_mail(installation, mail, stored_as, other):
    try:
        mail_id = deliver(installation.dbpath, "bob", mail, stored_as=stored_as)
        for action in (other, "get", "read"):
            fields = {"mail_id": mail_id, "mail_sourcedb": "master", "part": 1, "text": "R"}
            body = encoded(fields | {"auth": {"user_name": "bob", "password": "pw"}})
            answer = answer_of(*installation.send(body, PATH_INFO="/mailbox/", QUERY_STRING=action))
            assert answer["status"] == "ok"
            if action == other:
                if action == "html":
                    check_html(answer["mail_html"])
                continue
            shown = answer["mail"] if action == "read" else answer["mails"][0]
            assert all(isinstance(shown[f"mail_{name}"], str) for name in ("subject", "from", "to"))
        assert shown["mail_data"] == mail.decode(errors="replace") and isinstance(shown["mail_body"], str)
    finally:
        installation.restore()
