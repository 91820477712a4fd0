"""Describes the request fields and answers of the module at services/, for openapi.json and docs/reference/."""

from typing import NotRequired, TypedDict

from ..openapi.description import Description

FIELDS = {
    "sender": "The envelope's sender.",
    "recipients": "The envelope's recipients.",
    "message": "The message (RFC 5322).",
    "encoding": "base64: the message is encoded so.",
    "script_name": "The filter script's name.",
    "script": "The filter script (Sieve).",
    "services": "The configured services.",
    "kind": "smtp, imap, pop3, managesieve, dav, antispam or antivirus.",
    "url": "Where it is, without credentials.",
    "up": "Whether it answers.",
    "latency": "How long the answer took, in milliseconds.",
    "version": "Its version or banner.",
    "error": "Why it is not up.",
    "quota": "The quotas of the mailbox.",
    "resource": "What is limited: STORAGE is in units of 1024 bytes.",
    "used": "How much is used.",
    "limit": "How much may be used.",
    "antispam": "The verdict of the anti-spam service.",
    "antivirus": "The verdict of the anti-virus service.",
    "spam": "Whether it takes the message for spam.",
    "score": "The message's score.",
    "threshold": "The score from which a message is spam.",
    "rules": "The rules that matched.",
    "clean": "Whether the message has no virus.",
    "signature": "The virus.",
    "scripts": "The filter scripts, by name.",
    "active": "Whether it filters the caller's mail.",
    "warnings": "What the server warns about.",
}


class ServiceState(TypedDict):
    kind: str
    url: str
    up: bool
    latency: float | None
    version: str | None
    error: str | None


class ServiceList(TypedDict):
    services: list[ServiceState]


class Quota(TypedDict):
    resource: str
    used: int
    limit: int


class QuotaList(TypedDict):
    quota: list[Quota]


class SpamVerdict(TypedDict):
    spam: bool
    score: float
    threshold: float
    rules: list[str]


class VirusVerdict(TypedDict):
    clean: bool
    signature: str | None


class Scanned(TypedDict):
    antispam: NotRequired[SpamVerdict]
    antivirus: NotRequired[VirusVerdict]


class Script(TypedDict):
    script_name: str
    active: bool


class ScriptList(TypedDict):
    scripts: list[Script]


class ScriptText(TypedDict):
    script: str


class ScriptStored(TypedDict):
    warnings: NotRequired[str]


DESCRIPTION = Description(
    FIELDS,
    {
        "get": ServiceList,
        "quota": QuotaList,
        "scan": Scanned,
        "sieve_list": ScriptList,
        "sieve_get": ScriptText,
        "sieve_put": ScriptStored,
    },
    {"scan": Scanned},
    {name: {"message": "Subject: Hi\r\n\r\nHello."} for name in ("send", "scan")}
    | {"sieve_put": {"script": "keep;"}},
)
