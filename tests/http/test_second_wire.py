"""The second wire: URLs, methods, media types, credentials, CORS and strict fields (docs/wire.md section 9)."""

import json

import pytest

import mailapi
from support.bearers import make_token
from support.both_generations import add_address, stored_addresses
from support.browsers import log_in
from support.mails import deliver
from support.permission_table import PREPARATIONS, ROLES, TABLE, TARGETS, add_targets, fill_in
from support.second_wire import basic, bearer, outcome, post_bytes, send
from support.site import MODULES, OPTIONAL, Site


def test_answers_are_those_of_the_first_wire_with_a_code(either_with_all_modules):
    site = either_with_all_modules
    for module, old in (("users", "users/?get"), ("addresses", "addresses/?get"), ("pop", "pop/?get")):
        for method in ("GET", "POST"):
            assert send(site, f"{module}/get", method=method).json == site(old) | {"code": "ok"}
    assert send(site, "get_modules", method="GET").json == site("?get_modules") | {"code": "ok"}


@pytest.mark.parametrize("user", ["root", "dele", "ann"])
def test_a_get_has_its_fields_in_the_query(site, user):
    for fields in ({"username": "ann"}, {"limit": 1}, {"after": "ann", "search": "b"}):
        answers = [send(site, "users/get", user, method, **fields).json for method in ("GET", "POST")]
        assert answers[0] == answers[1] and answers[0]["code"] == "ok"
    assert [u["user_name"] for u in send(site, "users/get", "root", "GET", limit=1).json["users"]] == ["ann"]


def test_values_in_a_query_are_read_by_their_type(site):
    for query, expected in [
        ("mail_id=1&mail_id=2", (200, "ok", None)),
        ("mail_id=x", (422, "invalid_field", "mail_id")),
        ("mail-id=1", (422, "unknown_field", "mail-id")),
        ("after=%205", (422, "invalid_field", "after")),
        ("after=5.0", (422, "invalid_field", "after")),
        ("mail_state=late", (422, "invalid_field", "mail_state")),
        ("after=5&after=6", (422, "invalid_field", "after")),
        ("after=%FF", (400, "bad_request", None)),
        ("x&" * 200, (400, "bad_request", None)),
    ]:
        response = send(site, f"queue/get?{query}", method="GET")
        assert outcome(response)[:3] == expected, query
    assert outcome(send(site, "mailbox/get?mail_only_unread=true", method="GET"))[1] == "ok"
    assert outcome(send(site, "mailbox/get?mail_only_unread=yes", method="GET"))[1] == "invalid_field"


def test_whole_numbers_may_have_a_fraction_of_zero(site):
    for url, fields in (
        ("tokens/delete", {"token_id": 6e15}),
        ("queue/get", {"mail_id": [1.0], "limit": 6e15}),
    ):
        assert send(site, url, **fields).json["code"] in ("ok", "not_found")
    assert outcome(send(site, "queue/get", limit=1.5))[:3] == (422, "invalid_field", "limit")


def test_secrets_are_not_taken_from_a_url(site):
    response = send(site, "users/get?auth=x", None, method="GET", headers=basic("root"))
    assert outcome(response)[:3] == (422, "invalid_field", "auth")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE"])
def test_other_methods_are_refused(site, method):
    for url, allowed in (("users/get", "GET, HEAD, POST, OPTIONS"), ("users/add", "POST, OPTIONS")):
        response = send(site, url, method=method)
        assert outcome(response)[:2] == (405, "method") and response.headers["Allow"] == allowed


def test_a_change_takes_no_get(site):
    for browser in (site.browser(), log_in(site, "root")):
        for method in ("GET", "HEAD"):
            response = send(site, "pop/add?pop_user=ann", None, method=method, browser=browser)
            assert response.status_int == 405 and response.headers["Allow"] == "POST, OPTIONS"
    assert site.sql("SELECT * FROM popd") == []


def test_head_is_a_get_without_its_content(site):
    assert send(site, "users/get", method="HEAD").status_int == 200


