"""dav/…: what a URL of a request or of an answer names on the other side: the same bytes, or it is refused."""

import contextlib
import re
import threading
from http.server import ThreadingHTTPServer

import pytest
from mailapi_modules.clients.base import clients
from mailapi_modules.clients.dav_urls import outside_url

import mailapi
from support.command_line import Server
from support.dav import Backend, DavClient, basic_credentials, install_site, site_with_backend
from support.deployment import recipe
from support.every_service import SERVICE_MODULE
from support.over_http import gunicorn_server
from support.session import Client
from support.site import MODULES
from support.web_servers import APACHE, LIGHTTPD, NGINX, nginx_recipe

INVALID_PATH, INVALID_DESTINATION = (400, "Invalid path."), (400, "Invalid Destination.")
ELSEWHERE = (502, "The destination is not on this server.")


class Recorder(Backend):
    """A DAV server that keeps what it was asked, deletions too."""

    do_DELETE = do_COPY = Backend.handle_one


@pytest.fixture(scope="module", params=["/base", ""], ids=["below", "at its root"])
def forwarded(request, tmp_path_factory):
    """The API, and what the DAV server behind it was asked."""
    methods = {"do_DELETE": Backend.handle_one, "do_COPY": Backend.handle_one}
    with site_with_backend(tmp_path_factory.mktemp("dav"), path=request.param, **methods) as (dav, asked):
        dav.base = request.param
        yield dav, asked


@pytest.fixture(autouse=True)
def nothing_asked(request):
    if "forwarded" in request.fixturenames:
        request.getfixturevalue("forwarded")[1].clear()


def raw(dav, *lines, host: str = "") -> tuple[int, str | None]:
    """The HTTP status of an answer, and its sentence where it is the API's own."""
    status, said = dav.raw(
        *lines, f"Host: {host or dav.netloc}", "Authorization: " + basic_credentials()["Authorization"]
    )
    sentence = re.search('"status":"([^"]*)"', said)
    return status, sentence and sentence[1]


def move(dav, destination: str, host: str = "") -> tuple[int, str | None]:
    return raw(dav, "MOVE /dav/x HTTP/1.1", f"Destination: {destination}", host=host)


########## The request's own path ################################################################


# What a request target must not lose on its way: a fragment, bytes that are not UTF-8, and slashes inside a name;
# the last ones are what some servers leave out of it.
TARGETS = [
    "/dav/x#frag",
    "/dav/x?a=1#frag",
    "/dav/x#frag?a=1",
    "/dav/x#",
    "/dav/#x",
    "/dav/%ff",
    "/dav/a%FFb",
    "/dav/%c3",
    "/dav/%ed%a0%80",
    "/dav/%c0%af",
    "/dav/ann%2Fcalendar",
    "/dav/ann%2fcalendar",
    "/dav/%2f",
    "/dav/%EF%BF%BD",
    "/dav/an\tn",
    "/dav/x?a\tb",
    "/dav/%5c",
    "/dav/a\\b",
    "/dav/..;/ann",
    "/dav/.;x=1/ann",
    "/dav/%2e%2e;/ann",
]


@pytest.mark.parametrize("target", TARGETS)
def test_a_path_that_would_be_another_one_is_refused(forwarded, target):
    dav, asked = forwarded
    assert raw(dav, f"DELETE {target} HTTP/1.1") == INVALID_PATH
    assert asked == []


@pytest.mark.parametrize(
    ("target", "there"),
    [
        ("/dav/x%23frag", "/x%23frag"),
        ("/dav/x;a=1", "/x;a=1"),
        ("/dav/x%3Fa", "/x%3Fa"),
        ("/dav/x?a=%23", "/x?a=%23"),
        ("/dav/x?a=%2F/", "/x?a=%2F/"),
        ("/dav/%C3%BC", "/%C3%BC"),
        ("/dav/%25ff", "/%25ff"),
        ("/dav/...", "/..."),
        ("/dav/.well-known", "/.well-known"),
        ("/dav/a%20b", "/a%20b"),
        ("/dav//a//b", "/a/b"),
    ],
)
def test_a_path_arrives_as_it_is(forwarded, target, there):
    dav, asked = forwarded
    assert raw(dav, f"DELETE {target} HTTP/1.1")[0] == 200
    assert [request[1] for request in asked] == [dav.base + there]


