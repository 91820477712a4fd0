"""Which UIDVALIDITY (RFC 3501 section 2.3.1.1) a user's ids belong to, so that no id ever names another mail.

A mail_id is the mail's UID. A server that gives its UIDs anew, after a restored backup, says so by another UIDVALIDITY:
then 2**32, more than any UID, is added to the ids, and those that were given out before name no mail. The sum stays
below 2**53, the end of what JavaScript counts exactly, for two million times.
"""

from peewee import EXCLUDED, IntegerField, TextField

from mailapi import Model, Prepared, arg

SCHEMA = """
CREATE TABLE IF NOT EXISTS imap_validity (user_name TEXT PRIMARY KEY, uidvalidity INTEGER NOT NULL,
    changes INTEGER NOT NULL);
"""


class ImapValidity(Model):
    user_name = TextField()
    uidvalidity = IntegerField()
    changes = IntegerField()  # how often it was another one


LAST_SEEN = Prepared(ImapValidity.select().where(ImapValidity.user_name == arg("user")))
SEE = Prepared(
    ImapValidity.insert(user_name=arg("user"), uidvalidity=arg("uidvalidity"), changes=0)
    .on_conflict(conflict_target=[ImapValidity.user_name], where=ImapValidity.uidvalidity != EXCLUDED.uidvalidity,
                 update={ImapValidity.uidvalidity: EXCLUDED.uidvalidity,
                         ImapValidity.changes: ImapValidity.changes + 1}))
FORGET = Prepared(ImapValidity.delete().where(ImapValidity.user_name == arg("user")))


class Validity:
    """What was last seen, in the state database."""

    def __init__(self, app):
        self.app = app

    def before(self, user_name: str, uidvalidity: int) -> int:
        """What is added to a UID now, to make the mail_id of it."""
        store = self.app.state
        with store.one_statement():
            seen = store.one(LAST_SEEN, user=user_name)
        if not seen or seen["uidvalidity"] != uidvalidity:
            with store.transaction():
                store.execute(SEE, user=user_name, uidvalidity=uidvalidity)
                seen = store.one(LAST_SEEN, user=user_name)
        return seen["changes"] * 2**32

    def forget(self, user_name: str):
        with self.app.state.transaction():
            self.app.state.execute(FORGET, user=user_name)