def test_a_body_is_json_and_says_so(site):
    body = json.dumps({"pop_user": "ann"}).encode()
    for media_type in ("application/x-www-form-urlencoded", "text/plain", "application/jsonp", "x"):
        response = post_bytes(site, "pop/add", body, basic("root") | {"Content-Type": media_type})
        assert outcome(response) == (415, "media_type", None, "Send application/json.")
    for bad in (b"[]", b'"x"', b"{", b"\xff", b'{"a": NaN}'):
        assert outcome(post_bytes(site, "pop/add", bad, basic("root")))[:2] == (400, "invalid_json")
    assert outcome(post_bytes(site, "pop/add?pop_user=ann", b"{}", basic("root")))[:2] == (400, "bad_request")
    assert site.sql("SELECT * FROM popd") == []
    response = post_bytes(
        site, "pop/add", body, basic("root") | {"Content-Type": "Application/JSON; charset=utf-8"}
    )
    assert outcome(response)[1] == "ok" and site.sql("SELECT * FROM popd") == [("ann", 0)]


def test_a_body_that_is_too_large(tmp_path):
    site = Site(tmp_path, max_body=1000)
    response = send(site, "pop/add", pop_user="a" * 2000)
    assert outcome(response) == (413, "too_large", None, "Request body too large.")


def test_a_large_body_is_read_for_who_may(site):
    site.sql("INSERT INTO smtpd VALUES ('ann', 'any', NULL)")
    text = "x\r\n" * 60_000
    fields = {"from": "ann@corp.org", "to": "b@else.example", "text": text}
    assert outcome(send(site, "mailbox/send", "ann", **fields))[:2] == (200, "ok")
    assert site.sql("SELECT count(*) FROM outbox") == [(1,)]
    assert outcome(send(site, "mailbox/send", "ann", **fields, txt=1))[:3] == (422, "unknown_field", "txt")
    assert outcome(send(site, "users/import", "ann", file=text))[:2] == (403, "not_allowed")


def test_a_file_is_downloaded_by_get_and_by_post(site):
    mail = deliver(site, "ann", b"Subject: Hi\r\n\r\nHello")
    for method in ("GET", "POST"):
        response = send(site, "mailbox/raw", "ann", method, mail_id=mail)
        assert response.body == b"Subject: Hi\r\n\r\nHello" and response.content_type == "message/rfc822"
        assert outcome(send(site, "mailbox/raw", "bob", method, mail_id=mail))[:2] == (404, "not_found")


def test_basic_and_bearer_make_no_session(site):
    token = make_token(site, "root")
    for headers in (basic("root"), bearer(token)):
        response = send(site, "users/get", None, headers=headers)
        assert response.json["auth_user"] == "root" and "Set-Cookie" not in response.headers


def test_a_log_in_by_basic_is_in_the_audit(site):
    send(site, "users/get")
    send(site, "users/get", user="ann", headers=basic("ann", "wrong"))
    rows = site.state("SELECT audit_user, audit_via, audit_status FROM audit ORDER BY audit_id")
    assert rows == [("root", "password", "ok"), ("ann", "password", "Username or password is wrong.")]


def test_a_blank_body_is_no_json(site):
    assert outcome(post_bytes(site, "users/get", b" ", basic("root")))[:2] == (400, "invalid_json")
    assert post_bytes(site, "users/get", b"", basic("root")).json["status"] == "ok"


def test_names_and_depths_that_no_answer_can_repeat(site):
    assert outcome(post_bytes(site, "users/get", b'{"\\ud800": 1}', basic("root")))[1] == "unknown_field"
    deep = b'{"user_name": ' + b"[" * 900 + b"]" * 900 + b"}"
    assert outcome(post_bytes(site, "users/get", deep, basic("root")))[0] in (400, 422)


def test_auth_in_the_body_decides_and_makes_a_session(site):
    browser = site.browser()
    auth = {"user_name": "ann", "password": "pw"}
    response = send(site, "users/get", "root", browser=browser, auth=auth)
    assert response.json["auth_user"] == "ann" and "HttpOnly" in response.headers["Set-Cookie"]
    assert send(site, "users/get", None, "GET", browser=browser).json["auth_user"] == "ann"
    assert send(site, "users/get", "root", "GET", browser=browser).json["auth_user"] == "root"
    assert outcome(send(site, "users/get", None, auth="x"))[:3] == (422, "invalid_field", "auth")
    assert outcome(send(site, "users/get", None, auth={"user_name": [1]}))[:3] == (
        422,
        "invalid_field",
        "auth.user_name",
    )


