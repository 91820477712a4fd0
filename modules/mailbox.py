"""Mailbox: lists, reads, searches and deletes the caller's mails in all databases and servers, and sends mails."""

from typing import Any

from mailapi import (
    Active,
    ApiError,
    File,
    Module,
    PreparedQuery,
    anyone,
    boolean,
    endpoint,
    optional_number,
    php_text,
)

from .answers import mailbox
from .directory.user_limit import UserLimit
from .http.large_bodies import read_large_object
from .mail import compose, outbox, reply
from .mail.mail_page import mail_page, sanitized_html
from .mail.mailboxes import SOURCE_NAMES, Mailboxes
from .mail.message_parser import parse_headers
from .mail.messages import mail_bytes, mail_details, mail_summary
from .mail.parts import parts
from .mail.search import TERMS, search
from .mail.sources import Mail, MailSource, UserDatabase
from .mail.threads import list_threads
from .openapi.schemas import json_schema

MOST_SEARCHES = 3  # of a user at the same time, threads included: mailapi serve has 8 threads


@json_schema({"type": "string", "enum": list(SOURCE_NAMES)})
def source_name(value) -> str | None:
    """Return the field mail_sourcedb, the store of a mail: "master", "user" or "imap". Return None if it is empty.

    ValueError for any other text.
    """
    value = php_text(value) or None
    if value not in (None, *SOURCE_NAMES):
        raise ValueError("no such source")
    return value


OF_MAIL: dict[str, Any] = {
    "required": {"mail_id": "No mail id is set"},
    "allow": anyone,
    "manages_transactions": True,
    "optional": {"mail_id": optional_number, "mail_sourcedb": source_name},
}
OF_PART = OF_MAIL | {
    "required": OF_MAIL["required"] | {"part": "No part is set"},
    "optional": OF_MAIL["optional"] | {"part": optional_number},
}


