"""The panel in Chromium: a day's work, hostile texts, the keyboard, accessibility, and how it fits its window."""

import importlib.util
import json
import os
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
from support.site import ROOT

pytestmark = pytest.mark.slow
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
        "account",
    ],
    "ann": [
        "mail",
        "message?mail_id=1",
        "message?mail_id=1&plain=1",
        "write?answer=answer&mail_id=1",
        "mail?text=x",
        "filters",
        "queue",
    ],
}


@pytest.fixture
def site(tmp_path, site_without_filters):
    site = panel_site(tmp_path)
    filters = site_without_filters.config["services"]["managesieve"]
    services = {"smtp": f"smtp://127.0.0.1:{free_port()}", "managesieve": filters}
    write_config(tmp_path, site.config["modulelist"], services=services)
    return site


@pytest.fixture
def server(site, tmp_path):
    with Server(tmp_path) as started:
        yield started


class Person:
    """Somebody at the panel with Chromium."""

    def __init__(self, driver, server):
        self.driver, self.url = driver, f"{server.url}panel/"
        self.wait = WebDriverWait(driver, 60, 0.02, ignored_exceptions=[WebDriverException])
        self.size(1440)
        driver.get("about:blank")
        driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        driver.get_log("browser"), driver.get_log("performance")

    def size(self, width: int, height: int = 900):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, name: str):
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

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

    def follow(self, text: str):
        """Follow the link with this text, and wait for the next page."""
        self.wait.until(lambda driver: driver.find_elements(By.LINK_TEXT, text), text)
        self.leave_by(self.driver.find_element(By.LINK_TEXT, text))

    def leave_by(self, element):
        self.driver.execute_script("window.isOld = true")
        element.click()
        self.wait_for_next_page()

    def wait_for_next_page(self):
        """Wait until a page is there that has not the mark of the one before."""
        script = "return !window.isOld && document.readyState == 'complete'"
        self.wait.until(lambda driver: driver.execute_script(script))

    def search(self, field: str, text: str):
        """Type into a search field and press Enter, and wait for the next page."""
        self.driver.execute_script("window.isOld = true")
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
def person(chromium, server):
    person = Person(chromium, server)
    yield person
    person.scheme("light")


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


########## A day's work ############################################################################


def test_a_days_work(person, site):
    person.log_in("root")
    for name in ("carol@new.org", "dan@new.org", "eve@new.org"):
        person.get("person-add")
        if name.startswith("eve"):
            person.find("[id='add-person-user_permissions-delegate']")[0].click()
        person.fill("add-person", user_name=name, user_authdata="secret of " + name)
        person.shows("The person was added.")
        person.shows("from own addresses only")
    person.fill("add-expression", api_expression="%@new.org")
    person.shows("%@new.org")
    person.fill("add-managed", api_delegate="carol@new.org")
    person.shows("Saved.")
    person.press(".who button")
    person.shows("You have logged out.")

    person.log_in("eve@new.org", "secret of eve@new.org")
    person.follow("Addresses")
    person.follow("Add an address")
    person.fill(
        "add-address",
        address_expression="sales@new.org",
        address_router="store",
        address_route="carol@new.org",
    )
    person.shows("The address was added.")
    person.press("button[aria-label='Move sales@new.org down']")
    person.shows("The two addresses have changed places.")
    person.follow("Where would a mail go?")
    person.search("#to", "sales@new.org")
    person.shows("Stored for carol@new.org")

    add_mail(site, "carol@new.org")
    person.log_in("carol@new.org", "secret of carol@new.org")
    person.shows("1", "[data-unread]")
    person.press(".mails a")
    frame = person.find("iframe")[0]
    person.driver.switch_to.frame(frame)
    person.shows("Hello Ann", "body")
    person.driver.switch_to.default_content()
    person.follow("Answer")
    person.fill("send-mail", text="Gladly.")
    person.shows("The mail was queued for delivery.")
    person.search("#search", "hello")
    person.shows("Plans")
    person.driver.back()
    person.shows("Plans")
    person.press("footer button[lang=de]")
    person.shows("E-Mail")
    person.follow("Warteschlange")
    person.shows("bob@corp.org")
    person.find("thead input")[0].click()
    person.press("button[value=delete]")
    person.press("form.danger button")
    person.shows("Die Mails wurden gelöscht.")
    assert site.sql("SELECT COUNT(*) FROM outbox") == [(0,)]

    person.log_in("bob")
    person.follow("Filters and absence")
    person.fill("set-away", subject="Away", text="Back on Monday.")
    person.shows("The reply is sent from now on.")
    person.check_quiet()


def test_what_a_script_makes_better(person, site):
    fill_site(site)
    person.log_in("root")
    person.get("people")
    person.find("body")[0].send_keys("/")
    person.driver.switch_to.active_element.send_keys("bo")
    assert [row.text for row in person.find("tbody tr") if row.is_displayed()] == ["bob yes"] or [
        row.text.split()[0] for row in person.find("tbody tr") if row.is_displayed()
    ] == ["bob"]
    person.get("queue")
    times = person.find("td time")
    assert times[0].get_attribute("datetime").endswith("Z") and times[0].text not in times[0].get_attribute(
        "datetime"
    )
    person.get("account")
    field = person.find("#own-password-user_authdata")[0]
    person.find("#own-password-user_authdata-shown")[0].click()
    assert field.get_attribute("type") == "text"
    person.fill("add-token", token_name="backup")
    person.shows("This is the new secret.")
    assert person.find("code + button")
    person.driver.refresh()  # it repeats nothing
    assert not person.find("code")
    assert site.state("SELECT COUNT(*) FROM token WHERE token_user = 'root'") == [(1,)]
    person.check_quiet()


