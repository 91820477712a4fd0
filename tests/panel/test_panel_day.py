"""A day's work at the panel in Chromium, hostile texts on its pages, and the pictures of the documents."""

import os
from pathlib import Path

import pytest

from support.panel import add_mail, add_queued
from support.panel_browser import fill_site
from support.site import ROOT

pytestmark = pytest.mark.slow
SECRET = "secret of "


def set_up_domain(root):
    """Add three people of new.org, one of them a delegate who manages the domain's addresses and one person."""
    for name in ("carol@new.org", "dan@new.org", "eve@new.org"):
        root.get("person-add")
        if name.startswith("eve"):
            root.find("[id='add-person-user_permissions-delegate']")[0].click()
        root.fill("add-person", user_name=name, user_authdata=SECRET + name)
        root.shows("The person was added.")
        root.shows("from own addresses only")
    root.fill("add-expression", api_expression="%@new.org")
    root.shows("%@new.org")
    root.fill("add-managed", api_delegate="carol@new.org")
    root.shows("Saved.")
    root.picture("day-1-delegate")
    root.follow("People")
    root.picture("day-2-people")
    root.press(".who button")
    root.shows("You have logged out.")


def add_and_test_address(delegate):
    """Add an address for carol, move it down, and ask where a mail to it would go."""
    delegate.follow("Addresses")
    delegate.follow("Add an address")
    delegate.picture("day-3-new-address")
    delegate.fill(
        "add-address",
        address_expression="sales@new.org",
        address_router="store",
        address_route="carol@new.org",
    )
    delegate.shows("The address was added.")
    delegate.press("button[aria-label='Move sales@new.org down']")
    delegate.shows("The two addresses have changed places.")
    delegate.picture("day-4-addresses")
    delegate.follow("Where would a mail go?")
    delegate.search("[name=address_expression]", "sales@new.org")
    delegate.shows("Stored for carol@new.org")
    delegate.picture("day-5-test")


def read_answer_and_search(user):
    """Read the mail that has come, answer it and search for it."""
    user.shows("1", "[data-unread]")
    user.picture("day-6-mail")
    user.press(".mails a")
    user.driver.switch_to.frame(user.find("iframe")[0])
    user.shows("Hello Ann", "body")
    user.driver.switch_to.default_content()
    user.picture("day-7-message")
    user.follow("Answer")
    user.picture("day-8-answer")
    user.fill("send-mail", text="Gladly.")
    user.shows("The mail was queued for delivery.")
    user.search("#search", "hello")
    user.shows("Plans")
    user.driver.back()
    user.shows("Plans")


def test_a_days_work(person, panel_server):
    site = panel_server.site
    person.log_in("root")
    set_up_domain(person)
    person.log_in("eve@new.org", SECRET + "eve@new.org")
    add_and_test_address(person)

    add_mail(site, "carol@new.org")
    person.log_in("carol@new.org", SECRET + "carol@new.org")
    read_answer_and_search(person)
    person.press("footer button[lang=de]")
    person.shows("E-Mail")
    person.follow("Warteschlange")
    person.shows("bob@corp.org")
    person.find("thead input")[0].click()
    person.open_dialog("button[value=delete]")
    person.picture("day-9-question")
    person.answer()
    person.shows("Die Mails wurden gelöscht.")
    assert site.sql("SELECT COUNT(*) FROM outbox") == [(0,)]

    person.log_in("bob")  # the one who has filters at the ManageSieve server of the tests
    person.follow("Filters and absence")
    person.fill("set-away", subject="Away", text="Back on Monday.")
    person.shows("The reply is sent from now on.")
    person.picture("day-10-away")
    person.check_quiet()


def test_hostile_texts_do_nothing(person, panel_server):
    site = panel_server.site
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
    for page in ("people", "addresses", "queue", "activity", "mail"):
        person.get(page)
        person.shows("<")
    for mail_id in (1, 9, 30):
        person.get(f"message?mail_id={mail_id}")
    person.get("queue")
    person.find("thead input")[0].click()
    assert "<" in person.open_dialog("button[value=bounce]").text
    person.check_quiet()


def test_pictures_of_the_documents(person, panel_server, tmp_path):
    """`make pictures` puts them into docs/."""
    site = panel_server.site
    fill_site(site)
    site("addresses/?delete", address_expression="%", address_order=4)
    site("addresses/?add", address_expression="%@old.org", address_router="reject")
    pictures = Path(os.environ.get("PANEL_PICTURES") or tmp_path)
    for user, scheme, page, name in (
        ("root", "light", "addresses", "panel-addresses"),
        ("ann", "dark", "message?mail_id=3", "panel-mail"),
    ):
        person.prefers(color_scheme=scheme)
        person.log_in(user)
        person.size(900, 600)
        person.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        person.get(page)
        person.driver.get_screenshot_as_file(str(pictures / f"{name}.png"))
        assert (pictures / f"{name}.png").stat().st_size > 10_000
        assert (ROOT / f"docs/{name}.png").exists()
