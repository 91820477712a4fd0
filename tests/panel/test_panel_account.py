"""The panel's records for users about their own account, without a script."""

import pytest

from support.panel import Panel, check_harmless, panel_site
from support.site import Site

pytestmark = pytest.mark.every_engine


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def site(request, tmp_path):
    return panel_site(tmp_path, request.param)


def rows(panel: Panel) -> list[str]:
    """Return the table of what happened, a line each, without the times."""
    lines = panel.page.html.select("tbody tr")
    return [" ".join(cell.get_text(" ", strip=True) for cell in line.select("th, td")[1:]) for line in lines]


def test_users_see_who_did_what_to_their_account(site):
    site("pop/?add", pop_user="ann")
    site("users/?set_password", user="bob", user_name="ann", user_authdata="x")
    site("users/?get", user="ann", password="wrong", REMOTE_ADDR="192.0.2.9")
    ann = Panel(site, "ann", REMOTE_ADDR="192.0.2.1")
    ann.get("account")
    ann.shows("What happened to your account")
    assert rows(ann) == [
        "you 192.0.2.1 Log in ok",
        "somebody with your name Log in Username or password is wrong.",
        "root POP3: Add ann ok",
    ]
    ann.lacks("192.0.2.9")
    for role in ("root", "dele", "bob"):
        other = Panel(site, role)
        other.get("account")
        assert {line[:10] for line in rows(other)} == {"you Log in"} and "POP3" not in other.text()


def test_a_token_added_with_the_password_is_no_mere_log_in(site):
    site("tokens/?add", user="ann", token_name="backup")
    ann = Panel(site, "ann", REMOTE_ADDR="192.0.2.1")
    ann.get("account-activity")
    assert rows(ann)[1].endswith("Tokens: Add backup ok")


def test_a_device_that_was_added_differs_from_one_that_was_deleted(site):
    site("users/?device_add", user_name="bob", device_name="phone")
    site("users/?device_delete", user_name="bob", device_name="phone")
    bob = Panel(site, "bob", HTTP_ACCEPT_LANGUAGE="de")
    bob.get("account-activity")
    assert rows(bob)[1:] == ["root Geräte: Löschen bob phone ok", "root Geräte: Hinzufügen bob phone ok"]


def test_all_of_it_in_pages(site):
    for _ in range(104):
        site("pop/?delete", pop_user="ann")
    ann = Panel(site, "ann")
    ann.get("account")
    assert len(rows(ann)) == 5
    ann.page = ann.page.click("See all")
    first = rows(ann)
    assert len(first) == 100
    ann.page = ann.page.click("Next page")
    assert len(rows(ann)) == 5
    ann.page = ann.page.click("First page")
    assert rows(ann) == first


def test_hostile_names_and_pages(site):
    for text in ("<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>"):
        site.sql(
            "INSERT INTO users (user_name, user_authdata) SELECT ?, user_authdata FROM users LIMIT 1", text
        )
        site.sql("INSERT INTO api_access VALUES (?, 'admin')", text)
        site("pop/?add" if "script" in text else "pop/?delete", user=text, pop_user="ann")
    ann = Panel(site, "ann")
    ann.get("account-activity")
    check_harmless(ann.page.text)
    ann.shows("<script>alert(1)</script>")
    ann.get("account-activity?before=nonsense", 400)
    check_harmless(ann.page.text)


def test_in_german(site):
    site("users/?suspend", user_name="bob")
    site("users/?restore", user_name="bob")
    bob = Panel(site, "bob", HTTP_ACCEPT_LANGUAGE="de")
    bob.get("account-activity")
    assert rows(bob)[1:] == ["root Wieder zulassen bob ok", "root Aussperren bob ok"]


def test_without_the_audit_there_is_nothing_of_it(tmp_path):
    site = Site(tmp_path, extra={"Panel": "modules/panel.py"})
    del site.app.modules["audit"]
    ann = Panel(site, "ann")
    ann.get("account")
    ann.lacks("What happened")
    ann.get("account-activity", 404)
