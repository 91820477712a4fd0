"""Audit: a record of log-ins, changes and refusals, with time, user and address; each is also a line in the log."""

import json
import logging
import sqlite3
import time
from itertools import combinations

import peewee
from peewee import IntegerField, TextField, fn

from mailapi import (
    ApiError,
    Application,
    Model,
    Module,
    PreparedQuery,
    admin,
    endpoint,
    optional_number,
    param,
    php_text,
)

from .http.event import Event

log = logging.getLogger("mailapi.audit")


class AuditRow(Model):
    audit_id = IntegerField()
    audit_time = IntegerField()  # seconds since 1970
    audit_user = TextField(null=True)
    audit_address = TextField()
    audit_via = TextField()  # password, session, token NAME, local
    audit_session = TextField()  # the start of the hash of its id
    audit_module = TextField()
    audit_action = TextField()
    audit_target = TextField()
    audit_status = TextField()
    audit_http = IntegerField()

    class Meta:
        table_name = "audit"


class AuditEntry(Model):
    """The size and the count of one row of `audit`. Rows written by former versions have no AuditEntry."""

    audit_id = IntegerField()
    failed = IntegerField()  # the kind of row: DONE, NOT_LOGGED_IN or REFUSED
    # The bytes of all rows with the same `failed` that were ever written, up to this one.
    upto = IntegerField()
    times = IntegerField()  # how many log-ins the row stands for
    wait = TextField(null=True)  # identifies a waiting period that a log-in ignored: one row each

    class Meta:
        table_name = "audit_entry"


MOST_LISTED = 1000  # rows
FILTERS = (
    "audit_user",
    "audit_address",
    "audit_via",
    "audit_session",
    "audit_module",
    "audit_action",
    "audit_target",
    "audit_status",
)
NEWEST_FIRST = (
    AuditRow.select(AuditRow, fn.COALESCE(AuditEntry.times, 1).alias("audit_times"))
    .join(AuditEntry, peewee.JOIN.LEFT_OUTER, on=AuditEntry.audit_id == AuditRow.audit_id)
    .where(
        *(param(name).is_null() | (getattr(AuditRow, name) == param(name)) for name in FILTERS),
    )
    .order_by(AuditRow.audit_id.desc())
    .limit(MOST_LISTED)
)
RANGE = {  # these columns have an index
    "since": AuditRow.audit_time >= param("since"),
    "until": AuditRow.audit_time <= param("until"),
    "before": AuditRow.audit_id < param("before"),
}
LISTS = {  # by the fields of RANGE that a request has
    given: PreparedQuery(NEWEST_FIRST.where(*(RANGE[name] for name in given)))
    for count in range(len(RANGE) + 1)
    for given in combinations(RANGE, count)
}
COLUMNS = [name for name in AuditRow._meta.fields if name != "audit_id"]
INSERT_ROW = PreparedQuery(AuditRow.insert({name: param(name) for name in COLUMNS}))
INSERT_ENTRY = PreparedQuery(AuditEntry.replace({name: param(name) for name in AuditEntry._meta.fields}))
COUNT_AGAIN = PreparedQuery(
    AuditEntry.update(times=AuditEntry.times + 1).where(AuditEntry.wait == param("wait"))
)
BYTES_WRITTEN = PreparedQuery(
    AuditEntry.select(fn.MAX(AuditEntry.upto)).where(AuditEntry.failed == param("failed"))
)
DELETE_ROW = [
    PreparedQuery(model.delete().where(model.audit_id == param("audit_id")))
    for model in (AuditRow, AuditEntry)
]
MOST_PRUNED = 100  # rows of one transaction
TOO_MANY = PreparedQuery(
    AuditEntry.select(AuditEntry.audit_id)
    .where(AuditEntry.failed == param("failed"), AuditEntry.upto <= param("upto"))
    .order_by(AuditEntry.upto)
    .limit(MOST_PRUNED)
)
TOO_OLD = PreparedQuery(
    AuditRow.select(AuditRow.audit_id)
    .where(AuditRow.audit_time < param("before"))
    .order_by(AuditRow.audit_time)
    .limit(MOST_PRUNED)
)
LAST_BEFORE = PreparedQuery(
    AuditRow.select(fn.MAX(AuditRow.audit_time)).where(AuditRow.audit_time <= param("time"))
)
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
DONE, NOT_LOGGED_IN, REFUSED = 0, 1, 2
MOST_BYTES = {DONE: 192 * 2**20, NOT_LOGGED_IN: 64 * 2**20, REFUSED: 64 * 2**20}


