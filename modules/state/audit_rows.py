"""Tables and prepared queries of the audit log, which is in mailapi's state database."""

from itertools import combinations

import peewee
from peewee import IntegerField, TextField, fn

from mailapi import Model, PreparedQuery, param

DONE, NOT_LOGGED_IN, REFUSED = 0, 1, 2  # the kinds of rows


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
    """A row of the table audit_entry, with further columns for the row of `audit` that has the same `audit_id`.

    They are the kind of the row, its size, and how many refused log-ins share the row. Rows of `audit` that older
    versions of mailapi wrote have no such row.
    """

    audit_id = IntegerField()
    failed = IntegerField()  # the kind of row: DONE, NOT_LOGGED_IN or REFUSED
    # The bytes of all rows with the same `failed` that were ever written, up to this one.
    upto = IntegerField()
    times = IntegerField()  # how many log-ins the row stands for
    wait = TextField(null=True)  # identifies a waiting period that a log-in ignored: one row each

    class Meta:
        table_name = "audit_entry"


class AuditSubject(Model):
    """A link from an entry of the audit log to a user whom it is about. Entries of older versions have none."""

    audit_id = IntegerField()
    user_hash = TextField()  # SHA-256 of the user's name, which may be long

    class Meta:
        table_name = "audit_subject"


class AuditFormerUser(Model):
    """A row for a user who was deleted. A later user of this name sees no entry of the audit up to `audit_id`."""

    user_hash = TextField()  # as in AuditSubject
    audit_id = IntegerField()

    class Meta:
        table_name = "audit_former_user"


SCHEMA = """
CREATE TABLE IF NOT EXISTS audit (audit_id INTEGER PRIMARY KEY AUTOINCREMENT, audit_time INTEGER NOT NULL,
    audit_user TEXT, audit_address TEXT NOT NULL, audit_via TEXT NOT NULL,
    audit_session TEXT NOT NULL, audit_module TEXT NOT NULL,
    audit_action TEXT NOT NULL, audit_target TEXT NOT NULL, audit_status TEXT NOT NULL, audit_http INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS audit_by_time ON audit (audit_time);
CREATE TABLE IF NOT EXISTS audit_entry (audit_id INTEGER PRIMARY KEY, failed INTEGER NOT NULL, upto INTEGER NOT NULL,
    times INTEGER NOT NULL, wait TEXT);
CREATE INDEX IF NOT EXISTS audit_entry_upto ON audit_entry (failed, upto);
CREATE INDEX IF NOT EXISTS audit_entry_wait ON audit_entry (wait) WHERE wait IS NOT NULL;
CREATE TABLE IF NOT EXISTS audit_subject (user_hash TEXT NOT NULL, audit_id INTEGER NOT NULL,
    UNIQUE (user_hash, audit_id));
CREATE INDEX IF NOT EXISTS audit_subject_audit_id ON audit_subject (audit_id);
CREATE TABLE IF NOT EXISTS audit_former_user (user_hash TEXT PRIMARY KEY, audit_id INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS audit_former_user_audit_id ON audit_former_user (audit_id);
"""
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
ABOUT_USER = AuditSubject.user_hash == param("user_hash")
LAST_ABOUT_FORMER_USER = AuditFormerUser.select(AuditFormerUser.audit_id).where(
    AuditFormerUser.user_hash == param("user_hash")
)
SHOWN_TO_SUBJECT = [
    getattr(AuditRow, name) for name in AuditRow._meta.fields if name not in ("audit_session", "audit_http")
]
OF_SUBJECT = (
    AuditSubject.select(*SHOWN_TO_SUBJECT, AuditEntry.times.alias("audit_times"), AuditEntry.failed)
    .join(AuditRow, on=AuditRow.audit_id == AuditSubject.audit_id)
    .join(AuditEntry, on=AuditEntry.audit_id == AuditSubject.audit_id)
    .where(ABOUT_USER, AuditSubject.audit_id > fn.COALESCE(LAST_ABOUT_FORMER_USER, 0))
    .order_by(AuditSubject.audit_id.desc())
    .limit(param("limit"))
)
PAGE_OF_SUBJECT = {  # by whether the page continues a list
    False: PreparedQuery(OF_SUBJECT),
    True: PreparedQuery(OF_SUBJECT.where(AuditSubject.audit_id < param("before"))),
}
INSERT_SUBJECT = PreparedQuery(AuditSubject.insert(audit_id=param("audit_id"), user_hash=param("user_hash")))
LAST_ABOUT_USER = PreparedQuery(AuditSubject.select(fn.MAX(AuditSubject.audit_id)).where(ABOUT_USER))
MARK_FORMER_USER = PreparedQuery(
    AuditFormerUser.replace(user_hash=param("user_hash"), audit_id=param("audit_id"))
)
DELETE_OLD_MARKS = PreparedQuery(  # those to which no entry is left
    AuditFormerUser.delete().where(AuditFormerUser.audit_id < AuditRow.select(fn.MIN(AuditRow.audit_id)))
)
COLUMNS = [name for name in AuditRow._meta.fields if name != "audit_id"]
INSERT_ROW = PreparedQuery(AuditRow.insert({name: param(name) for name in COLUMNS}))
INSERT_ENTRY = PreparedQuery(AuditEntry.replace({name: param(name) for name in AuditEntry._meta.fields}))
COUNT_AGAIN = PreparedQuery(
    AuditEntry.update(times=AuditEntry.times + 1).where(AuditEntry.wait == param("wait"))
)
# One row: bytes written, the first of them that is still there, and the last and first time of a row.
EXTENT = PreparedQuery(
    peewee.Select(
        columns=[
            AuditEntry.select(fn.MAX(AuditEntry.upto)).where(AuditEntry.failed == param("failed")),
            AuditEntry.select(fn.MIN(AuditEntry.upto)).where(AuditEntry.failed == param("failed")),
            AuditRow.select(fn.MAX(AuditRow.audit_time)).where(AuditRow.audit_time <= param("time")),
            AuditRow.select(fn.MIN(AuditRow.audit_time)),
        ]
    )
)
DELETE_ROW = [
    PreparedQuery(model.delete().where(model.audit_id == param("audit_id")))
    for model in (AuditRow, AuditEntry, AuditSubject)
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
OVERHEAD = 200  # bytes of an entry beside its texts, in `audit` and `audit_entry` and their indexes
BYTES_OF_SUBJECT = 180  # a row of audit_subject, with its indexes


def size_of(row: dict) -> int:
    """Return the number of bytes that an entry takes in the database, estimated and rounded up.

    `row`: its row in the table `audit`, as {"audit_user": "bob", …}.
    """
    texts = "".join([value for value in row.values() if isinstance(value, str)])
    return OVERHEAD + len(texts.encode(errors="replace"))
