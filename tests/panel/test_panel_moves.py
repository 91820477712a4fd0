"""The panel in Chromium: addresses that are moved by mouse and keyboard, and mail in threads."""

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from support.panel import add_mail
from support.panel_browser import fill_site

pytestmark = pytest.mark.slow
REPLY = "From: Carol <carol@corp.org>\nSubject: Re: Plans\nIn-Reply-To: <plans@corp.org>\n\n<script>alert(1)</script>Yes.\n"


def corp_addresses(site) -> list[str]:
    """Return the addresses below corp.org in the order in which the daemons match them."""
    rows = site.sql("SELECT address_expression FROM addresses ORDER BY address_order DESC")
    return [expression for (expression,) in rows if expression.endswith("@corp.org")]


@pytest.fixture
def root(person, panel_server):
    fill_site(panel_server.site)
    person.log_in("root")
    person.get("addresses")
    return person


def test_an_address_is_dragged_to_another_place(root, panel_server):
    assert corp_addresses(panel_server.site) == ["ann@corp.org", "info@corp.org", "%@corp.org"]
    for source, target, then in (
        ("ann@corp.org", "%@corp.org", ["info@corp.org", "%@corp.org", "ann@corp.org"]),
        ("ann@corp.org", "info@corp.org", ["ann@corp.org", "info@corp.org", "%@corp.org"]),
    ):
        rows = {row.text.split()[1]: row for row in root.find("tr[id]")}
        root.driver.execute_script("window.isOld = true; scrollTo(0, 0)")
        grip = rows[source].find_elements("css selector", "td")[0]
        ActionChains(root.driver).drag_and_drop(grip, rows[target]).perform()
        root.wait_for_next_page()
        root.shows("Saved.")
        assert corp_addresses(panel_server.site) == then
    root.check_quiet()


def test_a_moved_address_keeps_the_focus(root, panel_server):
    for _ in range(2):
        root.driver.execute_script("window.isOld = true")
        (button,) = root.find("button[aria-label='Move ann@corp.org down']")
        button.send_keys(Keys.ENTER)
        root.wait_for_next_page()
        root.wait.until(lambda driver: driver.switch_to.active_element.tag_name == "tr")
        assert "ann@corp.org" in root.driver.switch_to.active_element.text
    assert corp_addresses(panel_server.site)[-1] == "ann@corp.org"


def test_a_thread_is_read_by_keyboard(person, panel_server):
    fill_site(panel_server.site)
    add_mail(panel_server.site, message=REPLY)
    person.log_in("ann")
    person.follow("Conversations")
    person.find(".mails a")[0].send_keys(Keys.ENTER)
    person.shows("<script>alert(1)</script>Yes.", "pre")
    person.wait.until(lambda driver: "#newest" in driver.current_url)
    person.driver.switch_to.active_element.send_keys(Keys.TAB)
    focused = person.driver.switch_to.active_element
    assert focused.tag_name == "summary" and "Carol" in focused.text
    person.follow("← Conversations")
    person.search("#search", "nothing like it")
    person.shows("No mail fits.")
    person.check_quiet()
