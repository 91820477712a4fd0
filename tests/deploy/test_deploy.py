"""Behind existing web servers: each recipe of docs/how-to/, and the same session of a client."""

import contextlib
import http.server
import re
import threading

import pytest

from support.deployment import HOW_TO, recipe
from support.outer_programs import PROGRAMS
from support.panel_over_http import check_panel
from support.session import TOO_LARGE, Client, check_session
from support.web_servers import APACHE, LIGHTTPD, NGINX, nginx_recipe

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("title", NGINX)
def test_nginx(machine, title):
    with machine.backend(recipe(title)), machine.nginx(nginx_recipe(title)):
        check_session(machine.url)
        check_panel(machine.url)
        check_panel(machine.tls_url)


@pytest.mark.parametrize("host", ["mail.example:8443", "mail.example"])
def test_nginx_passes_the_host_on_with_its_port_and_says_how_it_was_asked(machine, host):
    """By these two mailapi tells its own origin from others' (docs/wire.md F42)."""
    got = []

    class Backend(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            got.append((self.headers.get_all("Host"), self.headers.get_all("X-Forwarded-Proto")))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", machine.back), Backend) as backend:
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        with machine.nginx(nginx_recipe("nginx and mailapi serve")), Client(machine.url) as client:
            client.send("?login", method="GET", headers={"Host": host, "X-Forwarded-Proto": "https"})
        backend.shutdown()
    assert got == [([host], ["http"])]


@pytest.mark.parametrize("title", APACHE)
def test_apache(machine, title):
    blocks = recipe(title)
    machine.files(blocks)
    with machine.apache(blocks.get("apache", "")):
        check_session(machine.url)
        check_panel(machine.tls_url)


def test_apache_as_a_proxy(machine):
    with (
        machine.backend(recipe("nginx and mailapi serve")),
        machine.apache(recipe("Apache as a proxy")["apache"], "proxy", "proxy_http", "headers"),
    ):
        check_panel(machine.url)
        check_panel(machine.tls_url)


@pytest.mark.parametrize("title", LIGHTTPD)
def test_lighttpd(machine, title):
    blocks = recipe(title)
    machine.files(blocks)
    with (
        machine.backend(blocks) if "sh" in blocks else contextlib.nullcontext(),
        machine.lighttpd(blocks["lighttpd"]),
    ):
        check_session(machine.url)
        check_panel(machine.url)


def test_lighttpd_as_a_proxy(machine):
    configuration = recipe("lighttpd as a proxy")["lighttpd"].replace("8080", str(machine.back))
    with machine.backend(recipe("nginx and mailapi serve")), machine.lighttpd(configuration):
        check_panel(machine.url)


@pytest.mark.parametrize("title", NGINX)
def test_what_nginx_lets_through_mailapi_refuses(machine, title):
    """The answer arrives although the body was not read: 20 times, because it is a race."""
    raised = nginx_recipe(title).replace("client_max_body_size 1m", "client_max_body_size 32m")
    with machine.backend(recipe(title)), machine.nginx(raised), Client(machine.url) as client:
        for _ in range(20):
            assert client("users/?get", check=413, body=TOO_LARGE)["status"] == "Request body too large."


def test_nginx_says_in_json_that_mailapi_is_not_there(machine):
    with machine.nginx(nginx_recipe("nginx and mailapi serve")), Client(machine.url) as client:
        assert client("users/?get", check=502)["status"] == "HTTP 502: not passed on."


def test_gunicorn_alone(machine):
    with machine.backend(recipe("nginx and gunicorn")):
        check_session(machine.url.replace(str(machine.front), str(machine.back)))


def test_uwsgi_alone_refuses_what_it_cannot_read(machine):
    """It does not take chunks apart; the action must not run as if there were no body."""
    command = recipe("nginx and uWSGI")["sh"]
    command = re.sub(r"--socket \S+ --chmod-socket=\d+", "--http-socket 127.0.0.1:8080", command)
    with machine.backend({"sh": command}):
        for body, http, status in (
            (iter([b"{", b"}"]), 411, "Request body of unknown length."),
            (TOO_LARGE, 413, "Request body too large."),
            (b"{}", 200, "Username is not set!"),
        ):
            with Client(machine.url.replace(str(machine.front), str(machine.back))) as client:
                assert client("users/?get", check=http, body=body)["status"] == status


def test_every_recipe_is_run_and_has_at_most_ten_lines():
    titles = [
        title
        for page in ("nginx.md", "apache.md", "lighttpd.md", "cgi.md", "inside-a-program.md")
        for title in re.findall("^## (.*)$", (HOW_TO / page).read_text(), re.MULTILINE)
        if recipe(title, page)
    ]
    known = NGINX + APACHE + LIGHTTPD + [f"In a {name} program" for name in PROGRAMS]
    assert sorted(titles) == sorted([*known, "Apache as a proxy", "lighttpd as a proxy"])
    for title in titles:
        assert sum(text.count("\n") for text in recipe(title).values()) <= 10, title
