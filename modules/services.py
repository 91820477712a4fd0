"""Services: actions that use other servers: SMTP, IMAP (quota), ManageSieve (mail filters), DAV and scanners."""

import time
from collections.abc import Callable

import bottle

from mailapi import (
    ApiError,
    Module,
    RequestHandler,
    admin,
    anyone,
    endpoint,
)

from .answers import services
from .clients.base import PROMPT_SECONDS, SCAN_SECONDS, Client, clients, run_in_parallel
from .clients.sieve_fields import require_script, script_name, script_text
from .directory.user_limit import limited, service_requests
from .http.large_bodies import read_large_object
from .mail.outgoing import too_many_recipients
from .mail.submission import (
    MESSAGE_FIELDS,
    check_authors,
    decoded_message,
    envelope_address,
    envelope_addresses,
    owns_sender,
)

SCRIPT_NAME_MISSING = {"script_name": "Script name is not set."}
OF_CALLER = {"allow": anyone, "manages_transactions": True}
OF_SCRIPT = OF_CALLER | {"required": SCRIPT_NAME_MISSING, "optional": {"script_name": script_name}}


def require_message(call):
    """Raise ApiError if the request has no message."""
    # The check `required` would let the audit record the message.
    if not call.body.get("message"):
        raise ApiError("No message is set.", code="missing_field", field="message")


def check_recipients(call):
    """Raise ApiError if the request has more recipients than the setting max_recipients permits."""
    if len(call.body.get("recipients") or ()) > call.config.max_recipients:
        raise too_many_recipients(call.config)


