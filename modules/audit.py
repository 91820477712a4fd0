"""Audit: who logged in, changed something or was refused, when, from where; and a line of each in the log."""

import json
import logging
import sqlite3
import time

import peewee
from peewee import IntegerField, TextField, fn

from mailapi import ApiError, Model, Module, PreparedQuery, admin, endpoint, optional_number, param, php_text

log = logging.getLogger("mailapi.audit")


class AuditRow(Model):
    audit_id = IntegerField()
    audit_time = IntegerField()  # seconds since 1970
    audit_user = TextField(null=True)
    audit_address = TextField()
    audit_via = TextField()  # password, session, token NAME, local
    audit_session = TextField()  # the start of its id's hash
    audit_module = TextField()
    audit_action = TextField()
    audit_target = TextField()
    audit_status = TextField()
    audit_http = IntegerField()

    class Meta:
        table_name = "audit"


class AuditEntry(Model):
    """What is known of a row of audit beside what it says; rows of former versions have none."""

    audit_id = IntegerField()
    failed = IntegerField()  # 1: a log-in failed, so that anybody can have caused it
    upto = (
        IntegerField()
    )  # bytes of all rows with the same `failed` that were ever written, this one included
    times = IntegerField()  # how often it happened
    wait = TextField(null=True)  # names the wait of a log-in that came too early: one row for each

    class Meta:
        table_name = "audit_entry"


NEWEST_FIRST = (
    AuditRow.select(AuditRow, fn.COALESCE(AuditEntry.times, 1).alias("audit_times"))
    .join(AuditEntry, peewee.JOIN.LEFT_OUTER, on=AuditEntry.audit_id == AuditRow.audit_id)
    .order_by(AuditRow.audit_id.desc())
)
COLUMNS = [name for name in AuditRow._meta.fields if name != "audit_id"]
ADD = PreparedQuery(AuditRow.insert({name: param(name) for name in COLUMNS}))
ADD_ENTRY = PreparedQuery(AuditEntry.replace({name: param(name) for name in AuditEntry._meta.fields}))
COUNT_AGAIN = PreparedQuery(
    AuditEntry.update(times=AuditEntry.times + 1).where(AuditEntry.wait == param("wait"))
)
BYTES = PreparedQuery(AuditEntry.select(fn.MAX(AuditEntry.upto)).where(AuditEntry.failed == param("failed")))
PRUNED_AT_ONCE = 100
TOO_MANY = PreparedQuery(
    AuditEntry.select(AuditEntry.audit_id)
    .where(AuditEntry.failed == param("failed"), AuditEntry.upto <= param("upto"))
    .order_by(AuditEntry.upto)
    .limit(PRUNED_AT_ONCE)
)
TOO_OLD = PreparedQuery(
    AuditRow.select(AuditRow.audit_id)
    .where(AuditRow.audit_time < param("before"))
    .order_by(AuditRow.audit_time)
    .limit(PRUNED_AT_ONCE)
)
LAST_BEFORE = PreparedQuery(
    AuditRow.select(fn.MAX(AuditRow.audit_time)).where(AuditRow.audit_time <= param("time"))
)
EXACT = (
    "audit_user",
    "audit_address",
    "audit_via",
    "audit_session",
    "audit_module",
    "audit_action",
    "audit_target",
    "audit_status",
)
AT_A_TIME = 1000
# Characters of a text, as JSON spells it in the log. Whoever fails to log in chooses some of them.
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
OVERHEAD = 200  # bytes that a row takes beside its texts, in two tables and their indexes
MOST_BYTES = {
    0: 192 * 2**20,
    1: 64 * 2**20,
}  # of rows that did not fail, and of those that did: nobody fills the disk


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
        optional=dict.fromkeys(EXACT, php_text)
        | {"since": optional_number, "until": optional_number, "before": optional_number},
    )
    def get(self, call):
        """What happened, newest first, 1,000 at a time: those with the given values, since and until a time
        (seconds since 1970), and before an audit_id for the next page."""
        body, rows = call.body, NEWEST_FIRST.limit(AT_A_TIME)
        for name in EXACT:
            if body.get(name):
                rows = rows.where(getattr(AuditRow, name) == body[name])
        for name, condition in (
            ("since", AuditRow.audit_time >= body.get("since")),
            ("until", AuditRow.audit_time <= body.get("until")),
            ("before", AuditRow.audit_id < body.get("before")),
        ):
            rows = rows.where(condition) if body.get(name) else rows
        with self.app.state.transaction("DEFERRED"):
            return {"audit": self.app.state.rows(rows)}

    def on_request(self, event):
        asked_by_somebody = event.user_name is not None or event.via.startswith("token")
        if not asked_by_somebody or not (
            event.logs_in or event.changes or event.status not in ("ok", "warning")
        ):
            return
        row = {
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
        row |= {name: cut(row[name], most) for name, most in LONGEST.items() if row[name]}
        try:
            if self.app.state.run_with_retry(
                lambda: self.keep(row, not event.confirmed, event.refused_wait or None)
            ):
                log_row(row)
        except (
            ApiError,
            peewee.PeeweeException,
            sqlite3.Error,
            OSError,
        ) as error:  # the answer is true without
            log_row(row)
            log.error("not kept: %s", str(error)[:500])

    def keep(self, row: dict, failed: bool, wait: str | None) -> bool:
        """Write a row; False where it is only one more log-in of a wait that has a row."""
        state = self.app.state
        with state.transaction():
            if wait and state.execute(COUNT_AGAIN, wait=wait).rowcount:
                return False
            upto = (state.value(BYTES, failed=int(failed)) or 0) + size(row)
            audit_id = state.execute(ADD, **row).lastrowid
            state.execute(ADD_ENTRY, audit_id=audit_id, failed=int(failed), upto=upto, times=1, wait=wait)
            self.prune(int(failed), upto - MOST_BYTES[failed], row["audit_time"])
        return True

    def prune(self, failed: int, upto: int, now: int):
        """Delete the oldest rows beyond the share of those that failed, or did not, and those that are too old.

        The age is not taken from a clock that has jumped ahead: rows are as old as somebody else's rows show, who came
        a day ago. What a wrong clock has deleted nobody could get back.
        """
        state, lifetime = self.app.state, self.app.config.audit_lifetime
        gone = state.column(TOO_MANY, failed=failed, upto=upto)
        grace = min(86400, lifetime // 10)
        if (seen := state.value(LAST_BEFORE, time=now - grace)) is not None:
            gone += state.column(TOO_OLD, before=min(now, seen + 2 * grace) - lifetime)
        if gone:
            for model in (AuditRow, AuditEntry):
                state.execute(model.delete().where(model.audit_id.in_(gone)))


def cut(text: str, most: int) -> str:
    """The beginning of a text that takes at most so many characters in the log, and bytes in the database."""
    text = text[:most]
    while (length := len(json.dumps(text)) - 2) > most:
        text = text[: len(text) * most // length]
    return text


def size(row: dict) -> int:
    """The bytes that a row takes, rounded up."""
    return OVERHEAD + sum(
        len(value.encode(errors="replace")) for value in row.values() if isinstance(value, str)
    )


def log_row(row: dict):
    if log.isEnabledFor(logging.INFO):  # to spell it takes longer than to store it
        log.info("%s", logfmt(row))


def logfmt(row: dict) -> str:
    """A line of key=value; whatever could end the line or the value is escaped."""
    return " ".join(f"{key.removeprefix('audit_')}={json.dumps(value)}" for key, value in row.items())
