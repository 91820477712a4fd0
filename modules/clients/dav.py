"""A client of CalDAV and CardDAV servers (RFC 4918, 4791, 6352): what a new user needs there."""

import base64
import http.client
import re
import time
import xml.etree.ElementTree as ElementTree

from mailapi import ConfigError

from ..clients.base import PROMPT, Client, ServiceDown

DAV, CALDAV, CARDDAV = "DAV:", "urn:ietf:params:xml:ns:caldav", "urn:ietf:params:xml:ns:carddav"
# What is provisioned → its namespace, its type there, and the property of a principal that says where they are.
COLLECTIONS = {
    "contacts": (CARDDAV, "addressbook", "addressbook-home-set"),
    "calendar": (CALDAV, "calendar", "calendar-home-set"),
}
FIND = '<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:x="{}"><d:prop><x:{}/></d:prop></d:propfind>'
# RFC 4791 section 5.3.1, RFC 5689 section 3.
MAKE = {
    "calendar": (
        "MKCALENDAR",
        '<?xml version="1.0"?><x:mkcalendar xmlns:d="DAV:" xmlns:x="' + CALDAV + '"><d:set>'
        "<d:prop><d:displayname>Calendar</d:displayname></d:prop></d:set></x:mkcalendar>",
    ),
    "contacts": (
        "MKCOL",
        '<?xml version="1.0"?><d:mkcol xmlns:d="DAV:" xmlns:x="' + CARDDAV + '"><d:set><d:prop>'
        "<d:resourcetype><d:collection/><x:addressbook/></d:resourcetype>"
        "<d:displayname>Contacts</d:displayname></d:prop></d:set></d:mkcol>",
    ),
}


class Dav(Client):
    kind, schemes, provides = "dav", {"http": 80, "https": 443}, tuple(COLLECTIONS)
    takes = ("url", "user_header", "plain")

    def __init__(self, setting: dict):
        super().__init__(setting)
        self.path = self.path.rstrip("/")
        self.user_header: str | None = setting.get("user_header")
        if self.scheme == "http" and self.encrypt:
            raise ConfigError(
                "services: passwords would go to dav unencrypted: give an https:// URL, or say plain."
            )
        if not re.fullmatch("[A-Za-z0-9-]+", self.user_header or "X"):
            raise ConfigError("services: user_header of dav must be the name of an HTTP header.")

    def ping(self) -> str:
        with self.talk() as connection, self.request(connection, "OPTIONS", self.path + "/", {}) as answer:
            if not (classes := answer.headers.get("DAV")):
                raise ServiceDown(self.kind, f"it answered HTTP {answer.status} without a DAV header")
            return "DAV " + " ".join(classes.split())[:200]

    def provision(self, what: str, user_name: str, password: str | None):
        """The user has a calendar or an address book: at least one, of whatever name."""
        if what not in self.provides:
            return super().provision(what, user_name, password)
        user = User(self, user_name, password)
        home, there = user.collections(what)
        if not there:
            method, body = MAKE[what]
            status, _ = user.ask(method, f"{home}{what}/", body)
            if status not in (200, 201) and not user.collections(what)[1]:  # made by another log-in meanwhile
                raise ServiceDown(self.kind, f"it did not make the {what}: HTTP {status}")
        return None

    def purge(self, what: str, user_name: str):
        """All of the user's calendars, or address books, with what is in them."""
        if what not in self.provides:
            return super().purge(what, user_name)
        user = User(self, user_name, None)
        for collection in user.collections(what)[1]:
            status, _ = user.ask("DELETE", collection)
            if status not in (200, 204, 404):
                raise ServiceDown(self.kind, f"it did not delete {collection[:100]}: HTTP {status}")
        return None

    def request(
        self, connection, method: str, target: str, headers: dict, body=None
    ) -> http.client.HTTPResponse:
        """Send a request over an open connection; its answer, of which only the head was read."""
        conversation = http.client.HTTPConnection(self.host, self.port)
        conversation.sock = connection
        try:
            conversation.request(method, target, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have said why before it had read everything
        return conversation.getresponse()

    def credentials(self, user_name: str, password: str | None) -> dict[str, str]:
        """The header that says to the server who asks: it trusts us, or checks the user's password itself."""
        self.check_name(user_name)
        if re.search(r"[/\x00-\x1f\x7f]", user_name) or user_name in (".", ".."):
            raise ServiceDown(self.kind, "it takes no such user name")
        if self.user_header:
            return {self.user_header: user_name.encode().decode("latin-1")}
        if password is None:
            raise ServiceDown(self.kind, "it has no user_header, and the user's password was not given")
        if ":" in user_name:
            raise ServiceDown(self.kind, "it takes no such user name")
        return {"Authorization": "Basic " + base64.b64encode(f"{user_name}:{password}".encode()).decode()}


class User:
    """What is asked on behalf of one user, all in all within PROMPT seconds."""

    def __init__(self, dav: Dav, user_name: str, password: str | None):
        self.dav, self.credentials = dav, dav.credentials(user_name, password)
        self.until = time.monotonic() + PROMPT

    def ask(self, method: str, target: str, body: str = "", **headers: str) -> tuple[int, bytes]:
        """The HTTP status and the body of an answer."""
        with self.dav.talk(max(0.001, self.until - time.monotonic())) as connection:
            if body:
                headers["Content-Type"] = "application/xml; charset=utf-8"
            headers |= self.credentials
            with self.dav.request(connection, method, target, headers, body.encode() or None) as answer:
                return answer.status, answer.read()

    def collections(self, what: str) -> tuple[str, list[str]]:
        """Where the user's collections are, and the paths of those that are of the kind."""
        namespace, kind, home_set = COLLECTIONS[what]
        principal = self.one(self.dav.path + "/", DAV, "current-user-principal")
        home = self.one(principal, namespace, home_set).rstrip("/") + "/"
        return home, [
            path
            for path, prop in self.find(home, DAV, "resourcetype", depth="1")
            if prop.find(f"{{{namespace}}}{kind}") is not None
        ]

    def one(self, target: str, namespace: str, name: str) -> str:
        """The path that a property of target holds."""
        for _, prop in self.find(target, namespace, name):
            if href := prop.findtext(f"{{{DAV}}}href"):
                return self.path_of(href)
        raise ServiceDown(self.dav.kind, f"it named no {name}")

    def find(
        self, target: str, namespace: str, name: str, depth: str = "0"
    ) -> list[tuple[str, ElementTree.Element]]:
        """The paths that have a property, and the property."""
        status, body = self.ask("PROPFIND", target, FIND.format(namespace, name), Depth=depth)
        if status != 207 or b"<!DOCTYPE" in body:
            raise ServiceDown(self.dav.kind, f"it answered HTTP {status} to PROPFIND")
        try:
            responses = ElementTree.fromstring(body).findall(f"{{{DAV}}}response")
        except (ElementTree.ParseError, ValueError):
            raise self.dav.nonsense(body.decode(errors="replace")) from None
        found = [
            (each.findtext(f"{{{DAV}}}href", ""), each.find(f".//{{{DAV}}}prop/{{{namespace}}}{name}"))
            for each in responses
        ]
        return [(self.path_of(href), prop) for href, prop in found if prop is not None]

    def path_of(self, href: str) -> str:
        """The path of an href: we never ask another server than the configured one."""
        path = re.sub("^https?://[^/]*", "", href.strip())
        if not re.fullmatch("/(?!/)[!-~]*", path):
            raise self.dav.nonsense(href)
        return path
