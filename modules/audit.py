"""Audit: records log-ins, changes and refused requests, with user and time. Each record is also a line in the log."""

import json
import logging
import sqlite3
import time
from functools import partial

import peewee

from mailapi import (
    DURABLE,
    ApiError,
    Application,
    Module,
    admin,
    anyone,
    endpoint,
    optional_number,
    php_text,
    sha256,
)

from .answers import audit
from .http.event import Event
from .state.audit_rows import (
    BYTES_OF_SUBJECT,
    COUNT_AGAIN,
    DELETE_OLD_MARKS,
    DELETE_ROW,
    DONE,
    EXTENT,
    FILTERS,
    INSERT_ENTRY,
    INSERT_ROW,
    INSERT_SUBJECT,
    LAST_ABOUT_USER,
    LISTS,
    MARK_FORMER_USER,
    MOST_LISTED,
    NOT_LOGGED_IN,
    PAGE_OF_SUBJECT,
    RANGE,
    REFUSED,
    SCHEMA,
    TOO_MANY,
    TOO_OLD,
    size_of,
)

log = logging.getLogger("mailapi.audit")

MOST_REMEMBERED = 10_000  # log-ins
# Characters of a text as JSON in the log. Somebody who fails to log in chooses some of these texts.
LONGEST = {
    "audit_user": 200,
    "audit_address": 60,
    "audit_via": 200,
    "audit_session": 20,
    "audit_module": 100,
    "audit_action": 60,
    "audit_target": 800,
    "audit_status": 400,
}
LONGEST_ESCAPE = 12  # characters of JSON for one, such as \ud83d\ude00
# Bytes of the rows of each kind (the column `failed`). Each kind has its own share of the disk, so that rows about
# failed log-ins and about refusals, which anybody can cause, never displace rows about changes.
MOST_BYTES = {DONE: 192 * 2**20, NOT_LOGGED_IN: 64 * 2**20, REFUSED: 64 * 2**20}


