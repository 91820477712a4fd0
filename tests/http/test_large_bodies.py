"""Large request bodies: what they take of memory, and that they say the same as to Python's own parser."""

import json
import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mailapi_modules.http import large_bodies

import mailapi
from support.site import MODULES, ROOT, Site

MIB = 1024 * 1024
NOBODY, TOO_LARGE, BUSY = "Username is not set!", "Request body too large.", "The server is busy. Try again."
AUTH = b'"auth": {"user_name": "ann", "password": "pw"}'

# Answers one request, and prints by how many bytes more memory was needed than before.
ONE_REQUEST = """
import io, json, sys
import mailapi
app = mailapi.create_app(json.loads(sys.argv[1]))
def ask(body):
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/mailbox/", "QUERY_STRING": "send", "CONTENT_LENGTH": str(len(body)),
               "wsgi.input": io.BytesIO(body), "wsgi.errors": sys.stderr, "SERVER_NAME": "x", "SERVER_PORT": "80"}
    return json.loads(b"".join(app(environ, lambda *_: None)))["status"]
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
head, unit, tail = sys.argv[2].encode(), sys.argv[3].encode(), sys.argv[4].encode()
for size in 70_000, int(sys.argv[5]):
    body = b"".join([head, unit * ((size - len(head) - len(tail)) // len(unit)), tail])
    before = peak()
    status = ask(body)
print(json.dumps([status, peak() - before]))
"""
UNITS = {
    "text": ("a", '"text": "', '"'),
    "line ends": (r"\n", '"text": "', '"'),
    "escapes": (r"\u00e9", '"html": "', '"'),
    "wide characters": ("\U0001f600", '"message": "', '"'),
    "a few wide ones": ("a" * 999 + "\U0001f600", '"text": "', '"'),
    "base64": ("QUJD", '"attachments": [{"data": "', '"}]'),
    "quotes": (r"\"", '"subject": "', '"'),
    "strings": ('"",', '"x": [', "1]"),
    "long strings": ('"' + "x" * 20_000 + '",', '"x": [', "1]"),
    "objects": ("{},", '"x": [', "1]"),
    "brackets": ("[", '"x": [', "]"),
    "numbers": ("1,", '"x": [', "1]"),
    "long numbers": ("1", '"x": ', ""),
    "blanks": (" ", '"x": [', "]"),
}


def measure_request(site: Site, unit: str, size: int, auth: bytes = AUTH, **environ) -> tuple[str, int]:
    """Return the status of a request of that size in a process of its own, and the memory that it took."""
    repeated, before, after = UNITS[unit]
    config = {"dbpath": site.place, "modulelist": MODULES, "free_attempts": 1000}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            ONE_REQUEST,
            json.dumps(config),
            f'{{"to": "x@else.example", {before}',
            repeated,
            f"{after}, {auth.decode()}}}",
            str(size),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environ,
    )
    return tuple(json.loads(done.stdout))


@pytest.mark.sqlite
@pytest.mark.parametrize("unit", UNITS)
def test_a_large_body_takes_three_times_its_size_at_most(site, unit):
    """The body of a stranger is not even parsed."""
    size = 34 * MIB
    site.sql("INSERT INTO smtpd (smtpd_user, smtpd_router) VALUES ('ann', 'any')")
    site.sql("INSERT INTO addresses VALUES ('ann@one.org', 1, 'store', 'ann')")
    status, taken = measure_request(site, unit, size)
    assert status and status != NOBODY and taken < 3 * size + 24 * MIB
    for auth in (b'"auth": {"user_name": "ann", "password": "wrong"}', b'"x": 1'):
        status, taken = measure_request(site, unit, size, auth)
        assert status in (NOBODY, "Username or password is wrong.") and taken < size + 4 * MIB


