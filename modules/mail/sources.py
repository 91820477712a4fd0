"""Where mails lie: the master database, and the SQLite file that users.user_database names."""

import contextlib
import json
import sqlite3

import peewee
from peewee import BlobField, BooleanField, Case, Cast, IntegerField, TextField, fn

from mailapi import ApiError, CannotOpen, Model, PreparedQuery, Store, Users, is_busy, param


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
    mail_data = BlobField(
        null=True
    )  # declared BLOB, stored as TEXT holding raw bytes (docs/wire.md section 7)

    class Meta:
        table_name = "mailbox"  # the name of the module's class


COLUMNS = [column for column in Mail._meta.sorted_fields if column is not Mail.mail_data]
BYTES = Cast(Mail.mail_data, "BLOB")
OWN = Mail.mail_user == param("user")
KEYS = Mail.select(Mail.mail_id, Mail.mail_submission).where(OWN)
ALL, UNREAD = PreparedQuery(KEYS), PreparedQuery(KEYS.where(Mail.mail_read == 0))
UNREAD_COUNT = PreparedQuery(Mail.select(fn.COUNT(Mail.mail_id)).where(OWN, Mail.mail_read == 0))
THESE = Mail.mail_id.in_(peewee.Select([fn.json_each(param("ids"))], [peewee.SQL("value")]))
STREAMED = fn.TYPEOF(Mail.mail_data).in_(["text", "blob"])
# Not the bytes: SQLite would load a large mail to cut off its beginning. rowid says where they are.
ROWS = PreparedQuery(
    Mail.select(
        *COLUMNS,
        Case(None, [(STREAMED, None)], BYTES).alias("mail_data"),
        Case(None, [(STREAMED, peewee.SQL("rowid"))], None).alias("place"),
    ).where(OWN, THESE)
)
# Servers load no more than they are asked for.
BEGINNINGS = PreparedQuery(
    Mail.select(*COLUMNS, fn.SUBSTR(BYTES, 1, param("size")).alias("mail_data")).where(OWN, THESE)
)
THIS = OWN & (Mail.mail_id == param("mail_id"))
ONE = PreparedQuery(Mail.select(*COLUMNS, BYTES.alias("mail_data")).where(THIS))
MARK = PreparedQuery(Mail.update(mail_read=param("mail_read")).where(THIS))
DELETE = PreparedQuery(Mail.delete().where(THIS))
USER_DATABASE = PreparedQuery(Users.select(Users.user_database).where(Users.user_name == param("user")))

HEADERS = 65536  # bytes of a mail in which its headers are looked for


class SourceUnavailable(ApiError):
    """A source that cannot be used now; what the others have is answered with a warning."""


class Source:
    """A place where the caller's mails lie, and all that is asked of such a place; this one is the master database.

    A mail is its row as a dictionary, mail_data its bytes. A transaction is as short as its queries: what a mail says
    is read after it, and nothing waits for one source while it holds another.
    """

    name = "master"  # mail_sourcedb

    def __init__(self, call):
        self.call, self.user = call, call.user_name

    def exists(self) -> bool:
        """Whether the caller has mails in such a place at all."""
        return True

    @contextlib.contextmanager
    def transaction(self, lock_type="DEFERRED"):
        with self.call.db.transaction(lock_type):
            yield self.call.db

    def keys(self, only_unread: bool = False) -> list[dict]:
        """mail_id and mail_submission of every mail, or of the unread ones."""
        with self.transaction() as db:
            return db.rows(UNREAD if only_unread else ALL, user=self.user)

    def beginnings(self, mail_ids: list[int], size: int) -> list[dict]:
        """These mails, of each the first `size` bytes; who is gone is left out.

        Where no more than HEADERS are wanted, the header fields that lists, searches and threads look at are enough.
        """
        with self.transaction() as db:
            if not db.streams:
                return db.rows(BEGINNINGS, user=self.user, ids=json.dumps(mail_ids), size=size)
            rows = db.rows(ROWS, user=self.user, ids=json.dumps(mail_ids))
            for row in rows:
                if (place := row.pop("place")) is not None:
                    with db.database.connection().blobopen(
                        "mailbox", "mail_data", place, readonly=True
                    ) as blob:
                        row["mail_data"] = blob.read(size)
        return rows

    def fetch(self, mail_id: int, mark_read: bool = False) -> dict | None:
        """One mail, whole; marked read in the same transaction, its row as it was before."""
        with self.transaction("IMMEDIATE" if mark_read else "DEFERRED") as db:
            mail = db.one(ONE, user=self.user, mail_id=mail_id)
            if mail and mark_read:
                db.execute(MARK, user=self.user, mail_id=mail_id, mail_read=1)
        return mail

    def mark(self, mail_id: int, read: bool) -> bool:
        """Whether there was such a mail to mark."""
        with self.transaction("IMMEDIATE") as db:
            return bool(db.execute(MARK, user=self.user, mail_id=mail_id, mail_read=int(read)).rowcount)

    def delete(self, mail_id: int) -> bool:
        """Whether there was such a mail to delete."""
        with self.transaction("IMMEDIATE") as db:
            return bool(db.execute(DELETE, user=self.user, mail_id=mail_id).rowcount)

    def unread_count(self) -> int:
        with self.transaction() as db:
            return db.value(UNREAD_COUNT, user=self.user)

    def close(self):
        """Give up what it keeps open for further questions."""


class UserDatabase(Source):
    """The SQLite file that users.user_database names, which several users may share."""

    name = "user"

    def exists(self) -> bool:
        self.path = self.call.db.value(USER_DATABASE, user=self.user)
        return bool(self.path)

    @contextlib.contextmanager
    def transaction(self, lock_type="DEFERRED"):
        problem = SourceUnavailable(f"Cannot open userdb from user: {self.user}")
        if not isinstance(self.path, str):
            raise problem
        try:
            with contextlib.closing(Store(self.path)) as store, store.transaction(lock_type):
                yield store
        except (peewee.DatabaseError, sqlite3.Error) as error:
            if is_busy(error):
                raise
            raise problem from error
        except CannotOpen as error:
            raise problem from error
