"""Queries for `mailapi check` that find users whose name, alias or password would make the mail daemons fail."""

from functools import reduce

from peewee import fn

from mailapi import PreparedQuery, Users

from . import user_names
from .user_lists import HAS_LOGIN

AUTHDATA_TEXT = Users.user_authdata.concat("")  # text, even if the password is stored as a BLOB
FIRST_COLON = fn.INSTR(AUTHDATA_TEXT, ":")
WITHOUT_HEX_DIGITS = reduce(
    lambda text, digit: fn.REPLACE(text, digit, ""), "0123456789abcdef", fn.SUBSTR(AUTHDATA_TEXT, -64)
)
IS_AUTHDATA = (FIRST_COLON > 0) & (fn.LENGTH(AUTHDATA_TEXT) - 64 == FIRST_COLON) & (WITHOUT_HEX_DIGITS == "")

DANGEROUS_USERS = {
    "is named like a SQLite database": PreparedQuery(
        Users.select(Users.user_name).where(fn.LOWER(Users.user_name).in_(list(user_names.RESERVED)))
    ),
    "is an alias of itself": PreparedQuery(
        Users.select(Users.user_name).where(Users.user_alias == Users.user_name)
    ),
    "has a password that is not stored as the daemons read it": PreparedQuery(
        Users.select(Users.user_name).where(HAS_LOGIN, ~IS_AUTHDATA)
    ),
}