class Audit(Module):
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
        """List the audit, newest first, at most 1,000 rows.

        `since` and `until` (seconds since 1970) limit the time. `before`, an audit_id, continues the list. Every other
        field selects the rows with that value.
        """
        values = {name: call.body.get(name) for name in (*FILTERS, *RANGE)}
        query = LISTS[tuple(name for name in RANGE if values[name])]
        with self.app.state.transaction("DEFERRED"):
            return {"audit": self.app.state.rows(query, **values)}

    def __init__(self, app: Application, name: str = ""):
        super().__init__(app, name)
        self.log_ins: dict[tuple, int] = {}  # user, address, module and action → when a log-in was recorded

    def on_request(self, event: Event):
        """Record a request that has ended: a log-in, a change or a refusal, but not a read within a session."""
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
        """Check whether the same log-in was recorded within the last hour; if not, remember it in memory.

        Applies to successful log-ins for reading: scripts log in with every request, and need not wait for the disk.
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
        """Insert an audit row and return True; or count the event in an earlier row and return False.

        `failed` is the kind: DONE, NOT_LOGGED_IN or REFUSED. `wait` identifies a waiting period that a log-in ignored:
        all log-ins in that period are counted in one row.
        """
        state = self.app.state
        with state.transaction():
            if wait and state.execute(COUNT_AGAIN, wait=wait).rowcount:
                return False
            upto = (state.value(BYTES_WRITTEN, failed=failed) or 0) + size(row)
            audit_id = state.execute(INSERT_ROW, **row).lastrowid
            state.execute(INSERT_ENTRY, audit_id=audit_id, failed=failed, upto=upto, times=1, wait=wait)
            self.prune(failed, upto - MOST_BYTES[failed], row["audit_time"])
        return True

    def prune(self, failed: int, upto: int, now: int):
        """Delete rows that exceed the disk space of their kind `failed`, and rows older than audit_lifetime.

        `upto` is the number of bytes written before the oldest row that stays. Age is measured from the latest row
        that is at least a day old: a clock that jumped ahead must not delete rows.
        """
        state, lifetime = self.app.state, self.app.config.audit_lifetime
        obsolete = state.column(TOO_MANY, failed=failed, upto=upto)
        grace = min(86400, lifetime // 10)
        if (last := state.value(LAST_BEFORE, time=now - grace)) is not None:
            obsolete += state.column(TOO_OLD, before=min(now, last + 2 * grace) - lifetime)
        if obsolete:
            for query in DELETE_ROW:
                state.execute_many(query, [{"audit_id": audit_id} for audit_id in obsolete])


def kind_of(event: Event) -> int:
    """Return the kind of an event: NOT_LOGGED_IN, DONE or REFUSED. Each kind has its own share of the disk."""
    if not event.confirmed:
        return NOT_LOGGED_IN
    return DONE if event.status in ("ok", "warning") else REFUSED


def shortened(text: str, most: int) -> str:
    """Return the start of a text, cut so that it takes at most `most` characters as JSON."""
    text = text[:most]
    while (length := len(json.dumps(text)) - 2) > most:
        text = text[: len(text) * most // length]
    return text


def size(row: dict) -> int:
    """Return the approximate number of bytes that a row takes in the database, rounded up."""
    return OVERHEAD + sum(
        len(value.encode(errors="replace")) for value in row.values() if isinstance(value, str)
    )


def log_row(row: dict):
    """Write an audit row to the log, in one line."""
    if log.isEnabledFor(logging.INFO):  # encoding a row takes longer than storing it
        log.info("%s", logfmt(row))


def logfmt(row: dict) -> str:
    """Return an audit row as `key=value` pairs, such as `user="bob"`; JSON escapes quotes and line breaks in values."""
    return " ".join(f"{key.removeprefix('audit_')}={json.dumps(value)}" for key, value in row.items())
