"""dav/…: calendars and address books of a real DAV server, reached by real clients through the API."""

import base64
import concurrent.futures
import contextlib
import http.client
import http.server
import json
import re
import time
import urllib.parse
from datetime import UTC
from pathlib import Path

import caldav
import pytest
import vobject
from mailapi_modules.clients.base import clients

import mailapi
from support import hostile
from support.command_line import Server, run
from support.dav import CARD, EVENT, Dav, basic, behind, install
from support.every_service import SERVICE
from support.instances import free_port
from support.over_http import gunicorn
from support.site import Site

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory, radicale):
    """An API in front of Radicale, for whose users the first log-in has made what they need."""
    site = install(tmp_path_factory.mktemp("dav"), radicale.setting)
    provide(radicale)
    return site


def provide(radicale, users=("ann", "bob")):
    client = clients(mailapi.Config("", {}, services=radicale.setting))["dav"]
    for user in users:
        client.provision("calendar", user, None)
        client.provision("contacts", user, None)
    return client


@pytest.fixture(scope="module", params=["", "/cmail/api"], ids=["root", "mounted"])
def dav(request, site):
    with Server(site.dbpath.parent, "--mount", request.param) as server:
        yield Dav(server.url)


@pytest.fixture(scope="module")
def at_root(site):
    with Server(site.dbpath.parent) as server:
        yield Dav(server.url)


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


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic x",
        "Digest username=ann",
        "Bearer",
        "Bearer x",
        *(
            "Basic " + base64.b64encode(each).decode()
            for each in (b"ann", b":pw", b"ann:", b"\xff:\xff", b"a\0nn:pw")
        ),
    ],
)
def test_what_are_no_credentials(at_root, header):
    assert at_root("PROPFIND", "dav/", user=None, Authorization=header).status == 401


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


@pytest.mark.parametrize(
    "path",
    [
        "/dav/bob/../ann/calendar/",
        "/dav/bob/%2e%2e/ann/calendar/",
        "/dav/bob%2f..%2fann/calendar/",
        "/dav/bob/%2E./ann/",
        "/dav/bob/..%2fann/",
        "/dav/./ann/",
        "/dav/bob/..\\ann/",
        "/dav/bob/%5c../ann",
        "/dav/ann%00/",
        "/dav/..",
        "/dav/../users/?get",
        "/dav/%0d%0aX-Remote-User:%20ann/",
        "/dav/bob/%c0%ae%c0%ae/ann/",
        "http://evil.example/dav/ann/calendar/",
        "//evil.example/dav/ann/",
        "/dav/http://evil.example/",
        "/dav/bob/;/../ann/",
        "/dav?x=/ann/",
        "/dav/%252e%252e/ann/",
    ],
)
def test_no_path_leads_to_others_or_elsewhere(at_root, path):
    status, said = at_root.raw(
        f"PROPFIND {path} HTTP/1.1",
        f"Host: {at_root.netloc}",
        "Depth: 1",
        "Authorization: " + basic("bob")["Authorization"],
    )
    said = said.replace(path.lstrip("/"), "")
    assert "ann/calendar" not in said and "evil" not in said.replace("evil.example/dav/ann.", "")
    assert status in (207, 400, 403, 404) and "<users>" not in said


@pytest.mark.parametrize(
    "headers",
    [
        ["X-Remote-User: ann"],
        ["X_Remote_User: ann"],
        ["x-remote-user: ann", "Connection: X-Remote-User"],
        ["Remote-User: ann"],
        ["X-Remote-User : ann"],
        ["X-Script-Name: /evil"],
        ["X-Forwarded-User: ann"],
        ["X-HTTP-Method-Override: DELETE"],
        ["Depth: 1\r\n X-Remote-User: ann"],
    ],
)
def test_who_asks_is_not_for_the_client_to_say(at_root, headers):
    status, said = at_root.raw(
        "PROPFIND /dav/ann/calendar/ HTTP/1.1",
        f"Host: {at_root.netloc}",
        "Authorization: " + basic("bob")["Authorization"],
        *headers,
    )
    assert status in (400, 403) and "/evil" not in said
    assert at_root("PROPFIND", "dav/ann/calendar/", Depth="0").status == 207


