"""Which UIDVALIDITY (RFC 3501 section 2.3.1.1) a user's ids belong to, so that no id ever names another mail.

A mail_id is the mail's UID. A server that gives its UIDs anew, after a restored backup, says so by another UIDVALIDITY:
then 2**32, more than any UID, is added to the ids, and those that were given out before name no mail. The sum stays
below 2**53, the end of what JavaScript counts exactly, for two million times.
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
    changes = IntegerField()  # how often it was another one


LAST_SEEN = PreparedQuery(ImapValidity.select().where(ImapValidity.user_name == param("user")))
SEE = PreparedQuery(
    ImapValidity.replace(user_name=param("user"), uidvalidity=param("uidvalidity"), changes=param("changes"))
)
FORGET = PreparedQuery(ImapValidity.delete().where(ImapValidity.user_name == param("user")))


class Validity:
    """What was last seen, in the state database."""

    def __init__(self, app):
        self.app = app

    @property
    def store(self) -> Store:
        return self.app.state

    def before(self, user_name: str, uidvalidity: int) -> int:
        """What is added to a UID now, to make the mail_id of it."""
        with self.store.one_statement():
            seen = self.store.one(LAST_SEEN, user=user_name)
        same = seen and seen["uidvalidity"] == uidvalidity
        return (seen["changes"] if same else self.see(user_name, uidvalidity)) * 2**32

    @repeated
    def see(self, user_name: str, uidvalidity: int) -> int:
        """Take note of it; how often it has been another one."""
        with self.store.transaction():
            seen = self.store.one(LAST_SEEN, user=user_name) or {"uidvalidity": uidvalidity, "changes": 0}
            changes = seen["changes"] + (seen["uidvalidity"] != uidvalidity)
            self.store.execute(SEE, user=user_name, uidvalidity=uidvalidity, changes=changes)
        return changes

    @repeated
    def on_user_deleted(self, user_name: str):
        with self.store.transaction():
            self.store.execute(FORGET, user=user_name)
