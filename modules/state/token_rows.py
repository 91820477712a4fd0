"""The table and prepared queries of access tokens, in mailapi's state database."""

from peewee import IntegerField, TextField, fn

from mailapi import Model, PreparedQuery, param

SCHEMA = """
CREATE TABLE IF NOT EXISTS token (token_id INTEGER PRIMARY KEY AUTOINCREMENT, token_hash TEXT NOT NULL UNIQUE,
    token_user TEXT NOT NULL, token_name TEXT NOT NULL, token_created INTEGER NOT NULL, token_expires INTEGER,
    token_used INTEGER, token_reads_only INTEGER NOT NULL, token_modules TEXT, token_networks TEXT,
    authdata_hash TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS token_by_user ON token (token_user);
"""


class TokenRow(Model):
    token_id = IntegerField()
    token_hash = TextField()
    token_user = TextField()
    token_name = TextField()
    token_created = IntegerField()  # seconds since 1970, as are token_expires and token_used
    token_expires = IntegerField(null=True)
    token_used = IntegerField(null=True)
    token_reads_only = IntegerField()
    token_modules = TextField(null=True)  # JSON lists, as is token_networks; null: all
    token_networks = TextField(null=True)
    # Of the password that the user had when the token was created. Another password ends the token, as it ends a
    # session. So a later user of the same name never gets it, even if they were added in the database file.
    authdata_hash = TextField()

    class Meta:
        table_name = "token"


WITHOUT_HASHES = TokenRow.select(
    *[
        column
        for column in TokenRow._meta.sorted_fields
        if column not in {TokenRow.token_hash, TokenRow.authdata_hash}
    ]
).order_by(TokenRow.token_id)
ALL_TOKENS = PreparedQuery(WITHOUT_HASHES)
IS_OF_USER = TokenRow.token_user == param("user")
TOKENS_OF_USER = PreparedQuery(WITHOUT_HASHES.where(IS_OF_USER))
FIND_TOKEN = PreparedQuery(TokenRow.select().where(TokenRow.token_hash == param("token_hash")))
TOKEN_OF_USER = PreparedQuery(TokenRow.select(TokenRow.token_id).where(IS_OF_USER).limit(1))
COUNT_OF_USER = PreparedQuery(TokenRow.select(fn.COUNT(TokenRow.token_id)).where(IS_OF_USER))
SET_USED = PreparedQuery(
    TokenRow.update(token_used=param("now")).where(TokenRow.token_id == param("token_id"))
)
NEW_COLUMNS = TokenRow._meta.fields.keys() - {"token_id", "token_used"}
INSERT = PreparedQuery(TokenRow.insert({name: param(name) for name in sorted(NEW_COLUMNS)}))
IS_TOKEN = TokenRow.token_id == param("token_id")
DELETE_ANY = PreparedQuery(TokenRow.delete().where(IS_TOKEN))
DELETE_OWN = PreparedQuery(TokenRow.delete().where(IS_TOKEN, IS_OF_USER))
DELETE_ALL_OF_USER = PreparedQuery(TokenRow.delete().where(IS_OF_USER))
