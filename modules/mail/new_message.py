"""Building of a new message (RFC 5322) from a request's fields: addresses, subject, references, and content."""

import re

from mailapi import ApiError

from .addresses import all_mailboxes, encoded_words, fold_field, is_plain
from .mime import header_text, message_content
from .outgoing import OutgoingMail, date_and_id, single_address

MAX_FIELD = 32 * 1024  # characters of a subject or of References
MESSAGE_IDS = re.compile(r"<[!-;=?-~]{1,900}>(?>(?: *<[!-;=?-~]{1,900}>)*)")


def build_message(body: dict, lists: dict) -> OutgoingMail:
    """Build a new message from `body`, the fields of a request to `mailbox/?send`.

    `lists` has the parsed addresses of the fields from, to, cc, bcc and reply_to. Texts and attachments are removed
    from `body`, to free their memory. ApiError if a field is invalid.
    """
    author = single_address(lists["from"])
    recipients = [each.address for name in ("to", "cc", "bcc") for each in all_mailboxes(lists[name])]
    fields = {
        "From": str(author),
        "To": join_entries(lists["to"]),
        "Cc": join_entries(lists["cc"]),
        "Reply-To": join_entries(lists["reply_to"]),
        "Subject": subject_field(body.get("subject")),
        **date_and_id(author),
        **reply_fields(body),
        "MIME-Version": "1.0",
    }
    if not fields["To"] and not fields["Cc"]:
        fields["To"] = "undisclosed-recipients:;"
    header = [fold_field(name, value) for name, value in fields.items() if value]
    content = message_content(body)
    return OutgoingMail(author, [author], recipients, b"".join([*header, *content]))


def join_entries(entries: list) -> str:
    return ", ".join(map(str, entries))


def subject_field(value: str | None) -> str:
    """Return a subject in the form that a header needs. ApiError if it is too long.

    A subject is encoded if it has special characters, or looks like an encoded word.
    """
    value = header_text("subject", value)
    if len(value) > MAX_FIELD:
        raise ApiError("The subject is too long.", field="subject")
    return value if is_plain(value) and "=?" not in value else encoded_words(value)


def reply_fields(body: dict) -> dict[str, str]:
    """Return a reply's header fields In-Reply-To and References (RFC 5322, 3.6.4) from `body`, a request's fields."""
    answered = message_ids("in_reply_to", body.get("in_reply_to"))
    references = message_ids("references", body.get("references"))
    already = set(references)
    missing = [each for each in answered if each not in already]
    return {"In-Reply-To": " ".join(answered), "References": " ".join([*references, *missing])}


def message_ids(name: str, value: str | None) -> list[str]:
    """Return the message ids in a request's field, such as ["<1@corp.org>", "<2@corp.org>"]. ApiError if it is invalid.

    `name` is the field's name, for the error message, and `value` its value.
    """
    value = header_text(name, value)
    if value and (len(value) > MAX_FIELD or not MESSAGE_IDS.fullmatch(value)):
        raise ApiError(f"Not a message id: {value[:100]}.", audit="Not a message id.")
    return re.findall("<[^<>]*>", value)
