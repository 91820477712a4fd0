"""The first log-in's effect at real services: Dovecot's folders, Radicale's calendar and address book."""

import imaplib
import re
import sys
import time

import caldav
import vobject

import mailapi
from support.command_line import Server
from support.dav import CARD, EVENT, DavClient
from support.instances import free_port, running_instance
from support.site import OPTIONAL, Site
from support.waiting import wait_until

KINDS = ("mail", "contacts", "calendar")


def install(folder, **config) -> Site:
    site = Site(folder, extra=OPTIONAL, **config)
    (folder / "config.py").write_text("".join(f"{key} = {value!r}\n" for key, value in site.config.items()))
    return site


def install_again(site, **config) -> Site:
    """The same installation under a changed configuration."""
    site.config |= config
    site.app = mailapi.create_app(site.config)
    return site


def services_of(site, user="bob", **fields) -> dict:
    """Return what a user has at the services once nothing is being made: a busy machine takes longer than a log-in."""
    found = {}

    def settled():
        (account,) = site("accounts/?get", user=user, **fields)["accounts"]
        found.update({service["kind"]: service for service in account["services"]})
        return all(service["error"] != "It is being made." for service in found.values())

    wait_until(settled)
    return found


def test_first_log_in_makes_folders_calendar_and_address_book(tmp_path, dovecot, radicale):
    imap = {"imap": {"url": dovecot.setting["imap"]["url"]}}  # without a master user: by bob's own password
    site = install(tmp_path, services=imap | radicale.setting)
    found = services_of(site)
    assert {kind: (found[kind]["state"], found[kind]["error"]) for kind in KINDS} == dict.fromkeys(
        KINDS, ("ok", None)
    )
    assert found["mail"]["url"] == f"imap://127.0.0.1:{dovecot.port}"
    assert found["calendar"]["url"] == found["contacts"]["url"] == f"http://127.0.0.1:{radicale.port}"
    with imaplib.IMAP4("127.0.0.1", dovecot.port) as connection:
        connection.login("bob", "pw")
        folders = b"\n".join(connection.list()[1])
        assert all(name in folders for name in (b"INBOX", b"Sent", b"Drafts", b"Trash"))


def test_clients_find_what_was_made_through_the_api(tmp_path, radicale):
    """A calendar client logs in for the first time, finds the calendar, adds an event and reads it back; the same for
    an address book and a card."""
    site = install(tmp_path, services=radicale.setting)
    site("users/?add", user_name="carol", user_authdata="pw")
    with Server(tmp_path) as server:
        with caldav.DAVClient(url=server.url + "dav/", username="carol", password="pw") as client:
            (calendar,) = client.principal().calendars()
            uid = f"first-{time.time_ns()}"
            calendar.save_event(EVENT.format(uid=uid, summary="Breakfast"))
            assert "SUMMARY:Breakfast" in calendar.event_by_uid(uid).data
        dav = DavClient(server.url)
        types = '<propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>'
        listed = dav("PROPFIND", "dav/carol/", types, user="carol", Depth="1").body.split("<response>")
        book = next(re.search("<href>/([^<]+)", part)[1] for part in listed if "addressbook" in part)
        card = CARD.format(uid="dan", name="Dan")
        assert dav("PUT", book + "dan.vcf", card, user="carol", Content_Type="text/vcard").status == 201
        got = dav("GET", book + "dan.vcf", user="carol")
        assert vobject.readOne(got.body).email.value == "Dan@one.org"


def test_a_server_that_starts_later_gets_what_was_pending(tmp_path, public_folder):
    port = free_port()
    site = install(
        tmp_path, services={"dav": {"url": f"http://127.0.0.1:{port}", "user_header": "X-Remote-User"}}
    )
    down = services_of(site)
    assert {kind: down[kind]["state"] for kind in KINDS} == {
        "mail": "ok",
        "contacts": "pending",
        "calendar": "pending",
    }
    assert down["calendar"]["error"] == "The dav service cannot be used: Connection refused."
    config = tmp_path / "radicale.conf"
    config.write_text(
        f"[server]\nhosts = 127.0.0.1:{port}\n[auth]\ntype = http_x_remote_user\ndelay = 0\n"
        f"[storage]\nfilesystem_folder = {tmp_path / 'collections'}\n[web]\ntype = none\n"
    )
    with running_instance(
        [sys.executable, "-m", "radicale", "--config", config], tmp_path / "radicale", port
    ):
        up = services_of(site)
        assert {kind: up[kind]["state"] for kind in KINDS} == dict.fromkeys(KINDS, "ok")
        assert [up[kind]["id"] for kind in KINDS] == [down[kind]["id"] for kind in KINDS]
        assert services_of(site) == up
        made = sorted(
            path.name for path in (tmp_path / "collections/collection-root/bob").iterdir() if path.is_dir()
        )
        assert {"calendar", "contacts"} <= set(made)
        assert site("accounts/?delete", user_name="bob", purge=True)["status"] == "ok"
        assert not {"calendar", "contacts"} & {
            p.name for p in (tmp_path / "collections/collection-root/bob").iterdir()
        }


def test_a_user_of_the_mail_server_by_a_dav_client(tmp_path, radicale, mailserver):
    """bob@atmail.com, who exists only in mailserver.accounts, and what he was given."""
    install(tmp_path, services=radicale.setting, mailserver=mailserver.url)
    with Server(tmp_path) as server:
        with caldav.DAVClient(url=server.url + "dav/", username="bob@atmail.com", password="test") as client:
            (calendar,) = client.principal().calendars()
            calendar.save_event(EVENT.format(uid="atmail", summary="Tea"))
            assert "SUMMARY:Tea" in calendar.event_by_uid("atmail").data
        dav = DavClient(server.url)
        mailserver.sql("UPDATE accounts SET userStatus = 1")
        refused = dav("PROPFIND", "dav/", user=None, Authorization="Basic Ym9iQGF0bWFpbC5jb206dGVzdA==")
        assert refused.status == 401


def test_purge_ends_filters_with_the_mail_and_forgets_nothing_where_it_cannot(tmp_path, dovecot):
    services = {kind: dovecot.setting[kind] for kind in ("imap", "managesieve")}
    without = install(
        tmp_path, services=services | {"managesieve": services["managesieve"]["url"]}, PROVISION=1
    )
    services_of(without)
    refused = without("accounts/?delete", user_name="bob", purge=True)["status"]
    assert refused.startswith("The managesieve service cannot be used: it has no master credentials")
    assert services_of(without)["mail"]["state"] == "ok"
    site = install_again(without, services=services)
    assert site("services/?sieve_put", user="bob", script_name="x", script="keep;")["status"] == "ok"
    assert site("accounts/?delete", user_name="bob", purge=True)["status"] == "ok"
    assert site("services/?sieve_list", user="bob")["scripts"] == []
