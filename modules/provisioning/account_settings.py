"""A user's quota, forward, automatic reply and status, in the table `accounts` of the mail server's database."""

import re
from datetime import datetime

from peewee import Select, fn

from mailapi import ApiError, PreparedQuery, Rule, address, param, raw_text, whole_number

from ..openapi.schemas import json_schema
from .mailserver import MailServer
from .mailserver_tables import MailAccounts

ONE_ADDRESS = re.compile(r"[!-~]+")
NOT_IN_AN_ADDRESS = re.compile(r'[\s"(),:;<>\[\\\]]')
LONGEST_REPLY = 16 * 1024  # bytes
HIGHEST = 2**31 - 1  # of a column INTEGER
YEARS = range(1971, 2038)  # those that MariaDB's FROM_UNIXTIME takes in every version
OF_REPLY = ("autoReply", "autoReplyEnabled", "autoReplyStart", "autoReplyEnd")


def from_zero(most: int):
    """Return a function that converts a field's JSON value to an int from 0 to `most`, or raises ValueError."""

    @json_schema({"type": "integer", "minimum": 0, "maximum": most})
    def read(value) -> int:
        number = whole_number(int(value) if isinstance(value, bool) else value)
        if number is None or not 0 <= number <= most:
            raise ValueError("out of range")
        return number

    return read


@json_schema({"type": "string", "maxLength": LONGEST_REPLY})
def reply_text(value) -> str | None:
    """Convert the text of an automatic reply: CR LF to LF, "" and null to None. ValueError if it is too long."""
    text = raw_text(value)
    if text and len(text.encode()) > LONGEST_REPLY:
        raise ValueError("too long")
    return text.replace("\r\n", "\n") if text else None


@json_schema({"type": "string"})
def moment(value) -> datetime | None:
    """Convert a time in ISO 8601, with or without a zone, to datetime; "" and null to None. ValueError if invalid."""
    if value in (None, ""):
        return None
    read = datetime.fromisoformat(raw_text(value) or "").replace(microsecond=0)
    if read.year not in YEARS:
        raise ValueError("not a year that every database takes")
    return read


SETTINGS = {
    "quota": from_zero(HIGHEST),
    "forward": address,
    "autoReply": reply_text,
    "autoReplyEnabled": from_zero(1),
    "autoReplyStart": moment,
    "autoReplyEnd": moment,
    "userStatus": from_zero(127),
}
OF_ADMINISTRATION = ("quota", "userStatus")


def may_change(call) -> bool:
    """Return whether the caller may change the settings in the request's body.

    `Active` needs an admin. `quota` and `userStatus` need an admin or a delegate of the user. The others need neither.
    """
    if call.body.get("Active") is not None:
        return call.caller.admin
    return not any(name in call.body for name in OF_ADMINISTRATION) or call.caller.may_act_for(
        call.body["user_name"]
    )


may_change_settings = Rule(
    "Active by an admin, quota and userStatus by an admin or a delegate of user_name", may_change
)


def check_forward(call):
    """Raise ApiError unless the field `forward` is empty, or one address other than the user's own."""
    forward = call.body.get("forward")
    if not forward:
        return
    local, _, domain = forward.rpartition("@")
    is_address = local and domain and "@" not in local and ONE_ADDRESS.fullmatch(forward)
    if not is_address or NOT_IN_AN_ADDRESS.search(forward):
        raise ApiError("forward must be one address.", field="forward")
    if forward.lower() == call.body["user_name"].lower():
        raise ApiError("forward must not be an address of the user.", field="forward")


def merge_settings(stored: dict, changes: dict) -> dict:
    """Return `stored` with the values in `changes`, such as {"quota": 1024, "forward": None, …}.

    ApiError if the automatic reply is on without a text, or ends before it begins.
    """
    settings = stored | changes
    if not any(name in changes for name in OF_REPLY):
        return settings
    if settings["autoReplyEnabled"] and not settings["autoReply"]:
        raise ApiError("autoReply is not set.", field="autoReply")
    start, end = settings["autoReplyStart"], settings["autoReplyEnd"]
    if start is not None and end is not None and start >= end:
        raise ApiError("autoReplyStart must be before autoReplyEnd.", field="autoReplyEnd")
    return settings