def test_auth_in_the_body_is_an_object_of_two_texts(site):
    right = {"user_name": "root", "password": "pw"}
    for wrong, code, field in (
        (["root"], "invalid_field", "auth"),
        ({"user_name": 5}, "invalid_field", "auth.user_name"),
        (right | {"password": 5}, "invalid_field", "auth.password"),
        (right | {"passwort": "pw"}, "unknown_field", "auth.passwort"),
    ):
        response = send(site, "pop/add", None, auth=wrong, pop_user="ann")
        assert outcome(response)[:3] == (422, code, field)
    assert response.json["status"] == "Unknown field auth.passwort: did you mean auth.password?"
    assert site.sql("SELECT * FROM popd") == []
    nameless = {"user_name": None, "password": None}
    assert outcome(send(site, "pop/add", auth=nameless, pop_user="ann"))[:2] == (200, "ok")


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !", "Basic cm9vdA==", "Basic Og==", "Digest x", "Bearer", "x"]
)
def test_other_credentials_log_nobody_in(site, header):
    browser = log_in(site, "root")
    response = send(site, "users/get", None, headers={"Authorization": header}, browser=browser)
    assert response.status_int == 401 and response.json["login"] is False


def test_a_script_of_a_page_is_not_asked_for_a_password(site):
    """The browser would open its own log-in form, and remember the password."""
    challenges = {
        site: response.headers.getall("WWW-Authenticate")
        for site, response in (
            ("script", send(site, "users/get", None, headers={"Sec-Fetch-Site": "same-origin"})),
            ("curl", send(site, "users/get", None)),
        )
    }
    assert challenges["script"] == ['Bearer realm="mailapi"']
    assert [each.split()[0] for each in challenges["curl"]] == ["Bearer", "Basic"]


OTHER, OURS = {"Origin": "http://evil.example"}, {"Origin": "https://panel.example"}
CROSS = {"Sec-Fetch-Site": "cross-site"}


@pytest.mark.parametrize(
    ("headers", "method", "content_type", "passes"),
    [
        ({}, "POST", "application/json", True),
        (OURS, "POST", "application/json", True),  # after a preflight, without a browser's own credentials
        (OURS, "GET", None, True),
        (OURS | CROSS, "POST", None, False),
        (OTHER, "POST", "application/json", False),
        (OTHER, "GET", None, False),
        (CROSS, "GET", None, False),
        (CROSS, "POST", None, False),
    ],
)
def test_basic_that_a_browser_may_have_added_counts_only_for_cors_origin(
    tmp_path, headers, method, content_type, passes
):
    site = Site(tmp_path, cors_origin="https://panel.example")
    headers = headers | basic("root") | ({"Content-Type": content_type} if content_type else {})
    body = b"{}" if content_type else b""
    response = site.browser().request(
        "/pop/get", method=method, body=body, headers=headers, expect_errors=True
    )
    assert outcome(response)[:2] == ((200, "ok") if passes else (403, "cross_site"))


@pytest.mark.parametrize(
    ("cors_origin", "origin", "allowed"),
    [
        ("*", "http://any.example", "*"),
        ("https://panel.example", "https://panel.example", "https://panel.example"),
        ("https://panel.example", "http://evil.example", None),
        ("https://panel.example", None, None),
        ("", "http://any.example", None),
    ],
)
def test_preflight_lets_pages_of_cors_origin_send_credentials_of_their_own(
    tmp_path, cors_origin, origin, allowed
):
    site = Site(tmp_path, cors_origin=cors_origin)
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"} if origin else {}
    for url, methods in (("users/get", "GET, HEAD, POST, OPTIONS"), ("users/add", "POST, OPTIONS")):
        response = send(site, url, None, "OPTIONS", headers=headers)
        assert response.status_int == 204 and response.body == b"" and response.headers["Allow"] == methods
        assert response.headers.get("Access-Control-Allow-Origin") == allowed
        assert response.headers.get("Access-Control-Allow-Methods") == (methods if allowed else None)
        wanted = "Authorization, Content-Type" if allowed else None
        assert response.headers.get("Access-Control-Allow-Headers") == wanted
        assert "Access-Control-Allow-Credentials" not in response.headers
    assert outcome(send(site, "users/nothing", None, "OPTIONS"))[:2] == (404, "unknown_action")


