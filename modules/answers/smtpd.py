"""Describes the request fields and answers of the module at smtpd/, for openapi.json and docs/reference/."""

from typing import TypedDict

from ..openapi.description import Description

FIELDS = {
    "smtpd_user": "The user who sends.",
    "smtpd_router": "What the SMTP daemon does with the user's mail: any, defined, handoff, reject or drop.",
    "smtpd_route": "The router's argument: a host for handoff.",
    "smtpd": "The users who may send mail, by name.",
}


class Sender(TypedDict):
    smtpd_user: str
    smtpd_router: str
    smtpd_route: str | None


class SenderList(TypedDict):
    smtpd: list[Sender]


class SenderAdded(TypedDict):
    smtpd: int


DESCRIPTION = Description(FIELDS, {"get": SenderList, "add": SenderAdded}, {"add": SenderAdded})
