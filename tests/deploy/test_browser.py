"""A person with Chromium, at a page that asks as the clients of the PHP API do (tests/client, docs/wire.md section 7a)."""

import json
import re

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from support.command_line import CONFIG, Server
from support.site import ROOT, Site

pytestmark = pytest.mark.slow


@pytest.fixture(params=["", "/cmail/api"], ids=["at the root", "mounted"])
def mount(request):
    return request.param


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    (tmp_path / "config.py").write_text(CONFIG)
    return site


@pytest.fixture
def server(site, mount, tmp_path):
    arguments = ["--mount", mount] if mount else []
    with Server(tmp_path, *arguments, "--static", f"/admin={ROOT / 'tests/client'}") as started:
        yield started


class Page:
    """The page as a person sees and uses it."""

    def __init__(self, driver, server, mount=""):
        self.driver, self.wait = driver, WebDriverWait(driver, 60, poll_frequency=0.02)
        driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        driver.get_log("browser"), driver.get_log("performance")
        driver.get(f"http://127.0.0.1:{server.port}/admin" + (f"?api={mount}/" if mount else ""))

    def shows(self, selector: str, wanted: str = ""):
        """Wait until an element can be seen, with a text in it."""
        self.wait.until(
            lambda driver: any(e.is_displayed() and wanted in e.text for e in self.find(selector)),
            f"{selector} does not show {wanted!r}",
        )

    def find(self, selector: str) -> list:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def fill(self, form: str, **fields):
        for name, value in fields.items():
            (field,) = self.find(f"#{form} [name={name}]")
            field.clear()
            field.send_keys(value)
        self.click(f"#{form} button")

    def click(self, selector: str):
        self.find(selector)[0].click()

    def log_in(self, user_name="root", password="pw"):
        self.shows("#login")
        self.fill("login", user_name=user_name, password=password)

    def edit(self, user_name: str):
        self.shows(f"[data-user={user_name}]")
        self.click(f"[data-user={user_name}] button")
        self.shows("#edited", user_name)

    def requests(self) -> list[dict | None]:
        """What the page has asked of the API since the last call, and None where an answer came, in their order."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [
            event["params"].get("request")
            for event in events
            if event["params"].get("type") == "XHR"
            and event["method"] in ("Network.requestWillBeSent", "Network.responseReceived")
        ]

    def troubles(self) -> list[str]:
        """What the browser complained of."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "DEBUG"]


def test_a_person_works_with_the_client(chromium, server, site, mount):
    page = Page(chromium, server, mount)
    page.log_in(password="wrong")
    page.shows("#status.refused", "Username or password is wrong.")
    page.log_in()
    page.shows("#who", "root")
    page.shows("[data-user=ann]", "ann")
    assert [row.text.split()[0] for row in page.find("#users tr")] == [
        "ann",
        "bob",
        "dele",
        "nologin",
        "root",
    ]

    page.fill("add", user_name="ünal", user_authdata="first")
    page.shows("#status", "Added ünal.")
    page.shows("[data-user=ünal]")
    page.fill("add", user_name="ünal")
    page.shows("#status.refused", "UNIQUE constraint failed: users.user_name")
    page.edit("ünal")
    page.fill("edit", user_authdata="second", user_alias="ann", user_permissions="delegate other")
    page.shows("#status", "Saved ünal.")
    page.shows("[data-user=ünal]", "ann")
    assert site.sql("SELECT user_alias FROM users WHERE user_name = 'ünal'") == [("ann",)]
    assert site.sql("SELECT api_permission FROM api_access WHERE api_user = 'ünal'") == [
        ("delegate",),
        ("other",),
    ]
    assert site("?login", user="ünal", password="second")["login"] is True

    page.driver.refresh()
    page.shows("#who", "root")
    page.click("#logout")
    page.shows("#login")
    page.shows("#status", "Successfully logged out.")
    page.driver.refresh()
    page.shows("#login")
    page.shows("#status", "Username is not set!")
    assert page.troubles() == []


