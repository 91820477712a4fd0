"""The panel: log-in and log-out, sessions, and what keeps forms safe from other sites."""

import subprocess
import sys

import pytest

from support.panel import Panel, check_harmless, panel_site
from support.site import ROOT

pytestmark = pytest.mark.every_engine
PAGES = ["", "people", "person?user_name=ann", "addresses", "queue", "activity", "mail", "account"]


@pytest.fixture
def site(tmp_path):
    return panel_site(tmp_path)


def test_a_person_logs_in_and_out(site):
    root = Panel(site)
    root.shows("Overview", "root", "Log out")
    form = root.page.forms[0]
    assert form.action == "log-out"
    root.page = form.submit(status=303).follow()
    root.shows("You have logged out.")
    assert root.get("people", 303).location.endswith("log-in?next=people")


def test_a_wrong_password_keeps_the_name_and_is_in_the_audit(site):
    visitor = Panel(site, None)
    visitor.get("log-in")
    form = visitor.page.forms[0]
    visitor.fill(form, user_name="ann", password="wrong")
    visitor.page = form.submit()
    visitor.shows("Username or password is wrong.")
    assert visitor.page.forms[0]["user_name"].value == "ann" and visitor.page.forms[0]["password"].value == ""
    assert "PHPSESSID" not in visitor.browser.cookies
    [row] = site("audit/?get", audit_user="ann", audit_module="panel")["audit"]
    assert row["audit_status"] == "Username or password is wrong." and row["audit_via"] == "password"


def test_log_ins_and_log_outs_are_in_the_audit(site):
    ann = Panel(site, "ann")
    ann.page.forms[0].submit()
    rows = site("audit/?get", audit_user="ann")["audit"]
    assert [(row["audit_via"], row["audit_status"]) for row in rows] == [
        ("log-out", "ok"),
        ("password", "ok"),
    ]


def test_too_many_failures_say_how_long_to_wait(tmp_path):
    site = panel_site(tmp_path, free_attempts=1)
    visitor = Panel(site, None)
    for check in (200, 429):
        visitor.get("log-in")
        visitor.fill(visitor.page.forms[0], user_name="ann", password="wrong")
        visitor.page = visitor.page.forms[0].submit(status=check)
    visitor.shows("Too many failed log-ins.")
    assert int(visitor.page.headers["Retry-After"]) > 0


def test_the_log_in_leads_to_the_page_that_was_wanted(site):
    visitor = Panel(site, None)
    visitor.page = visitor.get("person?user_name=ann", 303).follow()
    visitor.fill(visitor.page.forms[0], user_name="root", password="pw")
    visitor.page = visitor.page.forms[0].submit(status=303).follow()
    assert visitor.page.request.path_qs == "/panel/person?user_name=ann"


@pytest.mark.parametrize(
    "target", ["//evil.example/", "https://evil.example", "/x", "javascript:alert(1)", "\\evil"]
)
def test_the_log_in_leads_nowhere_else(site, target):
    answer = site.browser().post("/panel/log-in?next=" + target, {"user_name": "root", "password": "pw"})
    assert answer.status_int == 303 and answer.headers["Location"] == "./"


@pytest.mark.parametrize("page", PAGES)
def test_every_page_needs_a_session(site, page):
    answer = site.browser().get("/panel/" + page)
    assert answer.status_int == 303 and answer.headers["Location"].startswith("log-in")


def test_a_form_of_another_site_is_refused(site):
    root = Panel(site)
    root.get("person-add")
    form = root.form("add-person")
    form["user_name"] = "eve"
    for headers in (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
    ):
        for address in ("person-add", "log-in", "log-out", "language"):
            fields = dict(form.submit_fields())
            assert root.browser.post(f"/panel/{address}", fields, headers=headers, status=403)
    assert not site.sql("SELECT 1 FROM users WHERE user_name = 'eve'")
    assert root.get("people")


def test_a_form_needs_the_token_of_its_session(site):
    root, other = Panel(site), Panel(site)
    other.get("person-add")
    root.get("person-add")
    token = root.form("add-person")["token"].value
    assert token != other.form("add-person")["token"].value
    assert root.browser.cookies["PHPSESSID"] not in root.page.text
    for wrong in ("", "x", other.form("add-person")["token"].value, "ü"):
        fields = {"form": "add-person", "user_name": "eve", "token": wrong}
        root.browser.post("/panel/person-add", fields, status=403)
        root.browser.post("/panel/log-out", fields, status=403)
    assert not site.sql("SELECT 1 FROM users WHERE user_name = 'eve'")
    # A form is sent to its own page only.
    fields = {"form": "delete-person", "user_name": "ann", "token": token}
    root.browser.post("/panel/person-add", fields, status=403)
    assert site.sql("SELECT 1 FROM users WHERE user_name = 'ann'")


