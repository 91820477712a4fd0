"""The base class of the clients that talk to other servers (IMAP, SMTP, …), and functions that create and run them."""

import contextlib
import importlib
import ipaddress
import re
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from functools import cached_property

from mailapi import ApiError, Config, ConfigError

from ..directory import user_names
from .deadline import Context, Deadline, DeadlineSocket, Resolver, failure_reason, open_socket, tls_context

PROMPT_SECONDS = 2  # for connecting, and for a whole ping or provisioning
SCAN_SECONDS = 30
# Conversations with one service at the same time, and seconds that a further one waits for a slot: `mailapi serve`
# answers requests in 8 threads, and a service that hangs must not block them all.
SLOTS, SLOT_WAIT = 6, 0.1
TOO_MANY = "too many are waiting for it"
MAX_BYTES = 1024 * 1024  # received in one conversation, unless the caller sets another limit
# Kind of service → the file in this folder and the class in it. Only the configured kinds are imported.
KINDS = {
    "smtp": ("smtp", "Smtp"),
    "imap": ("imap", "Imap"),
    "pop": ("pop3", "Pop"),
    "dav": ("dav", "Dav"),
    "antispam": ("scanners", "Spamd"),
    "antivirus": ("scanners", "Clamd"),
    "managesieve": ("managesieve", "ManageSieve"),
}
SETTINGS = {"url": str, "user": str, "password": str, "user_header": str, "plain": bool}
TLS_SCHEMES = ("smtps", "imaps", "pop3s", "https")


class ServiceDown(ApiError):
    """The error for a server that is down, answers too late, refuses the log-in or violates its protocol.

    The message is "The KIND service cannot be used: REASON." `audit`: the reason for the audit, if it differs there.
    """

    def __init__(self, kind: str, reason: str, audit: str = ""):
        sentence = f"The {kind} service cannot be used: "
        super().__init__(f"{sentence}{reason}.", audit=f"{sentence}{audit or reason}.", code="unavailable")


class Client:
    """The base class of clients. Each client object talks to one server, such as the IMAP server.

    `setting`: the server's setting in config.py, such as {"url": "imap://mail.example", "plain": True} (without TLS).
    """

    kind = ""
    schemes: dict[str, int] = {}  # URL scheme → default port
    setting_keys: tuple[str, ...] = ("url",)  # the keys of SETTINGS that this kind accepts

    def __init__(self, setting: dict):
        self.url: str = setting["url"]
        parts = urllib.parse.urlsplit(self.url)
        self.scheme, self.host, self.path = parts.scheme, parts.hostname or "", parts.path
        self.port: int = parts.port or self.schemes[parts.scheme]
        self.master = (setting["user"], setting["password"]) if "user" in setting else None
        # Passwords need TLS, by default unless the service is on this machine. `plain` in config.py overrides that.
        self.encrypt = not setting.get("plain", is_local(self.host))
        self.slots = threading.BoundedSemaphore(SLOTS)
        self.resolver = Resolver(self.host, self.port)

    @cached_property
    def tls(self) -> Context:
        return tls_context()

    def ping(self) -> str:
        """Connect to the server, and return its version or greeting as text. ServiceDown if that fails."""
        raise NotImplementedError

    def provision(self, resource: str, user_name: str, password: str | None):
        """Create a user's mail folders, address book or calendar on the server. Existing ones are not changed.

        `resource`: what to create, "mail", "contacts" or "calendar". `password`: the user's password, or None if it is
        not known. ServiceDown if something cannot be created.
        """
        raise NotImplementedError

    def purge(self, resource: str, user_name: str):
        """Delete a user's mail, address books or calendars from the server. ServiceDown if that fails.

        `resource`: what to delete, "mail", "contacts" or "calendar".
        """
        raise NotImplementedError

    @contextlib.contextmanager
    def conversation(
        self, seconds: float = PROMPT_SECONDS, max_bytes: float = MAX_BYTES, wait: float = SLOT_WAIT
    ) -> Iterator[DeadlineSocket]:
        """Connect to the server for a `with` block, yield the socket, and close it after the block.

        `seconds`: the time limit for connecting and the block. If it is above PROMPT_SECONDS (2), it is for the block
        only, and connecting has PROMPT_SECONDS. `max_bytes`: the most bytes to receive. `wait`: the seconds to wait
        while too many connections to the server are open. Any exception in the block but ApiError becomes ServiceDown.
        """
        deadline = Deadline(min(seconds, PROMPT_SECONDS), max_bytes)
        if not self.slots.acquire(timeout=wait):
            raise ServiceDown(self.kind, TOO_MANY)
        try:
            connection = self.connect(deadline)
            if seconds > PROMPT_SECONDS:
                deadline.renew(seconds)
            yield connection
        except ApiError:
            raise
        except Exception as error:
            raise ServiceDown(self.kind, failure_reason(error, deadline)) from error
        finally:
            deadline.close()
            self.slots.release()

    def connect(self, deadline: Deadline) -> DeadlineSocket:
        """Open a connection to the server, with TLS if the URL says so. Return the socket. OSError if that fails.

        `deadline`: the limits of the socket. If the host has several addresses, each one gets a share of the time.
        """
        if not self.host:
            return open_socket(socket.AF_UNIX, self.path, deadline, deadline.remaining())
        failure = OSError("the host has no address")
        found = self.resolver.addresses(deadline.remaining())
        for left, (family, _, _, _, address) in zip(range(len(found), 0, -1), found):
            try:
                sock = open_socket(family, address, deadline, deadline.remaining() / left)
            except OSError as error:
                failure = error
                continue
            return (
                self.tls.wrap_socket(sock, server_hostname=self.host) if self.scheme in TLS_SCHEMES else sock
            )
        raise failure

    def sasl_identity(self, user_name: str, password: str | None) -> tuple[str, str, str]:
        """Return the three texts by which SASL PLAIN (RFC 4616) logs in a user.

        If config.py names a master user for the server, these are (user_name, master user, master password). If not,
        they are ("", user_name, password). ServiceDown if there is no master user, and `password` is None.
        """
        self.check_user_name(user_name)
        if self.master:
            return user_name, *self.master
        if password is None:
            raise ServiceDown(
                self.kind, "it has no master credentials, and the user's password was not given"
            )
        return "", user_name, password

    def check_user_name(self, user_name: str):
        """Raise ServiceDown if a user name is unsafe to send to a server, as "../bob" is."""
        if not (user_names.same_everywhere(user_name) and user_names.is_word(user_name)):
            raise ServiceDown(self.kind, "it takes no such user name")

    def protocol_error(self, answer: str) -> ServiceDown:
        """Return the error for an answer that violates the protocol. It quotes the answer, but not in its `audit`."""
        reason = f"it said {answer[:100]!r}" if answer else "it said nothing"
        return ServiceDown(self.kind, reason, audit="it breaks its protocol")


