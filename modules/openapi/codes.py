"""Defines the codes of answers, such as "not_found", and the HTTP status of each (docs/wire.md section 9)."""

import re

from mailapi import ApiError

OK = "ok"
# HTTP status of the second wire → code → when a request is answered so.
CODES: dict[int, dict[str, str]] = {
    400: {
        "invalid_json": "The body is not a JSON object.",
        "bad_request": "The request cannot be read.",
    },
    401: {
        "not_logged_in": "The request has no credentials, or the session has ended.",
        "wrong_credentials": "User name or password is wrong.",
        "invalid_token": "The token is unknown, has expired, or is not valid from this address.",
    },
    403: {
        "not_allowed": "The caller may not do this.",
        "token_scope": "The token is not for this.",
        "cross_site": "A page of another site sent the request.",
    },
    404: {
        "unknown_module": "There is no such module.",
        "unknown_action": "The module has no such action.",
        "not_found": "There is no such thing, or the caller may not see it.",
    },
    405: {"method": "The action takes other methods: the header Allow names them."},
    409: {
        "duplicate": "There is one already.",
        "in_use": "Something that this names is missing, or something else names this.",
        "refused": "The database refused the change.",
    },
    413: {"too_large": "The request is too large."},
    415: {"media_type": "The body is not application/json."},
    422: {
        "missing_field": "A field is missing.",
        "invalid_field": "The value of a field cannot be read.",
        "unknown_field": "The action has no such field.",
        "rule": "The fields say something that is not allowed.",
    },
    429: {"throttled": "Too many failed log-ins: wait as long as the header Retry-After says."},
    500: {
        "internal": "mailapi failed; the log has the cause.",
        "database": "A database cannot be used.",
    },
    503: {
        "busy": "Try again.",
        "unavailable": "A service is not configured or cannot be reached.",
        "unknown_outcome": "The connection broke during a change; nobody knows whether it took effect.",
    },
}
HTTP_STATUS = {code: http for http, codes in CODES.items() for code in codes} | {OK: 200}
# The code of a refusal that names none, by its HTTP status on the first wire.
OF_FIRST_WIRE = {
    200: "rule",
    400: "bad_request",
    401: "not_logged_in",
    403: "not_allowed",
    404: "not_found",
    405: "method",
    411: "bad_request",
    413: "too_large",
    429: "throttled",
    502: "unavailable",
    503: "unavailable",
}
CONSTRAINT = re.compile(r"constraint failed: \w+\.(\w+)")


def code_of(refused: ApiError | None) -> str:
    """Return the code of an answer: that of the error `refused`, such as "not_found"; "ok" if `refused` is None."""
    if refused is None:
        return OK
    return refused.code or OF_FIRST_WIRE.get(refused.http, "internal")


def field_of(refused: ApiError) -> str:
    """Return the name of the request field that caused an error; "" if no field is known.

    If a constraint of the database caused the error, return the name of the column, such as "user_name".
    """
    named = CONSTRAINT.search(refused.status) if code_of(refused) in ("duplicate", "refused") else None
    return refused.field or (named[1] if named else "")
