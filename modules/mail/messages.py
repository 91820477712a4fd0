"""Conversion of received mails to dictionaries for answers, and to text for searches."""

from mailapi import number, readable

from .mail_text import HTMLConverter, mail_text, text_without_markup
from .message_parser import ReceivedMessage, parse_headers, parse_message

ADDRESS_FIELDS = ("from", "to", "cc", "reply-to")
LONGEST_IN_LIST = 1000  # characters of a header field; anybody can send thousands of mails with long ones


def mail_summary(mail: dict, source_name: str) -> dict:
    """Return a mail as a dictionary for lists: {"mail_id": 7, "mail_subject": "Hello", …}, without its content.

    `mail` is a row of table `mailbox`. `source_name` is the name of its source, such as "master".
    """
    message = parse_headers(mail_bytes(mail))
    row = mail | {"mail_submission": number(mail["mail_submission"]), "mail_data": None}
    for name in ("subject", "from", "to", "date"):
        row[f"mail_{name}"] = message.field(name)[:LONGEST_IN_LIST]
    row["mail_sourcedb"] = source_name
    return row


def mail_details(mail: dict, source_name: str, more: bool = False) -> dict:
    """Return a mail as `mailbox/?read` does: {"mail_id": 7, "mail_subject": "Hello", "mail_body": "…", …}.

    `mail` is a row of table `mailbox`. `source_name` is the name of its source, such as "master". If `more` is True,
    add mail_text, mail_date, mail_cc and others.
    """
    raw = mail_bytes(mail)
    row = mail | {"mail_submission": number(mail["mail_submission"]), "mail_data": readable(raw)}
    row["mail_sourcedb"] = source_name
    message = parse_message(raw)
    row |= {f"mail_{name}": message.field(name) for name in ("from", "to", "subject")}
    row["mail_body"] = body_text(message)
    return row | more_details(message) if more else row


def more_details(message: ReceivedMessage) -> dict:
    """Return the fields that `mailbox/?read` adds for mail_details: {"mail_text": "…", "mail_date": "…", …}."""
    return {
        "mail_text": mail_text(message),
        **{f"mail_{name.replace('-', '_')}": message.field(name) for name in ("cc", "reply-to", "date")},
        "mail_message_id": message.field("message-id"),
        "mail_references": " ".join(message.field("references").split()),
        "mail_addresses": {name.replace("-", "_"): message.addresses(name) for name in ADDRESS_FIELDS},
    }


def mail_bytes(mail: dict) -> bytes:
    return mail["mail_data"] or b""


def body_text(message: ReceivedMessage) -> str:
    """Return the content of a mail as text for the field mail_body (docs/wire.md section 4).

    If the mail consists of parts, return its plain texts, each followed by a line of four dashes.
    """
    if not message.is_multipart():
        return message.text()
    plain = [
        part for part in message.walk() if not part.is_multipart() and part.get_content_type() == "text/plain"
    ]
    return "".join(f"{text}\n----\n" for part in plain if (text := part.text()).strip())


def searchable_text(raw: bytes) -> str:
    """Return the text of the mail `raw` for searches: all text parts, with HTML converted to plain text."""
    message, html = parse_message(raw), HTMLConverter()
    leaves = (part for part in message.walk() if not part.is_multipart())
    return " ".join(text_without_markup(part, part.get_content_type(), html) for part in leaves)