@pytest.mark.parametrize("target", ["/dav/x#frag", "/dav/%ff", "/dav/an\tn", "/dav/ann%2Fcalendar"])
def test_nor_is_it_another_one_under_gunicorn(tmp_path, target):
    methods = {"do_DELETE": Backend.handle_one}
    with site_with_backend(tmp_path, gunicorn_server, **methods) as (dav, asked):
        assert raw(dav, f"DELETE {target} HTTP/1.1")[0] == 400
        assert raw(dav, "DELETE /dav/x%23frag HTTP/1.1")[0] == 200
        assert [request[1] for request in asked] == ["/x%23frag"]


@contextlib.contextmanager
def served(machine, title: str):
    """The API behind the web server of a recipe, and what the DAV server behind it was asked."""
    blocks, handler = recipe(title), type("Handler", (Recorder,), {"asked": []})
    with contextlib.ExitStack() as stack:
        backend = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        stack.callback(backend.shutdown)
        config = machine.folder / "etc/mailapi/config.py"
        service = {"dav": {"url": f"http://127.0.0.1:{backend.server_port}", "user_header": "X-Remote-User"}}
        config.write_text(
            f"{config.read_text()}\nmodulelist = {MODULES | SERVICE_MODULE!r}\nservices = {service!r}\n"
        )
        machine.files(blocks)
        if "sh" in blocks:
            stack.enter_context(machine.backend(blocks))
        if title in NGINX:
            stack.enter_context(machine.nginx(nginx_recipe(title)))
        elif title in APACHE:
            stack.enter_context(machine.apache(blocks.get("apache", "")))
        else:
            stack.enter_context(machine.lighttpd(blocks["lighttpd"]))
        yield DavClient(machine.url), handler.asked


@pytest.mark.parametrize("title", NGINX + APACHE + LIGHTTPD)
def test_nor_is_it_another_one_behind_web_servers(machine, title):
    with served(machine, title) as (dav, asked):
        for target in ("x#frag", "%ff", "a%ffb", "an\tn"):
            assert 400 <= raw(dav, f"DELETE {dav.mount}/dav/{target} HTTP/1.1")[0] < 500, target
        assert raw(dav, f"DELETE {dav.mount}/dav/y%23frag HTTP/1.1")[0] == 200
        assert [request[1] for request in asked] == ["/y%23frag"]


########## Destination, If #######################################################################


NO_URLS = [
    "{url}dav/y%ff",
    "{url}dav/y\u00fc",
    "{url}dav/%c3",
    "{url}dav/y#frag",
    "{url}dav/y?a=1",
    "/dav/y?",
    "{url}dav/a%2Fb",
    "/dav/y%2fb",
    "/dav/%zz",
    "/dav/100%",
    "/dav/a\\b",
    "/dav/a b",
    "/dav/a\tb",
    "http://user@{netloc}/dav/y",
    "http://user:pw@{netloc}/dav/y",
    "http:/dav/y",
    "//{netloc}/dav/y",
    "///dav/y",
    "ftp://{netloc}/dav/y",
    "dav/y",
    "http://{netloc}x/dav/y",
    "http://[::1/dav/y",
    "http://{netloc}:1/dav/y",
    "<{url}dav/y>",
]
OUT_OF_THERE = [
    "{url}dav/%EF%BF%BD",
    "{url}dav/%5c",
    "{url}dav/%09",
    "{url}dav/%2e%2e/y",
    "{url}dav/..;/y",
    "{url}dav/./y",
]
OTHERS = [
    "http://localhost/dav/y",
    "http://127.0.0.1:1/dav/y",
    "http://127.0.0.1/dav/y",
    "http://127.0.0.1.evil.example:1/dav/y",
    "{url}davy",
    "{url}%2e/dav/y",
]


