"""The mailbox of a mail server's users: whose mail is found, in which of its places, and where IMAP is no source."""

import json
import subprocess
import sys

import pytest

import mailapi
from support.command_line import run_mailapi
from support.imap_mailbox import ACCOUNT, BOB, CAROL, NO_PASSWORD, Inbox, ask_mailbox, listed_ids, make_letter
from support.instances import free_port
from support.mails import (
    PLAIN_MAIL,
    deliver,
    give_user_database,
)
from support.site import ROOT, Site, authdata

pytestmark = pytest.mark.every_engine


@pytest.fixture
def site(site_with_imap) -> Site:
    return site_with_imap


########## Whose mail, and where it is #############################################################


def test_everybody_has_their_own(site, inbox, dovecot):
    (uid,) = inbox.add(make_letter(1))
    before = inbox.flags()
    carols = Inbox(dovecot.port, CAROL)
    carols.empty()
    assert ask_mailbox(site, "get", user=CAROL, mail_user=BOB)["mails"] == []
    for action in ("read", "unread", "delete", "raw"):
        assert ask_mailbox(site, action, user=CAROL, mail_id=uid, mail_user=BOB)["status"] == "mail not found"
    for user in ("root", "dele", "ann"):
        for source in ({}, {"mail_sourcedb": "imap"}):
            answer = site("mailbox/?read", user=user, mail_id=uid, **source)
            assert answer["status"] == "mail not found"
    assert inbox.flags() == before
    carols.imap.logout()


