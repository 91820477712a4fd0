"""Describes the request fields and answers of the module at audit/, for openapi.json and docs/reference/."""

from typing import TypedDict

from ..openapi.description import Description

FIELDS = {
    "audit_id": "The entry's number.",
    "audit_time": "When, in seconds since 1970.",
    "audit_user": "Who, as claimed where the log-in failed.",
    "audit_address": "The client's IP address.",
    "audit_via": "How the user was authenticated: password, session, log-out, token NAME, basic or local.",
    "audit_session": "The start of the session id's hash.",
    "audit_module": "The module.",
    "audit_action": "The action.",
    "audit_target": "What the action was about.",
    "audit_status": "How it ended.",
    "audit_http": "The HTTP status.",
    "audit_times": "How often.",
    "since": "The earliest time, in seconds since 1970.",
    "until": "The latest time, in seconds since 1970.",
    "before": "Only entries with a lower audit_id: the next page.",
    "audit": "The entries, newest first; at most 1,000.",
}


class AuditEntry(TypedDict):
    audit_id: int
    audit_time: int
    audit_user: str | None
    audit_address: str
    audit_via: str
    audit_session: str
    audit_module: str
    audit_action: str
    audit_target: str
    audit_status: str
    audit_http: int
    audit_times: int


class OwnAuditEntry(TypedDict):
    audit_id: int
    audit_time: int
    audit_user: str | None
    audit_address: str | None
    audit_via: str | None
    audit_module: str
    audit_action: str
    audit_target: str
    audit_status: str
    audit_times: int


class OwnAuditList(TypedDict):
    audit: list[OwnAuditEntry]


class AuditList(TypedDict):
    audit: list[AuditEntry]


DESCRIPTION = Description(FIELDS, {"get": AuditList, "mine": OwnAuditList})
