"""Tables and prepared queries of sessions, in mailapi's state database."""

from peewee import JOIN, BlobField, Case, IntegerField, Select, TextField, fn

from mailapi import Model, PreparedQuery, param

STATE_SCHEMA = """
CREATE TABLE IF NOT EXISTS session_key (secret BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS sessions_end (user_hash TEXT PRIMARY KEY, ended INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS sessions_end_ended ON sessions_end (ended);
CREATE TABLE IF NOT EXISTS session_change (session_hash TEXT PRIMARY KEY, user_hash TEXT NOT NULL,
    created INTEGER NOT NULL, next_code BLOB);
CREATE INDEX IF NOT EXISTS session_change_user ON session_change (user_hash, created);
CREATE INDEX IF NOT EXISTS session_change_created ON session_change (created);
CREATE TABLE IF NOT EXISTS long_user_name (user_hash TEXT PRIMARY KEY, user_name TEXT NOT NULL);
"""


class SessionKey(Model):
    """The secret key of the keyed hashes (BLAKE2b) in session ids. The table has one row."""

    secret = BlobField()


class SessionsEnd(Model):
    """A time, `ended`, for one user: the user's sessions that began then or earlier are invalid."""

    user_hash = TextField()
    ended = IntegerField()  # milliseconds since 1970


class SessionChange(Model):
    """A row for a session that was ended, or in which the user has set a new password. Other sessions have no row.

    After a new password, the code in the session's id no longer fits. Then `next_code` must fit the user's password.
    """

    session_hash = TextField()
    user_hash = TextField()
    created = IntegerField()  # milliseconds since 1970
    next_code = BlobField(null=True)  # for the new user_authdata; None: ended


class LongUserName(Model):
    """A row with a user name that is too long for a session id. The id contains its hash, `user_hash`, instead."""

    user_hash = TextField()
    user_name = TextField()


OF_USER = SessionChange.user_hash == param("user_hash")
CHANGES = ("session_hash", "user_hash", "created", "next_code")
# One row: the key, the user's row of sessions_end and the session's row of session_change.
FIND = PreparedQuery(
    SessionKey.select(
        SessionKey.secret, SessionsEnd.ended, SessionChange.session_hash, SessionChange.next_code
    )
    .join(SessionsEnd, JOIN.LEFT_OUTER, on=SessionsEnd.user_hash == param("user_hash"))
    .join(SessionChange, JOIN.LEFT_OUTER, on=SessionChange.session_hash == param("session_hash"))
)
ADD_KEY = PreparedQuery(SessionKey.insert(secret=param("secret")))
ADD_CHANGE = PreparedQuery(SessionChange.replace({name: param(name) for name in CHANGES}))
LAST_KEPT_CHANGE = PreparedQuery(
    SessionChange.select(SessionChange.created)
    .where(OF_USER)
    .order_by(SessionChange.created.desc())
    .limit(1)
    .offset(param("most"))
)
ENDED = SessionsEnd.select(SessionsEnd.ended).where(SessionsEnd.user_hash == param("user_hash"))
DELETE_CHANGES = PreparedQuery(
    SessionChange.delete().where(
        OF_USER, SessionChange.created <= ENDED, SessionChange.session_hash != param("but")
    )
)
# Each end is later than the one before.
END_LATER = PreparedQuery(
    SessionsEnd.update(
        ended=Case(None, [(SessionsEnd.ended >= param("ended"), SessionsEnd.ended + 1)], param("ended"))
    ).where(SessionsEnd.user_hash == param("user_hash"))
)
END_UNTIL = PreparedQuery(SessionsEnd.replace(user_hash=param("user_hash"), ended=param("ended")))
# One row: the latest times in the two tables that are not after :until.
LATEST = PreparedQuery(
    Select(
        columns=[
            column.model.select(fn.MAX(column)).where(column <= param("until"))
            for column in (SessionChange.created, SessionsEnd.ended)
        ]
    )
)
DELETE_EXPIRED = (
    PreparedQuery(SessionChange.delete().where(SessionChange.created <= param("before"))),
    PreparedQuery(SessionsEnd.delete().where(SessionsEnd.ended <= param("before"))),
)
ADD_LONG_NAME = PreparedQuery(
    LongUserName.replace(user_hash=param("user_hash"), user_name=param("user_name"))
)
FIND_LONG_NAME = PreparedQuery(
    LongUserName.select(LongUserName.user_name).where(LongUserName.user_hash == param("user_hash"))
)
DELETE_LONG_NAME = PreparedQuery(LongUserName.delete().where(LongUserName.user_hash == param("user_hash")))
