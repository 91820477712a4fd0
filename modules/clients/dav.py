"""The client of CalDAV and CardDAV servers (RFC 4918, 4791, 6352): creates and deletes calendars and address books."""

import base64
import http.client
import re
import time
import xml.etree.ElementTree as ElementTree
from functools import partial

from mailapi import ConfigError

from ..directory.user_limit import UserLimit
from .base import PROMPT_SECONDS, SLOT_WAIT, SLOTS, TOO_MANY, Client, ServiceDown

DAV, CALDAV, CARDDAV = "DAV:", "urn:ietf:params:xml:ns:caldav", "urn:ietf:params:xml:ns:carddav"
# Resource → XML namespace, resource type, and the property of a principal that names the home of its collections.
COLLECTIONS = {
    "contacts": (CARDDAV, "addressbook", "addressbook-home-set"),
    "calendar": (CALDAV, "calendar", "calendar-home-set"),
}
PROPFIND_BODY = (
    '<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:x="{}"><d:prop><x:{}/></d:prop></d:propfind>'
)
# Resource → method and body of the request that creates a collection (RFC 4791 section 5.3.1, RFC 5689 section 3).
CREATE_REQUESTS = {
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
    kind, schemes = "dav", {"http": 80, "https": 443}
    setting_keys = ("url", "user_header", "plain")

    def __init__(self, setting: dict):
        super().__init__(setting)
        self.path = self.path.rstrip("/")
        self.user_header: str | None = setting.get("user_header")
        # The last slot stays for other users.
        self.requests = UserLimit(SLOTS - 1, SLOT_WAIT, partial(ServiceDown, "dav", TOO_MANY))
        if self.scheme == "http" and self.encrypt:
            raise ConfigError(
                "services: passwords would go to dav unencrypted: give an https:// URL, or say plain."
            )
        if not re.fullmatch("[A-Za-z0-9-]+", self.user_header or "X"):
            raise ConfigError("services: user_header of dav must be the name of an HTTP header.")

    def ping(self) -> str:
        with (
            self.conversation() as connection,
            self.request(connection, "OPTIONS", self.path + "/", {}) as response,
        ):
            if not (classes := response.headers.get("DAV")):
                raise ServiceDown(self.kind, f"it answered HTTP {response.status} without a DAV header")
            return "DAV " + " ".join(classes.split())[:200]

    def provision(self, resource: str, user_name: str, password: str | None):
        """Create a calendar or an address book on the DAV server for a user who has none. ServiceDown if that fails.

        `resource`: "calendar", or "contacts" for an address book. `password`: the user's password, or None if it is
        not known.
        """
        user = UserRequests(self, user_name, password)
        home, existing = user.collections(resource)
        if not existing:
            method, body = CREATE_REQUESTS[resource]
            status, _ = user.request(method, f"{home}{resource}/", body)
            # Another log-in may have created it in the meantime.
            if status not in (200, 201) and not user.collections(resource)[1]:
                raise ServiceDown(self.kind, f"it did not make the {resource}: HTTP {status}")

    def purge(self, resource: str, user_name: str):
        """Delete all calendars (`resource` "calendar") or address books ("contacts") of a user from the DAV server."""
        user = UserRequests(self, user_name, None)
        for collection in user.collections(resource)[1]:
            status, _ = user.request("DELETE", collection)
            if status not in (200, 204, 404):
                raise ServiceDown(self.kind, f"it did not delete {collection[:100]}: HTTP {status}")

    def request(
        self, connection, method: str, target: str, headers: dict, body=None
    ) -> http.client.HTTPResponse:
        """Send an HTTP request over an open connection. Return the response; its body is not read yet.

        `target`: the path and query of the URL.
        """
        exchange = http.client.HTTPConnection(self.host, self.port)
        exchange.sock = connection
        try:
            exchange.request(method, target, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            pass  # a server may refuse a body, and close the connection, before it has read all of it
        return exchange.getresponse()

    def credentials(self, user_name: str, password: str | None) -> dict[str, str]:
        """Return the HTTP headers that log a user in to the DAV server, such as {"Authorization": "Basic …"}.

        If config.py has `user_header` for the server, the result is {user_header: user name}, and no password is
        needed. ServiceDown if a needed `password` is None, or if the user name cannot be sent safely.
        """
        self.check_user_name(user_name)
        if re.search(r"[/\x00-\x1f\x7f]", user_name) or user_name in (".", ".."):
            raise ServiceDown(self.kind, "it takes no such user name")
        if self.user_header:
            value = user_name.encode().decode("latin-1")
            # Python's HTTP servers, such as Radicale's, strip more than ASCII: "annà" and "annÅ" would be the same user.
            if value != value.strip():
                raise ServiceDown(self.kind, "it takes no such user name")
            return {self.user_header: value}
        if password is None:
            raise ServiceDown(self.kind, "it has no user_header, and the user's password was not given")
        if ":" in user_name:
            raise ServiceDown(self.kind, "it takes no such user name")
        return {"Authorization": "Basic " + base64.b64encode(f"{user_name}:{password}".encode()).decode()}


class UserRequests:
    """HTTP requests to the DAV server on behalf of one user. All of them together may take PROMPT_SECONDS (2)."""

    def __init__(self, dav: Dav, user_name: str, password: str | None):
        self.dav, self.credentials = dav, dav.credentials(user_name, password)
        self.until = time.monotonic() + PROMPT_SECONDS

    def request(self, method: str, target: str, body: str = "", **headers: str) -> tuple[int, bytes]:
        """Send an HTTP request for the URL path `target`. Return (HTTP status, body of the response).

        `headers`: further headers, such as Depth="1".
        """
        with self.dav.conversation(max(0.001, self.until - time.monotonic())) as connection:
            if body:
                headers["Content-Type"] = "application/xml; charset=utf-8"
            headers |= self.credentials
            with self.dav.request(connection, method, target, headers, body.encode() or None) as response:
                return response.status, response.read()

    def collections(self, resource: str) -> tuple[str, list[str]]:
        """Find a user's calendars or address books. Return the path of their folder, and a list of their own paths.

        For example ("/bob/", ["/bob/work/", "/bob/private/"]). `resource`: "calendar", or "contacts" for address
        books.
        """
        namespace, resource_type, home_set = COLLECTIONS[resource]
        principal = self.property_path(self.dav.path + "/", DAV, "current-user-principal")
        home = self.property_path(principal, namespace, home_set).rstrip("/") + "/"
        return home, [
            path
            for path, prop in self.properties(home, DAV, "resourcetype", depth="1")
            if prop.find(f"{{{namespace}}}{resource_type}") is not None
        ]

    def property_path(self, target: str, namespace: str, name: str) -> str:
        """Read a DAV property that contains a URL. Return the path of this URL, such as "/bob/".

        `target`: the path of the resource that has the property. `namespace` and `name`: those of the property's XML
        element. ServiceDown if the resource has no such property.
        """
        for _, prop in self.properties(target, namespace, name):
            if href := prop.findtext(f"{{{DAV}}}href"):
                return self.path_of(href)
        raise ServiceDown(self.dav.kind, f"it named no {name}")

    def properties(
        self, target: str, namespace: str, name: str, depth: str = "0"
    ) -> list[tuple[str, ElementTree.Element]]:
        """Read a property of a DAV resource (RFC 4918 section 9.1). Return [(path of the resource, XML element), …].

        `target`: the path of the resource. `namespace` and `name`: those of the property's XML element. `depth`: "0",
        or "1" to read the resources inside the folder `target`, too. Resources without the property are left out.
        """
        status, body = self.request("PROPFIND", target, PROPFIND_BODY.format(namespace, name), Depth=depth)
        if status != 207 or b"<!DOCTYPE" in body:
            raise ServiceDown(self.dav.kind, f"it answered HTTP {status} to PROPFIND")
        try:
            responses = ElementTree.fromstring(body).findall(f"{{{DAV}}}response")
        except (ElementTree.ParseError, ValueError):
            raise self.dav.protocol_error(body.decode(errors="replace")) from None
        matches = [
            (each.findtext(f"{{{DAV}}}href", ""), each.find(f".//{{{DAV}}}prop/{{{namespace}}}{name}"))
            for each in responses
        ]
        return [(self.path_of(href), prop) for href, prop in matches if prop is not None]

    def path_of(self, href: str) -> str:
        """Return the path of a URL from the DAV server, such as "/bob/". ServiceDown if the path is invalid.

        `href`: the URL. Its host is ignored, so that all requests go to the server in config.py.
        """
        path = re.sub("^https?://[^/]*", "", href.strip())
        if not re.fullmatch("/(?!/)[!-~]*", path):
            raise self.dav.protocol_error(href)
        return path
