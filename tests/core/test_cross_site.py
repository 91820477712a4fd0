"""Requests that a browser sends for the page of another site: the cookie counts only for pages of our own (F42, F43)."""

import json

import pytest

from support.browsers import (
    LOGGED_OUT,
    NO_USER_NAME,
    ask,
    browser_with_session,
    credentials,
    is_logged_in,
    log_in,
    post,
    session_of,
)
from support.site import OPTIONAL, Site

SITE, ORIGIN = "Sec-Fetch-Site", "Origin"


@pytest.mark.parametrize(
    ("headers", "counts"),
    [
        ({}, True),
        ({SITE: "same-origin"}, True),
        ({SITE: "same-site"}, False),
        ({SITE: "none"}, True),
        ({SITE: "cross-site"}, False),
        ({SITE: "cross-site", ORIGIN: "http://localhost"}, False),
        ({SITE: "same-origin", ORIGIN: "http://evil.example"}, True),
        ({ORIGIN: "http://localhost"}, True),
        ({ORIGIN: "http://LOCALHOST:80"}, True),
        ({ORIGIN: "http://localhost:8080"}, False),
        ({ORIGIN: "https://localhost"}, False),
        ({SITE: "", ORIGIN: "null"}, False),
        ({ORIGIN: "http://evil.example"}, False),
        ({ORIGIN: "null"}, False),
        ({ORIGIN: "http://localhost.evil.example"}, False),
        ({ORIGIN: "http://evil.example/localhost"}, False),
        ({ORIGIN: "http://localhost@evil.example"}, False),
        ({ORIGIN: "http://[evil"}, False),
        ({ORIGIN: ""}, False),
    ],
)
def test_f42_a_cookie_counts_unless_a_page_of_another_origin_sent_it(site, headers, counts):
    answer = post(log_in(site), "pop/?add", headers, pop_user="bob").json
    assert answer["status"] == ("ok" if counts else NO_USER_NAME)
    assert bool(site.sql("SELECT * FROM popd")) is counts


@pytest.mark.parametrize(
    ("headers", "counts"),
    [
        ({}, True),  # of a program that is no browser
        ({"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}, False),
        ({"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)", "Referer": "http://localhost/"}, True),
        ({"Referer": "http://localhost/admin/?x"}, True),
        ({"Referer": "http://localhost:8080/admin/"}, False),
        ({"Referer": "http://evil.localhost/"}, False),
        ({"Referer": "http://localhost/", ORIGIN: "http://localhost:8080"}, False),
        ({SITE: "same-origin"}, True),
        ({SITE: "same-site", "Referer": "http://localhost/"}, False),
    ],
)
def test_f42_a_script_gets_data_for_a_page_of_our_own_only(site, headers, counts):
    answer = log_in(site).get("/users/?get&callback=show", headers=headers).text
    assert ("auth_user" in answer) is counts and answer.startswith("show(")


@pytest.mark.parametrize(
    ("environ", "origin", "counts"),
    [
        ({"HTTP_HOST": "mail.example:8080"}, "http://mail.example:8080", True),
        ({"HTTP_HOST": "mail.example:8080"}, "http://mail.example", False),
        ({"HTTP_HOST": "[2001:db8::1]:8080"}, "http://[2001:db8::1]:8080", True),
        ({"HTTP_HOST": "["}, "null", False),
        ({"HTTP_HOST": "mail.example:x"}, "null", False),
        ({"HTTP_HOST": "mail.example", "HTTP_X_FORWARDED_PROTO": "https"}, "https://mail.example", True),
        ({"HTTP_HOST": "mail.example", "HTTP_X_FORWARDED_PROTO": "https"}, "http://mail.example", False),
        (
            {"HTTP_HOST": "mail.example", "HTTP_X_FORWARDED_PROTO": "https", "REMOTE_ADDR": "192.0.2.9"},
            "https://mail.example",
            False,
        ),
        ({"HTTP_HOST": "mail.example", "wsgi.url_scheme": "https"}, "https://mail.example:443", True),
    ],
)
def test_f42_the_origin_is_the_one_that_the_client_sees(tmp_path, environ, origin, counts):
    site = Site(tmp_path, trusted_proxies=["192.0.2.1"])
    answer = site.raw(
        "pop/?get",
        b"{}",
        **{
            "REMOTE_ADDR": "192.0.2.1",
            "HTTP_COOKIE": f"PHPSESSID={session_of(log_in(site))}",
            "HTTP_ORIGIN": origin,
        }
        | environ,
    )
    assert answer["login"] is counts


def test_f42_a_proxy_that_drops_the_port_is_logged_once(site, caplog):
    browser = log_in(site)
    for _ in range(3):
        assert post(browser, "pop/?get", {ORIGIN: "http://localhost:8080"}).json["login"] is False
        assert post(browser, "pop/?get", {ORIGIN: "http://evil.example"}).json["login"] is False
    assert [record.message for record in caplog.records if "was ignored" in record.message] == [
        "a session cookie was ignored: the page is at http://localhost:8080, and the request came for http://localhost:80; "
        "a proxy must pass Host with its port, and X-Forwarded-Proto"
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_f43_a_link_on_another_page_changes_nothing(tmp_path, method):
    site = Site(tmp_path, extra=OPTIONAL)
    browser, before = log_in(site), site.dump()
    urls = [
        f"/{module.path}/?{name}"
        for module in site.app.modules.values()
        for name, action in module.endpoints.items()
        if not action.read_only and 9 in module.generations
    ]
    assert len(urls) > 30
    for url in urls:
        answer = browser.request(url, method=method, status=405)
        assert answer.headers["Allow"] == "POST" and (
            method == "HEAD" or answer.json["status"] == "Use POST."
        )
    assert site.dump() == before
    assert browser.get("/?logout").json["status"] == LOGGED_OUT and not is_logged_in(browser)


def test_f43_credentials_and_tokens_may_use_any_method(site):
    secret = site("tokens/?add", user="bob", token_name="x")["token"]
    body = json.dumps({"auth": credentials(), "pop_user": "bob"}).encode()
    assert site.browser().request("/pop/?add", method="GET", body=body).json["status"] == "ok"
    answer = site.browser().request(
        "/pop/?delete",
        method="GET",
        body=b'{"pop_user": "bob"}',
        headers={"Authorization": f"Bearer {secret}"},
    )
    assert answer.json["status"] == "ok" and not site.sql("SELECT * FROM popd")
    assert log_in(site).request("/pop/?add", method="PUT", body=b'{"pop_user": "bob"}').json["status"] == "ok"


def test_another_site_cannot_end_a_session(site):
    browser = browser_with_session(site, session_of(log_in(site)))
    assert post(browser, "?logout", {SITE: "cross-site"}).json["status"] == LOGGED_OUT
    post(browser, headers={SITE: "cross-site"}, auth=credentials("ann"))
    assert ask(browser)["auth_user"] == "bob"


def test_another_site_may_send_credentials(site):
    assert post(site.browser(), headers={SITE: "cross-site"}, auth=credentials()).json["login"] is True


def test_jsonp_called_by_another_site_shows_nothing(site):
    browser = log_in(site)
    assert '"auth_user":"bob"' in browser.get("/users/?get&callback=f", headers={SITE: "same-origin"}).text
    answer = browser.get("/users/?get&callback=f", headers={SITE: "cross-site"}).text
    assert answer.startswith("f('") and NO_USER_NAME in answer and "bob" not in answer