class Service(Module):
    description = services.DESCRIPTION
    identifiers = ("sender", "recipients", "script_name")
    mounts = ("dav", ".well-known")
    mount_max_body = 32 * 1024 * 1024

    def __init__(self, app, name=""):
        super().__init__(app, name)
        self.clients = clients(app.config)
        self.requests = service_requests(app.config)

    @endpoint(allow=admin, read_only=True, manages_transactions=True)
    def get(self, call):
        """List the configured servers, each with kind, url, up, latency (ms), version or greeting, and error.

        A server that does not respond within 2 seconds is listed as down.
        """
        pings = {kind: lambda client=client: timed(client.ping) for kind, client in self.clients.items()}
        outcomes = run_in_parallel(pings, PROMPT_SECONDS)
        return {"services": [row(client, outcomes[kind]) for kind, client in self.clients.items()]}

    @endpoint(
        required={"sender": "Sender is not set.", "recipients": "No recipient is set."},
        validators=[require_message, check_recipients],
        optional={"sender": envelope_address, "recipients": envelope_addresses} | MESSAGE_FIELDS,
        allow=owns_sender,
        manages_transactions=True,
        max_body="max_message",
        read_body=read_large_object,
    )
    @limited
    def send(self, call):
        """Send a message (RFC 5322) through the SMTP server, to all recipients or to none.

        The caller must be allowed to send from the sender's address. If the router of the caller's outgoing mail is
        `defined`, this also holds for the authors in the message's header.
        """
        smtp, message = self.client("smtp"), decoded_message(call)
        check_authors(call, message)
        self.app.release()
        smtp.send(call.body["sender"], call.body["recipients"], message)

    @endpoint(allow=anyone, read_only=True, manages_transactions=True)
    @limited
    def quota(self, call):
        """List the quotas of the caller's IMAP mailbox, each with resource, used and limit."""
        return {"quota": self.client("imap").quota(*mailbox_owner(call))}

    @endpoint(
        optional=MESSAGE_FIELDS,
        validators=[require_message],
        allow=anyone,
        read_only=True,
        manages_transactions=True,
        max_body="max_message",
        read_body=read_large_object,
    )
    @limited
    def scan(self, call):
        """Have a message checked for spam and viruses, and return both results: `antispam` and `antivirus`.

        If one of the scanners fails, `status` has its error, and the answer still has the result of the other one.
        """
        message = decoded_message(call)
        scanners = {kind: self.clients[kind] for kind in ("antispam", "antivirus") if kind in self.clients}
        if not scanners:
            raise ApiError("Neither antispam nor antivirus service is configured.", code="unavailable")
        scans = {kind: lambda s=s: s.scan(message) for kind, s in scanners.items()}
        outcomes = run_in_parallel(scans, SCAN_SECONDS + 2)
        errors = [outcome for outcome in outcomes.values() if isinstance(outcome, ApiError)]
        results = {kind: outcome for kind, outcome in outcomes.items() if not isinstance(outcome, ApiError)}
        if errors:
            sentences = " ".join(error.status for error in errors)
            raise ApiError(
                sentences, audit=" ".join(error.audit for error in errors), code="unavailable", **results
            )
        return results

    @endpoint(**OF_CALLER, read_only=True)
    @limited
    def sieve_list(self, call):
        """List the caller's mail filter scripts, each with script_name and active."""
        return {"scripts": self.client("managesieve").scripts(*mailbox_owner(call))}

    @endpoint(**OF_SCRIPT, read_only=True)
    @limited
    def sieve_get(self, call):
        """Return the text of one of the caller's mail filter scripts."""
        return {"script": self.client("managesieve").get(*mailbox_owner(call), call.body["script_name"])}

    @endpoint(
        **OF_CALLER,
        required=SCRIPT_NAME_MISSING,
        optional={"script_name": script_name, "script": script_text},
        validators=[require_script],
    )
    @limited
    def sieve_put(self, call):
        """Store a mail filter script of the caller. It replaces a script of the same name.

        The ManageSieve server checks the script: its error is in `status`, its warnings are in `warnings`.
        """
        sieve, name = self.client("managesieve"), call.body["script_name"]
        warnings = sieve.put(*mailbox_owner(call), name, call.body["script"])
        return {"warnings": warnings} if warnings else {}

    @endpoint(**OF_SCRIPT)
    @limited
    def sieve_activate(self, call):
        """Make a script the one that filters the caller's mail."""
        self.client("managesieve").activate(*mailbox_owner(call), call.body["script_name"])

    @endpoint(**OF_CALLER)
    @limited
    def sieve_deactivate(self, call):
        """Stop filtering the caller's mail. The scripts stay stored."""
        self.client("managesieve").activate(*mailbox_owner(call), "")

    @endpoint(**OF_SCRIPT)
    @limited
    def sieve_delete(self, call):
        """Delete one of the caller's mail filter scripts. The server refuses to delete the active one."""
        self.client("managesieve").delete(*mailbox_owner(call), call.body["script_name"])

    def client(self, kind: str, http: int = 200) -> Client:
        """Return the client for a kind of server, such as "imap". ApiError (HTTP status `http`) if there is none."""
        if kind not in self.clients:
            raise ApiError(f"The {kind} service is not configured.", http=http, code="unavailable")
        return self.clients[kind]

    def mount(self, handler: RequestHandler, path: str) -> bottle.HTTPResponse:
        """Forward a request below /dav/ to the DAV server. Redirect /.well-known/caldav and carddav to /dav/.

        `path` is the URL path after /dav/ or /.well-known/.
        """
        from .clients.dav import Dav
        from .clients.dav_proxy import READ_METHODS, forward, public_prefix

        dav, environ = self.client("dav", http=404), handler.environ
        if handler.path == "dav":
            assert isinstance(dav, Dav)
            return forward(dav, environ, path, handler.admit(self, environ["REQUEST_METHOD"] in READ_METHODS))
        if path.strip("/") not in ("caldav", "carddav"):
            raise ApiError(f"Unknown module {handler.path}.", http=404, code="unknown_module")
        return bottle.HTTPResponse(
            b"", 301, [("Location", public_prefix(environ) + "/")]
        )  # RFC 6764 section 5


def timed(job: Callable[[], str]) -> tuple[str, float]:
    """Call `job`. Return its result, and the number of milliseconds that it took."""
    started = time.monotonic()
    return job(), round((time.monotonic() - started) * 1000, 1)


def row(client: Client, outcome) -> dict:
    """Return a server's entry in the list of services/?get, such as {"kind": "imap", "up": True, "latency": 2.5, …}.

    `outcome` is (version, latency in ms) if the server responded, otherwise the ApiError that says why not.
    """
    up = not isinstance(outcome, ApiError)
    version, latency = outcome if up else (None, None)
    return {
        "kind": client.kind,
        "url": client.url,
        "up": up,
        "latency": latency,
        "version": version,
        "error": None if up else outcome.status,
    }


def mailbox_owner(call) -> tuple[str, str | None]:
    """Return (user name, password) with which the caller logs in to the servers of their mailbox, such as IMAP.

    The password is None if the request has none. ApiError if the mail server has no user of exactly this name: other
    servers ignore case, and might open the mailbox of another user.
    """
    if call.user_name is None:
        raise ApiError("Name the user with --as USER.")
    if call.config.mailserver and "accountId" not in (
        call.external_user or call.app.external_credentials(call.user_name) or {}
    ):
        raise ApiError("The mail server does not know this user.", code="not_found")
    return call.user_name, call.password
