"""The page at / and the console, by webtest and in Chromium."""

import json
import subprocess
import sys

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

import mailapi
from support.browsers import log_in
from support.command_line import Server, write_config
from support.panel_browser import Person, violations
from support.site import MODULES, ROOT, Site

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PAGES = {"Panel": "modules/panel.py", "Console": "modules/console.py"}


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path, extra=PAGES)


def test_a_browser_gets_a_page_with_the_way_on(site):
    page = site.browser().get("/", headers=BROWSER)
    assert page.content_type == "text/html" and mailapi.__version__ in page.text
    assert {link["href"] for link in page.html.find_all("a")} == {"panel/", "console/", "openapi.json"}
    assert "not logged in" in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Frame-Options"] == "DENY"
    browser = log_in(site, "ann")
    assert "<strong>ann</strong>" in browser.get("/", headers=BROWSER).text
    site("users/?set_password", user_name="ann", user_authdata="new")
    assert "not logged in" in browser.get("/", headers=BROWSER).text


def test_names_on_the_page_are_text(site):
    name = "<b>&\"'"
    site("users/?add", user_name=name, user_authdata="pw")
    assert "<strong>&lt;b&gt;&amp;" in log_in(site, name).get("/", headers=BROWSER).text


def test_programs_get_what_they_got(site):
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        assert site.browser().get("/", headers=headers).json["status"] == "Username is not set!"
    assert site.browser().get("/?get_modules", headers=BROWSER).json["login"] is False
    answer = site.browser().post("/", "{}", headers=BROWSER)
    assert answer.json["status"] == "Username is not set!"


def test_only_what_is_configured_is_linked(tmp_path):
    page = Site(tmp_path).browser().get("/", headers=BROWSER)
    assert [link["href"] for link in page.html.find_all("a")] == ["openapi.json"]
    assert Site(tmp_path).browser().get("/console/", status=404)


def test_the_console_has_three_files_and_a_strict_policy(site):
    browser = site.browser()
    assert browser.get("/console", status=303).headers["Location"].endswith("console/")
    for name, kind in {"": "text/html", "console.js": "text/javascript", "console.css": "text/css"}.items():
        answer = browser.get(f"/console/{name}")
        assert answer.content_type == kind and "trusted-types" in answer.headers["Content-Security-Policy"]
    for name in ("x", "../users.py", "console.html/x"):
        browser.get(f"/console/{name}", status=404)
    browser.post("/console/", "x=1", status=405)
    assert "innerHTML" not in browser.get("/console/console.js").text


@pytest.mark.slow
def test_the_console_in_a_browser(tmp_path, chromium):
    site = Site(tmp_path)
    write_config(tmp_path, MODULES | PAGES)
    wait = WebDriverWait(chromium, 60, 0.05, ignored_exceptions=[WebDriverException])

    def find(selector):
        return chromium.find_element(By.CSS_SELECTOR, selector)

    def shows(selector, text):
        wait.until(lambda _: text in find(selector).text, f"{text} in {selector}")

    with Server(tmp_path) as server:
        chromium.get(f"{server.url}console/")
        shows("#actions", "users/add")
        listed = {each.text for each in chromium.find_elements(By.CSS_SELECTOR, "#actions button")}
        modules = site.app.modules
        assert listed == {
            f"{path}/{name}".lstrip("/")
            for path, module in modules.items()
            if 9 in module.generations
            for name in module.endpoints
        }
        find("[name=user_name]").send_keys("root")
        find("[name=password]").send_keys("wrong" + Keys.ENTER)
        shows("#who", "Username or password is wrong.")
        find("[name=password]").send_keys("pw" + Keys.ENTER)
        shows("#who", "Logged in as root.")
        find("#filter").send_keys("users/add")
        wait.until(lambda _: len(chromium.find_elements(By.CSS_SELECTOR, "#actions button")) < 5)
        find("#actions button").send_keys(Keys.ENTER)
        shows("#name", "users/add")
        find("#field-user_name").send_keys("<i>zoe'")
        find("#field-user_authdata").send_keys("secret-password")
        find("#field-user_permissions").send_keys("delegate")
        shows("#curl", "users/add")
        assert "secret-password" not in find("#curl").text
        find("#request button").click()
        shows("#status", "HTTP 200")
        assert json.loads(find("#answer").text)["user"] is True
        find("#request button").click()
        shows("#status", "HTTP 409")
        assert site.sql("SELECT api_permission FROM api_access WHERE api_user = ?", "<i>zoe'") == [
            ("delegate",)
        ]
        find("#log-out").click()
        shows("#who", "Not logged in.")
        find("#request button").click()
        shows("#status", "HTTP 401")
        assert not [entry for entry in chromium.get_log("browser") if "status of 4" not in entry["message"]]


RECORD = """
const all = [...document.querySelectorAll("a[href], button, input, select, textarea, pre")]
  .filter((each) => each.checkVisibility() && each.tabIndex >= 0);
all.forEach((each, number) => { each.dataset.number = number; });
window.reached = [];
addEventListener("focusin", ({ target }) => {
  if (target.dataset.number) reached.push([Number(target.dataset.number), getComputedStyle(target).outlineStyle]);
});
document.activeElement.blur();
return all.length;
"""


@pytest.mark.slow
def test_the_console_is_for_everybody(tmp_path, chromium):
    """axe-core finds nothing in both colour schemes, the keyboard reaches everything, and it fits narrow windows."""
    Site(tmp_path)
    write_config(tmp_path, MODULES | PAGES)
    found = {}
    with Server(tmp_path) as server:
        person = Person(chromium, server, "")
        for scheme in ("light", "dark"):
            person.prefers(color_scheme=scheme, reduced_motion="reduce")
            person.get("console/")
            person.shows("users/add", "#actions")
            found[scheme, "start"] = violations(chromium)
            person.find("[name=user_name]")[0].send_keys("root")
            person.find("[name=password]")[0].send_keys("pw" + Keys.ENTER)
            person.shows("Logged in as root.", "#who")
            person.find("#filter")[0].send_keys("users/add")
            person.find("#actions button")[0].click()
            person.find("#field-user_name")[0].send_keys(f"new-{scheme}" + Keys.ENTER)
            person.shows("HTTP 200", "#status")
            found[scheme, "answer"] = violations(chromium)
            for width in (320, 640):
                person.size(width)
                assert person.run("return document.documentElement.scrollWidth") <= width
                found[scheme, width] = violations(chromium)
            person.size(1440)
            number = person.run(RECORD)
            ActionChains(chromium).send_keys(Keys.TAB * (number + 10)).perform()
            reached, outlines = zip(*person.run("return window.reached"))
            assert set(reached) == set(range(number)) and set(outlines) == {"solid"}
            order = list(dict.fromkeys(reached))  # from the element that had the focus on, and around
            assert order == [(order[0] + step) % number for step in range(number)]
            person.find("#log-out")[0].click()
            person.shows("Not logged in.", "#who")
        person.prefers()
        person.check_quiet()
    assert {key: value for key, value in found.items() if value} == {}


def test_the_console_loads_nothing_of_the_panel():
    program = (
        "import sys, mailapi; mailapi.create_app({'dbpath': 'x', 'modulelist': {'Console': 'modules/console.py'}});"
        "print(sorted(name.rpartition('.')[2] for name in sys.modules if 'mailapi_modules.web.' in name))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['templates']\n"