def test_suggestions_are_short_and_of_configured_modules_only(tmp_path):
    modules = {name: MODULES[name] for name in ("User", "POP")}
    site = Site(tmp_path, modulelist=modules)
    for name in ("smtp", "token", "queues", "", "\x00", "a" * 5000, "%", "useRs/.."):
        answer = send(site, f"{name}/get", None, "GET").json
        assert answer["code"].startswith("unknown_") and len(answer["status"]) < 120, answer
        assert not {"smtpd", "tokens", "queue"} & set(answer["status"].replace("?", " ").split()), answer
    many = {f"{'x' * 100}{n}": 1 for n in range(5000)}
    answer = send(site, "users/get", **many).json
    assert answer["code"] == "unknown_field" and len(answer["status"]) < 120 and len(answer["field"]) <= 64
    assert "login" not in send(site, "users/gett", None).json


def test_the_first_wire_stays_where_it_was(site):
    for url in ("users/?get", "users?get", "users/index.php?get", "index.php?get_modules", "?get_modules"):
        answer = site(url)
        assert answer["status"] == "ok" and answer["login"] is True and "code" not in answer
    assert "code" not in site("nothing?get", check=404) and "code" not in site("nothing/?get", check=404)
    assert "code" not in site("users/get/?get", check=404)


def test_nobody_s_fields_are_read_who_may_not_do_it_anyway(site):
    """A caller without the right learns neither which field is wrong nor whether one is missing."""
    for fields in ({}, {"user_name": ["x"]}, {"nothing": 1}, {"user_name": "ann", "user_permission": "\x00"}):
        assert outcome(send(site, "users/add_permission", "bob", **fields))[:2] == (403, "not_allowed")
        assert outcome(send(site, "users/add_permission", None, **fields))[:2] == (401, "not_logged_in")
    token = make_token(site, "root", token_reads_only=True)
    assert outcome(send(site, "users/add", None, headers=bearer(token), nothing=1))[:2] == (
        403,
        "token_scope",
    )


def test_null_is_not_given(site):
    assert outcome(send(site, "users/get", username=None))[1] == "ok"
    assert outcome(send(site, "pop/add", pop_user=None))[:3] == (422, "missing_field", "pop_user")
    for field, value in (("user_name", "a\x00b"), ("user_name", "a\ud800")):
        assert outcome(send(site, "users/add", **{field: value}))[:3] == (422, "invalid_field", field)


@pytest.mark.parametrize("action", ["switch", "reorder"])
def test_f11_addresses_are_given_as_get_returns_them(either, action):
    add_address(either, 1, "a@corp.org", None if either.generation == 9 else "bob", "drop")
    add_address(either, 2, "b@corp.org", "ann")
    second, first = send(either, "addresses/get").json["addresses"]
    fields = (
        {"addresses": [first, second]} if action == "reorder" else {"address1": first, "address2": second}
    )
    unknown = json.loads(json.dumps(fields).replace("address_expression", "expression"))
    assert outcome(send(either, f"addresses/{action}", **unknown))[:2] == (422, "invalid_field")
    assert outcome(send(either, f"addresses/{action}", **fields))[:2] == (200, "ok")
    assert [row[0] for row in stored_addresses(either)] == ["b@corp.org", "a@corp.org"]


def test_the_other_spelling_of_a_permission_is_a_field_too(either):
    either.sql("INSERT INTO users (user_name) VALUES ('x')")
    assert (
        outcome(send(either, "users/update_permissions", user_name="x", user_rights=["special"]))[1] == "ok"
    )
    column = "api_permission" if either.generation == 9 else "api_right"
    assert either.sql(f"SELECT {column} FROM api_access WHERE api_user = 'x'") == [("special",)]


@pytest.mark.every_engine
@pytest.mark.parametrize("role", ["foreign", "own", "delegated", "undelegated", "admin"])
def test_both_wires_let_the_same_callers_do_the_same(tmp_path, role):
    """Every line of the permission table: status and change are those of the first wire."""
    site = Site(tmp_path, 9, OPTIONAL)
    add_targets(site)
    saved, (user, target) = site.save(), ROLES[role]
    for path, action, fields, generations, *statuses in TABLE:
        if 9 in generations and path not in ("tokens", "accounts"):
            site.sql(PREPARATIONS.get((path, action), "SELECT 1"))
            declared = site.app.modules[path].endpoints[action].fields(mailapi.GENERATIONS[9])
            given = {n: v for n, v in fill_in(fields, TARGETS[target]).items() if n in declared}
            response = send(site, f"{path}/{action}".lstrip("/"), user, **given)
            if "Content-Disposition" not in response.headers:
                expected = statuses[list(ROLES).index(role)].format("permission")
                assert response.json["status"] == expected, (path, action, fields)
                assert (response.status_int == 200) is (expected == "ok")
            site.restore(saved)
