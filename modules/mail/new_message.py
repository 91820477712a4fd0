"""Building of a new message (RFC 5322) from a request's fields: addresses, subject, references, and content."""

import re

from mailapi import ApiError

from .addresses import all_mailboxes, encoded_words, fold_field, is_plain
from .mime import message_content
from .outgoing import OutgoingMail, date_and_id, single_address, single_line

MAX_FIELD = 32 * 1024  # characters of a subject or of References
MESSAGE_IDS = re.compile(r"<[!-;=?-~]{1,900}>(?>(?: *<[!-;=?-~]{1,900}>)*)")


def build_message(body: dict, lists: dict) -> OutgoingMail:
    """Build a mail from `body`, the fields of a request to `mailbox/?send`. ApiError if a field is invalid.

    `lists`: the parsed address fields of the request, {"from": [...], "to": [...], "cc": [...], "bcc": [...],
    "reply_to": [...]}. Texts and attachments are removed from `body`, to free their memory.
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
    """Return a subject as a header needs it: encoded (RFC 2047) unless it is plain. ApiError if it is too long.

    Return "" if `value` is None.
    """
    value = single_line("subject", value)
    if len(value) > MAX_FIELD:
        raise ApiError("The subject is too long.", field="subject")
    return value if is_plain(value) and "=?" not in value else encoded_words(value)


def reply_fields(body: dict) -> dict[str, str]:
    """Return {"In-Reply-To": "<1@corp.org>", "References": "…"}, the header fields that mark a mail as a reply.

    `body`: the request's fields; in_reply_to and references are used. ApiError if one of them is invalid.
    """
    answered = message_ids("in_reply_to", body.get("in_reply_to"))
    references = message_ids("references", body.get("references"))
    already = set(references)
    missing = [each for each in answered if each not in already]
    return {"In-Reply-To": " ".join(answered), "References": " ".join([*references, *missing])}


def message_ids(name: str, value: str | None) -> list[str]:
    """Return the message ids in a text, such as ["<1@corp.org>", "<2@corp.org>"]. ApiError if the text is invalid.

    `value`: the text. Return [] if it is None. `name`: the request's field that has the text, for error messages.
    """
    value = single_line(name, value)
    if value and (len(value) > MAX_FIELD or not MESSAGE_IDS.fullmatch(value)):
        raise ApiError(f"Not a message id: {value[:100]}.", audit="Not a message id.")
    return re.findall("<[^<>]*>", value)
