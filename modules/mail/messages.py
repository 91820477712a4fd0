"""Received mail as answers show it: in lists and in full, and as a search looks through it."""

import html
import re

from mailapi import number, readable

from .header_text import header
from .message_parser import ReceivedMessage, parse_headers, parse_message

LONGEST_IN_LIST = 1000  # characters of a header field; anybody can send thousands of mails with long ones


def mail_summary(mail: dict, source_name: str) -> dict:
    """Return a mail as it appears in lists: its columns and main headers, but not its text.

    `source_name` becomes mail_sourcedb, e.g. "master".
    """
    message = parse_headers(mail_bytes(mail))
    headers = {
        f"mail_{name}": header(message, name)[:LONGEST_IN_LIST] for name in ("subject", "from", "to", "date")
    }
    row = mail | {"mail_submission": number(mail["mail_submission"]), "mail_data": None}
    return row | headers | {"mail_sourcedb": source_name}


def mail_details(mail: dict, source_name: str) -> dict:
    """Return a mail as mailbox/?read does: its columns, main headers, text, and the raw mail in mail_data.

    `source_name` becomes mail_sourcedb, e.g. "master".
    """
    message = parse_message(mail_bytes(mail))
    headers = {f"mail_{name}": header(message, name) for name in ("from", "to", "subject")}
    row = mail | {"mail_submission": number(mail["mail_submission"]), "mail_data": readable(mail_bytes(mail))}
    return row | {"mail_sourcedb": source_name} | headers | {"mail_body": body_text(message)}


def mail_bytes(mail: dict) -> bytes:
    return mail["mail_data"] or b""


def body_text(message: ReceivedMessage) -> str:
    """Return the readable text of a mail, for mail_body: its text, or all text/plain parts (docs/wire.md section 4)."""
    if not message.is_multipart():
        return message.text()
    plain = [
        part for part in message.walk() if not part.is_multipart() and part.get_content_type() == "text/plain"
    ]
    return "".join(f"{text}\n----\n" for part in plain if (text := part.text()).strip())


INLINE_TAGS = re.compile("</?(?:a|b|i|u|em|strong|span|font)(?: [^<>]*)?>", re.IGNORECASE)


def searchable_text(raw: bytes) -> str:
    """Return the text that a search looks through: all text/plain parts, and text/html parts without their tags."""
    texts = []
    for part in parse_message(raw).walk():
        if not part.is_multipart() and (kind := part.get_content_type()) in ("text/plain", "text/html"):
            texts.append(part.text() if kind == "text/plain" else strip_tags(part.text()))
    return " ".join(texts)


def strip_tags(source: str) -> str:
    source = re.sub("<[^<>]*>", " ", INLINE_TAGS.sub("", source))
    # Without references longer than any character's: unescape would convert all their digits.
    return html.unescape(re.sub("&#[xX]?0*[0-9a-fA-F]{8,}", "", source))