class Mailbox(Module):
    description = mailbox.DESCRIPTION
    identifiers = ("mail_id", "part")
    active = Active(Mail.mail_user)
    dangerous_rows = {
        "has no mail_data, which crashes the POP daemon": PreparedQuery(
            Mail.select(Mail.mail_id).where(Mail.mail_data.is_null())
        )
    }

    def __init__(self, app, name=""):
        super().__init__(app, name)
        self.kinds, self.validity, self.searches = [MailSource, UserDatabase], None, UserLimit(MOST_SEARCHES)
        if app.config.mailserver and "imap" in app.config.services:
            from .mail import imap_source, imap_validity

            self.validity, self.state_schema = imap_validity.Validity(app), imap_validity.SCHEMA
            self.kinds.append(imap_source.imap_factory(app.config, self.validity))

    def mailboxes(self, call) -> Mailboxes:
        """Return an object that reads and changes the caller's mails in all databases and on the IMAP server."""
        return Mailboxes(call, self.kinds)

    @endpoint(allow=anyone, optional={"mail_only_unread": boolean}, read_only=True, manages_transactions=True)
    def get(self, call):
        """List the caller's mails with their main headers, newest first; with mail_only_unread only the unread ones.

        If a database or server does not respond, the answer lacks its mails and has a warning.
        """
        with self.mailboxes(call) as mailboxes:
            refs = mailboxes.index(call.body.get("mail_only_unread"))[: call.limit]
            mails = [mail_summary(mail, source.name) for source, mail in mailboxes.beginnings(refs)]
            return mailboxes.warning | {"mails": mails}

    @endpoint(**OF_MAIL | {"optional": OF_MAIL["optional"] | {"mail_details": boolean}})
    def read(self, call):
        """Return a mail with its text, and mark it as read. `mail_read` in the answer is 1 if it was read before.

        With mail_details, the answer also has `mail_text`, made from the HTML if there is no plain text, and the
        fields that a reply needs.
        """
        with self.mailboxes(call) as mailboxes:
            mail, source = mailboxes.fetch(mark_read=True)
            warning = mailboxes.warning
        call.unchanged = bool(mail["mail_read"])
        return warning | {"mail": mail_details(mail, source, more=bool(call.body.get("mail_details")))}

    @endpoint(**OF_MAIL)
    def unread(self, call):
        """Mark a mail as unread."""
        with self.mailboxes(call) as mailboxes:
            mailboxes.change(lambda source, mail_id: source.mark(mail_id, read=False))

    @endpoint(**OF_MAIL)
    def delete(self, call):
        """Delete a mail."""
        with self.mailboxes(call) as mailboxes:
            mailboxes.change(lambda source, mail_id: source.delete(mail_id))

    @endpoint(**OF_MAIL, read_only=True, download=True)
    def raw(self, call):
        """Return the whole message (RFC 5322) as a file. The mail is not marked as read."""
        message, _ = self.message(call)
        subject = parse_headers(message).field("subject")
        return File(message, "message/rfc822", f"{subject or 'mail'}.eml")

    @endpoint(**OF_MAIL, read_only=True)
    def parts(self, call):
        """List the parts of a mail (its texts and attachments), each with number, type, file name and size."""
        message, warning = self.message(call)
        return warning | {"mail_parts": [part.description() for part in parts(message)]}

    @endpoint(**OF_PART, read_only=True, download=True)
    def attachment(self, call):
        """Return one part of a mail, such as an attachment, as a decoded file. mailbox/?parts lists the numbers."""
        message, _ = self.message(call)
        for part in parts(message):
            if part.number == call.body["part"]:
                return part.file()
        raise ApiError("part not found", code="not_found", field="part")

    @endpoint(**OF_MAIL, read_only=True)
    def html(self, call):
        """Return a mail's HTML without scripts and remote content; "" if the mail has no HTML.

        `mail_html_complete` is false if a part was left out because of its size. `mail_html_blocked` is the number of
        remote images that were removed.
        """
        message, warning = self.message(call)
        safe = sanitized_html(parts(message))
        return warning | {
            "mail_html": safe.html,
            "mail_html_complete": safe.complete,
            "mail_html_blocked": safe.blocked,
        }

    @endpoint(**OF_MAIL, read_only=True, download=True)
    def view(self, call):
        """Return a mail's HTML, or its text if it has no HTML, as a complete document for an iframe.

        Its Content-Security-Policy forbids scripts and loading anything. The mail is not marked as read.
        """
        message, _ = self.message(call)
        return mail_page(message)

    @endpoint(allow=anyone, optional=TERMS, read_only=True, manages_transactions=True)
    def search(self, call):
        """Search the caller's mails, and return a page of those that match, newest first."""
        with self.searches.of(call.user_name), self.mailboxes(call) as mailboxes:
            return search(call, mailboxes)

    @endpoint(
        allow=anyone,
        optional=TERMS | {"mail_id": optional_number, "mail_sourcedb": source_name},
        read_only=True,
        manages_transactions=True,
    )
    def threads(self, call):
        """List the caller's mails grouped into threads, the thread with the newest mail first.

        With mail_id, list only the thread of that mail. With the fields of mailbox/?search, list the threads that have
        a matching mail. With such fields or `limit`, the answer is one page of the list; its `next` is the value to
        send for the next page. Otherwise the answer has all threads.
        """
        with self.searches.of(call.user_name), self.mailboxes(call) as mailboxes:
            return list_threads(call, mailboxes)

    @endpoint(allow=anyone, read_only=True, manages_transactions=True)
    def unread_count(self, call):
        """Count the caller's unread mails: in total, and in each source (database or server)."""
        with self.mailboxes(call) as mailboxes:
            counts = mailboxes.unread_counts()
            return mailboxes.warning | {"unread_count": sum(counts.values()), "unread_counts": counts}

    @endpoint(
        allow=anyone,
        optional=compose.FIELDS | {"mail_sourcedb": source_name},
        manages_transactions=True,
        max_body="max_message",
        read_body=read_large_object,
    )
    def send(self, call):
        """Queue a mail from the caller for delivery. The answer has its ids in the queue, `queue_ids`.

        If the SMTP daemon would refuse the sender or a recipient, the mail is refused for the same reason.
        reply_to_mail is the id of one of the caller's mails to which this mail is a reply. If the request has no
        recipient, subject, in_reply_to or references, the reply gets it from that mail.
        """
        if call.user_name is None:
            raise ApiError("Name the mailbox's user with --as USER.")
        if call.body.get("reply_to_mail") and not call.body.get("message"):
            answered, _ = self.message(call, field="reply_to_mail")
            reply.add_reply_fields(call.body, answered)
        mail = compose.compose_mail(call.body, lambda: outbox.own_address(call), call.config)
        return {"queue_ids": outbox.enqueue(call, mail)}

    def message(self, call, field: str = "mail_id") -> tuple[bytes, dict]:
        """Return the bytes of the message (RFC 5322) of the mail that the request names, and a warning.

        The warning is {"status": "warning", "warning": …} if a database or server with the caller's mails did not
        respond, else {}. `field` is the request's field with the mail's id. ApiError if none that responds has the
        mail.
        """
        with self.mailboxes(call) as mailboxes:
            mail, _ = mailboxes.fetch(field=field)
            return mail_bytes(mail), mailboxes.warning

    def on_user_deleted(self, user_name: str):
        """Delete the stored UIDVALIDITY (RFC 9051) of a deleted user's IMAP mailbox."""
        if self.validity:
            self.validity.on_user_deleted(user_name)
