"""Describes the request fields and answers of the module at mailbox/, for openapi.json and docs/reference/."""

from typing import NotRequired, TypedDict

from ..openapi.description import Description, Flag

FIELDS = {
    "mail_id": "The mail's number.",
    "mail_sourcedb": "Where it is: master, user (the user's own database) or imap.",
    "mail_only_unread": "Only mails that are not read yet.",
    "part": "The part's number, as mailbox/?parts lists it.",
    "subject": "A text in the subject.",
    "from": "A text in From.",
    "text": "A text anywhere in the mail.",
    "before": "Only mails from before this time, in seconds since 1970.",
    "after": "Only mails from this time on, in seconds since 1970.",
    "unread": "Only mails that are not read yet.",
    "next": "In a request: the `next` of the page before. In an answer: null if there is no further page.",
    "to": "Recipients: a list, or a text as in a header field.",
    "cc": "Recipients of a copy.",
    "bcc": "Recipients whom the others do not see.",
    "reply_to": "Where answers should go.",
    "html": "The mail's text as HTML.",
    "in_reply_to": "The Message-ID of the mail that is answered.",
    "references": "The References of the mail that is answered.",
    "attachments": "Files: objects with filename, content_type and data, the content in base64.",
    "message": "A whole message (RFC 5322), instead of subject, text and the like.",
    "data": "The content of the file, in base64.",
    "mail_details": "Also return a text for people to read, and the fields that a reply needs.",
    "reply_to_mail": "The mail_id of the mail that is answered.",
    "mail_text": "The text for people to read; made from the HTML if the mail has no plain text.",
    "mail_cc": "The decoded Cc.",
    "mail_reply_to": "The decoded Reply-To.",
    "mail_message_id": "The Message-ID.",
    "mail_references": "The References.",
    "mail_addresses": "The addresses of the header fields.",
    "name": "The name before the address.",
    "address": "The address; empty if there is none.",
    "mail_user": "The user whose mail it is.",
    "mail_read": "1: it was read.",
    "mail_ident": "The identifier of the mail at the daemon.",
    "mail_envelopeto": "The envelope's recipient.",
    "mail_envelopefrom": "The envelope's sender.",
    "mail_submission": "When it arrived, in seconds since 1970.",
    "mail_submitter": "The user who sent it, or the host that it came from.",
    "mail_proto": "The protocol that it came by.",
    "mail_data": "The whole message; null in lists.",
    "mail_subject": "The decoded subject.",
    "mail_from": "The decoded From.",
    "mail_to": "The decoded To.",
    "mail_date": "The Date as it is in the mail.",
    "mail_body": "The text.",
    "mail_depth": "0, or one more than that of the mail to which this one is a reply.",
    "mails": "The mails, newest first.",
    "mail": "The mail.",
    "mail_parts": "The parts of the mail.",
    "content_type": "The type, such as text/plain.",
    "filename": "The name of the file.",
    "size": "The number of bytes.",
    "attached": "Whether it is an attachment.",
    "content_id": "The part's Content-ID, by which the mail's HTML refers to it.",
    "mail_html": "The HTML without anything that runs code or loads data.",
    "mail_html_complete": "Whether all of it is there.",
    "mail_html_blocked": "How many remote images were removed.",
    "threads": "The threads, the one with the newest mail first.",
    "unread_count": "How many mails are unread.",
    "unread_counts": "How many, by mail_sourcedb.",
    "queue_ids": "The mail_ids in the queue, one for each recipient.",
}


class Columns(TypedDict):
    mail_id: int
    mail_user: str
    mail_read: Flag | None
    mail_ident: str | None
    mail_envelopeto: str | None
    mail_envelopefrom: str | None
    mail_submission: int | float | str | None
    mail_submitter: str | None
    mail_proto: str | None
    mail_sourcedb: str
    mail_subject: str
    mail_from: str
    mail_to: str


class ListedMail(Columns):
    mail_data: None
    mail_date: str
    mail_depth: NotRequired[int]


class HeaderAddress(TypedDict):
    name: str
    address: str


class WholeMail(Columns):
    mail_data: str
    mail_body: str
    mail_text: NotRequired[str]
    mail_cc: NotRequired[str]
    mail_reply_to: NotRequired[str]
    mail_date: NotRequired[str]
    mail_message_id: NotRequired[str]
    mail_references: NotRequired[str]
    mail_addresses: NotRequired[dict[str, list[HeaderAddress]]]


class MailList(TypedDict):
    mails: list[ListedMail]


class FoundMails(TypedDict):
    mails: list[ListedMail]
    next: str | None


class Mail(TypedDict):
    mail: WholeMail


class Part(TypedDict):
    part: int
    content_type: str
    filename: str
    size: int
    attached: bool
    content_id: str


class PartList(TypedDict):
    mail_parts: list[Part]


class SafeHTML(TypedDict):
    mail_html: str
    mail_html_complete: bool
    mail_html_blocked: int


class ThreadList(TypedDict):
    threads: list[MailList]
    next: NotRequired[str | None]


class UnreadCount(TypedDict):
    unread_count: int
    unread_counts: dict[str, int]


class MailQueued(TypedDict):
    queue_ids: list[int]


DESCRIPTION = Description(
    FIELDS,
    {
        "get": MailList,
        "read": Mail,
        "raw": "message/rfc822",
        "view": "text/html",
        "attachment": "*/*",
        "parts": PartList,
        "html": SafeHTML,
        "search": FoundMails,
        "threads": ThreadList,
        "unread_count": UnreadCount,
        "send": MailQueued,
    },
    requests={
        "send": {"to": "bob@else.example", "subject": "Hi", "text": "Hello."},
        "search": {"subject": "hi"},
    },
    fields_of={"send": {"subject": "The subject.", "from": "Who it is from.", "text": "The text."}},
)