@pytest.mark.parametrize(
    ("destination", "answer"),
    [
        *((each, INVALID_DESTINATION) for each in NO_URLS),
        *((each, INVALID_PATH) for each in OUT_OF_THERE),
        *((each, ELSEWHERE) for each in OTHERS),
    ],
)
def test_a_destination_that_would_be_another_one_is_refused(forwarded, destination, answer):
    dav, asked = forwarded
    assert move(dav, destination.format(url=dav.url, netloc=dav.netloc)) == answer
    assert asked == []


@pytest.mark.parametrize(
    ("destination", "there"),
    [
        ("{url}dav/y%23frag", "/dav/y%23frag"),
        ("HTTP://{netloc}/dav/y", "/dav/y"),
        ("/dav/y;a=1", "/dav/y;a=1"),
        ("https://{netloc}/dav/%C3%BC%3F", "/dav/%C3%BC%3F"),
        ("/dav/a[1]^|'\"", "/dav/a%5B1%5D%5E%7C'%22"),
        ("/%64av/y/", "/dav/y/"),
        ("/dav//y//z", "/dav/y/z"),
        ("/dav/a%25ff", "/dav/a%25ff"),
    ],
)
def test_a_destination_arrives_as_it_is(forwarded, destination, there):
    dav, asked = forwarded
    assert move(dav, destination.format(url=dav.url, netloc=dav.netloc))[0] == 200
    [(_, _, headers, _)] = asked
    assert headers["Destination"] == f"http://{headers['Host']}{there}"


@pytest.mark.parametrize(
    ("host", "destination", "status"),
    [
        ("mail.example", "https://mail.example/dav/y", 200),
        ("mail.example", "https://mail.example:443/dav/y", 200),
        ("MAIL.example:443", "https://mail.EXAMPLE/dav/y", 200),
        ("mail.example:8443", "https://mail.example:8443/dav/y", 200),
        ("[::1]:81", "http://[::1]:81/dav/y", 200),
        ("mail.example", "https://mail.example:8443/dav/y", 502),
        ("mail.example:8443", "https://mail.example/dav/y", 502),
        ("mail.example:x", "https://mail.example/dav/y", 400),
    ],
)
def test_a_destination_of_another_port_is_on_another_server(forwarded, host, destination, status):
    dav, asked = forwarded
    assert move(dav, destination, host)[0] == status
    assert len(asked) == (status == 200)


def test_where_only_the_port_differs_the_log_says_so(tmp_path):
    install_site(tmp_path, {"dav": {"url": "http://127.0.0.1:1", "user_header": "X-Remote-User"}})
    with Server(tmp_path) as server:
        dav = DavClient(server.url)
        for _ in range(3):
            assert move(dav, "https://mail.example:8443/dav/y", "mail.example") == ELSEWHERE
        assert server.log().count("A Destination has another port than the Host header") == 1


