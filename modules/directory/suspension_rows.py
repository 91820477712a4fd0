"""The table and prepared queries of suspended users' passwords, in mailapi's state database."""

from peewee import TextField

from mailapi import Model, PreparedQuery, param

# The hash is the key, because a name may be longer than a key on MariaDB.
SCHEMA = """
CREATE TABLE IF NOT EXISTS suspension (user_hash TEXT PRIMARY KEY, user_name TEXT NOT NULL, user_authdata TEXT,
    suspension_id TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS suspension_by_id ON suspension (suspension_id);
"""


class Suspension(Model):
    """A row of the state database: a password that was moved there, because its user or device was suspended."""

    user_hash = TextField()
    user_name = TextField()
    user_authdata = TextField(null=True)  # null: the user had no password
    suspension_id = TextField()  # that of the user and of their devices


OF_USER = Suspension.user_hash == param("user_hash")
COLUMNS = ("user_hash", "user_name", "user_authdata", "suspension_id")
STORE = PreparedQuery(Suspension.replace({name: param(name) for name in COLUMNS}))
SET_STORED = PreparedQuery(Suspension.update(user_authdata=param("user_authdata")).where(OF_USER))
FIND = PreparedQuery(Suspension.select().where(OF_USER))
FIND_SUSPENDED_TOGETHER = PreparedQuery(
    Suspension.select().where(Suspension.suspension_id == param("suspension_id"))
)
ALL_NAMES = PreparedQuery(Suspension.select(Suspension.user_name).order_by(Suspension.user_name))
DISCARD = PreparedQuery(Suspension.delete().where(OF_USER))
DISCARD_TOGETHER = PreparedQuery(
    Suspension.delete().where(Suspension.suspension_id == param("suspension_id"))
)
