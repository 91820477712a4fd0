"""The panel with hostile texts: in every column that a page shows, and in every field of every form."""

import pytest

from support.panel import Panel, add_mail, add_queued, check_harmless, panel_site, shown_text
from support.site import ROOT

VECTORS = [
    line
    for line in (ROOT / "tests/corpus/html/vectors").read_text().splitlines()
    if line and "\0" not in line
]
HOSTILE = [line[:200] for line in VECTORS] + [
    "{{visitor}} % end",
    "<% import os %>",
    "%(name)s {name} {0}",
    "' \" ` & < > &lt; &#39;",
    "\u202eevil\u2066\u200b",
    "../../x?y=z#w",
    "//evil.example/",
    "javascript:alert(1)",
    "a" * 900,
]
PAGES = [
    "",
    "people",
    "person?user_name=ann",
    "addresses",
    "queue",
    "activity",
    "mail",
    "threads",
    "account",
    "account-activity",
    "accounts",
    "services",
]


@pytest.fixture
def site(tmp_path):
    site = panel_site(tmp_path)
    site.insert_many("INSERT INTO users (user_name) VALUES (?)", [[text] for text in set(HOSTILE)])
    site.insert_many(
        "INSERT INTO addresses (address_expression, address_router, address_route) VALUES (?, ?, ?)",
        [[text, text if number % 2 else "store", text] for number, text in enumerate(HOSTILE)],
    )
    for text in HOSTILE[:40]:
        mail_id = add_queued(site, text, failures=1)
        site.sql("UPDATE faillog SET fail_message = ? WHERE fail_mail = ?", text, mail_id)
        site.sql(
            "UPDATE outbox SET mail_remote = ?, mail_envelopefrom = ? WHERE mail_id = ?", text, text, mail_id
        )
        message = f"From: {text}\nTo: {text}\nSubject: {text}\n\n{text}\n".replace("\u202e", "")
        add_mail(site, "root", message)
    return site


def all_pages(browser: Panel, page: str) -> str:
    """Return the text of a page and of those that follow it."""
    browser.get(page)
    text = browser.page.text
    while browser.page.html.select("a[rel=next]"):
        browser.page = browser.page.click("Next page|Nächste Seite")
        text += browser.page.text
    return text


@pytest.mark.parametrize("page", PAGES)
def test_what_is_stored_is_shown_as_text(site, page):
    root = Panel(site)
    for text in HOSTILE[:10]:
        site("pop/?add", pop_user=text)
        site("users/?get", user=text, password="wrong")
    html = all_pages(root, page)
    check_harmless(root.page.text)
    if page in ("people", "addresses"):
        shown = shown_text(html)
        assert sum(" ".join(text.split()) in shown for text in HOSTILE) > len(HOSTILE) * 0.9


@pytest.mark.parametrize("number", range(0, len(HOSTILE), 12))
def test_pages_of_hostile_people(site, number):
    root = Panel(site)
    for name in HOSTILE[number : number + 12]:
        answer = root.browser.get("/panel/person", {"user_name": name}, status=[200, 404])
        check_harmless(answer.text)
        if answer.status_int == 200:
            assert answer.html.h1.text == name
            for link in answer.html.select("main a[href]"):
                assert root.browser.get("/panel/" + link["href"], status=[200, 403, 404])


FORMS = {
    "person-add": ["add-person"],
    "person?user_name=ann": [
        "set-password",
        "set-alias",
        "set-permissions",
        "add-sending",
        "pop-on",
        "add-manager",
        "add-managed",
        "add-expression",
    ],
    "address-add": ["add-address"],
    "account": ["own-password", "add-token"],
    "write": ["send-mail"],
}


@pytest.mark.parametrize("page", FORMS)
@pytest.mark.parametrize("text", HOSTILE[::6] + HOSTILE[-9:] + ["\0", "\ud800", "9" * 5000, "é" * 1000])
def test_what_is_typed_is_shown_as_text(tmp_path, page, text):
    site = panel_site(tmp_path)
    root = Panel(site)
    for name in FORMS[page]:
        if root.get(page, "*").status_int != 200:  # the session may have ended by another password
            root = Panel(site, password=text)
            root.get(page)
        if name == "own-password":
            continue
        form = root.form(name)
        fields = [
            (key, value if key in ("form", "token") else text) for key, value in form.submit_fields() if key
        ]
        body = "&".join(f"{key}={quoted(value)}" for key, value in fields)
        answer = root.browser.post("/panel/" + page, body, status="*")
        assert answer.status_int in (200, 303, 403, 413), answer.text
        if answer.status_int != 303:
            check_harmless(answer.text)


def quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode(errors="surrogatepass"))


def test_hostile_addresses_of_pages(tmp_path):
    root = Panel(panel_site(tmp_path))
    for text in HOSTILE:
        for query in (
            "people?search=",
            "people?after=",
            "addresses?search=",
            "activity?audit_user=",
            "mail?text=",
        ):
            answer = root.browser.get(f"/panel/{query}{quoted(text)}", status="*")
            assert answer.status_int in (200, 400)
            check_harmless(answer.text)
        if text.isascii():  # WebOb cannot ask for others
            check_harmless(root.browser.get("/panel/" + quoted(text), status=404).text)


@pytest.mark.parametrize("name", ["page", "name", "visitor", "query", "self"])
def test_queries_with_the_names_of_python_parameters(tmp_path, name):
    root = Panel(panel_site(tmp_path))
    for page in ("log-in", "people", "account", "nowhere"):
        check_harmless(root.get(f"{page}?{name}=x", 404 if page == "nowhere" else 200).text)


def test_hostile_cookies(tmp_path):
    root = Panel(panel_site(tmp_path))
    session = f"PHPSESSID={root.browser.cookies['PHPSESSID']}"
    for other in (
        "panel_done=<script>; panel_secret=<b>",
        "panel_language=xx",
        "panel_secret=mailapi_<script>",
        "=;;",
    ):
        root.browser.cookiejar.clear()
        root.get("account", Cookie=f"{session}; {other}")
        check_harmless(root.page.text)


def test_what_is_no_text_is_shown(tmp_path):
    """BLOBs and bytes of another charset in columns of text."""
    site = panel_site(tmp_path)
    if hasattr(site.app.db, "opened"):
        site.sql(
            "INSERT INTO addresses (address_expression, address_router, address_route) VALUES (?, 'store', ?)",
            b"\xff@x",
            b"\xfe",
        )
        root = Panel(site)
        root.get("addresses")
        root.shows("\ufffd@x")