def test_a_link_of_another_site_leads_to_the_log_in_with_a_way_on(site):
    root = Panel(site)
    root.page = root.get("people", 303, **{"Sec-Fetch-Site": "cross-site"})
    root.page = root.browser.get("/panel/" + root.page.location, headers={"Sec-Fetch-Site": "cross-site"})
    root.shows("You came from another site")
    assert "people" in root.links()


def test_sessions_end_with_the_password(site):
    ann = Panel(site, "ann")
    site("users/?set_password", user_name="ann", user_authdata="new")
    assert ann.get("account", 303).location.endswith("log-in?next=account")


def test_headers_of_pages(site):
    root = Panel(site)
    for page, check in [(page, 200) for page in PAGES] + [("nowhere", 404), ("log-in", 200)]:
        headers = root.get(page, check).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "frame-ancestors 'none'" in policy and "require-trusted-types-for 'script'" in policy
        assert "unsafe" not in policy and headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store" and headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in headers
        check_harmless(root.page.text)


def test_static_files_are_kept_by_browsers(site):
    page = site.browser().get("/panel/log-in")
    for address in [page.html.script["src"], *[link["href"] for link in page.html.select("link")]]:
        answer = site.browser().get("/panel/" + address)
        assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_addresses_are_relative(site):
    """A proxy may have removed the beginning of the path."""
    root = Panel(site)
    assert root.browser.get("/panel").headers["Location"] == "panel/"
    mounted = Panel(site, SCRIPT_NAME="/cmail/api")
    assert (
        "Path=/cmail/api/"
        in mounted.browser.post("/panel/log-in", {"user_name": "root", "password": "pw"}).headers[
            "Set-Cookie"
        ]
    )


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused(site, method):
    assert site.browser().request("/panel/people", method=method, status=405)


def test_bodies_that_are_no_forms_are_refused(site):
    browser = site.browser()
    assert browser.post("/panel/log-in", b"x" * 70_000, status=413)
    assert browser.post("/panel/log-in", b"&".join([b"a=1"] * 3000), status=400)
    root = Panel(site)
    for body in (b"\xff\xfe=%ff", b"{}", b"a=%00%00&form=add-person", b"%"):
        root.browser.post("/panel/person-add", body, status=403)
    root.get("person-add")
    root.submit("add-person", user_name="a\0b", check=200)
    root.shows("Invalid value for user_name.")


def test_pages_that_a_role_may_not_see_are_in_the_audit(site):
    ann = Panel(site, "ann")
    ann.get("people", 403)
    ann.get("nowhere", 404)
    row = site("audit/?get", audit_user="ann")["audit"][0]
    assert (row["audit_module"], row["audit_status"], row["audit_http"]) == ("panel", "Not allowed.", 403)


def test_too_long_queries_are_refused(site):
    assert site.browser().get("/panel/people?" + "a=1&" * 300, status=400)


def test_cookies_are_secure_over_https(site):
    root = Panel(site, **{"wsgi.url_scheme": "https"})
    root.get("person?user_name=ann")
    cookies = root.form("pop-on").submit().headers.getall("Set-Cookie")
    assert cookies and all("; Secure" in cookie and "SameSite=Strict" in cookie for cookie in cookies)


def test_an_installation_without_the_panel_loads_nothing_of_it(site, tmp_path):
    modules = {name: file for name, file in site.config["modulelist"].items() if name != "Panel"}
    program = (
        "import sys, mailapi; mailapi.create_app({'dbpath': 'x', 'modulelist': %r});"
        "print([name for name in sys.modules if 'mailapi_modules.web' in name or name.endswith('.panel')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program % modules], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
    assert Panel(site, None).get("log-in")


def test_the_language_is_the_browsers_or_the_chosen_one(site):
    visitor = Panel(site, None)
    visitor.get("log-in", **{"Accept-Language": "de-CH,de;q=0.9"})
    visitor.shows("Anmelden", "Benutzername")
    assert visitor.page.html.html["lang"] == "de"
    visitor.get("log-in", **{"Accept-Language": "fr,it"})
    visitor.shows("Log in")
    visitor.page = visitor.page.forms[1].submit("language", value="de", status=303).follow()
    visitor.shows("Anmelden")
    visitor.get("log-in", **{"Accept-Language": "en"})
    visitor.shows("Anmelden")
    visitor.fill(visitor.page.forms[0], user_name="ann", password="wrong")
    visitor.page = visitor.page.forms[0].submit()
    visitor.shows("Benutzername oder Passwort ist falsch.")
