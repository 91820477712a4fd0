"""Audit: who logged in, changed or was refused something, and when; each record is also a line in the log."""

import json
import logging
import sqlite3
import time

import peewee

from mailapi import (
    ApiError,
    Application,
    Module,
    admin,
    endpoint,
    optional_number,
    php_text,
)

from .answers import audit
from .http.event import Event
from .state.audit_rows import (
    COUNT_AGAIN,
    DELETE_ROW,
    DONE,
    EXTENT,
    FILTERS,
    INSERT_ENTRY,
    INSERT_ROW,
    LISTS,
    NOT_LOGGED_IN,
    RANGE,
    REFUSED,
    TOO_MANY,
    TOO_OLD,
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
OVERHEAD = 200  # bytes of a row beside its texts, in two tables and their indexes
# Bytes of the rows of each kind (the column `failed`). Each kind has its own share of the disk, so that rows about
# failed log-ins and about refusals, which anybody can cause, never displace rows about changes.
MOST_BYTES = {DONE: 192 * 2**20, NOT_LOGGED_IN: 64 * 2**20, REFUSED: 64 * 2**20}


class Audit(Module):
    description = audit.DESCRIPTION
    state_schema = """
CREATE TABLE IF NOT EXISTS audit (audit_id INTEGER PRIMARY KEY AUTOINCREMENT, audit_time INTEGER NOT NULL,
    audit_user TEXT, audit_address TEXT NOT NULL, audit_via TEXT NOT NULL,
    audit_session TEXT NOT NULL, audit_module TEXT NOT NULL,
    audit_action TEXT NOT NULL, audit_target TEXT NOT NULL, audit_status TEXT NOT NULL, audit_http INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS audit_by_time ON audit (audit_time);
CREATE TABLE IF NOT EXISTS audit_entry (audit_id INTEGER PRIMARY KEY, failed INTEGER NOT NULL, upto INTEGER NOT NULL,
    times INTEGER NOT NULL, wait TEXT);
CREATE INDEX IF NOT EXISTS audit_entry_upto ON audit_entry (failed, upto);
CREATE INDEX IF NOT EXISTS audit_entry_wait ON audit_entry (wait);
"""

    @endpoint(
        allow=admin,
        read_only=True,
        manages_transactions=True,
        optional=dict.fromkeys(FILTERS, php_text)
        | {"since": optional_number, "until": optional_number, "before": optional_number},
    )
    def get(self, call):
        """List the audit, newest record first, at most 1,000 of them.

        `since` and `until` limit the time (seconds since 1970). `before` (an audit_id) continues the list. Any other
        field selects records with that value.
        """
        values = {name: call.body.get(name) for name in (*FILTERS, *RANGE)}
        query = LISTS[tuple(name for name in RANGE if values[name])]
        with self.app.state.transaction("DEFERRED"):
            return {"audit": self.app.state.rows(query, **values)}

    def __init__(self, app: Application, name: str = ""):
        super().__init__(app, name)
        self.log_ins: dict[tuple, int] = {}  # user, address, module and action → when a log-in was recorded

    def on_request(self, event: Event):
        """Record a request that has ended: a log-in, a change or a refusal. Reads in a session are not recorded."""
        has_user = event.user_name is not None or event.via.startswith("token")
        if not has_user or not (event.logs_in or event.changes or event.status not in ("ok", "warning")):
            return
        row: dict = {
            "audit_time": int(time.time()),
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
        if self.is_repeated(event, row["audit_time"]):
            return
        row |= {name: shortened(row[name], most) for name, most in LONGEST.items() if row[name]}
        try:
            if self.app.state.run_with_retry(
                lambda: self.insert(row, kind_of(event), event.refused_wait or None)
            ):
                log_row(row)
        except (ApiError, peewee.PeeweeException, sqlite3.Error, OSError) as error:
            log_row(row)  # the client gets its answer anyway
            log.error("not kept: %s", str(error)[:500])

    def is_repeated(self, event, now: int) -> bool:
        """Return whether a log-in equals one that was recorded within the last hour. `now`: seconds since 1970.

        Only successful log-ins that read something can be repeated: scripts log in with every request.
        """
        if event.changes or event.via != "password" or kind_of(event) != DONE:
            return False
        log_in = event.user_name, event.address, event.module, event.action
        if now - self.log_ins.get(log_in, 0) < 3600:
            return True
        if len(self.log_ins) >= MOST_REMEMBERED:
            self.log_ins.clear()
        self.log_ins[log_in] = now
        return False

    def insert(self, row: dict, failed: int, wait: str | None) -> bool:
        """Insert a row into the audit and return True; or count the event in a row that is there, and return False.

        `failed` is the kind of event: DONE, NOT_LOGGED_IN or REFUSED. `wait` identifies the time for which a log-in
        should have waited after failed ones: all log-ins during it share a row. None for all other events.
        """
        state, now, lifetime = self.app.state, row["audit_time"], self.app.config.audit_lifetime
        grace = min(86400, lifetime // 10)
        with state.transaction():
            if wait and state.execute(COUNT_AGAIN, wait=wait).rowcount:
                return False
            audit_id = state.execute(INSERT_ROW, **row).lastrowid
            extent = state.fetch(EXTENT, {"failed": failed, "time": now - grace})[1][0]
            written, first, last_time, first_time = extent
            upto = (written or 0) + size(row)
            state.execute(INSERT_ENTRY, audit_id=audit_id, failed=failed, upto=upto, times=1, wait=wait)
            # A clock which jumped ahead must delete nothing: ages count from the latest row of more than `grace` ago.
            before = 0 if last_time is None else min(now, last_time + 2 * grace) - lifetime
            if first is not None and first <= upto - MOST_BYTES[failed] or first_time < before:
                self.prune(failed, upto - MOST_BYTES[failed], before)
        return True

    def prune(self, failed: int, upto: int, before: int):
        """Delete old rows: those beyond the share of the disk of one kind of event, and those past audit_lifetime.

        `failed` is the kind: DONE, NOT_LOGGED_IN or REFUSED. The newest rows stay; `upto` is how many bytes were
        written before them. `before` is the time (seconds since 1970) from which rows of all kinds stay.
        """
        state = self.app.state
        obsolete = state.column(TOO_MANY, failed=failed, upto=upto) + state.column(TOO_OLD, before=before)
        for query in DELETE_ROW:
            state.execute_many(query, [{"audit_id": audit_id} for audit_id in obsolete])


def kind_of(event: Event) -> int:
    """Return the kind of an event: NOT_LOGGED_IN, DONE or REFUSED. Each kind has its own share of the disk."""
    if not event.confirmed:
        return NOT_LOGGED_IN
    return DONE if event.status in ("ok", "warning") else REFUSED


def shortened(text: str, most: int) -> str:
    """Cut a text so that it takes at most `most` characters as a JSON string."""
    if 2 * len(text) <= most and text.isascii() and text.isprintable():
        return text  # of such characters JSON escapes only quotes and backslashes
    text = text[:most]
    while (length := len(json.dumps(text)) - 2) > most:
        text = text[: len(text) * most // length]
    return text


def size(row: dict) -> int:
    """Return about how many bytes an audit row takes in the database, rounded up."""
    texts = "".join([value for value in row.values() if isinstance(value, str)])
    return OVERHEAD + len(texts.encode(errors="replace"))


def log_row(row: dict):
    """Write an audit row to the log, as one line."""
    if log.isEnabledFor(logging.INFO):  # encoding a row takes longer than storing it
        fields = {key.removeprefix("audit_"): value for key, value in row.items()}
        line = {"msg": "audit"} | {key: value for key, value in fields.items() if key != "time"}
        log.info("%s", logfmt(row), extra={"logfmt": line})  # the log file has the time of each line already


def logfmt(row: dict) -> str:
    """Format a row in logfmt, such as `user="bob" action="add"`; quotes and line breaks are escaped as in JSON."""
    return " ".join(f"{key.removeprefix('audit_')}={json.dumps(value)}" for key, value in row.items())