IS_ACCOUNT = MailAccounts.accountId == param("accountId")
COLUMNS = [getattr(MailAccounts, name) for name in SETTINGS]
SETTINGS_OF = PreparedQuery(
    MailAccounts.select(MailAccounts.username, MailAccounts.lastLogin, *COLUMNS).where(
        MailAccounts.username == param("user")
    )
)
# InnoDB locks a row also if an UPDATE leaves it as it is: nobody changes the settings between the next two statements.
LOCK = PreparedQuery(MailAccounts.update(userStatus=MailAccounts.userStatus).where(IS_ACCOUNT))
STORED_SETTINGS = PreparedQuery(MailAccounts.select(*COLUMNS).where(IS_ACCOUNT))
SET_SETTINGS = PreparedQuery(
    MailAccounts.update({name: param(name) for name in SETTINGS} | {"dateModified": fn.NOW()}).where(
        IS_ACCOUNT
    )
)
LOCAL_TIME = PreparedQuery(Select(columns=[fn.FROM_UNIXTIME(param("seconds"))]))
LAST_LOGIN = MailAccounts.lastLogin
LOG_IN_IS_OLD = PreparedQuery(
    MailAccounts.select(MailAccounts.accountId).where(
        IS_ACCOUNT, LAST_LOGIN.is_null() | (fn.UNIX_TIMESTAMP(LAST_LOGIN) < fn.UNIX_TIMESTAMP() - 60)
    )
)
SET_LAST_LOGIN = PreparedQuery(MailAccounts.update(lastLogin=fn.NOW()).where(IS_ACCOUNT))


class MailServerSettings:
    """Reads and changes users' settings, such as quota and forward, in the mail server's table `accounts`."""

    def __init__(self, mailserver: MailServer):
        self.mailserver, self.store = mailserver, mailserver.store

    def of(self, user_name: str) -> dict | None:
        """Return the settings of a user: {"quota": 1024, "forward": None, …}; None if there is no such user.

        Upper and lower case in the name must match, even if the database ignores case.
        """
        with self.store.transaction("DEFERRED"):
            rows = self.store.rows(SETTINGS_OF, user=user_name)
        for row in rows:
            if row.pop("username") == user_name:
                return {name: time_as_text(value) for name, value in row.items()}
        return None

    def update(self, user_name: str, changes: dict):
        """Change settings of a user. ApiError if there is no such user or a change is invalid.

        Times with a zone are converted to the local time of the database.
        """
        self.mailserver.two_phase.resolve_in_doubt()
        with self.store.transaction():
            account = self.mailserver.find_exactly(user_name)
            if account is None:
                raise ApiError(
                    "The mail server does not know this user.", code="not_found", field="user_name"
                )
            values = {"accountId": account["accountId"]}
            local = {name: self.to_local_time(value) for name, value in changes.items()}
            self.store.execute(LOCK, **values)
            stored = self.store.one(STORED_SETTINGS, **values)
            if stored is None:
                raise ApiError(
                    "The mail server does not know this user.", code="not_found", field="user_name"
                )
            self.store.execute(SET_SETTINGS, **values, **merge_settings(stored, local))

    def to_local_time(self, value):
        """Convert a datetime with a zone to the database's local time. Return any other value unchanged."""
        if not isinstance(value, datetime) or value.tzinfo is None:
            return value
        return self.store.value(LOCAL_TIME, seconds=int(value.timestamp()))

    def record_log_in(self, account_id: int):
        """Set the time of a user's last log-in to now, unless it is less than a minute old."""
        with self.store.transaction("DEFERRED"):
            is_old = self.store.rows(LOG_IN_IS_OLD, accountId=account_id)
        if is_old:  # scripts log in often
            with self.store.transaction():
                self.store.execute(SET_LAST_LOGIN, accountId=account_id)


def time_as_text(value):
    """Convert a datetime to text for the answer, such as "2026-08-01 09:00:00". Return any other value unchanged."""
    return str(value) if isinstance(value, datetime) else value
