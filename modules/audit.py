"""Audit: who logged in, changed something or was refused, when, from where; and a line of each in the log."""

import json
import logging
import sqlite3
import time

import peewee
from peewee import IntegerField, TextField

from mailapi import ApiError, Model, Module, Prepared, admin, arg, endpoint, optional_number, text

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


NEWEST_FIRST = AuditRow.select().order_by(AuditRow.audit_id.desc())
COLUMNS = [name for name in AuditRow._meta.fields if name != "audit_id"]
ADD = Prepared(AuditRow.insert({name: arg(name) for name in COLUMNS}))
FORGET = Prepared(AuditRow.delete().where(
    (AuditRow.audit_time < arg("before")) | (AuditRow.audit_id <= arg("last"))))
EXACT = ("audit_user", "audit_address", "audit_via", "audit_session", "audit_module", "audit_action", "audit_target",
         "audit_status")
AT_A_TIME = 1000
MOST_ROWS = 1_000_000  # some 300 MB: nobody fills the disk by failing to log in


class Audit(Module):
    state_schema = """
CREATE TABLE IF NOT EXISTS audit (audit_id INTEGER PRIMARY KEY AUTOINCREMENT, audit_time INTEGER NOT NULL,
    audit_user TEXT, audit_address TEXT NOT NULL, audit_via TEXT NOT NULL,
    audit_session TEXT NOT NULL, audit_module TEXT NOT NULL,
    audit_action TEXT NOT NULL, audit_target TEXT NOT NULL, audit_status TEXT NOT NULL, audit_http INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS audit_by_time ON audit (audit_time);
"""

    @endpoint(allow=admin, reads_only=True, own_transactions=True,
              takes=dict.fromkeys(EXACT, text) | {"since": optional_number, "until": optional_number,
                                                  "before": optional_number})
    def get(self, call):
        """What happened, newest first, 1,000 at a time: those with the given values, since and until a time
        (seconds since 1970), and before an audit_id for the next page."""
        body, rows = call.body, NEWEST_FIRST.limit(AT_A_TIME)
        for name in EXACT:
            if body.get(name):
                rows = rows.where(getattr(AuditRow, name) == body[name])
        for name, condition in (("since", AuditRow.audit_time >= body.get("since")),
                                ("until", AuditRow.audit_time <= body.get("until")),
                                ("before", AuditRow.audit_id < body.get("before"))):
            rows = rows.where(condition) if body.get(name) else rows
        with self.app.state.transaction("DEFERRED"):
            return {"audit": self.app.state.rows(rows)}

    def watch(self, event):
        asked_by_somebody = event.user_name is not None or event.via.startswith("token")
        if not asked_by_somebody or not (event.logs_in or event.changes or event.status not in ("ok", "warning")):
            return
        # Cut: whoever fails to log in, too, chooses some of these, a megabyte long.
        row = {"audit_time": int(time.time()), "audit_user": event.user_name and event.user_name[:200],
               "audit_address": event.address[:100], "audit_via": event.via[:200],
               "audit_session": event.session, "audit_module": event.module[:100],
               "audit_action": event.action, "audit_target": event.target[:1000],
               "audit_status": event.status[:500], "audit_http": event.http}
        if log.isEnabledFor(logging.INFO):  # to spell it takes longer than to store it
            log.info("%s", logfmt(row))
        try:
            self.app.state.repeat(lambda: self.keep(row))
        except (ApiError, peewee.PeeweeException, sqlite3.Error, OSError) as error:  # the answer is true without
            log.error("not kept: %s", error)

    def keep(self, row: dict):
        with self.app.state.transaction():
            newest = self.app.state.execute(ADD, **row).lastrowid
            self.app.state.execute(FORGET, before=row["audit_time"] - self.app.config.audit_lifetime,
                                   last=newest - MOST_ROWS)


def logfmt(row: dict) -> str:
    """A line of key=value; whatever could end the line or the value is escaped."""
    return " ".join(f"{key.removeprefix('audit_')}={json.dumps(value)}" for key, value in row.items())