class Audit(Module):
    description = audit.DESCRIPTION
    state_schema = SCHEMA

    @endpoint(
        allow=admin,
        read_only=True,
        manages_transactions=True,
        optional=dict.fromkeys(FILTERS, php_text)
        | {"since": optional_number, "until": optional_number, "before": optional_number},
    )
    def get(self, call):
        """List the audit's records, newest first, at most 1,000 of them.

        `since` and `until` limit the time, in seconds since 1970. `before`, an audit_id, continues the list. Every
        other field selects the records that have its value.
        """
        values = {name: call.body.get(name) for name in (*FILTERS, *RANGE)}
        query = LISTS[tuple(name for name in RANGE if values[name])]
        with self.app.state.transaction("DEFERRED"):
            return {"audit": self.app.state.rows(query, **values)}

    @endpoint(allow=anyone, read_only=True, manages_transactions=True, optional={"before": optional_number})
    def mine(self, call):
        """List the audit's records about the caller, newest first, at most 1,000: log-ins, and changes of the caller.

        Changes by other users are included, unless they were refused. `before`, an audit_id, continues the list. Only
        records of the caller's own requests have audit_address and audit_via (how they logged in). Records that older
        versions wrote are left out.
        """
        if call.user_name is None:
            raise ApiError("Name the user with --as USER.")
        before, limit = call.body.get("before"), min(call.limit or MOST_LISTED, MOST_LISTED)
        page = {"user_hash": hash_of(call.user_name), "limit": limit} | ({"before": before} if before else {})
        with self.app.state.transaction("DEFERRED"):
            rows = self.app.state.rows(PAGE_OF_SUBJECT[bool(before)], **page)
        return {"audit": [shown_to_subject(row, call.user_name) for row in rows]}

    def __init__(self, app: Application, name: str = ""):
        super().__init__(app, name)
        # Hash of user (a name of up to 60 kB), address, module and action → when a log-in was recorded.
        self.log_ins: dict[int, int] = {}

    def on_request(self, event: Event):
        """Record a finished request in the audit and in the log if it logged in, changed something or was refused."""
        has_user = event.user_name is not None or event.via.startswith("token")
        if not has_user or not (event.logs_in or event.changes or not event.succeeded):
            return
        now, kind = int(time.time()), kind_of(event)
        if self.is_repeated(event, kind, now):
            return
        row: dict = {
            "audit_time": now,
            "audit_user": event.user_name,
            "audit_address": event.address,
            "audit_via": event.via,
            "audit_session": event.session,
            "audit_module": event.module,
            "audit_action": event.action,
            "audit_target": event.target,
            "audit_status": event.status,
            "audit_http": event.http,
        }
        for name, most in LONGEST.items():
            if (text := row[name]) and LONGEST_ESCAPE * len(text) > most:
                row[name] = shortened(text, most)
        try:
            if self.app.state.run_with_retry(partial(self.insert, row, event, kind)):
                log_row(row)
        except (ApiError, peewee.PeeweeException, sqlite3.Error, OSError) as error:
            log_row(row)  # the client gets its answer anyway
            self.log_ins.clear()  # the next log-in is to be recorded
            log.error("the audit cannot be written: %s", str(error)[:500])

    def is_repeated(self, event: Event, kind: int, now: int) -> bool:
        """Return whether the same log-in was recorded within the last hour. If not, remember it for the next call.

        Return False unless the request logged in with a password and changed nothing: scripts send many of these.
        `kind` is DONE, NOT_LOGGED_IN or REFUSED; only DONE is ever repeated. `now` is the time in seconds since 1970.
        """
        if event.changes or event.via != "password" or kind != DONE:
            return False
        log_in = hash((event.user_name, event.address, event.module, event.action))
        if abs(now - self.log_ins.get(log_in, 0)) < 3600:
            return True
        if len(self.log_ins) >= MOST_REMEMBERED:
            self.log_ins.clear()
        self.log_ins[log_in] = now
        return False

    def insert(self, row: dict, event: Event, kind: int) -> bool:
        """Insert an audit row about a request. Return False if only the counter of an existing row was increased.

        There is one row for all log-ins that are refused during the wait after too many failures. `kind` is DONE,
        NOT_LOGGED_IN or REFUSED.
        """
        state, now, lifetime = self.app.state, row["audit_time"], self.app.config.audit_lifetime
        wait, grace = event.refused_wait or None, min(86400, lifetime // 10)
        subjects = [hash_of(name) for name in event.about]
        with state.transaction():
            if wait and state.execute(COUNT_AGAIN, wait=wait).rowcount:
                return False
            audit_id = state.execute(INSERT_ROW, **row).lastrowid
            extent = state.fetch(EXTENT, {"failed": kind, "time": now - grace})[1][0]
            written, first, last_time, first_time = extent
            upto = (written or 0) + size_of(row) + BYTES_OF_SUBJECT * len(subjects)
            state.execute(INSERT_ENTRY, audit_id=audit_id, failed=kind, upto=upto, times=1, wait=wait)
            for user_hash in subjects:
                state.execute(INSERT_SUBJECT, audit_id=audit_id, user_hash=user_hash)
            # A clock which jumped ahead must delete nothing: ages count from the latest row of more than `grace` ago.
            before = 0 if last_time is None else min(now, last_time + 2 * grace) - lifetime
            if first is not None and first <= upto - MOST_BYTES[kind] or first_time < before:
                self.prune(kind, upto - MOST_BYTES[kind], before)
        return True

    def on_user_deleted(self, user_name: str):
        """Mark the audit's records about a deleted user, so that no later user of that name sees them."""
        # To delete their rows in audit_subject would take seconds: there may be hundreds of thousands.
        state, user_hash = self.app.state, hash_of(user_name)
        with state.transaction(DURABLE):
            if last := state.value(LAST_ABOUT_USER, user_hash=user_hash):
                state.execute(MARK_FORMER_USER, user_hash=user_hash, audit_id=last)

    def prune(self, kind: int, upto: int, before: int):
        """Delete audit rows that take too much space or are too old. `kind` is DONE, NOT_LOGGED_IN or REFUSED.

        Delete the rows of this kind up to the byte `upto`, counted from the first row of the kind that was ever
        written. Delete the rows of every kind from before `before` (seconds since 1970).
        """
        state = self.app.state
        obsolete = state.column(TOO_MANY, failed=kind, upto=upto) + state.column(TOO_OLD, before=before)
        for query in DELETE_ROW:
            state.execute_many(query, [{"audit_id": audit_id} for audit_id in obsolete])
        state.execute(DELETE_OLD_MARKS)


def hash_of(user_name: str) -> str:
    """Return the hexadecimal SHA-256 of a user's name, the value of the column user_hash of table audit_subject."""
    return sha256(user_name.encode(errors="replace"))


def shown_to_subject(row: dict, user_name: str) -> dict:
    """Return an audit row for the user `user_name`, whom it is about, without the IP address of anybody else.

    audit_address and audit_via become None unless this user made the request, and was logged in. For long names they
    always become None, since the audit cuts them, and two of them may become equal.
    """
    by_oneself = row.pop("failed") != NOT_LOGGED_IN and row["audit_user"] == user_name
    whole = len(json.dumps(user_name)) + LONGEST_ESCAPE < LONGEST["audit_user"]
    return row if by_oneself and whole else row | {"audit_address": None, "audit_via": None}


def kind_of(event: Event) -> int:
    """Return NOT_LOGGED_IN if an event's user was not authenticated, DONE if the request succeeded, else REFUSED."""
    if not event.confirmed:
        return NOT_LOGGED_IN
    return DONE if event.succeeded else REFUSED


def shortened(text: str, most: int) -> str:
    """Cut a text so that it takes at most `most` characters as a JSON string."""
    if 2 * len(text) <= most and text.isascii() and text.isprintable():
        return text  # of such characters JSON escapes only quotes and backslashes
    text = text[:most]
    while (length := len(json.dumps(text)) - 2) > most:
        text = text[: len(text) * most // length]
    return text


def log_row(row: dict):
    """Write an audit row to the log, as one line such as `time=1700000000 user="bob" action="add"`."""
    if log.isEnabledFor(logging.INFO):  # encoding a row takes longer than storing it
        fields = {key.removeprefix("audit_"): value for key, value in row.items()}
        text = " ".join(f"{key}={json.dumps(value)}" for key, value in fields.items())
        del fields["time"]  # the log file has the time of each line already
        log.info("%s", text, extra={"logfmt": {"msg": "audit"} | fields})
