"""Forms, secrets and addresses of the panel at their limits."""

import tracemalloc

import pytest

from mailapi import SMALL_BODY
from support.panel import Panel, add_mail, panel_site

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def site(tmp_path):
    return panel_site(tmp_path)


def test_a_form_without_files_is_small(site):
    ann = Panel(site, "ann")
    body = b"x=" + b"%41" * (SMALL_BODY // 3 + 1)
    assert ann.browser.post("/panel/write", body, {"Content-Type": FORM}, status=413)


def test_texts_of_a_form_with_files_have_a_limit_together(site):
    ann = Panel(site, "ann")
    half = "x" * (2**19 + 1)
    fields = [("token", "x"), ("form", "send-mail"), ("text", half), ("subject", half)]
    ann.browser.post("/panel/write", fields, upload_files=[("attachments", "a", b"a")], status=413)


@pytest.mark.parametrize("count, status", [(2000, 200), (2001, 400)])
def test_a_form_with_files_has_so_many_fields(site, count, status):
    ann = Panel(site, "ann")
    ann.get("write")
    fields = [pair for pair in ann.form("send-mail").submit_fields() if pair[0] != "attachments"]
    fields += [("x", "")] * (count - len(fields) - 1)
    file = [("attachments", "a", b"a")]
    ann.browser.post("/panel/write", fields, upload_files=file, status=status)


def test_a_long_mail_is_shown_in_part(site):
    mail_id = add_mail(site, message="Subject: long\n\n" + ("&" * 998 + "\n") * 2000)
    ann = Panel(site, "ann")
    tracemalloc.start()
    page = ann.browser.get(f"/panel/message?mail_id={mail_id}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(page.body) < 6_000_000 and peak < 60_000_000


def test_a_secret_is_shown_to_nobody_else(site):
    ann = Panel(site, "ann")
    ann.get("account")
    form = ann.form("add-token")
    form["token_name"] = "backup"
    form.submit(status=303)
    (cookie,) = [each for each in ann.browser.cookiejar if each.name == "panel_secret"]
    root = Panel(site)
    root.browser.set_cookie("panel_secret", cookie.value.strip('"'))
    page = root.browser.get("/panel/account")
    assert cookie.value.strip('"').partition(".")[2] not in page.text


def test_below_a_page_there_is_nothing(site):
    for path in ("x/y", "/a", "account/x"):
        assert site.browser().get(f"/panel/{path}", status=404)