def test_a_request_cannot_be_smuggled_inside_another(at_root):
    inner = b"DELETE /ann/calendar/ HTTP/1.1\r\nHost: x\r\nX-Remote-User: ann\r\n\r\n"
    for framing in (
        ["Content-Length: 4", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 4"],
        ["Content-Length: 4", "Content-Length: 200"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding : chunked"],
        ["Content-Length: +4"],
        ["Content-Length: 4, 4"],
    ):
        at_root.raw(
            "PUT /dav/bob/calendar/s.ics HTTP/1.1",
            f"Host: {at_root.netloc}",
            *framing,
            "Authorization: " + basic("bob")["Authorization"],
            body=b"0\r\n\r\n" + inner,
        )
        assert at_root("PROPFIND", "dav/ann/calendar/", Depth="0").status == 207, framing
    at_root("DELETE", "dav/bob/calendar/s.ics", user="bob")


def test_guesses_cost_time_and_are_in_the_audit(tmp_path, radicale):
    site = install(tmp_path, radicale.setting)
    site.app.config.free_attempts = 10
    with Server(tmp_path) as server:
        dav = Dav(server.url)
        statuses = []
        while 429 not in statuses:  # one in each wait, which doubles, gets through on a busy machine
            guess = basic("bob", f"guess {len(statuses)}")
            statuses.append(dav("PROPFIND", "dav/", user=None, **guess).status)
        assert statuses[:10] == [401] * 10
        site.state("UPDATE failure SET failures = 20")  # nobody outlasts this wait
        refused = dav("PROPFIND", "dav/", user="bob")
        assert refused.status == 429 and int(refused.headers["Retry-After"]) > 0
        assert site("audit/?get", check=200, audit_user="bob")["audit"][0]["audit_http"] == 429
    rows = site("audit/?get", audit_user="bob")["audit"]
    assert [row["audit_http"] for row in rows].count(401) == statuses.count(
        401
    ) and "guess" not in json.dumps(rows)
    assert {row["audit_module"] for row in rows} == {"dav"}


def test_changes_are_in_the_audit_and_reads_are_not(tmp_path, radicale):
    site = install(tmp_path, radicale.setting)
    with Server(tmp_path) as server:
        dav = Dav(server.url)
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
    assert basic()["Authorization"].split()[1] not in said and "Traceback" not in said


def test_no_session_is_made_and_none_counts(tmp_path, radicale):
    site = install(tmp_path, radicale.setting)
    with Server(tmp_path) as server:
        dav = Dav(server.url)
        for _ in range(3):
            answer = dav("PROPFIND", "dav/ann/", Depth="0")
            assert answer.status == 207 and "Set-Cookie" not in answer.headers
        browser = site.browser()
        browser.post_json("/?login", {"auth": {"user_name": "ann", "password": "pw"}})
        cookie = "PHPSESSID=" + browser.cookies["PHPSESSID"]
        assert dav("PROPFIND", "dav/ann/", user=None, Cookie=cookie).status == 401


@pytest.mark.parametrize(
    "headers", [{"Sec_Fetch_Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}]
)
def test_another_sites_page_gets_nothing(at_root, headers):
    """Browsers send Basic credentials that they know along like cookies."""
    answer = at_root("DELETE", "dav/ann/calendar/", **headers)
    assert answer.status == 403 and json.loads(answer.body)["status"] == "Not allowed from another site."
    assert at_root("PROPFIND", "dav/ann/calendar/", Depth="0").status == 207


def test_tokens(tmp_path, radicale):
    site = install(tmp_path, radicale.setting)

    def bearer(**fields):
        token = site("tokens/?add", user="ann", token_name="dav", **fields)["token"]
        return {"Authorization": f"Bearer {token}"}

    with Server(tmp_path) as server:
        dav = Dav(server.url)
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


########## What the DAV server does ##############################################################


def test_only_what_concerns_the_dav_server_gets_there(tmp_path):
    with behind(tmp_path, path="/base") as (dav, asked):
        dav(
            "PUT",
            "dav/a%20b?x=1",
            "body",
            Content_Type="text/calendar",
            If_Match='"e"',
            Cookie="PHPSESSID=x",
            X_Forwarded_For="1.2.3.4",
            Depth="1",
            Connection="Depth, close",
            Proxy_Authorization="x",
            TE="trailers",
        )
        dav("GET", "dav/" + urllib.parse.quote('%2e%2e/a?b#c;d=&"<ü') + "//x")
    assert asked.pop()[1] == "/base/" + urllib.parse.quote('%2e%2e/a?b#c;d=&"<ü', safe="/;=&") + "/x"
    [(method, path, headers, size)] = asked
    assert (method, path, size) == ("PUT", "/base/a%20b?x=1", 4)
    assert headers.pop("Host").startswith("127.0.0.1:")
    assert headers == {
        "Content-Type": "text/calendar",
        "If-Match": '"e"',
        "X-Remote-User": "ann",
        "X-Script-Name": "/dav",
        "Connection": "close",
        "Content-Length": "4",
        "Accept-Encoding": "identity",
    }


def test_the_users_own_password_goes_on_where_the_server_checks_it(tmp_path):
    with behind(tmp_path) as (dav, asked):
        url = re.search("http://[^']+", (tmp_path / "config.py").read_text())[0]
        folder = tmp_path / "other"
        folder.mkdir()
        site = install(folder, {"dav": url})
        with Server(folder) as server:
            other = Dav(server.url)
            assert other("GET", "dav/").status == 200
            assert (
                asked[-1][2]["Authorization"] == basic()["Authorization"]
                and "X-Remote-User" not in asked[-1][2]
            )
            token = site("tokens/?add", user="ann", token_name="x")["token"]
            refused = other("GET", "dav/", user=None, Authorization=f"Bearer {token}")
    assert refused.status == 502 and "the user's password was not given" in json.loads(refused.body)["status"]


def test_what_comes_back(tmp_path):
    def answer(self):
        self.send_response(201)
        for name, value in (
            ("Location", f"http://{self.headers['Host']}/base/x"),
            ("Content-Location", "/dav/y"),
            ("Set-Cookie", "PHPSESSID=evil"),
            ("Access-Control-Allow-Origin", "*"),
            ("ETag", '"e"'),
            ("Connection", "X-Hop"),
            ("X-Hop", "1"),
            ("Keep-Alive", "1"),
            ("Server", "secret/1"),
            ("Content-Type", "text/html"),
            ("Content-Length", "8"),
            ("X-Folded", "a\r\n b"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"<script>")

    with behind(tmp_path, path="/base", answer=answer) as (dav, _):
        got = dav("PUT", "dav/x", "x")
    assert got.status == 201 and got.body == "<script>"
    kept = {name.lower(): value for name, value in got.headers.items()}
    assert (
        not kept.pop("connection", "").count("X-Hop")
        and kept.pop("date")
        and kept.pop("content-length") == "8"
    )
    assert kept == {
        "location": "/dav/x",
        "content-location": "/dav/y",
        "etag": '"e"',
        "content-type": "text/html",
        "x-folded": "a b",
        "content-security-policy": "default-src 'none'; sandbox",
        "x-content-type-options": "nosniff",
    }


@pytest.mark.parametrize("location", ["http://elsewhere.example/x", "http://x:99999999/", "//[", "relative"])
def test_a_location_of_elsewhere_stays_what_it_is(tmp_path, location):
    def answer(self):
        self.send_response(302)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    with behind(tmp_path, answer=answer) as (dav, _):
        got = dav("GET", "dav/x")
    assert (got.status, got.headers["Location"]) == (302, location) or got.status == 502


def memory_of(server) -> int:
    """Its resident set at its highest, in MB."""
    return (
        int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())[1]) // 1024
    )


def test_bodies_are_not_kept_in_memory(tmp_path):
    size = 30 * 1024 * 1024

    def answer(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(5 * size // 65536):
            self.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    started = []

    def start(folder):
        started.append(Server(folder))
        return started[0]

    with behind(tmp_path, start, answer=answer) as (dav, asked):
        dav("GET", "?login")
        before = memory_of(started[0])
        assert len(dav("PUT", "dav/x", b"y" * size).body) == 5 * size
        assert asked[0][3] == size and memory_of(started[0]) - before < 60


def test_clients_that_leave_early_let_go_of_the_dav_server(tmp_path):
    def answer(self):
        self.send_response(200)
        self.send_header("Content-Length", str(100 * 1024 * 1024) if "large" in self.path else "0")
        self.end_headers()
        if "large" in self.path:
            with contextlib.suppress(OSError):
                for _ in range(1600):
                    self.wfile.write(b"x" * 65536)

    with behind(tmp_path, answer=answer) as (dav, _):
        for _ in range(20):
            connection = http.client.HTTPConnection(dav.netloc, timeout=30)
            connection.request("GET", "/dav/large", headers=basic())
            answer = connection.getresponse()
            answer.read(1000)
            answer.close()
            connection.close()
        until = time.monotonic() + 60
        while (status := dav("GET", "dav/small").status) == 502 and time.monotonic() < until:
            time.sleep(0.1)
        assert status == 200


def test_an_answer_that_breaks_off_is_not_taken_for_whole(tmp_path):
    def answer(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"x" * 100_000)
        self.close_connection = True

    with (
        behind(tmp_path, answer=answer) as (dav, _),
        pytest.raises((http.client.IncompleteRead, ConnectionError)),
    ):
        dav("GET", "dav/x")


def test_a_chunked_answer_that_breaks_off_is_not_taken_for_whole(tmp_path):
    def answer(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n" + b"10000\r\nxx")
        self.close_connection = True

    with (
        behind(tmp_path, answer=answer) as (dav, _),
        pytest.raises((http.client.IncompleteRead, ConnectionError)),
    ):
        dav("GET", "dav/x")


def test_a_body_of_unknown_length_arrives_whole(tmp_path):
    """Under gunicorn, which hands chunks on as they come; many DAV servers take none."""
    with behind(tmp_path, gunicorn) as (dav, asked):

        def pieces():
            for _ in range(50):
                yield b"z" * 10_000

        assert dav("PUT", "dav/x", pieces()).status == 200
        assert dav("PUT", "dav/y", b"with a length").status == 200
        too_long = dav("PUT", "dav/z", (b"z" * 1024 * 1024 for _ in range(34)))
        assert dav("PUT", "dav/w", b"w" * (32 * 1024 * 1024 + 1)).status == 413
    assert [(path, size) for _, path, _, size in asked] == [
        ("/x", 500_000),
        ("/y", 13),
    ] and too_long.status == 413


def test_a_refusal_before_the_body_was_read(tmp_path):
    def refuse(self):
        self.send_response(413)
        self.send_header("Content-Length", "8")
        self.end_headers()
        self.wfile.write(b"too much")
        self.close_connection = True

    with behind(tmp_path, do_PUT=refuse) as (dav, _):
        answer = dav("PUT", "dav/x", b"x" * 200_000)
    assert answer.status in (413, 502)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("closed", "The dav service cannot be used: Connection refused."),
        ("unauthorized", "The dav service cannot be used: it refused the log-in."),
        ("nonsense", "The dav service cannot be used: it answered nonsense."),
        ("hangs", "The dav service cannot be used: it did not answer in time."),
    ],
)
def test_a_dav_server_that_is_down(tmp_path, how, sentence, monkeypatch):
    from mailapi_modules.clients import dav_proxy

    monkeypatch.setattr(dav_proxy, "IDLE_SECONDS", 1)
    behave = {
        "unauthorized": hostile.answering(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"),
        "hangs": hostile.silent,
        "nonsense": hostile.saying(b"\0\xff\r\n\r\n"),
        "closed": hostile.silent,
    }[how]
    with hostile.server(behave) as port:
        services = {
            "dav": {
                "url": f"http://127.0.0.1:{free_port() if how == 'closed' else port}",
                "user_header": "X-Remote-User",
            }
        }
        site = Site(tmp_path, extra=SERVICE, services=services)
        answer = site.browser().get("/dav/ann/", headers=basic(), status=502)
    assert answer.json["status"] == sentence or how == "nonsense"
    assert answer.json["status"].startswith("The dav service cannot be used: ")


def test_without_a_dav_service(tmp_path):
    browser = Site(tmp_path, extra=SERVICE).browser()
    for path in ("/dav/", "/dav/ann/", "/.well-known/caldav"):
        assert browser.get(path, status=404).json["status"] == "The dav service is not configured."


def test_without_the_module_nothing_is_there(tmp_path):
    browser = Site(tmp_path).browser()
    assert browser.get("/dav/ann/", status=404).json["status"] == "Unknown module dav/ann."


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".", "a\x01b", " ann", "ann ", "\tann", "ann\xa0", "an\u200bn", "ａnn"]
)
def test_a_user_name_that_is_a_path_or_may_be_read_as_anothers(tmp_path, radicale, name):
    from support.site import authdata

    site = Site(tmp_path, extra=SERVICE, services=radicale.setting)
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", name, authdata("pw"))
    answer = site.browser().get("/dav/ann/", headers=basic(name), status=502)
    assert answer.json["status"] == "The dav service cannot be used: it takes no such user name."


def collections_of(radicale, user):
    home = radicale.folder / "collections/collection-root" / user
    return sorted(folder.name for folder in home.iterdir() if not folder.name.startswith("."))


def test_provisioning_and_purging(radicale):
    client = provide(radicale, ["purged"])
    assert collections_of(radicale, "purged") == ["calendar", "contacts"]
    provide(radicale, ["purged"])
    client.purge("calendar", "purged")
    assert collections_of(radicale, "purged") == ["contacts"]
    client.purge("contacts", "purged")
    client.purge("contacts", "purged")
    assert collections_of(radicale, "purged") == []


def test_many_first_log_ins_make_one_calendar(radicale):
    client = provide(radicale, [])
    with concurrent.futures.ThreadPoolExecutor(5) as threads:
        list(threads.map(lambda _: client.provision("calendar", "hurried", None), range(5)))
    assert collections_of(radicale, "hurried") == ["calendar"]
    client.purge("calendar", "hurried")


def test_the_command_line_has_nothing_to_relay(tmp_path, radicale):
    install(tmp_path, radicale.setting)
    assert "Unknown module dav." in run(tmp_path, "call", "dav", "get", check=1)
