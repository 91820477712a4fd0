"""Fields of a reply to a received mail: recipient, subject, In-Reply-To and References (RFC 5322, 3.6.4)."""

import re

from mailapi import ApiError, empty

from .addresses import CONTROL, MAX_NAME, quoted
from .message_parser import ReceivedMessage, parse_headers
from .new_message import MESSAGE_IDS

MAX_SUBJECT = 1000  # characters
MAX_REFERENCES = 20  # the first one and the last ones, so that the field does not grow forever
ANSWERED = re.compile(r"(?i)re(?:\[\d{1,3}\])?[ \t]*:")
ID = re.compile(r"<[^<>\s]+>")
RECIPIENTS = ("to", "cc", "bcc")


def add_reply_fields(body: dict, raw: bytes):
    """Add the fields of a reply to `body`, the fields of a request to `mailbox/?send`. `raw`: the mail to reply to.

    Recipients, subject and references that the request already has stay unchanged.
    """
    message = parse_headers(raw)
    if all(empty(body.get(name)) for name in RECIPIENTS):
        body["to"] = recipients(message)
    if body.get("subject") is None:
        body["subject"] = reply_subject(message.field("subject"))
    answered = ids_in(message.raw_field("message-id"))[:1]
    if empty(body.get("in_reply_to")) and empty(body.get("references")):
        references = ids_in(message.raw_field("references")) or ids_in(message.raw_field("in-reply-to"))[:1]
        body["in_reply_to"] = " ".join(answered)
        body["references"] = shortened(references)


def recipients(message: ReceivedMessage) -> str:
    """Return the addresses for a reply to `message` as text, such as "Ann <a@corp.org>, b@corp.org".

    They come from the field Reply-To, or else from From. ApiError if neither has an address.
    """
    for name in ("reply-to", "from"):
        found = [each for each in message.addresses(name) if each["address"]]
        if found:
            return ", ".join(map(written, found))
    raise ApiError("The mail has no address for a reply.")


def written(given: dict[str, str]) -> str:
    name = CONTROL.sub(" ", given["name"])[: MAX_NAME // 2].strip()
    return f"{quoted(name)} <{given['address']}>" if name else given["address"]


def reply_subject(subject: str) -> str:
    subject = sendable_subject(subject)
    return subject if ANSWERED.match(subject) else f"Re: {subject}".strip()


def sendable_subject(subject: str) -> str:
    """Return the subject of a received mail without what `mailbox/?send` refuses: control characters, great length."""
    return CONTROL.sub(" ", subject)[:MAX_SUBJECT].strip()


def ids_in(text: str) -> list[str]:
    """Return the valid message ids in a text, such as ["<1@corp.org>", "<2@corp.org>"]."""
    return [each for each in ID.findall(text) if MESSAGE_IDS.fullmatch(each)]


def shortened(ids: list[str]) -> str:
    """Return message ids as text for a header field: the first id and the last ones, 20 at most."""
    return " ".join(ids[:1] + ids[1:][1 - MAX_REFERENCES :])
