"""dav/…: calendars and address books of a real DAV server, reached by real clients through the API."""

import concurrent.futures
import json
import re
import time
import urllib.parse
from datetime import UTC

import caldav
import pytest
import vobject

from support.command_line import Server
from support.dav import CARD, EVENT, DavClient, basic_credentials, install_site
from support.site import Site

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(dav_site) -> Site:
    return dav_site


@pytest.fixture(scope="module", params=["", "/cmail/api"], ids=["root", "mounted"])
def dav(request, site):
    with Server(site.dbpath.parent, "--mount", request.param) as server:
        yield DavClient(server.url)


########## What clients do #######################################################################


def test_a_calendar_client_finds_the_calendar_and_keeps_an_event(dav):
    with caldav.DAVClient(url=dav.url + "dav/", username="ann", password="pw") as client:
        calendars = client.principal().calendars()
        assert len(calendars) == 1 and calendars[0].get_display_name() == "Calendar"
        uid = f"caldav-{time.time_ns()}"
        calendars[0].save_event(EVENT.format(uid=uid, summary="Lunch"))
        found = calendars[0].event_by_uid(uid)
        assert "SUMMARY:Lunch" in found.data and str(found.url).startswith(dav.url + "dav/ann/calendar/")
        assert [
            event.id
            for event in calendars[0].search(
                event=True, start=as_time("20260602T000000Z"), end=as_time("20260603T000000Z")
            )
        ].count(uid) == 1
        found.delete()
        with pytest.raises(caldav.error.NotFoundError):
            calendars[0].event_by_uid(uid)


def as_time(text):
    from datetime import datetime

    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def test_a_contact_is_kept_and_found(dav):
    home = re.search(
        r"addressbook-home-set>\s*<href>([^<]+)",
        dav(
            "PROPFIND",
            "dav/ann/",
            '<propfind xmlns="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav"><prop>'
            "<c:addressbook-home-set/></prop></propfind>",
            Depth="0",
        )
        .body.replace("CR:", "")
        .replace("ns1:", ""),
    )[1]
    assert home == f"{dav.mount}/dav/ann/"
    types = '<propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>'
    books = dav("PROPFIND", "dav/ann/", types, Depth="1").body
    book = next(re.search("<href>([^<]+)", r)[1] for r in books.split("<response>") if "addressbook" in r)
    path = book.removeprefix(dav.mount + "/") + "bob.vcf"
    assert dav("PUT", path, CARD.format(uid="bob", name="Bob"), Content_Type="text/vcard").status == 201
    query = (
        '<c:addressbook-query xmlns:c="urn:ietf:params:xml:ns:carddav" xmlns="DAV:"><prop><c:address-data/></prop>'
        '<c:filter><c:prop-filter name="FN"><c:text-match>bob</c:text-match></c:prop-filter></c:filter>'
        "</c:addressbook-query>"
    )
    found = dav("REPORT", book.removeprefix(dav.mount + "/"), query, Depth="1")
    assert found.status == 207 and f"<href>{dav.mount}/{path}</href>" in found.body
    card = vobject.readOne(
        re.search(r"BEGIN:VCARD.*END:VCARD", found.body.replace("&#13;", ""), re.DOTALL)[0]
    )
    assert card.email.value == "Bob@one.org"
    assert dav("DELETE", path).status == 200


def test_every_method_gets_through(dav):
    options = dav("OPTIONS", "dav/")
    assert "calendar-access" in options.headers["DAV"] and "PROPFIND" in options.headers["Allow"]
    assert dav("MKCALENDAR", "dav/ann/work/").status == 201
    assert dav("MKCALENDAR", "dav/ann/work/").status == 409  # it is there already
    named = '<propertyupdate xmlns="DAV:"><set><prop><displayname>Ärbeit</displayname></prop></set></propertyupdate>'
    assert dav("PROPPATCH", "dav/ann/work/", named.encode()).status == 207
    assert "Ärbeit" in dav("PROPFIND", "dav/ann/work/", Depth="0").body
    assert dav("PUT", "dav/ann/work/1.ics", EVENT.format(uid="1", summary="one")).status == 201
    got = dav("GET", "dav/ann/work/1.ics")
    assert (
        got.status == 200
        and "SUMMARY:one" in got.body
        and got.headers["Content-Type"].startswith("text/calendar")
    )
    assert dav("HEAD", "dav/ann/work/1.ics").headers["ETag"] == got.headers["ETag"]
    two = EVENT.format(uid="1", summary="two")
    assert dav("PUT", "dav/ann/work/1.ics", two, If_Match='"other"').status == 412
    assert dav("PUT", "dav/ann/work/1.ics", two, If_None_Match="*").status == 412
    assert dav("PUT", "dav/ann/work/1.ics", two, If_Match=got.headers["ETag"]).status in (201, 204)
    multiget = (
        '<c:calendar-multiget xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns="DAV:"><prop><c:calendar-data/>'
        f"</prop><href>{dav.mount}/dav/ann/work/1.ics</href></c:calendar-multiget>"
    )
    assert "SUMMARY:two" in dav("REPORT", "dav/ann/work/", multiget, Depth="1").body
    assert dav("DELETE", "dav/ann/work/").status == 200 and dav("GET", "dav/ann/work/1.ics").status == 404


