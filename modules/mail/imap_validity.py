"""Mail ids for mails on the IMAP server, which stay unique even if the server renumbers its mails.

A mail_id is the mail's UID plus an offset. A server that renumbers its mails, for example after a backup is restored,
also changes the number UIDVALIDITY (RFC 3501 section 2.3.1.1). Each change adds 2**32 to the offset, which is more
than any UID.
"""

from peewee import IntegerField, TextField

from mailapi import Model, PreparedQuery, Store, param, repeated

SCHEMA = """
CREATE TABLE IF NOT EXISTS imap_validity (user_name TEXT PRIMARY KEY, uidvalidity INTEGER NOT NULL,
    changes INTEGER NOT NULL);
"""


class ImapValidity(Model):
    user_name = TextField()
    uidvalidity = IntegerField()
    changes = IntegerField()  # of uidvalidity so far


LAST_SEEN = PreparedQuery(
    ImapValidity.select(ImapValidity.uidvalidity, ImapValidity.changes).where(
        ImapValidity.user_name == param("user")
    )
)
REPLACE = PreparedQuery(
    ImapValidity.replace(user_name=param("user"), uidvalidity=param("uidvalidity"), changes=param("changes"))
)
DELETE = PreparedQuery(ImapValidity.delete().where(ImapValidity.user_name == param("user")))


class Validity:
    """Stores the last UIDVALIDITY of each user's INBOX, and the number of its changes, in mailapi's state database."""

    def __init__(self, app):
        self.app = app

    @property
    def store(self) -> Store:
        return self.app.state

    def id_offset(self, user_name: str, uidvalidity: int) -> int:
        """Return the number to add to the UIDs of a user's mails to get mail ids.

        `uidvalidity` is the number that the IMAP server reports for the user's INBOX. It changes when the server gives
        the mails new UIDs. The offset then grows by 2**32, so that old ids are not those of other mails.
        """
        # After two million changes, ids are still below 2**53, up to which JavaScript's numbers are exact.
        for last_uidvalidity, changes in self.store.read(LAST_SEEN, user=user_name):
            if last_uidvalidity == uidvalidity:
                return changes * 2**32
        return self.record(user_name, uidvalidity) * 2**32

    @repeated
    def record(self, user_name: str, uidvalidity: int) -> int:
        """Store the UIDVALIDITY of a user's INBOX, and return how many times it has changed so far."""
        with self.store.transaction():
            last = self.store.one(LAST_SEEN, user=user_name) or {"uidvalidity": uidvalidity, "changes": 0}
            changes = last["changes"] + (last["uidvalidity"] != uidvalidity)
            self.store.execute(REPLACE, user=user_name, uidvalidity=uidvalidity, changes=changes)
        return changes

    @repeated
    def on_user_deleted(self, user_name: str):
        with self.store.transaction():
            self.store.execute(DELETE, user=user_name)
