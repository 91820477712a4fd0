"""The places where a user's mails are stored: the master database, and the user's own SQLite file."""

import contextlib
import sqlite3
from collections.abc import Callable
from typing import TypeVar

import peewee
from peewee import BlobField, BooleanField, Case, Cast, IntegerField, TextField, fn

from mailapi import ApiError, CannotOpen, Model, PreparedQuery, Store, is_busy, param

from .routing_rules import USER_DATABASE


class Mail(Model):
    mail_id = IntegerField()
    mail_user = TextField()
    mail_read = BooleanField()
    mail_ident = TextField(null=True)
    mail_envelopeto = TextField()
    mail_envelopefrom = TextField()
    mail_submission = TextField()  # seconds since 1970
    mail_submitter = TextField(null=True)
    mail_proto = TextField()
    mail_data = BlobField(null=True)  # a BLOB column with raw bytes stored as TEXT (docs/wire.md section 7)

    class Meta:
        table_name = "mailbox"  # the class is not called Mailbox: the API module is


T = TypeVar("T")
COLUMNS = [column for column in Mail._meta.sorted_fields if column is not Mail.mail_data]
BYTES = Cast(Mail.mail_data, "BLOB")
OF_USER = Mail.mail_user == param("user")
KEYS = Mail.select(Mail.mail_id, Mail.mail_submission).where(OF_USER)
ALL_KEYS, UNREAD_KEYS = PreparedQuery(KEYS), PreparedQuery(KEYS.where(Mail.mail_read == 0))
UNREAD_COUNT = PreparedQuery(Mail.select(fn.COUNT(Mail.mail_id)).where(OF_USER, Mail.mail_read == 0))
WITH_IDS = Mail.mail_id.in_(peewee.Select([fn.json_each(param("ids"))], [peewee.SQL("value")]))
HAS_BYTES = fn.TYPEOF(Mail.mail_data).in_(["text", "blob"])
# Without mail_data: SQLite would load a large mail whole to return its beginning. blobopen reads that by the rowid.
ROWS = PreparedQuery(
    Mail.select(
        *COLUMNS,
        Case(None, [(HAS_BYTES, None)], BYTES).alias("mail_data"),
        Case(None, [(HAS_BYTES, peewee.SQL("rowid"))], None).alias("blob_row"),
    ).where(OF_USER, WITH_IDS)
)
# MariaDB loads only the beginning.
BEGINNINGS = PreparedQuery(
    Mail.select(*COLUMNS, fn.SUBSTR(BYTES, 1, param("size")).alias("mail_data")).where(OF_USER, WITH_IDS)
)
WITH_ID = OF_USER & (Mail.mail_id == param("mail_id"))
ONE_MAIL = PreparedQuery(Mail.select(*COLUMNS, BYTES.alias("mail_data")).where(WITH_ID))
MARK = PreparedQuery(Mail.update(mail_read=param("mail_read")).where(WITH_ID))
DELETE = PreparedQuery(Mail.delete().where(WITH_ID))

HEADER_BYTES = 65536  # bytes of a mail that are read to find its header


class SourceUnavailable(ApiError):
    """The error for a source of mails that does not work now. Answers then have a warning and only the other mails."""

    code = "unavailable"


class MailSource:
    """A place where the caller's mails are stored. This class reads the master database, subclasses read others.

    A mail is a dictionary with the columns of table mailbox: {"mail_id": 7, "mail_data": b"…", …}. Each method runs in
    a transaction of its own.
    """

    name = "master"  # mail_sourcedb

    def __init__(self, call):
        self.call, self.user = call, call.user_name

    def exists(self) -> bool:
        """Return whether the caller has this source of mails. Some users have no database of their own, for example."""
        return True

    def in_transaction(self, work: Callable[[Store], T], lock_type: str = "DEFERRED") -> T:
        """Run work(db) in one transaction, and return its result. `db` is the database of this source."""
        with self.call.db.transaction(lock_type):
            return work(self.call.db)

    def keys(self, only_unread: bool = False) -> list[tuple]:
        """Return (mail_id, mail_submission) of each of the caller's mails. `only_unread`: leave out read mails.

        mail_submission is the time in seconds since 1970.
        """
        query = UNREAD_KEYS if only_unread else ALL_KEYS
        return self.in_transaction(lambda db: db.fetch(query, {"user": self.user})[1])

    def beginnings(self, mail_ids: list[int], size: int) -> list[dict]:
        """Return the mails with these ids, with only the first `size` bytes in mail_data. Missing mails are left out.

        If `size` is at most HEADER_BYTES, the IMAP server returns only header fields that lists, searches and threads
        use.
        """
        return self.in_transaction(lambda db: read_beginnings(db, self.user, str(mail_ids), size))

    def fetch(self, mail_id: int, mark_read: bool = False) -> dict | None:
        """Return a whole mail, or None if it does not exist.

        `mark_read`: also mark the mail as read. The result has the mail_read from before.
        """
        # A large mail is loaded before the transaction that writes, so that no other program waits for it.
        mail = self.in_transaction(lambda db: db.one(ONE_MAIL, user=self.user, mail_id=mail_id))
        if mail and mark_read and not mail["mail_read"]:
            self.mark(mail_id, read=True)
        return mail

    def mark(self, mail_id: int, read: bool) -> bool:
        """Mark a mail as read (or unread, if `read` is False). Return whether the mail exists."""
        return self.change(MARK, mail_id=mail_id, mail_read=int(read))

    def delete(self, mail_id: int) -> bool:
        """Delete a mail from this source. Return whether it existed."""
        return self.change(DELETE, mail_id=mail_id)

    def change(self, query: PreparedQuery, **values) -> bool:
        return self.in_transaction(
            lambda db: bool(db.execute(query, user=self.user, **values).rowcount), "IMMEDIATE"
        )

    def unread_count(self) -> int:
        return self.in_transaction(lambda db: db.value(UNREAD_COUNT, user=self.user))

    def close(self):
        """Close the connections that were opened for the request."""


class UserDatabase(MailSource):
    """The SQLite file with a user's own mails. Its path is in users.user_database; several users may share it."""

    name = "user"

    def exists(self) -> bool:
        rows = self.call.db.fetch(USER_DATABASE, {"user": self.user})[1]
        self.path = rows[0][0] if rows else None
        return bool(self.path)

    def in_transaction(self, work: Callable[[Store], T], lock_type: str = "DEFERRED") -> T:
        problem = SourceUnavailable(f"Cannot open userdb from user: {self.user}")
        if not isinstance(self.path, str):
            raise problem
        try:
            with contextlib.closing(Store(self.path)) as store, store.transaction(lock_type):
                return work(store)
        except (peewee.DatabaseError, sqlite3.Error) as error:
            if is_busy(error):
                raise
            raise problem from error
        except CannotOpen as error:
            raise problem from error


def read_beginnings(db: Store, user: str, mail_ids: str, size: int) -> list[dict]:
    """Return a user's mails with only the first `size` bytes in mail_data.

    `mail_ids`: the ids as a JSON list, such as "[1, 2]". Missing mails are left out.
    """
    if not db.streams:
        return db.rows(BEGINNINGS, user=user, ids=mail_ids, size=size)
    rows = db.rows(ROWS, user=user, ids=mail_ids)
    for row in rows:
        if (blob_row := row.pop("blob_row")) is not None:
            with db.opened.connection.blobopen("mailbox", "mail_data", blob_row, readonly=True) as blob:
                row["mail_data"] = blob.read(size)
    return rows
