"""The wire format: URL forms, the answer's keys, JSONP, PHP's oddities (docs/wire.md sections 1, 2 and 7a)."""

import io
import json
import re
from http import HTTPStatus

import pytest
from hypothesis import given, settings, strategies
from mailapi_modules.http.bodies import MOST_DISCARDED

import mailapi
from support.site import Site

pytestmark = pytest.mark.every_engine

FRAME = ["status", "debug", "api_version", "schema_version", "session"]
EMPTY = [None, "", "0", 0, False, [], {}]


@pytest.mark.parametrize(
    "url", ["users/?get", "users?get", "users/index.php?get", "users/?get=", "users/?get=1"]
)
def test_url_forms_name_the_same_action(site, url):
    answer = site(url)
    assert [user["user_name"] for user in answer["users"]] == ["ann", "bob", "dele", "nologin", "root"]


@pytest.mark.parametrize("url", ["?get_modules", "?get-modules", "index.php?get_modules"])
def test_get_modules_lists_modulelist_in_order(site, url):
    assert site(url, user="bob")["modules"] == [
        "Address",
        "User",
        "SMTPD",
        "POP",
        "Mailbox",
        "Delegate",
        "Token",
        "Audit",
        "Queue",
    ]


def test_of_several_actions_the_first_declared_is_run(site):
    assert "user" not in site("users/?update_alias&add_permission&delete&get&add", user_name="carol")
    assert "users" in site("users/?add&get", user_name="carol")


def test_an_unknown_action_logs_in_and_does_nothing(site):
    answer = site("users/?nothing", user="bob")
    assert list(answer) == [*FRAME, "permissions", "login", "auth_user"] and answer["status"] == "ok"


@pytest.mark.parametrize(
    "url", ["nothing/?get", "users/more/?get", "users//?get", "msa/?get", "..%2Fusers/?get"]
)
def test_unknown_module_is_404_without_login(site, url):
    answer = site(url, check=404)
    assert re.fullmatch(r"Unknown module .+\.", answer["status"]) and list(answer) == FRAME


def test_answer_has_its_keys_in_order(site):
    assert list(site("pop/?get")) == [*FRAME, "permissions", "login", "auth_user", "pop"]
    assert list(site("pop/?get", user=None)) == [*FRAME, "login"]
    assert site("pop/?get")["debug"] == [] and site("pop/?get")["session"] is False


def test_empty_maps_are_lists(site):
    answer = site("users/?get", user="nologin", check=200, password="")
    assert answer["status"] == "Password is not set!"
    assert site("users/?get", user="bob")["permissions"] == []
    assert site("users/?get", username="nologin")["users"][0]["modules"] == []


@pytest.mark.parametrize(
    "auth, status",
    [
        ({}, "Username is not set!"),
        ({"password": "pw"}, "Username is not set!"),
        ({"user_name": ""}, "Username is not set!"),
        ({"user_name": "0", "password": "pw"}, "Username is not set!"),
        ({"user_name": "bob"}, "Password is not set!"),
        ({"user_name": "bob", "password": ""}, "Password is not set!"),
        ({"user_name": "bob", "password": None}, "Password is not set!"),
        ({"user_name": "bob", "password": "wrong"}, "Username or password is wrong."),
        ({"user_name": "Bob", "password": "pw"}, "Username or password is wrong."),
        ({"user_name": "bob ", "password": "pw"}, "Username or password is wrong."),
        ([], "Username is not set!"),
        (None, "Username is not set!"),
    ],
)
def test_log_in_statuses(site, auth, status):
    answer = site.raw("users/?get", json.dumps({"auth": auth}).encode())
    assert answer["status"] == status and answer["login"] is False and list(answer) == [*FRAME, "login"]


@pytest.mark.parametrize("value", EMPTY)
def test_empty_values_count_as_not_given(site, value):
    for url, field, status in (
        ("pop/?add", "pop_user", "No username is set"),
        ("users/?delete", "user_name", "No username set."),
        ("mailbox/?read", "mail_id", "No mail id is set"),
        ("addresses/?add", "address_expression", "We need an address expression."),
        ("delegates/?user_add", "api_user", "User is not set."),
    ):
        assert site(url, **{field: value})["status"] == status
    assert len(site("users/?get", username=value)["users"]) == 5


