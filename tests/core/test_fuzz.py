"""Random requests: the answer is always JSON, never HTTP 500, and nobody changes what is not theirs.

FUZZ=100 runs a hundred times as many examples.
"""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.fuzzed_site import check_answer, to_json
from support.fuzzing import EXAMPLES_FACTOR, HYPOTHESIS_SETTINGS, one_of

pytestmark = pytest.mark.slow


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


@st.composite
def bodies(draw, fields: list, auth: dict | None) -> bytes:
    """Mostly an object with the declared fields, in both spellings, and the credentials."""
    kind = rarely(draw, one_of("any", "bytes", "deep", "cut", "wild", "wild", "wild", "wild"), "fields", 3)
    if kind == "bytes":
        return draw(
            st.binary(max_size=60) | one_of(b"[", b"{}{}", b"\xff{}", b"null", b" ", b"\xef\xbb\xbf{}")
        )
    if kind == "any":
        return to_json(draw(ANYTHING))
    body = {} if auth is None else {"auth": auth}
    for position, field in enumerate(draw(st.permutations(fields))):
        if rarely(draw, st.just(False), True, 8):
            spelling = draw(one_of(field, field.replace("permission", "right"), field.replace("_", "-")))
            body[spelling] = draw(NASTY | ANYTHING if kind == "wild" and position == 0 else values_of(field))
    body |= rarely(draw, st.dictionaries(TEXT | one_of("auth", "user-name"), ANYTHING, max_size=2), {})
    if kind == "cut":
        return to_json(body)[: draw(st.integers(0, 80))]
    if kind == "deep":
        depth = draw(one_of(1, 300, 900, 950, 970, 985, 995, 1000, 10_000, 100_000))
        name, (left, right) = (
            to_json(draw(one_of(*fields, "x", "auth"))),
            draw(one_of((b"[", b"]"), (b'{"":', b"}"))),
        )
        return b"{" + name + b":" + left * depth + b"1" + right * depth + b"," + to_json(body | {"a": 1})[1:]
    return to_json(body)


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


MINE = {  # the rows that somebody may change; an administrator all
    "root": re.compile(""),
    None: re.compile("(?!)"),
    "dele": re.compile(r"'dele'|'ann['@]|@(?i:corp\.org)|by (ann|dele)\b"),
    "bob": re.compile(r"(users|popd|mailbox|people) \((\d+, )?b'bob'|outbox .* b'bob', b|by bob\b"),
}


def foreign(rows: list[str], user: str | None) -> list[str]:
    """The rows that a user must not change."""
    return sorted(row for row in rows if not MINE[user].search(row))


@settings(max_examples=1000 * EXAMPLES_FACTOR, **HYPOTHESIS_SETTINGS)
@given(data=st.data())
def test_random_requests(fuzzed_site, data):
    user, body, environ = data.draw(requests(fuzzed_site))
    try:
        status, headers, payload = fuzzed_site.send(body, **environ)
        changed = fuzzed_site.bytes() != fuzzed_site.before
        rows = fuzzed_site.dump() if changed else fuzzed_site.rows
        if environ["REQUEST_METHOD"] != "HEAD":
            answer = check_answer(status, headers, payload)
            assert answer.get("auth_user", user) == user
            if answer["status"] not in ("ok", "warning") or not answer.get("login"):
                assert rows == fuzzed_site.rows
        assert foreign(rows, user) == foreign(fuzzed_site.rows, user)
    finally:
        fuzzed_site.restore()


@pytest.mark.parametrize("size", [1024 * 1024, 2 * 1024 * 1024, 30 * 1024 * 1024])
@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies(fuzzed_site, size, chunked):
    start, end = b'{"auth": {"user_name": "root", "password": "pw"}, "user_name": "', b'"}'
    for body in (
        start + b"x" * (size - len(start + end)) + end,
        b"\xff" * size,
        b"[" * size,
        b" " * size,
        start[:-1] + b"9" * (size - len(start)) + b"}",
    ):
        environ = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True} if chunked else {}
        status, headers, payload = fuzzed_site.send(
            body, PATH_INFO="/users/", QUERY_STRING="delete", **environ
        )
        check_answer(status, headers, payload)
        assert (status == 413) == (size > 1024 * 1024)
    assert fuzzed_site.dump() == fuzzed_site.rows


@pytest.mark.parametrize("path", ["", "*", "localhost:80", "pop/"])  # waitress hands on OPTIONS * and CONNECT
def test_a_path_without_its_first_slash_is_answered_in_json(fuzzed_site, path):
    check_answer(*fuzzed_site.send(b"", PATH_INFO=path, QUERY_STRING="get"))