def is_local(host: str) -> bool:
    """Return whether a host is "localhost", a loopback address such as "127.0.0.1", or "" (for a Unix socket)."""
    try:
        return host in ("", "localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def run_in_parallel(jobs: dict[str, Callable], seconds: float) -> dict:
    """Call functions in parallel. Return their results as {kind of server: result}.

    `jobs`: {kind of server: function}. If a function raises ApiError, that error is its result. If a function takes
    more than `seconds`, its result is a ServiceDown, and its thread keeps running.
    """
    results: dict = {kind: ServiceDown(kind, "it did not answer in time") for kind in jobs}

    def run(kind, job):
        try:
            results[kind] = job()
        except ApiError as error:
            results[kind] = error

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in jobs.items()]
    until = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return dict(results)


def clients(config: Config) -> dict[str, Client]:
    """Return the clients of all configured servers: {"imap": client, …}. ConfigError if a server's setting is wrong.

    Further calls with the same `config` return the same client objects.
    """
    shared = vars(config)
    if "clients" not in shared:
        shared["clients"] = {kind: client(kind, setting) for kind, setting in config.services.items()}
    return shared["clients"]


def client(kind: str, setting: str | dict) -> Client:
    """Return a new client for a kind of server, such as "imap". ConfigError if its setting is wrong.

    `setting`: the server's URL, or a dictionary such as {"url": "imap://mail.example", "plain": True}.
    """
    if kind not in KINDS:
        raise ConfigError(f"services: {kind} is none of {', '.join(KINDS)}.")
    file, name = KINDS[kind]
    cls: type[Client] = getattr(importlib.import_module(f".{file}", __package__), name)
    setting = {"url": setting} if isinstance(setting, str) else setting
    if not isinstance(setting, dict) or "url" not in setting:
        raise ConfigError(f"services: {kind} must be a URL, or a mapping with one.")
    for key, value in setting.items():
        if key not in cls.setting_keys:
            raise ConfigError(f"services: {kind} takes {', '.join(cls.setting_keys)}, not {key}.")
        if not isinstance(value, SETTINGS[key]) or value == "":
            expected = {str: "text", bool: "True or False"}[SETTINGS[key]]
            raise ConfigError(f"services: {key} of {kind} must be {expected}.")
    if ("user" in setting) != ("password" in setting):
        raise ConfigError(f"services: {kind} needs user and password, or neither.")
    check_url(cls, setting["url"])
    return cls(setting)


def check_url(cls: type[Client], url: str):
    """Raise ConfigError if a client class cannot use a URL. The message omits the URL, which may have a password."""
    try:
        parts = urllib.parse.urlsplit(url)
        on_socket = "///" in url[:9] and cls.kind in ("antispam", "antivirus")
        wrong = not parts.hostname and not on_socket or parts.port == 0 or bool(re.search(r"[^!-~]", url))
    except ValueError:
        raise ConfigError(f"services: the URL of {cls.kind} cannot be read.") from None
    if parts.scheme not in cls.schemes:
        schemes = " or ".join(f"{scheme}://" for scheme in cls.schemes)
        raise ConfigError(f"services: the URL of {cls.kind} must begin with {schemes}.")
    if "@" in parts.netloc:
        raise ConfigError(f"services: user and password of {cls.kind} belong beside its url, not in it.")
    if parts.query or parts.fragment or parts.path not in ("", "/") and not on_socket and cls.kind != "dav":
        raise ConfigError(f"services: the URL of {cls.kind} must end with the host or the port.")
    if wrong:
        raise ConfigError(f"services: the URL of {cls.kind} names no host.")
