"""dav/…: what is sent to the DAV server, and what comes back of its answers; collections are made and purged."""

import concurrent.futures
import contextlib
import http.client
import http.server
import json
import re
import threading
import urllib.parse
from pathlib import Path

import pytest
from mailapi_modules.clients.base import SLOTS

from support import hostile
from support.command_line import Server, run_mailapi
from support.dav import (
    Backend,
    DavClient,
    basic_credentials,
    install_site,
    provision_collections,
    site_with_backend,
)
from support.every_service import SERVICE_MODULE
from support.instances import free_port
from support.over_http import gunicorn_server
from support.site import Site
from support.waiting import wait_until

pytestmark = pytest.mark.slow


def test_only_what_concerns_the_dav_server_gets_there(tmp_path):
    with site_with_backend(tmp_path, path="/base") as (dav, asked):
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
    with site_with_backend(tmp_path) as (dav, asked):
        url = re.search("http://[^']+", (tmp_path / "config.py").read_text())[0]
        folder = tmp_path / "other"
        folder.mkdir()
        site = install_site(folder, {"dav": url})
        with Server(folder) as server:
            other = DavClient(server.url)
            assert other("GET", "dav/").status == 200
            assert (
                asked[-1][2]["Authorization"] == basic_credentials()["Authorization"]
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

    with site_with_backend(tmp_path, path="/base", answer=answer) as (dav, _):
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

    with site_with_backend(tmp_path, answer=answer) as (dav, _):
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

    with site_with_backend(tmp_path, start, answer=answer) as (dav, asked):
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

    with site_with_backend(tmp_path, answer=answer) as (dav, _):
        for _ in range(20):
            connection = http.client.HTTPConnection(dav.netloc, timeout=30)
            connection.request("GET", "/dav/large", headers=basic_credentials())
            answer = connection.getresponse()
            answer.read(1000)
            answer.close()
            connection.close()
        wait_until(lambda: dav("GET", "dav/small").status != 502)
        assert dav("GET", "dav/small").status == 200


def test_a_user_whose_requests_take_long_leaves_a_slot_to_others(tmp_path):
    answered = threading.Event()

    def answer(self):
        if self.headers["X-Remote-User"] == "ann":
            answered.wait(60)
        Backend.answer(self)

    with (
        site_with_backend(tmp_path, answer=answer) as (dav, asked),
        concurrent.futures.ThreadPoolExecutor() as threads,
    ):
        slow = [threads.submit(dav, "REPORT", f"dav/{number}") for number in range(SLOTS)]
        wait_until(lambda: len(asked) + sum(each.done() for each in slow) == SLOTS)
        status = dav("GET", "dav/bob/", user="bob").status
        answered.set()
        assert (status, sorted(each.result().status for each in slow)) == (200, [200] * (SLOTS - 1) + [502])
        assert dav("GET", "dav/ann/").status == 200


def test_an_answer_that_breaks_off_is_not_taken_for_whole(tmp_path):
    def answer(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"x" * 100_000)
        self.close_connection = True

    with (
        site_with_backend(tmp_path, answer=answer) as (dav, _),
        pytest.raises((http.client.IncompleteRead, ConnectionError)),
    ):
        dav("GET", "dav/x")


@pytest.mark.parametrize(
    ("head", "body", "answer"),
    [
        (b"Content-Length: abc", b"hello", (502, None)),
        (b"Content-Length: -5", b"hello", (502, None)),
        (b"Content-Length: 2\r\nContent-Length: 3", b"hello", (502, None)),
        (b"Content-Length: 5\r\nContent-Length: 5", b"hello", (200, "hello")),
        (b"Content-Length: 2\r\nTransfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n", (200, "hello")),
        (b"Content-Length: 5\r\nX-A: a\0b", b"hello", (200, "hello")),
    ],
)
def test_an_answer_has_one_length_and_no_nul(tmp_path, head, body, answer):
    def send(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body)
        self.close_connection = True

    with site_with_backend(tmp_path, answer=send) as (dav, _):
        found = dav("GET", "dav/x")
    sentence = "The dav service cannot be used: it sends an invalid Content-Length."
    assert (found.status, found.body if found.status == 200 else None) == answer
    assert found.status == 200 or json.loads(found.body)["status"] == sentence
    assert found.headers.get("X-A") in (None, "a b")


def test_a_chunked_answer_that_breaks_off_is_not_taken_for_whole(tmp_path):
    def answer(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n" + b"10000\r\nxx")
        self.close_connection = True

    with (
        site_with_backend(tmp_path, answer=answer) as (dav, _),
        pytest.raises((http.client.IncompleteRead, ConnectionError)),
    ):
        dav("GET", "dav/x")


def test_a_body_of_unknown_length_arrives_whole(tmp_path):
    """Under gunicorn, which hands chunks on as they come; many DAV servers take none."""
    with site_with_backend(tmp_path, gunicorn_server) as (dav, asked):

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

    with site_with_backend(tmp_path, do_PUT=refuse) as (dav, _):
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
        "nonsense": hostile.repeating(b"\0\xff\r\n\r\n"),
        "closed": hostile.silent,
    }[how]
    with hostile.misbehaving_server(behave) as port:
        services = {
            "dav": {
                "url": f"http://127.0.0.1:{free_port() if how == 'closed' else port}",
                "user_header": "X-Remote-User",
            }
        }
        site = Site(tmp_path, extra=SERVICE_MODULE, services=services)
        answer = site.browser().get("/dav/ann/", headers=basic_credentials(), status=502)
    assert answer.json["status"] == sentence or how == "nonsense"
    assert answer.json["status"].startswith("The dav service cannot be used: ")


def test_without_a_dav_service(tmp_path):
    browser = Site(tmp_path, extra=SERVICE_MODULE).browser()
    for path in ("/dav/", "/dav/ann/", "/.well-known/caldav"):
        assert browser.get(path, status=404).json["status"] == "The dav service is not configured."


def test_without_the_module_nothing_is_there(tmp_path):
    browser = Site(tmp_path).browser()
    assert browser.get("/dav/ann/", status=404).json["status"] == "Unknown module dav/ann."


@pytest.mark.parametrize(
    "name",
    ["a/b", "..", ".", "a\x01b", " ann", "ann ", "\tann", "ann\xa0", "an\u200bn", "ａnn", "annà", "annÅ"],
)
def test_a_user_name_that_is_a_path_or_may_be_read_as_anothers(tmp_path, radicale, name):
    from support.site import authdata

    site = Site(tmp_path, extra=SERVICE_MODULE, services=radicale.setting)
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", name, authdata("pw"))
    answer = site.browser().get("/dav/ann/", headers=basic_credentials(name), status=502)
    assert answer.json["status"] == "The dav service cannot be used: it takes no such user name."


def collections_of(radicale, user):
    home = radicale.folder / "collections/collection-root" / user
    return sorted(folder.name for folder in home.iterdir() if not folder.name.startswith("."))


def test_provisioning_and_purging(radicale):
    client = provision_collections(radicale, ["purged"])
    assert collections_of(radicale, "purged") == ["calendar", "contacts"]
    provision_collections(radicale, ["purged"])
    client.purge("calendar", "purged")
    assert collections_of(radicale, "purged") == ["contacts"]
    client.purge("contacts", "purged")
    client.purge("contacts", "purged")
    assert collections_of(radicale, "purged") == []


def test_many_first_log_ins_make_one_calendar(radicale):
    client = provision_collections(radicale, [])
    with concurrent.futures.ThreadPoolExecutor(5) as threads:
        list(threads.map(lambda _: client.provision("calendar", "hurried", None), range(5)))
    assert collections_of(radicale, "hurried") == ["calendar"]
    client.purge("calendar", "hurried")


def test_the_command_line_has_nothing_to_relay(tmp_path, radicale):
    install_site(tmp_path, radicale.setting)
    assert "Unknown module dav." in run_mailapi(tmp_path, "call", "dav", "get", check=1)