def test_a_session_and_a_token_need_the_master_credentials(make_imap_site, inbox):
    inbox.add(make_letter(1))
    with_master = make_imap_site()
    browser = with_master.browser()
    browser.post_json("/", {"auth": {"user_name": BOB, "password": "test"}})
    assert len(listed_ids(browser.post_json("/mailbox/?get").json)) == 1
    token = browser.post_json("/tokens/?add", {"token_name": "script"}).json["token"]
    by_token = with_master.browser(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert len(listed_ids(by_token.post_json("/mailbox/?get").json)) == 1
    imap = with_master.config["services"]["imap"]["url"]
    browser.app = mailapi.create_app(with_master.config | {"services": {"imap": imap}})
    answer = browser.post_json("/mailbox/?get").json
    assert (answer["status"], answer["warning"], answer["mails"]) == ("warning", NO_PASSWORD, [])
    assert browser.post_json("/mailbox/?delete", {"mail_id": 1}).json["status"] == NO_PASSWORD
    auth = {"auth": {"user_name": BOB, "password": "test"}}
    assert len(listed_ids(browser.post_json("/mailbox/?get", auth).json)) == 1


def test_from_the_terminal(make_imap_site, inbox, tmp_path):
    inbox.add(make_letter(1))
    config = "\n".join(f"{key} = {value!r}" for key, value in make_imap_site().config.items())
    (tmp_path / "config.py").write_text(config)
    answer = json.loads(run_mailapi(tmp_path, "call", "--as", BOB, "mailbox", "get"))
    assert [mail["mail_subject"] for mail in answer["mails"]] == ["No. 1"]


def test_without_a_source_only_imap_is_changed_and_read_looks_there_first(site, inbox):
    site.sql("INSERT INTO users (user_name) VALUES (?)", BOB)
    (uid,) = inbox.add(make_letter(1))
    deliver(site, BOB, mail_id=uid, mail_read=1)
    deliver(site, BOB, mail_id=uid + 1, mail_read=1)
    before = site.dump()
    assert ask_mailbox(site, "read", mail_id=uid)["mail"]["mail_sourcedb"] == "imap"
    assert ask_mailbox(site, "read", mail_id=uid + 1)["mail"]["mail_sourcedb"] == "master"
    assert (
        ask_mailbox(site, "unread", mail_id=uid)["status"]
        == ask_mailbox(site, "delete", mail_id=uid)["status"]
        == "ok"
    )
    for action in ("delete", "unread"):  # once more: it is not the master's mail of that id that is meant
        assert ask_mailbox(site, action, mail_id=uid)["status"] == "mail not found"
    assert site.dump() == before and inbox.flags() == {}
    assert (
        ask_mailbox(site, "delete", mail_id=uid, mail_sourcedb="master")["status"] == "ok"
        and site.dump() != before
    )


def test_all_places_are_listed_together(site, inbox):
    site.sql("INSERT INTO users (user_name) VALUES (?)", BOB)
    path = give_user_database(site, BOB)
    (uid,) = inbox.add(make_letter(1, b"In-Reply-To: <m@x>\r\n"), submission=1446400002)
    deliver(site, BOB, b"Message-ID: <m@x>\r\n\r\n", "1446400001")
    deliver(path, BOB, PLAIN_MAIL, "1446400003")
    assert listed_ids(ask_mailbox(site, "get")) == [("user", 1), ("imap", uid), ("master", 1)]
    assert ask_mailbox(site, "unread_count")["unread_counts"] == {"master": 1, "user": 1, "imap": 1}
    threads = [
        [m["mail_sourcedb"] for m in thread["mails"]] for thread in ask_mailbox(site, "threads")["threads"]
    ]
    assert threads == [["user"], ["master", "imap"]]
    first = ask_mailbox(site, "search&limit=2")
    assert listed_ids(first) == [("user", 1), ("imap", uid)]
    assert listed_ids(ask_mailbox(site, "search", next=first["next"])) == [("master", 1)]


########## Where nothing of it is configured #######################################################


LOADED = """
import sys, mailapi
app = mailapi.create_app({config!r})
print([m for m in sys.modules if m == "imaplib" or m.startswith(("mailapi_modules.mail.imap", "mailapi_modules.clients"))],
      app.modules["mailbox"].state_schema)
"""


def test_nothing_is_loaded_without_mailserver_and_imap(site, tmp_path):
    def loaded(**changed):
        config = {key: value for key, value in (site.config | changed).items() if value}
        return subprocess.run(
            [sys.executable, "-c", LOADED.format(config=config)],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout.strip()

    assert loaded(modulelist={"Mailbox": "modules/mailbox.py"}, mailserver="") == "[]"
    assert loaded(modulelist={"Mailbox": "modules/mailbox.py"}, services={}) == "[]"
    assert "imap_source" in loaded()


@pytest.mark.parametrize("given", [{"mailserver": ""}, {"services": {}}])
def test_without_them_imap_is_no_source(make_imap_site, given):
    site = make_imap_site()
    app = mailapi.create_app(site.config | given)
    browser = site.browser()
    browser.app = app
    fields = {"auth": {"user_name": "bob", "password": "pw"}, "mail_id": 1, "mail_sourcedb": "imap"}
    answer = browser.post_json("/mailbox/?read", fields, status=400).json
    assert answer["status"] == "Invalid value for mail_sourcedb."


def test_who_is_not_the_mail_servers_is_not_looked_for_there(make_imap_site):
    site = make_imap_site(url=f"imap://127.0.0.1:{free_port()}")
    deliver(site, "bob")
    assert listed_ids(site("mailbox/?get", user="bob")) == [("master", 1)]


def test_services_act_for_nobody_whom_the_mail_server_has_under_another_name(tmp_path, imap_users, dovecot):
    """A user BOB@… of the API alone, and a server that takes capitals for small letters."""
    modules = ACCOUNT | {"Service": "modules/services.py"}
    site = Site(tmp_path, extra=modules, mailserver=imap_users.url, services=dovecot.setting, PROVISION=0)
    other = BOB.upper()
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", other, authdata("test"))
    assert site("services/?quota", user=BOB, password="test")["status"] in (
        "ok",
        "The imap service has no quotas.",
    )
    for action, fields in (("quota", {}), ("sieve_list", {}), ("sieve_delete", {"script_name": "x"})):
        refused = site(f"services/?{action}", user=other, password="test", **fields)
        assert refused["status"] == "The mail server does not know this user." and refused["login"] is True
