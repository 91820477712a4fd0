"""What the clients of the installation's services have in common, and how `services` in config.py makes them."""

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

from ..clients.deadline import Context, Deadline, DeadlineSocket, connected, reason, tls_context
from ..directory import user_names

PROMPT = 2  # seconds that connecting, a ping and provisioning may take, all in all
SCAN_SECONDS = 30  # that a scan may take
# Conversations with one service at the same time, and seconds that a further one waits for its turn: `mailapi serve`
# has 8 threads for requests, and a service that hangs must not keep them all.
SLOTS, SLOT_WAIT = 6, 0.1
MOST = 1024 * 1024  # bytes that a service may send in one conversation, unless more is asked for
# Kind → the file beside this one and the class in it: loaded where the kind is configured.
KINDS = {
    "smtp": ("mail_protocols", "Smtp"),
    "imap": ("mail_protocols", "Imap"),
    "pop": ("mail_protocols", "Pop"),
    "dav": ("dav", "Dav"),
    "antispam": ("scanners", "Spamd"),
    "antivirus": ("scanners", "Clamd"),
    "managesieve": ("managesieve", "ManageSieve"),
}
SETTINGS = {"url": str, "user": str, "password": str, "user_header": str, "plain": bool}
WITH_TLS = ("smtps", "imaps", "pop3s", "https")


class ServiceDown(ApiError):
    """A service that cannot be reached, does not answer, refuses its credentials or talks nonsense."""

    def __init__(self, kind: str, why: str, audit: str = ""):
        sentence = f"The {kind} service cannot be used: "
        super().__init__(f"{sentence}{why}.", audit=f"{sentence}{audit or why}.")


class Client:
    """One service of the installation; each kind of them is a subclass."""

    kind = ""
    schemes: dict[str, int] = {}  # → the port where the URL has none
    takes: tuple[str, ...] = ("url",)  # the keys of SETTINGS that its setting may have
    provides: tuple[str, ...] = ()  # what `provision` can make: mail, contacts, calendar

    def __init__(self, setting: dict):
        self.url: str = setting["url"]
        parts = urllib.parse.urlsplit(self.url)
        self.scheme, self.host, self.path = parts.scheme, parts.hostname or "", parts.path
        self.port: int = parts.port or self.schemes[parts.scheme]
        self.master = (setting["user"], setting["password"]) if "user" in setting else None
        # Whether no password may leave here but by TLS; by default unless the service is on this machine.
        self.encrypt = not setting.get("plain", is_local(self.host))
        self.slots = threading.BoundedSemaphore(SLOTS)

    @cached_property
    def tls(self) -> Context:
        return tls_context()

    def ping(self) -> str:
        """What the service says of itself: its version or banner; ServiceDown where it is not there."""
        raise NotImplementedError

    def provision(self, what: str, user_name: str, password: str | None):
        """Make what a new user needs of the service; what is there already stays. ServiceDown where it cannot."""
        raise ServiceDown(self.kind, f"it does not provide {what}")

    def purge(self, what: str, user_name: str):
        """Delete what the service holds for a user; ServiceDown where it cannot."""
        raise ServiceDown(self.kind, f"it does not provide {what}")

    @contextlib.contextmanager
    def talk(
        self, seconds: float = PROMPT, most: float = MOST, wait: float = SLOT_WAIT
    ) -> Iterator[DeadlineSocket]:
        """A connection for the block, in which whatever goes wrong is ServiceDown.

        Connecting may take PROMPT seconds, `wait` of them for its turn, and then the block `seconds` where that is
        more; else both together.
        """
        deadline = Deadline(min(seconds, PROMPT), most)
        if not self.slots.acquire(timeout=wait):
            raise ServiceDown(self.kind, "too many are waiting for it")
        try:
            connection = self.connect(deadline)
            if seconds > PROMPT:
                deadline.renew(seconds)
            yield connection
        except ApiError:
            raise
        except Exception as error:
            raise ServiceDown(self.kind, reason(error, deadline)) from error
        finally:
            deadline.close()
            self.slots.release()

    def connect(self, deadline: Deadline) -> DeadlineSocket:
        if not self.host:
            return connected(socket.AF_UNIX, self.path, deadline)
        failure = OSError("the host has no address")
        for family, _, _, _, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            try:
                found = connected(family, address, deadline)
            except OSError as error:
                failure = error
                continue
            return (
                self.tls.wrap_socket(found, server_hostname=self.host) if self.scheme in WITH_TLS else found
            )
        raise failure

    def identity(self, user_name: str, password: str | None) -> tuple[str, str, str]:
        """Whom to act for, then who logs in for them, by which password, as in SASL PLAIN (RFC 4616)."""
        self.check_name(user_name)
        if self.master:
            return user_name, *self.master
        if password is None:
            raise ServiceDown(
                self.kind, "it has no master credentials, and the user's password was not given"
            )
        return "", user_name, password

    def check_name(self, user_name: str):
        """Refuse a name of which the service may make another user's, or a path or a pattern."""
        if not (user_names.same_everywhere(user_name) and user_names.is_word(user_name)):
            raise ServiceDown(self.kind, "it takes no such user name")

    def nonsense(self, said: str) -> ServiceDown:
        """What the service sent is not of its protocol."""
        why = f"it said {said[:100]!r}" if said else "it said nothing"
        return ServiceDown(self.kind, why, "it talks nonsense")


