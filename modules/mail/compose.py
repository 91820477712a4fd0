"""Mail as mailbox/?send queues it: built from fields, or a ready message, checked and completed (RFC 5322)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate, make_msgid

from mailapi import ApiError, empty, long_text, object_of, php_text, readable
from mailapi import raw_text as any_text  # text to which empty() does not apply: a subject may be 0

from ..mail.addresses import (
    CONTROL,
    Group,
    Mailbox,
    NotAnAddress,
    encoded,
    entries,
    folded,
    is_plain,
    mailboxes,
)
from ..mail.mime import checked_lines, content, crlf, from_base64, plain

LONGEST_HEADER = 256 * 1024  # bytes of all header fields of a ready message
LONGEST_FIELD = 32 * 1024  # characters of a subject or of References
LONGEST_ENTRY = 1300  # characters of an address with a name
MOST_AUTHORS = 10  # each is looked up
ONE_FROM = "A message needs one From, and has one Sender at most."
MESSAGE_IDS = re.compile(r"<[!-;=?-~]{1,900}>(?>(?: *<[!-;=?-~]{1,900}>)*)")
FIELD = re.compile(rb"([!-9;-~]++)[ \t]*+:([^\r\n]*+(?>(?:\r\n[ \t][^\r\n]*+)*))\r\n")


@dataclass
class Mail:
    """What is to be queued: the envelope, and the message in lines that end with CRLF."""

    sender: Mailbox
    authors: list[Mailbox]  # whom the header shows as having written and sent it
    recipients: list[str]
    data: bytes


########## Fields ##################################################################################


def list_text(value) -> str | None:
    """An address list as a header field has it, or its entries as a list."""
    if isinstance(value, list):
        value = ", ".join(any_text(entry) or "" for entry in value)
    return php_text(value)


def short_text(value) -> str | None:
    """Text that is read for each of many attachments: none of the long strings that a large body has as bytes."""
    if isinstance(value, bytes):
        raise ValueError("too long")
    return any_text(value)


ATTACHMENT = object_of(filename=short_text, content_type=short_text, data=long_text)


def attachment_list(value) -> list[dict]:
    """A list of attachments; their data may be "", but not left out."""
    if not isinstance(value, list) and not empty(value):
        raise ValueError("not a list")
    attachments = [ATTACHMENT(entry) for entry in value or ()]
    if not all(found and found["data"] is not None for found in attachments):
        raise ValueError("an attachment without data")
    return attachments


ENVELOPE = {"from": list_text, "to": list_text, "cc": list_text, "bcc": list_text}
PARTS = {
    "reply_to": list_text,
    "subject": any_text,
    "text": long_text,
    "html": long_text,
    "in_reply_to": php_text,
    "references": php_text,
    "attachments": attachment_list,
}
FIELDS = ENVELOPE | PARTS | {"message": long_text}


def mail(body: dict, own_address: Callable[[], str | None], config) -> Mail:
    """The mail that a request's fields describe; ApiError says what is wrong with them."""
    lists = {name: address_list(name, body.get(name), config) for name in (*ENVELOPE, "reply_to")}
    if not body.get("message"):
        lists["from"] = lists["from"] or address_list("from", own_address(), config)
        made = built(body, lists)
    elif any(not empty(body.get(name)) for name in PARTS):
        raise ApiError("Give a message or its parts, not both.")
    else:
        made = ready(body["message"], lists, config)
    made.recipients = once(made.recipients)
    if not made.recipients:
        raise ApiError("Say to whom.")
    if len(made.recipients) > config.max_recipients:
        raise too_many(config)
    if len(made.data) > config.max_message:
        raise ApiError(f"The message is too large: {config.max_message} bytes at most.")
    return made


def address_list(name: str, value: str | None, config) -> list[Mailbox | Group]:
    """The entries of a field; a person is told which of them is no address."""
    if len(value or "") > config.max_recipients * LONGEST_ENTRY:
        raise too_many(config)
    try:
        return list(entries(plain(name, value)))
    except NotAnAddress as error:
        raise ApiError(f"Not an address: {error}.", audit="Not an address.") from None


def once(recipients: list[str]) -> list[str]:
    """Nobody gets a mail twice; in capitals it is the same address, as to the daemons."""
    unique: dict[str, str] = {}
    for address in recipients:
        unique.setdefault(address.casefold(), address)
    return list(unique.values())


def too_many(config) -> ApiError:
    return ApiError(f"Too many recipients: {config.max_recipients} at most.")


def sole(found: list) -> Mailbox:
    """The one address that a mail is from."""
    if len(found) != 1 or isinstance(found[0], Group):
        raise ApiError("Say which address it is from.")
    return found[0]


########## Built from fields #######################################################################


def built(body: dict, lists: dict) -> Mail:
    """A new mail."""
    author = sole(lists["from"])
    recipients = [one.address for name in ("to", "cc", "bcc") for one in mailboxes(lists[name])]
    fields = {
        "From": str(author),
        "To": listed(lists["to"]),
        "Cc": listed(lists["cc"]),
        "Reply-To": listed(lists["reply_to"]),
        "Subject": subject(body.get("subject")),
        **stamps(author),
        **thread(body),
        "MIME-Version": "1.0",
    }
    if not fields["To"] and not fields["Cc"]:
        fields["To"] = "undisclosed-recipients:;"
    head = [folded(name, value) for name, value in fields.items() if value]
    below = content(body)
    return Mail(author, [author], recipients, b"".join([*head, *below]))