@pytest.mark.parametrize(
    "destination", ["{url}dav/ann/calendar/moved.ics", "{mount}/dav/ann/calendar/moved.ics"]
)
def test_move_within(dav, destination):
    dav("PUT", "dav/ann/calendar/before.ics", EVENT.format(uid="move", summary="move"))
    where = destination.format(url=dav.url, mount=dav.mount)
    assert dav("MOVE", "dav/ann/calendar/before.ics", Destination=where, Overwrite="T").status in (201, 204)
    assert dav("GET", "dav/ann/calendar/before.ics").status == 404
    assert dav("GET", "dav/ann/calendar/moved.ics").status == 200
    dav("DELETE", "dav/ann/calendar/moved.ics")


@pytest.mark.parametrize(
    ("destination", "status"),
    [
        ("http://evil.example/dav/ann/calendar/x.ics", 502),
        ("{url}users/x.ics", 502),
        ("{url}dav/../users", 400),
        ("{url}dav/ann/%2e%2e/bob/calendar/x.ics", 400),
        ("http://[", 400),
        ("{url}dav/bob/calendar/x.ics", 403),
        ("{mount}/davx/ann/calendar/x.ics", 502),
        ("ann/calendar/x.ics", 400),
    ],
)
def test_move_out_of_there(dav, destination, status):
    dav("PUT", "dav/ann/calendar/stays.ics", EVENT.format(uid="stays", summary="stays"))
    assert (
        dav(
            "MOVE", "dav/ann/calendar/stays.ics", Destination=destination.format(url=dav.url, mount=dav.mount)
        ).status
        == status
    )
    assert dav("GET", "dav/ann/calendar/stays.ics").status == 200


@pytest.mark.parametrize("method", ["GET", "PROPFIND", "OPTIONS"])
@pytest.mark.parametrize("name", ["caldav", "carddav", "caldav/"])
def test_well_known(dav, method, name):
    answer = dav(method, f".well-known/{name}", user=None)
    assert answer.status == 301 and answer.headers["Location"] == f"{dav.mount}/dav/"


def test_of_well_known_there_is_nothing_else(dav):
    answer = dav("GET", ".well-known/acme-challenge/x", user=None)
    assert answer.status == 404 and json.loads(answer.body)["status"] == "Unknown module .well-known."


def test_names_that_need_quoting(dav):
    path = "dav/ann/calendar/" + urllib.parse.quote("a b+ü&@.ics")
    assert dav("PUT", path, EVENT.format(uid="quoted", summary="quoted")).status == 201
    listed = re.findall(
        "<href>([^<]+)", dav("PROPFIND", "dav/ann/calendar/", Depth="1").body.replace("&amp;", "&")
    )
    assert f"{dav.mount}/dav/ann/calendar/a b+ü&@.ics" in map(urllib.parse.unquote, listed)
    assert dav("DELETE", path).status == 200


def test_many_at_once(dav):
    def put(number):
        return dav(
            "PUT", f"dav/ann/calendar/many-{number}.ics", EVENT.format(uid=f"m{number}", summary="m")
        ).status

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        assert set(threads.map(put, range(12))) == {201}
    assert dav("PROPFIND", "dav/ann/calendar/", Depth="1").body.count("many-") >= 12
    for number in range(12):
        assert dav("DELETE", f"dav/ann/calendar/many-{number}.ics").status == 200


########## Who gets in ###########################################################################


def test_without_credentials_the_client_is_asked_for_them(dav):
    answer = dav("PROPFIND", "dav/", user=None)
    assert (
        answer.status == 401
        and answer.headers["WWW-Authenticate"] == 'Basic realm="mailapi", charset="UTF-8"'
    )
    assert json.loads(answer.body)["login"] is False and "Set-Cookie" not in answer.headers