def is_local(host: str) -> bool:
    """Whether a host is this machine; a Unix socket has none."""
    try:
        return host in ("", "localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def at_once(jobs: dict[str, Callable], seconds: float) -> dict:
    """The result of each kind's job, or its ApiError; one that does not end in time counts as down."""
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
    """A client for every kind that `services` in config.py names, the same for every module: they take turns.

    ConfigError says what is wrong there.
    """
    if "clients" not in vars(config):
        config.clients = {kind: client(kind, setting) for kind, setting in config.services.items()}
    return config.clients


def client(kind: str, setting: str | dict) -> Client:
    if kind not in KINDS:
        raise ConfigError(f"services: {kind} is none of {', '.join(KINDS)}.")
    file, name = KINDS[kind]
    found: type[Client] = getattr(importlib.import_module(f".{file}", __package__), name)
    setting = {"url": setting} if isinstance(setting, str) else setting
    if not isinstance(setting, dict) or "url" not in setting:
        raise ConfigError(f"services: {kind} must be a URL, or a mapping with one.")
    for key, value in setting.items():
        if key not in found.takes:
            raise ConfigError(f"services: {kind} takes {', '.join(found.takes)}, not {key}.")
        if not isinstance(value, SETTINGS[key]) or value == "":
            words = {str: "text", bool: "True or False"}[SETTINGS[key]]
            raise ConfigError(f"services: {key} of {kind} must be {words}.")
    if ("user" in setting) != ("password" in setting):
        raise ConfigError(f"services: {kind} needs user and password, or neither.")
    check_url(found, setting["url"])
    return found(setting)


def check_url(found: type[Client], url: str):
    """ConfigError where it cannot be one of found's; it never repeats what may hold a password."""
    try:
        parts = urllib.parse.urlsplit(url)
        on_socket = "///" in url[:9] and found.kind in ("antispam", "antivirus")
        wrong = not parts.hostname and not on_socket or parts.port == 0 or bool(re.search(r"[^!-~]", url))
    except ValueError:
        raise ConfigError(f"services: the URL of {found.kind} cannot be read.") from None
    if parts.scheme not in found.schemes:
        known = " or ".join(f"{scheme}://" for scheme in found.schemes)
        raise ConfigError(f"services: the URL of {found.kind} must begin with {known}.")
    if "@" in parts.netloc:
        raise ConfigError(f"services: user and password of {found.kind} belong beside its url, not in it.")
    if parts.query or parts.fragment or parts.path not in ("", "/") and not on_socket and found.kind != "dav":
        raise ConfigError(f"services: the URL of {found.kind} must end with the host or the port.")
    if wrong:
        raise ConfigError(f"services: the URL of {found.kind} names no host.")