def test_numbers_stand_for_their_decimal_text(site):
    assert site("users/?add", user_name=7)["user"] is True
    assert site("users/?add", user_name=1.5)["user"] is True
    assert site("users/?add", user_name=8.0)["user"] is True
    assert site.sql(
        "SELECT user_name FROM users WHERE typeof(user_name) = 'text' AND user_name GLOB '[0-9]*'"
    ) == [("1.5",), ("7",), ("8",)]


@pytest.mark.parametrize("body", [b"", b"  \n", b"{}"])
def test_empty_body_is_an_empty_object(site, body):
    assert site.raw("users/?get", body)["status"] == "Username is not set!"


def test_body_is_json_whatever_its_content_type_and_method(site):
    body = json.dumps({"auth": {"user_name": "bob", "password": "pw"}}).encode()
    for content_type in ("application/x-www-form-urlencoded", "application/json", "text/plain"):
        answer = site.browser().post("/users/?get", body, content_type=content_type).json
        assert answer["login"] is True
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = site.browser(REQUEST_METHOD=method).request("/users/?get", method=method, body=body)
        assert answer.json["login"] is True


def test_body_over_max_body_is_refused_before_it_is_read(tmp_path):
    site = Site(tmp_path, max_body=1000)

    class Unread:
        def read(self, *_):
            raise AssertionError("read")

    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/users/",
        "QUERY_STRING": "get",
        "CONTENT_LENGTH": "1001",
        "wsgi.input": Unread(),
        "wsgi.url_scheme": "http",
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
    }
    seen = []
    answer = json.loads(b"".join(site.app(environ, lambda status, headers, *_: seen.append(status))))
    too_large = f"413 {HTTPStatus(413).phrase}"  # which is another one from Python 3.13 on
    assert seen == [too_large] and answer["status"] == "Request body too large."
    assert "login" not in answer
    chunked = environ | {
        "CONTENT_LENGTH": "",
        "wsgi.input_terminated": True,
        "wsgi.input": io.BytesIO(b"x" * 1001),
    }
    json.loads(b"".join(site.app(chunked, lambda status, headers, *_: seen.append(status))))
    assert seen[1] == too_large


def exchange(site, stream: io.BytesIO, **environ) -> tuple[int, dict]:
    """Post as a WSGI server does, which closes the iterable at its end; return HTTP status and answer."""
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/users/",
        "QUERY_STRING": "get",
        "wsgi.input": stream,
        "wsgi.url_scheme": "http",
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
    } | environ
    seen = []
    answer = site.app(environ, lambda status, headers, *_: seen.append(status))
    payload = b"".join(answer)
    getattr(answer, "close", lambda: None)()
    return int(seen[0][:3]), json.loads(payload)


def test_a_body_that_was_not_read_is_discarded_after_the_answer(tmp_path):
    site = Site(tmp_path, max_body=1000)
    for path, status in (("/users/", 413), ("/nothing/", 404)):
        stream = io.BytesIO(b"x" * 200_000)
        assert exchange(site, stream, PATH_INFO=path, CONTENT_LENGTH="150000")[0] == status
        assert stream.tell() == 150_000  # what follows is the next request
    endless = io.BytesIO(b"x" * 40_000_000)
    assert exchange(site, endless, CONTENT_LENGTH="39000000")[0] == 413
    assert endless.tell() == MOST_DISCARDED


def test_a_body_that_ends_early_is_refused(site):
    for rest in (b"", b'{"auth": {}'):  # somebody else has read it, the client has gone
        status, answer = exchange(site, io.BytesIO(rest), CONTENT_LENGTH="12")
        assert (status, answer["status"]) == (400, "Incomplete request body.")

    class Gone(io.BytesIO):
        def read(self, *_):
            raise OSError("the client has gone")

    assert exchange(site, Gone(), CONTENT_LENGTH="10")[1]["status"] == "Incomplete request body."


def test_a_chunked_body_is_read_only_if_the_server_marks_its_end(site):
    body = json.dumps({"auth": {"user_name": "root", "password": "pw"}}).encode()
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked"}
    for ends in ({"wsgi.input_terminated": True}, {"wsgi.run_once": True}):
        assert exchange(site, io.BytesIO(body), **chunked, **ends)[1]["login"] is True
    status, answer = exchange(site, io.BytesIO(body), **chunked)
    assert (status, answer["status"]) == (411, "Request body of unknown length.") and "login" not in answer


