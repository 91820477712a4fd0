"""Every page of the panel in Chromium: for the keyboard, screen readers, narrow windows, large text and no motion."""

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from support.panel import MAIL, add_mail
from support.panel_browser import PAGES, WIDTHS, fill_site, violations

pytestmark = pytest.mark.slow
# Numbers what the keyboard must reach, in the order of the page, and records where the focus goes.
RECORD = """
const all = "a[href], button, input:not([type=hidden]), select, textarea, summary, iframe";
const reachable = [...document.querySelectorAll(all)].filter((each) => each.checkVisibility() && each.tabIndex >= 0);
reachable.forEach((each, number) => { each.dataset.number = number; });
window.reached = [];
function record() {
  const now = document.activeElement, style = getComputedStyle(now), box = now.getBoundingClientRect();
  const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const seen = box.width > 0 && box.right > 0 && box.left < innerWidth;
  if (now.dataset.number) reached.push([Number(now.dataset.number), (outlined || now.tagName === "IFRAME") && seen]);
}
addEventListener("focusin", record);
addEventListener("blur", () => { if (document.activeElement.tagName === "IFRAME") record(); });
return reachable.length;
"""
SIZE = "const page = document.documentElement; return [page.scrollWidth, page.scrollHeight]"
MOVING = """
return [...document.querySelectorAll("*")].filter((each) => {
  const style = getComputedStyle(each);
  return parseFloat(style.transitionDuration) || style.animationName !== "none";
}).length
"""


def pages_of(person):
    """Yield each page for each of its users, with all details open."""
    for user, pages in PAGES.items():
        person.get("log-in")
        yield "log-in"
        person.log_in(user)
        for page in pages:
            person.get(page)
            assert "That did not work" not in person.driver.title, page
            person.run("for (const each of document.querySelectorAll('details')) each.open = true")
            yield page
        person.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(person, panel_server, scheme):
    fill_site(panel_server.site)
    found = {}
    person.prefers(color_scheme=scheme)
    person.size(320 if scheme == "light" else 1440)
    for page in pages_of(person):
        found |= {(page, rule): elements for rule, elements in violations(person.driver).items()}
    person.get("account")
    assert not found


def test_axe_finds_nothing_in_dialogs_and_progress(person, panel_server):
    fill_site(panel_server.site)
    person.log_in("root")
    for page, opener in (("person?user_name=ann", "a[data-asks]"), ("queue", "button[value=delete]")):
        person.get(page)
        for box in person.find("tbody input"):
            box.click()
        person.open_dialog(opener)
        assert violations(person.driver) == {}
    person.get("people-import")
    person.run("showProgress('The form is being sent.', document.querySelector('main .buttons'))")
    assert violations(person.driver) == {}


def test_the_keyboard_reaches_everything_in_order_and_the_focus_is_seen(person, panel_server):
    fill_site(panel_server.site)
    for page in pages_of(person):
        number = person.run(RECORD)
        person.run("document.activeElement.blur(); scrollTo(0, 0)")
        ActionChains(person.driver).send_keys(Keys.TAB * (2 * number + 10)).perform()
        reached = person.run("return window.reached")
        assert list(dict.fromkeys(each for each, _ in reached))[:number] == list(range(number)), page
        assert {each for each, seen in reached if seen} == set(range(number)), page


def test_pages_fit_narrow_windows_and_large_text_and_nothing_moves(person, panel_server):
    """A window of 640 px is one of 1,280 px at 200 %."""
    fill_site(panel_server.site)
    person.prefers(reduced_motion="reduce")
    for number, page in enumerate(pages_of(person)):
        for width in (*WIDTHS, 640):
            person.size(width)
            assert person.run(SIZE)[0] <= width, (page, width)
        person.size(1280)
        person.run("document.documentElement.style.fontSize = '200%'")
        assert person.run(SIZE)[0] <= 1280, page
        person.run("document.documentElement.style.fontSize = ''")
        assert person.run(MOVING) == 0, page
        person.picture(f"{number:02}-" + (page.replace("?", "-").replace("&", "-") or "overview")[:40])
        person.size(1440)


def test_a_long_subject_makes_no_page_wider_than_a_phone(person, panel_server):
    add_mail(panel_server.site, message=MAIL.replace("Plans", "Plans for the garden " * 20))
    person.log_in("ann")
    person.size(390)
    for page in ("mail", "threads", "message?mail_id=1", "write?answer=forward&mail_id=1"):
        person.get(page)
        assert person.run(SIZE)[0] <= 390, page