TEXT = st.lists(
    st.one_of(
        st.sampled_from(["\\", '"', "\n", "é", "\u20ac", "\U0001f600", "\ud83d", "\0", "[", ",", "{"]),
        st.text(max_size=20),
    ),
    max_size=60,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(
    values=st.recursive(
        TEXT,
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "\u00e9", "["]), inner)
        ),
    ),
    ascii_only=st.booleans(),
    cut=st.integers(0, 200),
)
def test_a_large_body_is_read_as_pythons_own_parser_reads_it(values, ascii_only, cut):
    raw = json.dumps({"a": values, "b": "x"}, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    for body in (raw, raw[:cut] + raw[cut + 1 :]):
        try:
            expected = json.loads(body.decode(), parse_constant=mailapi.not_json)
        except ValueError:
            expected = None
        try:
            found = in_text(read_in_small_pieces(body))
        except mailapi.ApiError:
            found = None
        assert found == (expected if isinstance(expected, dict) else None)


def read_in_small_pieces(body: bytes) -> dict:
    long, step = large_bodies.LONG, large_bodies.STEP
    large_bodies.LONG, large_bodies.STEP = 8, 40
    try:
        return large_bodies.read_large_object(body, 10**6)
    finally:
        large_bodies.LONG, large_bodies.STEP = long, step


def in_text(value):
    """Return the same with all text as text."""
    if isinstance(value, bytes):
        return value.decode(errors="surrogatepass")
    if isinstance(value, dict):
        return {name: in_text(inner) for name, inner in value.items()}
    return [in_text(inner) for inner in value] if isinstance(value, list) else value


def test_credentials_are_found_at_either_end_of_a_large_body(site):
    padding = b'"padding": ["' + b"x" * 70_000 + rb'", "\"auth\": {}"]'
    for body in (
        b"{" + AUTH + b", " + padding + b"}",
        b"{" + padding + b', "auth" : {"user_name": "ann", "password": "pw"}}',
    ):
        assert site.raw("pop/?get", body)["auth_user"] == "ann"
    assert (
        site.raw("pop/?get", b'{"x": {' + AUTH + b"}, " + padding + b"}", 400)["status"]
        == "Invalid value for auth."
    )
    two = b"{" + AUTH + b", " + padding + b', "auth": {"user_name": "bob", "password": "pw"}}'
    assert site.raw("pop/?get", two)["auth_user"] == "bob"
    assert site.raw("pop/?get", b"{" + padding + b', "auth": 5}')["status"] == NOBODY
    assert (
        site.raw("mailbox/?send", b"{" + AUTH + b', "' + b"x" * 70_000 + b'": 1}', 413)["status"] == TOO_LARGE
    )
    deep = b"{" + padding + b', "auth": ' + b"[" * 20_000
    assert site.raw("pop/?get", deep)["status"] == NOBODY


def test_fields_are_read_only_after_the_log_in(tmp_path, monkeypatch):
    site, read = Site(tmp_path), []

    def note(value):
        read.append(value)

    for module in site.app.modules.values():
        for name, action in module.endpoints.items():
            for fields in (action.optional, action.query):
                for field in fields:
                    monkeypatch.setitem(fields, field, note)
            body = json.dumps(
                {"auth": {"user_name": "ann", "password": "wrong"}}
                | dict.fromkeys([*action.fields(site.app.generation()), *action.query], "x")
            ).encode()
            query = "&".join(f"{field}=x" for field in action.query)
            site.browser().post(f"/{module.path}/?{name}&{query}", body, status="*")
    assert read == []


def test_all_large_bodies_together_keep_the_limit_of_the_config(tmp_path):
    site, waiting, go_on = Site(tmp_path, max_bodies=3 * MIB), threading.Event(), threading.Event()
    body = b"{" + AUTH + b', "x": "' + b"x" * 600_000 + b'"}'
    log_in = mailapi.RequestHandler.log_in

    def slow(self, *args):
        waiting.set()
        assert go_on.wait(60)
        log_in(self, *args)

    mailapi.RequestHandler.log_in, answers = slow, []
    try:
        first = threading.Thread(target=lambda: answers.append(site.raw("pop/?get", body)))
        first.start()
        assert waiting.wait(60)
        response = site.browser().post("/pop/?get", body, status=503)
        assert (response.json["status"], response.headers["Retry-After"]) == (BUSY, "1")
    finally:
        go_on.set()
        first.join()
        mailapi.RequestHandler.log_in = log_in
    assert answers[0]["auth_user"] == "ann"
    assert site.raw("pop/?get", body)["auth_user"] == "ann" and site.app.large_bodies.used == 0
    alone = Site(tmp_path, max_bodies=1)  # one alone is always answered
    assert alone.raw("pop/?get", body)["auth_user"] == "ann"