def test_limit_shortens_the_lists_of_the_answer(site):
    assert len(site("users/?get&limit=2")["users"]) == 2
    answer = site("users/?get&limit=1", user="dele")
    assert answer["users"][0]["modules"] == {"User": True} and answer["permissions"] == {"delegate": True}
    site("delegates/?user_add", api_user="bob", api_delegate="ann")
    site("delegates/?address_add", api_user="bob", api_expression="x")
    assert {name: len(rows) for name, rows in site("delegates/?get&limit=1")["delegates"].items()} == {
        "users": 1,
        "addresses": 1,
    }


@pytest.mark.parametrize("limit", ["", "0", "-1", "1.5", "x", "1e3", "٣", "%2B5", "00"])
def test_other_limits_are_refused(site, limit):
    answer = site(f"users/?get&limit={limit}", check=400)
    assert answer["status"] == "Invalid limit." and "login" not in answer


def test_jsonp_passes_the_json_to_the_callback_as_a_string(site):
    site.sql("INSERT INTO users (user_name) VALUES (?)", "o'b\\r\"ien\u2028</script>")
    body = json.dumps({"auth": {"user_name": "root", "password": "pw"}})
    answer = site.browser().post("/users/?get&callback=jQuery_1.cb$", body)
    assert answer.content_type == "application/javascript"
    payload = re.fullmatch(r"jQuery_1\.cb\$\('((?:[^'\\\n\r\u2028\u2029]|\\.)*)'\)", answer.text)[1]
    payload = re.sub(r"\\(u2028|.)", lambda m: "\u2028" if m[1] == "u2028" else m[1], payload)
    assert "o'b\\r\"ien\u2028</script>" in [user["user_name"] for user in json.loads(payload)["users"]]


def test_headers_of_every_answer(site, tmp_path):
    for url, check in (("/?login", 200), ("/nothing/", 404)):
        headers = site.browser().get(url, status=check).headers
        assert headers["Content-Type"] == "application/json" and headers["Cache-Control"] == "no-store"
        assert headers["Access-Control-Allow-Origin"] == "*"
    (tmp_path / "2").mkdir()
    other = Site(tmp_path / "2", cors_origin="https://admin.example")
    assert other.browser().get("/").headers["Access-Control-Allow-Origin"] == "https://admin.example"
    (tmp_path / "3").mkdir()
    none = Site(tmp_path / "3", cors_origin="")
    assert "Access-Control-Allow-Origin" not in none.browser().get("/").headers


def test_debug_lists_statements_without_values(tmp_path):
    site = Site(tmp_path, debug=True)
    debug = site("users/?set_password", user_name="ann", user_authdata="geheim")["debug"]
    assert any(line.startswith('UPDATE "users" SET') for line in debug)
    assert "geheim" not in str(debug) and "salt" not in str(debug)


def test_a_client_that_loads_learns_that_nobody_is_logged_in(site):
    answer = site.raw("?login", json.dumps({"auth": {"user_name": "", "password": ""}}).encode())
    assert answer["login"] is False


def test_cors_preflight_is_answered_in_json(site):
    assert site.browser().options("/users/?get").json["status"] == "Username is not set!"


def test_the_answer_to_head_has_no_body(site):
    assert site.browser().head("/users/?get").body == b""


VALUES = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.binary()
    | strategies.text()
    | strategies.floats(allow_nan=False, allow_infinity=False),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner),
)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(strategies.dictionaries(strategies.text(), VALUES))
def test_an_answer_has_the_same_bytes_whether_orjson_is_installed_or_not(answer):
    assert mailapi.orjson, "it is not: make .venv/tested installs it"
    assert (
        mailapi.encode(answer)
        == json.dumps(answer, ensure_ascii=False, separators=(",", ":"), default=mailapi.readable).encode()
    )


@pytest.mark.parametrize(
    "number", [1e-05, 0.00001234, 1e-7, 5e-324, 0.0001, 1e16, 1e22, -0.0, 2**64, -(2**70)]
)
def test_numbers_are_written_as_python_writes_them(number):
    assert mailapi.encode({"n": number}) == b'{"n":%s}' % repr(number).encode()


def test_without_orjson_every_value_is_encoded(site, monkeypatch):
    with_it = site("users/?get"), site("?get_modules")
    monkeypatch.setattr(mailapi, "orjson", None)
    assert (site("users/?get"), site("?get_modules")) == with_it
