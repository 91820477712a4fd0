"""The panel's pages about accounts at the services, for each role, without a script."""

import pytest

from support.instances import free_port
from support.mailserver_site import BOB
from support.panel import PANEL, Panel, check_harmless, panel_site
from support.site import Site

REFUSED = "Your permissions do not include this."


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def site(request, tmp_path):
    return panel_site(tmp_path, request.param, PROVISION=3)


@pytest.fixture
def site_with_settings(tmp_path, mailserver) -> Site:
    """A site whose users are also a mail server's, so that they have a quota, a forward and an automatic reply."""
    site = panel_site(tmp_path, mailserver=mailserver.url)
    site.mail = mailserver
    site("?get_modules", user=BOB, password="test")
    return site


def names(panel: Panel) -> list[str]:
    return [row.th.text for row in panel.page.html.select("tbody tr")]


def add_accounts(site, *users):
    for user in users:
        site.app.modules["accounts"].ledger.enter(user, 3, None)


@pytest.mark.every_engine
def test_each_role_sees_its_accounts(site):
    add_accounts(site, "ann", "bob")
    root = Panel(site)
    root.page = root.page.click("Accounts")
    assert names(root) == ["ann", "bob", "root"]
    root.shows("active", "Mail Calendar")
    dele = Panel(site, "dele")
    dele.page = dele.page.click("Accounts")
    assert names(dele) == ["ann", "dele"]
    dele.page = dele.page.click("ann")
    dele.lacks("Make now", "Suspend", "Delete account")
    dele.get("service-account?user_name=bob", 403)
    ann = Panel(site, "ann")
    ann.lacks("Accounts")
    ann.get("accounts", 403)
    ann.get("service-account?user_name=bob", 403)
    ann.get("service-account-delete?user_name=ann", 403)
    ann.get("account")
    ann.page = ann.page.click("Services")
    ann.shows("Calendar")
    ann.lacks("Make now", "Suspend", "Quota", "Delete account")


@pytest.mark.every_engine
def test_pages_and_search(site):
    add_accounts(site, *[f"user{number:03}" for number in range(120)])
    root = Panel(site)
    root.get("accounts")
    assert names(root)[0] == "root" and len(names(root)) == 100
    root.page = root.page.click("Next page")
    assert names(root) == [f"user{number:03}" for number in range(99, 120)]
    root.get("accounts?search=user01")
    assert len(names(root)) == 10
    root.get("accounts?search=nobody")
    root.shows("Nobody's name begins so.")


@pytest.mark.every_engine
def test_an_account_is_suspended_and_restored(site):
    root = Panel(site)
    root.get("service-account?user_name=ann")
    root.shows("no account yet")
    form = root.form("provision")
    assert [box._value for box in form.fields["provision"] if box.checked] == []
    root.submit("provision", provision=["1", "4"])
    root.shows("Done, but for what is still pending.", "Mail there", "Contacts there")
    ann = Panel(site, "ann")
    root.submit("lock-account")
    root.shows("The person is suspended and cannot log in.", "suspended")
    ann.get("account", 303)
    assert not site("users/?get", user="ann")["login"]
    root.get("accounts?search=ann")
    root.shows("suspended")
    root.get("service-account?user_name=ann")
    root.submit("unlock-account")
    root.shows("The person can log in again.")
    assert site("users/?get", user="ann")["login"]


@pytest.mark.every_engine
def test_nobody_suspends_themselves_or_by_a_made_up_form(site):
    add_accounts(site, "ann")
    root, dele = Panel(site), Panel(site, "dele")
    root.get("service-account?user_name=root")
    root.lacks("Suspend")
    dele.get("service-account?user_name=ann")
    token = dele.page.forms[0]["token"].value
    for form in ("lock-account", "provision", "set-limits"):
        fields = {"form": form, "token": token, "user_name": "ann", "Active": "0", "quota": "1"}
        dele.page = dele.browser.post("/panel/service-account?user_name=ann", fields)
        assert dele.page.html.select("[role=alert]")
    assert site.app.modules["accounts"].ledger.find("ann")["Active"] == 1


@pytest.mark.every_engine
def test_an_account_is_deleted(site):
    add_accounts(site, "ann")
    root = Panel(site)
    root.get("service-account?user_name=ann")
    root.page = root.page.click("Delete account")
    root.submit("delete-account")
    root.shows("The account was deleted.")
    assert site.app.modules["accounts"].ledger.find("ann") is None
    root.get("service-account-delete?user_name=ann")
    root.submit("delete-account", check=200)
    root.shows("Account not found.")


