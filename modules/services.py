"""Services: the traffic between users and the servers of the installation: SMTP, IMAP, POP, DAV, scanners, filters."""

import base64
import re
import time

import bottle

from mailapi import (
    ApiError,
    Module,
    Rule,
    admin,
    anyone,
    endpoint,
    invalid,
    list_of_text,
    long_text,
    php_text,
)

from .clients.base import PROMPT, SCAN_SECONDS, Client, at_once, clients
from .http.large_bodies import read_large_object
from .mail.compose import authors_in, too_many
from .mail.outbox import decide
from .mail.routing import matching, out_router, outbound

LONGEST_SCRIPT = 512 * 1024


def envelope_address(value) -> str | None:
    """An address as it may stand in the envelope: nothing in it ends the command, or the address."""
    value = php_text(value)
    if value and (re.search(r"[\x00-\x20\x7f-\xa0<>\u2028\u2029]", value) or len(value.encode()) > 256):
        raise ValueError("not an envelope address")
    return value


def envelope_addresses(value) -> list | None:
    listed = list_of_text(value)
    if listed and "" in listed:
        raise ValueError("an empty one")
    return listed and [envelope_address(each) for each in listed]


def script_name(value) -> str | None:
    """A name of at most 128 characters, none of them a control or a line separator (RFC 5804 section 1.6)."""
    value = php_text(value)
    if value and (re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", value) or len(value) > 128):
        raise ValueError("not a script name")
    return value


def script_text(value) -> str | None:
    value = php_text(value)
    if value and len(value.encode()) > LONGEST_SCRIPT:
        raise ValueError("too long")
    return value


def encoding(value) -> str | None:
    value = php_text(value)
    if value not in (None, "base64"):
        raise ValueError("unknown encoding")
    return value


def may_send_as(call) -> bool:
    """Whether the caller's out router passes on what comes from the sender, as in mailbox/?send (docs/wire.md section 6).

    Whoever can read the database file may send as anybody. What the router would drop is not to arrive either.
    """
    user, sender, user_of = call.user_name, call.body["sender"], call.generation.address.user_of
    stores = any(user_of(row) == user for row in matching(call, sender))
    routed = outbound([], user, out_router(call, user), stores, sender, None)
    return user is None or routed["decision"]["queued"] is not None


def hold_authors(call, message: bytes):
    """Refuse a message whose header shows another author than the caller's out router passes, as mailbox/?send does.

    Only the router `defined` looks at addresses: it also refuses a header of which the authors cannot be read.
    """
    if call.user_name is None or out_router(call, call.user_name)[0] != "defined":
        return
    authors = authors_in(message, call.config)
    with call.db.transaction("DEFERRED"):
        routing = out_router(call, call.user_name)
        for author in authors:
            decide(call, routing, author, [None])


sender_is_own = Rule(
    "whose out router passes the sender on", may_send_as, "Not allowed to send from this address."
)
NAMED = {"script_name": "Script name is not set."}
MESSAGE = {"message": long_text, "encoding": encoding}


def has_message(call):
    """Not declared as needed: what is, is in the audit."""
    if not call.body.get("message"):
        raise ApiError("No message is set.")


def few_recipients(call):
    if len(call.body.get("recipients") or ()) > call.config.max_recipients:
        raise too_many(call.config)


def has_script(call):
    if not call.body.get("script"):
        raise ApiError("No script is set.")


class Service(Module):
    identifiers = ("sender", "recipients", "script_name")
    mounts = ("dav", ".well-known")
    mount_max_body = 32 * 1024 * 1024

    def __init__(self, app, name=""):
        super().__init__(app, name)
        self.clients = clients(app.config)

    @endpoint(allow=admin, read_only=True, manages_transactions=True)
    def get(self, call):
        """The configured services: kind, url, up, latency in ms, version or banner, error; asked at once, for 2 s."""
        pings = {kind: lambda client=client: timed(client.ping) for kind, client in self.clients.items()}
        found = at_once(pings, PROMPT)
        return {"services": [row(client, found[kind]) for kind, client in self.clients.items()]}

    @endpoint(
        required={"sender": "Sender is not set.", "recipients": "No recipient is set."},
        validators=[has_message, few_recipients],
        optional={"sender": envelope_address, "recipients": envelope_addresses} | MESSAGE,
        allow=sender_is_own,
        manages_transactions=True,
        max_body="max_message",
        read_body=read_large_object,
    )
    def send(self, call):
        """Hand a message (RFC 5322) over to the SMTP server, for all recipients or for none."""
        smtp, message = self.client("smtp"), message_of(call)
        hold_authors(call, message)
        self.app.release()
        smtp.send(call.body["sender"], call.body["recipients"], message)

    @endpoint(allow=anyone, read_only=True, manages_transactions=True)
    def quota(self, call):
        """How much of one's mailbox is used: resource, used, limit."""
        return {"quota": self.client("imap").quota(*own(call))}

    @endpoint(
        optional=MESSAGE,
        validators=[has_message],
        allow=anyone,
        read_only=True,
        manages_transactions=True,
        max_body="max_message",
        read_body=read_large_object,
    )
    def scan(self, call):
        """What the anti-spam and anti-virus services say of a message."""
        message = message_of(call)
        scanners = {kind: self.clients[kind] for kind in ("antispam", "antivirus") if kind in self.clients}
        if not scanners:
            raise ApiError("Neither antispam nor antivirus service is configured.")
        found = at_once({kind: lambda s=s: s.scan(message) for kind, s in scanners.items()}, SCAN_SECONDS + 2)
        down = [result for result in found.values() if isinstance(result, ApiError)]
        answer = {kind: result for kind, result in found.items() if not isinstance(result, ApiError)}
        if down:
            sentences = " ".join(each.status for each in down)
            raise ApiError(sentences, audit=" ".join(each.audit for each in down), **answer)
        return answer

    @endpoint(allow=anyone, read_only=True, manages_transactions=True)
    def sieve_list(self, call):
        """One's filter scripts: script_name, active."""
        return {"scripts": self.client("managesieve").scripts(*own(call))}

    @endpoint(
        required=NAMED,
        optional={"script_name": script_name},
        allow=anyone,
        read_only=True,
        manages_transactions=True,
    )
    def sieve_get(self, call):
        """One of one's filter scripts."""
        return {"script": self.client("managesieve").get(*own(call), call.body["script_name"])}

    @endpoint(
        required=NAMED,
        optional={"script_name": script_name, "script": script_text},
        validators=[has_script],
        allow=anyone,
        manages_transactions=True,
    )
    def sieve_put(self, call):
        """Keep a filter script; the server checks it, and its error is the status."""
        warning = self.client("managesieve").put(*own(call), call.body["script_name"], call.body["script"])
        return {"warnings": warning} if warning else {}

    @endpoint(required=NAMED, optional={"script_name": script_name}, allow=anyone, manages_transactions=True)
    def sieve_activate(self, call):
        """Filter one's mail by this script, and no other, from now on."""
        self.client("managesieve").activate(*own(call), call.body["script_name"])

    @endpoint(allow=anyone, manages_transactions=True)
    def sieve_deactivate(self, call):
        """Filter one's mail by no script."""
        self.client("managesieve").activate(*own(call), "")

    @endpoint(required=NAMED, optional={"script_name": script_name}, allow=anyone, manages_transactions=True)
    def sieve_delete(self, call):
        """Delete a filter script that is not the active one."""
        self.client("managesieve").delete(*own(call), call.body["script_name"])

    def client(self, kind: str, http: int = 200) -> Client:
        if kind not in self.clients:
            raise ApiError(f"The {kind} service is not configured.", http=http)
        return self.clients[kind]

    def mount(self, handler, path):
        from .clients.dav_proxy import READS, forward, prefix_of

        dav, environ = self.client("dav", http=404), handler.environ
        if handler.path == "dav":
            return forward(dav, environ, path, handler.admit(self, environ["REQUEST_METHOD"] in READS))
        if path.strip("/") not in ("caldav", "carddav"):
            raise ApiError(f"Unknown module {handler.path}.", http=404)
        return bottle.HTTPResponse(b"", 301, [("Location", prefix_of(environ) + "/")])  # RFC 6764 section 5


def timed(job) -> tuple[str, float]:
    """What the job returned, and how many ms it took."""
    started = time.monotonic()
    return job(), round((time.monotonic() - started) * 1000, 1)


def row(client: Client, found) -> dict:
    up = not isinstance(found, ApiError)
    version, latency = found if up else (None, None)
    return {
        "kind": client.kind,
        "url": client.url,
        "up": up,
        "latency": latency,
        "version": version,
        "error": None if up else found.status,
    }


def own(call) -> tuple[str, str | None]:
    """Whose mailbox or scripts are meant, and their password where it came along. With a mail server only whom it knows under
    exactly this name: what takes capitals for small letters there would give them another's."""
    if call.user_name is None:
        raise ApiError("Say whose (--as).")
    if call.config.mailserver and "accountId" not in (
        call.external_user or call.app.external_credentials(call.user_name) or {}
    ):
        raise ApiError("The mail server does not know this user.")
    return call.user_name, call.password


def message_of(call) -> bytes:
    """The message in the request, as text or as base64."""
    message = call.body["message"]
    if not call.body.get("encoding"):
        return message
    try:
        return base64.b64decode(message.translate(None, b" \t\r\n\f\v"), validate=True)
    except ValueError:
        raise invalid("message") from None