def test_hostile_texts_do_nothing(person, site):
    vectors = (ROOT / "tests/corpus/html/vectors").read_text().splitlines()
    for number, text in enumerate(vectors):
        site.sql("INSERT INTO users (user_name) VALUES (?)", f"{text[:150]} {number}")
        site.sql(
            "INSERT INTO addresses (address_expression, address_router, address_route) VALUES (?, 'store', ?)",
            text,
            text,
        )
    for text in vectors[:45]:
        add_queued(site, text, failures=1)
        add_mail(site, "root", f"From: {text}\nSubject: {text}\nContent-Type: text/html\n\n{text}")
        site("pop/?add", pop_user=text)
    person.log_in("root")
    for page in (
        "people",
        "addresses",
        "queue",
        "activity",
        "mail",
        "message?mail_id=1",
        "message?mail_id=9",
        "message?mail_id=30",
    ):
        person.get(page)
        person.shows("<" if "message" not in page else "")
    person.check_quiet()


########## Everybody ###############################################################################


def axe_source() -> str:
    """Return the script of axe-core, which comes with a package for another driver."""
    found = importlib.util.find_spec("axe_playwright_python")
    if not found:
        skip_without("axe-core")
    return (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text()


RUN_AXE = "const done = arguments[0]; axe.run(document).then((found) => done(found.violations), (e) => done(String(e)))"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(person, site, scheme):
    fill_site(site)
    source, found = axe_source(), {}
    person.scheme(scheme)
    person.get("log-in")
    for user, pages in PAGES.items():
        for page in ["log-in", *pages]:
            if page == "log-in":
                person.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
            elif page == pages[0]:
                person.log_in(user)
            for width in (320, 1440) if scheme == "light" else (1440,):
                person.size(width)
                person.get(page)
                for details in person.find("details"):
                    person.driver.execute_script("arguments[0].open = true", details)
                person.driver.execute_script(source)
                violations = person.driver.execute_async_script(RUN_AXE)
                assert isinstance(violations, list), violations
                found |= {
                    f"{page} {width}: {each['id']}": [node["html"][:200] for node in each["nodes"]]
                    for each in violations
                }
    assert not found


def test_pages_fit_their_window(person, site, tmp_path):
    fill_site(site)
    pictures = Path(os.environ.get("PANEL_SCREENSHOTS") or tmp_path)
    for user, pages in PAGES.items():
        person.log_in(user)
        for page in pages:
            for width in WIDTHS:
                person.size(width)
                person.get(page)
                wide, high = person.driver.execute_script(
                    "const page = document.documentElement; return [page.scrollWidth, page.scrollHeight]"
                )
                assert wide <= width, (page, width)
                person.size(width, min(max(high, 600), 3000))
                name = user + "-" + (page.replace("?", "-").replace("&", "-") or "overview")[:40]
                person.driver.get_screenshot_as_file(str(pictures / f"{name}-{width}.png"))


def test_pictures_of_the_documents(person, site, tmp_path):
    """`make pictures` puts them into docs/."""
    fill_site(site)
    site("addresses/?delete", address_expression="%", address_order=4)
    site("addresses/?add", address_expression="%@old.org", address_router="reject")
    pictures = Path(os.environ.get("PANEL_PICTURES") or tmp_path)
    for user, scheme, page, name in (
        ("root", "light", "addresses", "panel-addresses"),
        ("ann", "dark", "message?mail_id=3", "panel-mail"),
    ):
        person.scheme(scheme)
        person.log_in(user)
        person.size(900, 600)
        person.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        person.get(page)
        person.driver.get_screenshot_as_file(str(pictures / f"{name}.png"))
        assert (pictures / f"{name}.png").stat().st_size > 10_000
        assert (ROOT / f"docs/{name}.png").exists()


NUMBER_ALL = """
return [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, iframe")]
  .filter((each) => each.checkVisibility() && each.tabIndex >= 0)
  .map((each, number) => { each.dataset.number = number; return String(number); })
"""
REACHED = "return document.activeElement.dataset.number || null"


@pytest.mark.parametrize("page", ["", "people", "person?user_name=ann", "addresses", "queue", "account"])
def test_the_keyboard_reaches_everything(person, site, page):
    fill_site(site)
    person.log_in("root")
    person.get(page)
    wanted, reached = set(person.driver.execute_script(NUMBER_ALL)), set()
    body = person.find("body")[0]
    for _ in range(2 * len(wanted) + 10):
        body.send_keys(Keys.TAB) if not reached else person.driver.switch_to.active_element.send_keys(
            Keys.TAB
        )
        if now := person.driver.execute_script(REACHED):
            reached.add(now)
        if wanted <= reached:
            break
    assert not wanted - reached