@pytest.mark.sqlite
def test_what_is_pending_is_said_and_tried_again(tmp_path):
    url = f"imap://127.0.0.1:{free_port()}"
    site = panel_site(
        tmp_path, PROVISION=1, services={"imap": {"url": url, "user": "m", "password": "secret"}}
    )
    root = Panel(site)
    root.get("accounts")
    root.shows("pending")
    root.get("service-account")
    root.submit("provision", provision=["1"])
    root.shows("Done, but for what is still pending.", "pending", "imap://127.0.0.1")
    assert "secret" not in root.page.text
    root.get("accounts", HTTP_ACCEPT_LANGUAGE="de")


@pytest.mark.slow
def test_users_set_their_forward_and_reply(site_with_settings):
    bob = Panel(site_with_settings, BOB, "test")
    bob.get("account")
    bob.page = bob.page.click("Forwarding and automatic reply")
    bob.lacks("Quota")
    bob.submit("set-account", forward="x", autoReply="kept", check=200)
    assert bob.errors() == {"forward": "forward must be one address."}
    assert bob.form("set-account")["autoReply"].value.strip() == "kept"
    times = {"autoReplyStart": "2026-08-15T09:00", "autoReplyEnd": "2026-08-01T09:00"}
    bob.submit("set-account", forward="", autoReplyEnabled=True, check=200, **times)
    assert list(bob.errors()) == ["autoReplyEnd"] and bob.form("set-account")["autoReplyEnabled"].checked
    bob.submit("set-account", autoReplyStart="", autoReply="Away.\r\n  Bob")
    bob.shows("Saved.")
    form = bob.form("set-account")
    assert form["autoReplyEnabled"].checked and form["autoReplyEnd"].value == "2026-08-01T09:00"
    (row,) = site_with_settings.mail.sql(
        "SELECT autoReply, autoReplyEnabled, autoReplyEnd FROM accounts WHERE username = %s", BOB
    )
    assert (row[0], row[1], str(row[2])) == ("Away.\n  Bob", 1, "2026-08-01 09:00:00")


@pytest.mark.slow
def test_administrators_set_quota_and_status(site_with_settings):
    root, bob = Panel(site_with_settings), Panel(site_with_settings, BOB, "test")
    root.get(f"service-account?user_name={BOB}")
    root.shows("Quota", "Last log-in:")
    root.submit("set-limits", quota="-1", check=200)
    assert root.errors() == {"quota": "Invalid value for quota."}
    root.submit("set-limits", quota="2048", userStatus="1")
    root.shows("Saved.", "suspended")
    bob.get("account", 303)
    root.submit("set-limits", userStatus="0")
    root.shows("active")
    assert site_with_settings("accounts/?get", user_name=BOB)["accounts"][0]["quota"] == 2048


@pytest.mark.slow
def test_a_mail_server_that_is_away_hides_no_account(site_with_settings):
    site = site_with_settings
    site.mail.sql("DROP TABLE accounts")
    root = Panel(site)
    root.get(f"service-account?user_name={BOB}")
    root.shows("The database of the mailserver", "Services")
    root.get("accounts")
    assert BOB in names(root)


def test_hostile_names_and_texts(tmp_path):
    site = panel_site(tmp_path, PROVISION=1)
    hostile = [
        "<script>alert(1)</script>",
        "'\"><img src=x onerror=alert(1)>",
        "{{visitor}}",
        "../x?y#z",
        "\u202ex",
    ]
    add_accounts(site, *hostile)
    site.state("UPDATE ServiceAccounts SET state = 'pending', error = ?, url = ?", hostile[0], hostile[1])
    root = Panel(site)
    root.get("accounts")
    check_harmless(root.page.text)
    root.shows(*hostile)
    for link in [link["href"] for link in root.page.html.select("tbody a")]:
        root.get(link)
        check_harmless(root.page.text)
        root.page = root.page.click("Delete account")
        check_harmless(root.page.text)
    for text in hostile:
        root.browser.get("/panel/accounts", {"search": text, "after": text})


def test_without_the_module_there_is_nothing_of_it(tmp_path):
    site = Site(tmp_path, extra=PANEL)
    root = Panel(site)
    root.lacks("Accounts")
    for page in ("accounts", "service-account", "service-account-delete"):
        root.get(page, 404)
    root.get("person?user_name=ann")
    assert "service-account" not in root.links()