def stamps(sender: Mailbox) -> dict[str, str]:
    return {
        "Date": formatdate(localtime=True),
        "Message-ID": make_msgid(domain=sender.address.rpartition("@")[2]),
    }


def listed(found: list) -> str:
    return ", ".join(map(str, found))


def subject(value: str | None) -> str:
    value = plain("subject", value)
    if len(value) > LONGEST_FIELD:
        raise ApiError("The subject is too long.")
    return value if is_plain(value) and "=?" not in value else encoded(value)


def thread(body: dict) -> dict[str, str]:
    """The fields that say what the mail answers (RFC 5322, 3.6.4)."""
    answered = message_ids("in_reply_to", body.get("in_reply_to"))
    references = message_ids("references", body.get("references"))
    there = set(references)
    missing = [one for one in answered if one not in there]
    return {"In-Reply-To": " ".join(answered), "References": " ".join([*references, *missing])}


def message_ids(name: str, value: str | None) -> list[str]:
    value = plain(name, value)
    if value and (len(value) > LONGEST_FIELD or not MESSAGE_IDS.fullmatch(value)):
        raise ApiError(f"Not a message id: {value[:100]}.", audit="Not a message id.")
    return re.findall("<[^<>]*>", value)


########## A ready message #########################################################################


def ready(message: bytes, lists: dict, config) -> Mail:
    """A message of the caller's own: without Bcc, with Date and Message-ID, otherwise as it came."""
    raw = checked_lines(message if b":" in message else unpacked(message))
    head = raw[: raw.find(b"\r\n\r\n") + 2] if b"\r\n\r\n" in raw else raw
    fields = header_fields(head)
    names = [name for name, _, _ in fields]
    if "from" not in names:
        raise ApiError(ONE_FROM)
    authors = authors_of(fields, config)
    shown = shown_lists(fields, ("from", "sender", "to", "cc", "bcc"), config)
    sender = sole(lists["from"] or shown["sender"] or shown["from"])
    named = lists if lists["to"] or lists["cc"] or lists["bcc"] else shown
    if named is shown and any(name.startswith("resent-") for name in names):
        raise ApiError("Say to whom: the message was sent before, and has Resent fields.")
    recipients = [one.address for name in ("to", "cc", "bcc") for one in mailboxes(named[name])]
    kept = [line for name, _, line in fields if name not in ("bcc", "resent-bcc")]
    added = [folded(name, value) for name, value in stamps(sender).items() if name.lower() not in names]
    below = memoryview(raw)[len(head) :] or b"\r\n"
    return Mail(sender, authors, recipients, b"".join([*kept, *added, below]))


def shown_lists(fields: list, wanted: tuple, config) -> dict[str, list[Mailbox | Group]]:
    """Return the entries of address fields, by their names in lower case."""
    return {
        each: [
            entry
            for name, value, _ in fields
            if name == each
            for entry in address_list(name.title(), unfolded(value), config)
        ]
        for each in wanted
    }


def authors_of(fields: list, config) -> list[Mailbox]:
    """Return whom header fields show as authors, in From and Sender; ApiError where it is not clear who they are."""
    names = [name for name, _, _ in fields]
    if names.count("from") > 1 or names.count("sender") > 1:
        raise ApiError(ONE_FROM)
    shown = shown_lists(fields, ("from", "sender"), config)
    if any(name in names and not mailboxes(shown[name]) for name in shown):
        raise ApiError("Say which address it is from.")
    authors = mailboxes(shown["from"] + shown["sender"])
    if len(authors) > MOST_AUTHORS:
        raise ApiError(f"Too many authors: {MOST_AUTHORS} at most.")
    return authors


def authors_in(message: bytes, config) -> list[Mailbox]:
    """Return the authors of a message that somebody else delivers; none where its header shows none.

    ApiError where a line of the header is no field, as others could take it for one.
    """
    begin = crlf(message[: LONGEST_HEADER + 2])
    end = begin.find(b"\r\n\r\n")
    if b"\0" in begin[:end]:
        raise ApiError("The message has a NUL byte.")
    return authors_of(header_fields(begin[: end + 2] if end >= 0 else begin), config)


def unpacked(message: bytes) -> bytes:
    try:
        return b"".join(from_base64(message))
    except ValueError:
        raise ApiError("The message has no header, and is not base64.") from None


def header_fields(head: bytes) -> list[tuple[str, bytes, bytes]]:
    """Each field's name in lower case, its value, and the field as it stands."""
    fields, position = [], 0
    if len(head) > LONGEST_HEADER:
        raise ApiError(f"The header of the message is too long: {LONGEST_HEADER} bytes at most.")
    while position < len(head):
        found = FIELD.match(head, position)
        if not found:
            line = readable(head[position : position + 100]).partition("\r\n")[0]
            raise ApiError(f"Not a header line: {CONTROL.sub(' ', line)}.", audit="Not a header line.")
        fields.append((found[1].lower().decode(), found[2], found[0]))
        position = found.end()
    return fields


def unfolded(value: bytes) -> str:
    value = value.replace(b"\r\n", b"")
    try:
        return value.decode()
    except UnicodeDecodeError:
        sentence = f"Not an address: {readable(value[:100]).strip()}."
        raise ApiError(sentence, audit="Not an address.") from None
