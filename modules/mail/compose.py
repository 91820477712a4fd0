"""Conversion of a request to `mailbox/?send` into the mail to send."""

from collections.abc import Callable

from mailapi import ApiError, Config, empty, long_text, object_of, optional_number, php_text, raw_text

from ..openapi.schemas import TEXT, json_schema, schema_of
from .new_message import build_message
from .outgoing import OutgoingMail, address_list, too_many_recipients, unique_recipients
from .ready_message import prepare_message


@json_schema({"anyOf": [TEXT, {"type": "array", "items": TEXT}]})
def list_text(value) -> str | None:
    """Return an address list in a request as one text, with commas between the addresses.

    `value` is a text, or a list such as ["a@corp.org", "b@corp.org"]. Return None if it is empty.
    """
    if isinstance(value, list):
        value = ", ".join(raw_text(entry) or "" for entry in value)
    return php_text(value)


@json_schema(TEXT)
def short_text(value) -> str | None:
    """Return a short text in a request, such as a file name. Raise ValueError if it is too long."""
    if isinstance(value, bytes):  # as which the parser of large requests passes texts of more than 16 KiB
        raise ValueError("too long")
    return raw_text(value)


ATTACHMENT = object_of(filename=short_text, content_type=short_text, data=long_text)


@json_schema({"type": "array", "items": schema_of(ATTACHMENT) | {"required": ["data"]}})
def attachment_list(value) -> list[dict]:
    """Return the attachments in a request, such as [{"filename": "a.pdf", "content_type": …, "data": …}].

    Raise ValueError if an attachment has no data.
    """
    if not isinstance(value, list) and not empty(value):
        raise ValueError("not a list")
    attachments = [ATTACHMENT(entry) for entry in value or ()]
    if not all(each and each["data"] is not None for each in attachments):
        raise ValueError("an attachment without data")
    return attachments


ENVELOPE = {"from": list_text, "to": list_text, "cc": list_text, "bcc": list_text}
PARTS = {
    "reply_to": list_text,
    "subject": raw_text,  # empty() does not apply: a subject may be 0
    "text": long_text,
    "html": long_text,
    "in_reply_to": php_text,
    "references": php_text,
    "attachments": attachment_list,
    "reply_to_mail": optional_number,
}
FIELDS = ENVELOPE | PARTS | {"message": long_text}


def compose_mail(body: dict, own_address: Callable[[], str | None], config: Config) -> OutgoingMail:
    """Return the mail that a request to `mailbox/?send` describes. Raise ApiError if a field is missing or invalid.

    `body` has the request's fields. own_address() returns the caller's address; it is called if `from` is missing.
    """
    lists = {name: address_list(name, body.get(name), config) for name in (*ENVELOPE, "reply_to")}
    if not body.get("message"):
        lists["from"] = lists["from"] or address_list("from", own_address(), config)
        mail = build_message(body, lists)
    elif any(not empty(body.get(name)) for name in PARTS):
        raise ApiError("Give a message or its parts, not both.")
    else:
        mail = prepare_message(body["message"], lists, config)
    mail.recipients = unique_recipients(mail.recipients)
    if not mail.recipients:
        raise ApiError("No recipient is set.", code="missing_field", field="to")
    if len(mail.recipients) > config.max_recipients:
        raise too_many_recipients(config)
    if len(mail.data) > config.max_message:
        raise ApiError(f"The message is too large: {config.max_message} bytes at most.", code="too_large")
    return mail
