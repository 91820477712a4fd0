"""Describes the request fields and answers of the module at queue/, for openapi.json and docs/reference/."""

from typing import Literal, TypedDict

from ..openapi.description import Description, Flag

FIELDS = {
    "mail_id": "The mail's number, or several.",
    "mail_state": "waiting: not tried yet; deferred: to be tried again; failed: given up.",
    "mail_submitter": "The user who queued the mail, or the host that it came from.",
    "mail_remote": "The host to deliver to; null: that of the recipient's domain.",
    "mail_envelopefrom": "The envelope's sender.",
    "mail_envelopeto": "The envelope's recipient.",
    "mail_submission": "When it was queued, in seconds since 1970.",
    "mail_failcount": "How often delivery failed.",
    "mail_lasttry": "When it was last tried, in seconds since 1970; 0: never.",
    "mail_fatality": "How many failures were final.",
    "after": "Only mails with a higher mail_id: the next page.",
    "counts": "How many mails there are by state.",
    "waiting": "Mails that were not tried yet.",
    "deferred": "Mails that will be tried again.",
    "failed": "Mails that were given up.",
    "queue": "The mails, oldest first; at most 1,000.",
    "failures": "The ten latest failures.",
    "fail_message": "What the other server said.",
    "fail_time": "When, in seconds since 1970.",
    "fail_fatal": "1: delivery was given up.",
}


class Failure(TypedDict):
    fail_message: str | None
    fail_time: int | float | str
    fail_fatal: Flag


class Queued(TypedDict):
    mail_id: int
    mail_remote: str | None
    mail_envelopefrom: str | None
    mail_envelopeto: str
    mail_submission: int | float | str
    mail_submitter: str | None
    mail_failcount: int
    mail_lasttry: int | float | str
    mail_fatality: int
    mail_state: Literal["waiting", "deferred", "failed"]
    failures: list[Failure]


class Counts(TypedDict):
    waiting: int
    deferred: int
    failed: int


class QueueList(TypedDict):
    counts: Counts
    queue: list[Queued]


DESCRIPTION = Description(FIELDS, {"get": QueueList})
