"""Describes the request fields and answers of the module at accounts/, for openapi.json and docs/reference/."""

from typing import NotRequired, TypedDict

from ..openapi.description import Description

FIELDS = {
    "user_name": "The user's name.",
    "provision": "The sum of the wanted services: 1 mail, 2 calendar, 4 contacts.",
    "Active": "0: the user is locked out.",
    "purge": "Have the services delete what they store for the user.",
    "accounts": "The accounts, by name.",
    "quota": "How much mail the user may have, as the mail server counts it.",
    "forward": "An address that gets a copy of the mail; null: none.",
    "autoReply": "The text of the automatic reply; null: none.",
    "autoReplyEnabled": "1: the automatic reply is on.",
    "autoReplyStart": "When it begins, in ISO 8601; null: at once.",
    "autoReplyEnd": "When it ends, in ISO 8601; null: never.",
    "userStatus": "0: active; any other number ends log-ins.",
    "lastLogin": "The last log-in by password, to the minute.",
    "idAccount": "The account's number.",
    "idUsers": "The user's number at the mail server.",
    "Name": "The user's name.",
    "IsPrimary": "1: the user's first account.",
    "idMailAccount": "The number of the account for mail.",
    "idContactAccount": "The number of the account for contacts.",
    "idCalendarAccount": "The number of the account for calendars.",
    "services": "The account at each service.",
    "id": "The number of the account at the service.",
    "kind": "mail, contacts or calendar.",
    "state": "ok, or pending: the service has not made it yet.",
    "url": "Where the service is.",
    "error": "Why it is pending.",
}


class ServiceAccount(TypedDict):
    id: int
    kind: str
    state: str
    url: str | None
    error: str | None


class Account(TypedDict):
    idAccount: int | None
    idUsers: int | None
    Name: str
    IsPrimary: int | None
    Active: int | None
    idMailAccount: int | None
    idContactAccount: int | None
    idCalendarAccount: int | None
    services: list[ServiceAccount]
    quota: NotRequired[int | None]
    forward: NotRequired[str | None]
    autoReply: NotRequired[str | None]
    autoReplyEnabled: NotRequired[int | None]
    autoReplyStart: NotRequired[str | None]
    autoReplyEnd: NotRequired[str | None]
    userStatus: NotRequired[int | None]
    lastLogin: NotRequired[str | None]


class AccountList(TypedDict):
    accounts: list[Account]


DESCRIPTION = Description(
    FIELDS, {"get": AccountList, "provision": AccountList}, requests={"update": {"Active": 0}}
)