@pytest.mark.parametrize(
    ("condition", "there"),
    [
        ('<{url}dav/x> (["e"])', '<{inside}/dav/x> (["e"])'),
        ("</dav/x> (<urn:uuid:1>)", "<{inside}/dav/x> (<urn:uuid:1>)"),
        ('(Not <urn:uuid:1> [W/"a)<b"])', '(Not <urn:uuid:1> [W/"a)<b"])'),
        ("(<{url}dav/x>)", "(<{url}dav/x>)"),
        (
            '<{url}dav/a%23> (["e"]) </dav/b> (not <u:1>)(<u:2>)',
            '<{inside}/dav/a%23> (["e"]) <{inside}/dav/b> (not <u:1>)(<u:2>)',
        ),
        # What is elsewhere, and what is none: the DAV server's to judge.
        ("<http://evil.example/dav/x> (<u:1>)", "<http://evil.example/dav/x> (<u:1>)"),
        ("<{url}dav/x#y> (<u:1>)", "<{url}dav/x#y> (<u:1>)"),
        ("<{url}dav/%ff> (<u:1>)", "<{url}dav/%ff> (<u:1>)"),
        ("<{url}dav/../x> (<u:1>)", "<{url}dav/../x> (<u:1>)"),
        ("<{url}users/x> (<u:1>)", "<{url}users/x> (<u:1>)"),
        ("<{url}dav/x (<u:1>)", "<{url}dav/x (<u:1>)"),
        ('["e"', '["e"'),
        ("<{url}dav/x> \u00fc", "<{url}dav/x> \u00c3\u00bc"),
    ],
)
def test_a_condition_is_about_the_same_resource(forwarded, condition, there):
    dav, asked = forwarded
    assert raw(dav, "DELETE /dav/x HTTP/1.1", "If: " + condition.format(url=dav.url))[0] == 200
    [(_, _, headers, _)] = asked
    assert headers["If"] == there.format(url=dav.url, inside=f"http://{headers['Host']}")


########## Location ##############################################################################


@pytest.mark.parametrize(
    ("location", "outside"),
    [
        ("{inside}/base/x", "/dav/x"),
        ("//{host}/base/x?a=%23#b", "/dav/x?a=%23#b"),
        ("/base/x#b", "/dav/x#b"),
        ("/base", "/dav"),
        ("{inside}", "/dav/"),
        ("/base2/x", "/dav/base2/x"),
        ("{inside}//evil.example/", "/dav//evil.example/"),
        ("http://user:pw@{host}/base/x", "/dav/x"),
        ("/dav/x", "/dav/x"),
        ("https://{host}/base/x", "/dav/x"),
        ("x#y", "x#y"),
        ("http://[", "http://["),
        ("http://{host}9/x", "http://{host}9/x"),
        ("mailto:a@b", "mailto:a@b"),
        ("http:/base/x", "http:/base/x"),
        ("//evil.example/base/x", "//evil.example/base/x"),
    ],
)
def test_a_location_names_the_same_resource(location, outside):
    service = {"dav": {"url": "http://127.0.0.1:5232/base", "user_header": "X-Remote-User"}}
    dav, host = clients(mailapi.Config("", {}, services=service))["dav"], "127.0.0.1:5232"
    given = location.format(inside=f"http://{host}", host=host)
    assert outside_url(dav, given, "/dav") == outside.format(host=host)


########## The audit #############################################################################


def test_the_audit_has_the_http_status_of_the_dav_server(tmp_path):
    statuses = iter((403, 409, 412, 423, 507, 201))

    def answer(self):
        self.send_response(next(statuses))
        self.send_header("Content-Length", "0")
        self.end_headers()

    with site_with_backend(tmp_path, answer=answer) as (dav, _):
        given = [dav("PUT", "dav/x", "x").status for _ in range(6)]
        with Client(dav.url) as root:
            root.log_in("root")
            rows = root("audit/?get", audit_module="dav")["audit"][::-1]
    assert [row["audit_http"] for row in rows] == given == [403, 409, 412, 423, 507, 201]
    assert [row["audit_status"] for row in rows][-2:] == ["507 Insufficient Storage", "ok"]


@pytest.mark.parametrize("title", NGINX + APACHE + LIGHTTPD)
def test_a_destination_at_the_clients_own_host_and_port_is_taken_behind_web_servers(machine, title):
    with served(machine, title) as (dav, asked):
        destination = f"Destination: http://{dav.netloc}{dav.mount}/dav/y"
        assert raw(dav, f"MOVE {dav.mount}/dav/x HTTP/1.1", destination)[0] == 200
        assert [request[:2] for request in asked] == [("MOVE", "/x")]