def test_saving_ones_own_account_keeps_the_session(chromium, server, site, mount):
    page = Page(chromium, server, mount)
    page.log_in()
    page.shows("[data-user=root]")
    for number in range(5):
        page.edit("root")
        page.requests()
        page.fill("edit", user_authdata=f"new{number}", user_permissions=f"admin p{number}")
        page.shows("#status", "Saved root.")
        seen = page.requests()
        page.wait.until(lambda driver: len(seen) >= 4 or seen.extend(page.requests()))
        actions = [asked and asked["url"].split("?")[1] for asked in seen]
        assert actions[:3] == ["set_password", "update_alias", "update_permissions"] and actions[3] is None
        assert page.find("#login")[0].is_displayed() is False
        page.driver.refresh()
        page.shows("#who", "root")
        assert site("?login", password=f"new{number}")["permissions"] == {"admin": True, f"p{number}": True}
    assert page.troubles() == []


def test_the_page_asks_as_the_clients_of_the_original_do(chromium, server, site, mount):
    page = Page(chromium, server, mount)
    page.shows("#login")
    first, _ = page.requests()
    assert first["url"] == server.url + "?login" and first["method"] == "POST"
    assert json.loads(first["postData"]) == {"auth": {"user_name": "", "password": ""}}
    assert first["headers"]["Content-Type"] == "application/x-www-form-urlencoded"
    page.log_in()
    page.shows("#who", "root")
    (cookie,) = page.driver.execute_cdp_cmd("Network.getAllCookies", {})["cookies"]
    assert (cookie["path"], cookie["httpOnly"], cookie["sameSite"]) == (mount + "/", True, "Lax")
    assert page.driver.execute_script("return document.cookie") == ""


# What a page of another site can make a browser send, by script, by JSONP, by form and by link.
SCRIPT = """
    const [api, body, withCredentials, done] = arguments;
    const request = Object.assign(new XMLHttpRequest(), {onload: () => done(request.responseText)});
    request.onerror = () => done("refused");
    request.open("POST", api + "users/?add");
    request.withCredentials = withCredentials;
    request.send(body);
"""
JSONP = """
    const [api, done] = arguments;
    window.got = done;
    document.head.append(Object.assign(document.createElement("script"), {src: api + "users/?get&callback=got"}));
"""
FORM = """
    const [api, body] = arguments;
    const form = Object.assign(document.createElement("form"),
                               {method: "POST", enctype: "text/plain", action: api + "users/?add"});
    form.append(Object.assign(document.createElement("input"), {name: body + ', "x": "', value: '"}'}));
    document.body.append(form);
    form.submit();
"""
LINK = "location.href = arguments[0] + '?logout'"


def attack(page, origin: str, api: str) -> list[str]:
    """Everything that a page at origin can try with a browser that has a cookie for api; what it got to see."""
    seen, driver = [], page.driver
    scripts = [(SCRIPT, '{"user_name": "evil"}', True), (SCRIPT, '{"user_name": "evil2"}', False), (JSONP,)]
    for script, *values in scripts:
        driver.get(origin + "/admin/")
        seen.append(driver.execute_async_script(script, api, *values))
    for script in (FORM, LINK):
        driver.get(origin + "/admin/")
        driver.execute_script(script, api, '{"user_name": "evil3"')
        page.wait.until(lambda driver: re.match(f"{api}(users/)?[?]", driver.current_url))
        seen.append(page.find("body")[0].text)
    return seen


@pytest.mark.parametrize("mount", [""], ids=["at the root"])
def test_a_page_of_another_site_cannot_use_the_cookie(chromium, server, site):
    page = Page(chromium, server)
    page.log_in()
    page.shows("#who", "root")
    api = server.url
    by_script, *others, left = attack(page, f"http://localhost:{server.port}", api)
    assert by_script == "refused"  # with credentials there is nothing to see for another origin
    assert all('"status":"Username is not set!"' in answer for answer in others)
    assert site.sql("SELECT * FROM users WHERE user_name LIKE 'evil%'") == []
    page.driver.get(api + "admin/")
    page.shows("#who", "root")  # nor was the session ended
    # From our own page the same requests do all that, so it was the site that was refused.
    *others, left = attack(page, api.rstrip("/"), api)
    assert all('"auth_user":"root"' in answer for answer in others) and "Successfully logged out." in left
    assert len(site.sql("SELECT * FROM users WHERE user_name LIKE 'evil%'")) == 3
    page.driver.get(api + "admin/")
    page.shows("#login")