def test_nobody_reaches_others(dav):
    dav("PUT", "dav/ann/calendar/private.ics", EVENT.format(uid="private", summary="secret"))
    for path in (
        "dav/ann/",
        "dav/ann/calendar/",
        "dav/ann/calendar/private.ics",
        "dav//ann/calendar/private.ics",
    ):
        for method in ("GET", "PROPFIND", "REPORT", "PUT", "DELETE", "MKCALENDAR", "PROPPATCH"):
            answer = dav(
                method, path, EVENT.format(uid="x", summary="x") if method == "PUT" else None, user="bob"
            )
            assert answer.status in (403, 404, 405) and "secret" not in answer.body, (method, path)
    assert "ann" not in dav("PROPFIND", "dav/", user="bob", Depth="1").body.replace("channel", "")
    assert "secret" in dav("GET", "dav/ann/calendar/private.ics").body


def test_guesses_cost_time_and_are_in_the_audit(tmp_path, radicale):
    site = install_site(tmp_path, radicale.setting)
    site.app.config.free_attempts = 10
    with Server(tmp_path) as server:
        dav = DavClient(server.url)
        statuses = []
        while 429 not in statuses:  # one in each wait, which doubles, gets through on a busy machine
            guess = basic_credentials("bob", f"guess {len(statuses)}")
            statuses.append(dav("PROPFIND", "dav/", user=None, **guess).status)
        assert statuses[:10] == [401] * 10
        site.state("UPDATE failure SET failures = 20")  # nobody outlasts this wait
        refused = dav("PROPFIND", "dav/", user="bob")
        assert refused.status == 429 and int(refused.headers["Retry-After"]) > 0
        assert site("audit/?get", check=200, audit_user="bob")["audit"][0]["audit_http"] == 429
    rows = site("audit/?get", audit_user="bob")["audit"]
    assert [row["audit_http"] for row in rows].count(401) == statuses.count(401)
    assert "guess" not in json.dumps(rows)
    assert {row["audit_module"] for row in rows} == {"dav"}


def test_changes_are_in_the_audit_and_reads_are_not(tmp_path, radicale):
    site = install_site(tmp_path, radicale.setting)
    with Server(tmp_path) as server:
        dav = DavClient(server.url)
        dav("PROPFIND", "dav/ann/", Depth="0")
        dav("PUT", "dav/ann/calendar/audited.ics", EVENT.format(uid="audited", summary="s"))
        dav("DELETE", "dav/ann/calendar/audited.ics")
        dav("DELETE", "dav/bob/calendar/")
        rows = site("audit/?get", audit_module="dav")["audit"][::-1]
        said = server.log()
    shown = [
        (r["audit_user"], r["audit_via"], r["audit_action"], r["audit_target"], r["audit_status"])
        for r in rows
    ]
    assert shown == [
        ("ann", "basic", "PUT", "ann/calendar/audited.ics", "ok"),
        ("ann", "basic", "DELETE", "ann/calendar/audited.ics", "ok"),
        ("ann", "basic", "DELETE", "bob/calendar/", "403 Forbidden"),
    ]
    assert basic_credentials()["Authorization"].split()[1] not in said and "Traceback" not in said


def test_no_session_is_made_and_none_counts(tmp_path, radicale):
    site = install_site(tmp_path, radicale.setting)
    with Server(tmp_path) as server:
        dav = DavClient(server.url)
        for _ in range(3):
            answer = dav("PROPFIND", "dav/ann/", Depth="0")
            assert answer.status == 207 and "Set-Cookie" not in answer.headers
        browser = site.browser()
        browser.post_json("/?login", {"auth": {"user_name": "ann", "password": "pw"}})
        cookie = "PHPSESSID=" + browser.cookies["PHPSESSID"]
        assert dav("PROPFIND", "dav/ann/", user=None, Cookie=cookie).status == 401


def test_tokens(tmp_path, radicale):
    site = install_site(tmp_path, radicale.setting)

    def bearer(**fields):
        token = site("tokens/?add", user="ann", token_name="dav", **fields)["token"]
        return {"Authorization": f"Bearer {token}"}

    with Server(tmp_path) as server:
        dav = DavClient(server.url)
        body = EVENT.format(uid="token", summary="s")
        assert dav("PUT", "dav/ann/calendar/t.ics", body, user=None, **bearer()).status in (201, 204)
        reads = bearer(token_reads_only=1)
        assert dav("GET", "dav/ann/calendar/t.ics", user=None, **reads).status == 200
        refused = dav("DELETE", "dav/ann/calendar/t.ics", user=None, **reads)
        assert refused.status == 403 and json.loads(refused.body)["status"] == "This token may only read."
        other = dav("GET", "dav/ann/calendar/t.ics", user=None, **bearer(token_modules=["User"]))
        assert (
            other.status == 403 and json.loads(other.body)["status"] == "This token is not for this module."
        )
        assert (
            dav("GET", "dav/ann/calendar/t.ics", user=None, **bearer(token_modules=["Service"])).status == 200
        )
