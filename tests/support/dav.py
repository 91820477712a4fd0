"""Clients of dav/… and a DAV server that answers as a test says."""

import base64
import contextlib
import http.client
import http.server
import re
import socket
import threading
from pathlib import Path

import pytest
from mailapi_modules.clients.base import clients

import mailapi
from support.command_line import Server
from support.every_service import SERVICE_MODULE
from support.site import MODULES, Site

EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\nUID:{uid}\r\n"
    "DTSTAMP:20260601T120000Z\r\nDTSTART:20260602T120000Z\r\nDTEND:20260602T130000Z\r\nSUMMARY:{summary}\r\n"
    "END:VEVENT\r\nEND:VCALENDAR\r\n"
)
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{name}\r\nN:{name};;;;\r\nEMAIL:{name}@one.org\r\nEND:VCARD\r\n"


def basic_credentials(user="ann", password="pw"):
    """Return the header of HTTP Basic for a user."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class DavClient:
    """A client of dav/… that sends whole HTTP requests; a path is what follows the mount point."""

    def __init__(self, url):
        self.url = url
        self.netloc, self.mount = re.fullmatch(r"http://([^/]+)(.*)/", url).groups()

    def __call__(self, method, path, body=None, user="ann", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()} | (
            basic_credentials(user) if user else {}
        )
        connection = http.client.HTTPConnection(self.netloc, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, f"{self.mount}/{path}", body, headers)
            answer = connection.getresponse()
            answer.body = answer.read().decode(errors="replace")
            return answer

    def raw(self, *lines: str, body=b"") -> tuple[int, str]:
        """Send exactly these lines; return status and text of the answer."""
        host, port = self.netloc.split(":")
        with socket.create_connection((host, int(port)), 30) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            answer = http.client.HTTPResponse(connection)
            with contextlib.closing(answer):
                answer.begin()
                return answer.status, f"{answer.headers}{answer.read().decode(errors='replace')}"


def install_site(folder: Path, services: dict, modules=MODULES | SERVICE_MODULE) -> Site:
    """Make a site with services and its config.py."""
    site = Site(folder, extra=SERVICE_MODULE, services=services)
    (folder / "config.py").write_text(
        f'dbpath = "master.db3"\nmodulelist = {modules!r}\nservices = {services!r}\n'
    )
    return site


class Backend(http.server.BaseHTTPRequestHandler):
    """A DAV server that records its requests in `asked`, and answers by its method `answer`."""

    protocol_version = "HTTP/1.1"
    asked: list = []

    def handle_one(self):
        """Read and record a request."""
        length = int(self.headers.get("Content-Length") or 0)
        read = 0
        while read < length and (piece := self.rfile.read(min(65536, length - read))):
            read += len(piece)
        self.asked.append((self.command, self.path, dict(self.headers.items()), read))
        self.answer()

    def answer(self):
        """Send "ok"."""
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        """Write no log."""

    do_GET = do_PUT = do_PROPFIND = do_MOVE = do_POST = do_REPORT = handle_one


@contextlib.contextmanager
def site_with_backend(tmp_path, start=Server, path="", **methods):
    """Serve the API in front of a Backend with these methods; yield its client and what the backend was asked."""
    handler = type("Handler", (Backend,), {"asked": [], **methods})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as backend:
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{backend.server_port}{path}"
        install_site(tmp_path, {"dav": {"url": url, "user_header": "X-Remote-User"}})
        with start(tmp_path) as server:
            yield DavClient(getattr(server, "url", server)), handler.asked
        backend.shutdown()


def provision_collections(radicale, users=("ann", "bob")):
    """Make the calendar and the address book of users; return the client that made them."""
    client = clients(mailapi.Config("", {}, services=radicale.setting))["dav"]
    for user in users:
        client.provision("calendar", user, None)
        client.provision("contacts", user, None)
    return client


@pytest.fixture(scope="module")
def dav_site(tmp_path_factory, radicale):
    """A site in front of Radicale, in which ann and bob have a calendar and an address book."""
    site = install_site(tmp_path_factory.mktemp("dav"), radicale.setting)
    provision_collections(radicale)
    return site
