"""The panel's pages about mail in threads, without a script: from the master database, a user's own, and over IMAP."""

import tracemalloc

import pytest

from support.imap_mailbox import BOB, make_letter
from support.mails import deliver, give_user_database
from support.panel import PANEL, Panel, check_harmless, panel_site
from support.site import OPTIONAL, Site

ANSWER = b"In-Reply-To: <1@one.org>\r\n"


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def site(request, tmp_path):
    return panel_site(tmp_path, request.param)


def fill(path, user="ann"):
    """Store three mails, of which two are a thread; return their ids."""
    return [
        deliver(path, user, make_letter(number, more), submission=str(1446400000 + number))
        for number, more in ((1, b""), (2, b""), (3, ANSWER))
    ]


def listed(panel: Panel) -> list[str]:
    return [
        link.select_one(".subject").get_text(" ", strip=True) for link in panel.page.html.select(".mails a")
    ]


@pytest.mark.every_engine
def test_threads_are_listed_and_read(site):
    fill(site)
    ann = Panel(site, "ann")
    ann.page = ann.page.click("Conversations")
    assert listed(ann) == ["No. 1 2 mails 2 unread", "No. 2 Unread"]
    ann.page = ann.page.click("No. 1")
    assert [pre.text.strip() for pre in ann.page.html.select("pre")] == ["Text.", "Text."]
    assert [item["class"] for item in ann.page.html.select(".thread li")] == [["depth0"], ["depth1"]]
    assert site.sql("SELECT mail_read FROM mailbox ORDER BY mail_id") == [(1,), (0,), (1,)]
    assert ann.page.html.select_one("#newest pre")
    ann.page = ann.page.click("Answer", index=0)
    assert ann.form("send-mail")["in_reply_to"].value == "<1@one.org>"
    ann.get("threads")
    ann.page = ann.page.click("No. 2")
    ann.shows("No. 2", "Ann <ann@one.org>")
    ann.page = ann.page.click("Whole conversation")
    assert len(ann.page.html.select(".thread li")) == 1


def test_without_a_mail_there_is_no_such_page(site):
    fill(site)
    ann = Panel(site, "ann")
    for query in ("", "?mail_id=", "?mail_id=0", "?mail_id=9"):
        ann.get("thread" + query, 404)


@pytest.mark.every_engine
def test_pages_and_search(site):
    for number in range(55):
        deliver(site, "ann", make_letter(number), submission=str(100 + number))
    ann = Panel(site, "ann")
    ann.get("threads")
    assert listed(ann)[0] == "No. 54 Unread" and len(listed(ann)) == 50
    ann.page = ann.page.click("Next page")
    assert listed(ann) == [f"No. {number} Unread" for number in range(4, -1, -1)]
    ann.page = ann.page.click("First page")
    form = ann.page.forms[1]
    ann.fill(form, text="no. 17")
    ann.page = form.submit()
    assert listed(ann) == ["No. 17 Unread"]
    ann.page = ann.page.click("Single mails")
    ann.shows("No. 17")
    ann.get("threads?text=nothing")
    ann.shows("No mail fits.")
    ann.get("threads?next=nonsense", 400)
    site.sql("UPDATE mailbox SET mail_read = 1 WHERE mail_id > 2")
    ann.get("threads?unread=1")
    assert listed(ann) == ["No. 1 Unread", "No. 0 Unread"]


@pytest.mark.every_engine
def test_nobody_sees_threads_of_others(site):
    (first, *_) = fill(site)
    for role in ("root", "dele", "bob"):
        other = Panel(site, role)
        other.get("threads")
        other.shows("There is no mail yet.")
        other.get(f"thread?mail_id={first}&mail_sourcedb=master", 404)
    Panel(site, "ann").get("thread?mail_id=nonsense", 400)


@pytest.mark.every_engine
def test_of_a_long_thread_some_mails_are_open(site):
    deliver(site, "ann", make_letter(1), submission="100")
    for number in range(2, 40):
        deliver(site, "ann", make_letter(number, ANSWER), submission=str(100 + number))
    ann = Panel(site, "ann")
    ann.get("thread?mail_id=1")
    assert len(ann.page.html.select("pre")) == 10 and len(ann.page.html.select(".thread li")) == 39
    ann.get("thread?mail_id=1")
    assert site.sql("SELECT COUNT(*) FROM mailbox WHERE mail_read")[0][0] == 19
    site.sql("UPDATE mailbox SET mail_read = 1")
    ann.get("thread?mail_id=1")
    assert len(ann.page.html.select("pre")) == 10 and len(ann.page.html.select("details[open]")) == 1


@pytest.mark.every_engine
def test_a_thread_with_mails_of_two_databases(tmp_path):
    site = panel_site(tmp_path)
    path = give_user_database(site, "ann")
    deliver(site, "ann", make_letter(1), submission="100")
    deliver(path, "ann", make_letter(2, ANSWER), submission="200")
    ann = Panel(site, "ann")
    ann.get("threads")
    ann.page = ann.page.click("No. 1")
    links = [link["href"] for link in ann.page.html.select(".thread a") if "message" in link["href"]]
    assert ["master" in links[0], "user" in links[1]] == [True, True]


def test_hostile_mails_are_text(tmp_path):
    site = panel_site(tmp_path)
    text = "<script>alert(1)</script>'\"><img src=x onerror=alert(1)>"
    raw = f"From: {text}\r\nSubject: {text}\r\nMessage-ID: <1@one.org>\r\nContent-Type: text/html\r\n\r\n{text}{{{{t}}}}"
    deliver(site, "ann", raw.encode(), submission="100")
    deliver(site, "ann", raw.encode().replace(b"<1@one.org>\r\n", b"<2@x>\r\n" + ANSWER), submission="<b>")
    ann = Panel(site, "ann")
    for page in ("threads", "threads?text=%3Cscript%3E", "thread?mail_id=1", "thread?mail_id=2"):
        ann.get(page)
        check_harmless(ann.page.text)


@pytest.mark.slow
def test_threads_over_imap(tmp_path, imap_users, dovecot, inbox):
    inbox.add(make_letter(1), make_letter(2))
    inbox.add(make_letter(3, ANSWER), submission=1446500000)
    site = Site(
        tmp_path,
        extra=PANEL | {"Account": OPTIONAL["Account"]},
        mailserver=imap_users.url,
        services={"imap": dovecot.setting["imap"]},
        PROVISION=0,
    )
    bob = Panel(site, BOB, "test")
    bob.get("threads")
    assert listed(bob) == ["No. 1 2 mails 2 unread", "No. 2 Unread"]
    bob.page = bob.page.click("No. 1")
    assert len(bob.page.html.select("pre")) == 2
    assert sorted(inbox.flags().values()) == [b"", rb"\Seen", rb"\Seen"]
    bob.get("threads?text=no.+3")
    assert listed(bob) == ["No. 1 2 mails"]


def test_a_page_keeps_only_what_it_shows_of_long_mails(site):
    """It shows 20,000 characters of ten mails, which could have 35 MB each."""
    for number in range(10):
        text = "x" * 1_000_000 + "\r\n"
        deliver(
            site, "ann", make_letter(number, ANSWER if number != 1 else b"").replace(b"Text.", text.encode())
        )
    ann = Panel(site, "ann")
    ann.get("threads")  # what is made once
    tracemalloc.start()
    try:
        ann.get("thread?mail_id=1")
        assert tracemalloc.get_traced_memory()[1] < 9_000_000
    finally:
        tracemalloc.stop()
    assert [len(pre.text.strip()) for pre in ann.page.html.select("pre")] == [20_002] * 10
