"""The panel in Chromium: somebody who uses it, the pages there are, and what axe-core finds on them."""

import importlib.util
import json
import os
from functools import cache
from pathlib import Path

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from selenium.webdriver.support.wait import WebDriverWait

from support.command_line import Server, write_config
from support.instances import free_port, skip_without
from support.panel import MAIL, add_mail, add_queued, panel_site

WIDTHS = (320, 768, 1440)
PAGES = {
    "root": [
        "",
        "people",
        "people?search=nobody",
        "person?user_name=ann",
        "person-add",
        "people-import",
        "person-delete?user_name=ann",
        "addresses",
        "address?address_order=1&address_expression=%25@corp.org",
        "address-add",
        "address-delete?address_order=1&address_expression=%25@corp.org",
        "address-test?address_expression=x@corp.org",
        "queue",
        "queue-change?change=delete&mail_id=1",
        "activity?audit_user=root",
        "services",
        "accounts",
        "service-account?user_name=ann",
        "service-account-delete?user_name=ann",
        "account",
        "account-activity",
    ],
    "ann": [
        "mail",
        "message?mail_id=1",
        "message?mail_id=1&plain=1",
        "write?answer=answer&mail_id=1",
        "mail?text=x",
        "threads",
        "thread?mail_id=1",
        "service-account",
        "filters",
        "queue",
    ],
}


class Person:
    """Somebody at the panel, or at other pages, with Chromium."""

    def __init__(self, driver, server, path: str = "panel/"):
        self.driver, self.url = driver, server.url + path
        self.wait = WebDriverWait(driver, 60, 0.02, ignored_exceptions=[WebDriverException])
        self.size(1440)
        driver.get("about:blank")
        driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        driver.get_log("browser"), driver.get_log("performance")

    def size(self, width: int, height: int = 900):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefers(self, **features):
        """Let the system prefer a color_scheme or a reduced_motion."""
        named = [
            {"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": named})

    def picture(self, name: str):
        """Write the whole page at each of WIDTHS to the folder that PANEL_SCREENSHOTS names, if it names one."""
        if not (folder := os.environ.get("PANEL_SCREENSHOTS")):
            return
        for width in WIDTHS:
            self.size(width)
            high = self.run("return document.documentElement.scrollHeight")
            self.size(width, min(max(high, 600), 3000))
            self.driver.get_screenshot_as_file(str(Path(folder) / f"{name}-{width}.png"))
        self.size(1440)

    def get(self, page: str = ""):
        self.driver.get(self.url + page)

    def find(self, selector: str) -> list:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def shows(self, wanted: str, selector: str = "main"):
        self.wait.until(lambda driver: any(wanted in element.text for element in self.find(selector)), wanted)

    def fill(self, form: str, **fields):
        """Type into the fields of a form by their ids, and send it."""
        for name, value in fields.items():
            (field,) = self.find(f"[id='{form}-{name}']")
            if field.tag_name == "select":
                Select(field).select_by_value(value)
            else:
                field.clear()
                field.send_keys(value)
        self.press(f"form:has(input[name=form][value={form}]) .buttons button")

    def press(self, selector: str):
        """Press the first such button or link, and wait for the next page."""
        self.wait.until(lambda driver: self.find(selector), selector)
        self.leave_by(self.find(selector)[0])

    def answer(self, selector: str = "button:not(.quiet)"):
        """Press a button of the dialog that is open, and wait for the next page."""
        self.press(f"dialog[open] {selector}")

    def open_dialog(self, selector: str):
        """Press the first such button or link, and wait for the dialog that it opens; return the dialog."""
        self.find(selector)[0].click()
        self.wait.until(lambda driver: self.find("dialog[open]"), selector)
        return self.find("dialog[open]")[0]

    def keys(self, keys: str):
        """Press keys where the focus is."""
        self.driver.switch_to.active_element.send_keys(keys)

    def run(self, script: str, *arguments):
        return self.driver.execute_script(script, *arguments)

    def follow(self, text: str):
        """Follow the link with this text, and wait for the next page."""
        self.wait.until(lambda driver: driver.find_elements(By.LINK_TEXT, text), text)
        self.leave_by(self.driver.find_element(By.LINK_TEXT, text))

    def leave_by(self, element):
        self.run("window.isOld = true")
        element.click()
        self.wait_for_next_page()

    def wait_for_next_page(self):
        """Wait until a page is there that has not the mark of the one before."""
        script = "return !window.isOld && document.readyState == 'complete'"
        self.wait.until(lambda driver: driver.execute_script(script))

    def search(self, field: str, text: str):
        """Type into a search field and press Enter, and wait for the next page."""
        self.run("window.isOld = true")
        self.find(field)[0].send_keys(text + Keys.ENTER)
        self.wait_for_next_page()

    def log_in(self, name: str, password: str = "pw"):
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.get("log-in")
        self.find("#user")[0].send_keys(name)
        self.search("#password", password)
        self.shows(name, ".who")

    def check_quiet(self):
        """Check that the browser complained of nothing and asked nobody else."""
        complaints = [entry for entry in self.driver.get_log("browser") if entry["level"] != "DEBUG"]
        assert not complaints
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = {
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        }
        assert asked and not [url for url in asked if not url.startswith((self.url, "data:", "about:"))]


@pytest.fixture
def panel_server(tmp_path, site_without_filters):
    """A running installation with the panel, filters, and an SMTP server that is down; `site` is its site."""
    site = panel_site(tmp_path)
    filters = site_without_filters.config["services"]["managesieve"]
    services = {"smtp": f"smtp://127.0.0.1:{free_port()}", "managesieve": filters}
    write_config(tmp_path, site.config["modulelist"], services=services)
    with Server(tmp_path) as started:
        started.site = site
        yield started


@pytest.fixture
def person(chromium, panel_server):
    person = Person(chromium, panel_server)
    yield person
    person.prefers()


def fill_site(site):
    """Store what every page shows something of."""
    rows = [
        ("%@corp.org", "store", "ann"),
        ("info@corp.org", "redirect", "x@far.org"),
        ("root@one.org", "store", "root"),
    ]
    for expression, router, route in [*rows, ("%", "reject", None), ("ann@corp.org", "store", "ann")]:
        site("addresses/?add", address_expression=expression, address_router=router, address_route=route)
    site("smtpd/?add", smtpd_user="ann", smtpd_router="any")
    site("pop/?add", pop_user="ann")
    site("tokens/?add", user="ann", token_name="backup on the file server", token_reads_only=True)
    for failures in range(3):
        add_queued(site, f"friend{failures}@far.example", failures, fatal=failures == 2)
    for number in range(3):
        add_mail(site, message=MAIL.replace("Plans", f"Plans for week {number}"))


@cache
def axe_source() -> str:
    """Return the script of axe-core, which comes with a package for another driver."""
    found = importlib.util.find_spec("axe_playwright_python")
    if not found:
        skip_without("axe-core")
    return (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text()


RUN_AXE = "const done = arguments[0]; axe.run(document).then((found) => done(found.violations), (e) => done(String(e)))"


def violations(driver) -> dict[str, list[str]]:
    """Return what axe-core finds on the page: the rule, and the elements that break it."""
    if not driver.execute_script("return !!window.axe"):
        driver.execute_script(axe_source())
    found = driver.execute_async_script(RUN_AXE)
    assert isinstance(found, list), found
    return {each["id"]: [node["html"][:200] for node in each["nodes"]] for each in found}
