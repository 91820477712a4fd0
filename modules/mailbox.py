"""Mailbox: the caller's own mail, wherever it lies."""

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

from .http.large_bodies import read_large_object
from .mail import compose, outbox
from .mail.mailboxes import SOURCE_NAMES, Mailboxes
from .mail.messages import head, header, mail_bytes, mail_details, mail_summary, parse_headers
from .mail.parts import html_of, inline_images, parts
from .mail.sanitizer import SanitizedHTML
from .mail.search import TERMS, search
from .mail.sources import Mail, MailSource, UserDatabase
from .mail.threads import list_threads


def source_name(value) -> str | None:
    value = php_text(value) or None
    if value not in (None, *SOURCE_NAMES):
        raise ValueError("no such source")
    return value


NAMED = {
    "required": {"mail_id": "No mail id is set"},
    "allow": anyone,
    "manages_transactions": True,
    "optional": {"mail_id": optional_number, "mail_sourcedb": source_name},
}
PART = NAMED | {
    "required": NAMED["required"] | {"part": "No part is set"},
    "optional": NAMED["optional"] | {"part": optional_number},
}


class Mailbox(Module):
    identifiers = ("mail_id", "part")
    active = Active(Mail.mail_user)
    dangerous_rows = {
        "has no mail_data, which crashes the POP daemon": PreparedQuery(
            Mail.select(Mail.mail_id).where(Mail.mail_data.is_null())
        )
    }

    def __init__(self, app, name=""):
        super().__init__(app, name)
        self.kinds, self.validity = [MailSource, UserDatabase], None
        if app.config.mailserver and "imap" in app.config.services:
            from .mail import imap_source, imap_validity

            self.validity, self.state_schema = imap_validity.Validity(app), imap_validity.SCHEMA
            self.kinds.append(imap_source.imap_factory(app.config, self.validity))

    def places(self, call) -> Mailboxes:
        return Mailboxes(call, self.kinds)

    @endpoint(allow=anyone, optional={"mail_only_unread": boolean}, read_only=True, manages_transactions=True)
    def get(self, call):
        """The caller's mail, newest first, with the headers that a list shows."""
        with self.places(call) as places:
            found = places.index(call.body.get("mail_only_unread"))[: call.limit]
            mails = [mail_summary(mail, at.name) for at, mail in places.beginnings(found)]
            return places.warning | {"mails": mails}

    @endpoint(**NAMED)
    def read(self, call):
        """One mail with its text; marks it read, and answers mail_read as it was before."""
        mail, source, warning = self.fetched(call, mark_read=True)
        return warning | {"mail": mail_details(mail, source)}

    @endpoint(**NAMED)
    def unread(self, call):
        """Mark a mail unread."""
        with self.places(call) as places:
            places.change(lambda source, mail_id: source.mark(mail_id, read=False))

    @endpoint(**NAMED)
    def delete(self, call):
        """Remove a mail."""
        with self.places(call) as places:
            places.change(lambda source, mail_id: source.delete(mail_id))

    @endpoint(**NAMED, read_only=True, download=True)
    def raw(self, call):
        """The message itself, to be saved; it stays unread."""
        mail, _, _ = self.fetched(call)
        subject = header(parse_headers(head(mail_bytes(mail))), "subject")
        return File(mail_bytes(mail), "message/rfc822", f"{subject or 'mail'}.eml")

    @endpoint(**NAMED, read_only=True)
    def parts(self, call):
        """What a mail is made of: its texts and attachments."""
        mail, _, warning = self.fetched(call)
        return warning | {"mail_parts": [part.description() for part in parts(mail_bytes(mail))]}

    @endpoint(**PART, read_only=True, download=True)
    def attachment(self, call):
        """A part of a mail, decoded, to be saved."""
        mail, _, _ = self.fetched(call)
        for part in parts(mail_bytes(mail)):
            if part.number == call.body["part"]:
                return part.file()
        raise ApiError("part not found")

    @endpoint(**NAMED, read_only=True)
    def html(self, call):
        """A mail's HTML, made safe to show; "" where it has none."""
        mail, _, warning = self.fetched(call)
        found = parts(mail_bytes(mail))
        safe = SanitizedHTML(html_of(found), inline_images(found))
        return warning | {
            "mail_html": safe.html,
            "mail_html_complete": safe.complete,
            "mail_html_blocked": safe.blocked,
        }

    @endpoint(allow=anyone, optional=TERMS, read_only=True, manages_transactions=True)
    def search(self, call):
        """The caller's mails that say something, newest first, a page at a time."""
        with self.places(call) as places:
            return search(call, places)

    @endpoint(allow=anyone, read_only=True, manages_transactions=True)
    def threads(self, call):
        """The caller's mails, those together that answer one another; the thread with the newest mail first."""
        with self.places(call) as places:
            return list_threads(call, places)

    @endpoint(allow=anyone, read_only=True, manages_transactions=True)
    def unread_count(self, call):
        """How many mails are unread, by source and in all."""
        with self.places(call) as places:
            counts = places.unread_counts()
            return places.warning | {"unread_count": sum(counts.values()), "unread_counts": counts}

    @endpoint(
        allow=anyone,
        optional=compose.FIELDS,
        manages_transactions=True,
        max_body="max_message",
        read_body=read_large_object,
    )
    def send(self, call):
        """Queue a mail for the dispatch daemon, as the SMTP daemon would have; the ids of its rows in outbox."""
        if call.user_name is None:
            raise ApiError("Say whose mailbox: --as USER.")
        mail = compose.compose_mail(call.body, lambda: outbox.own_address(call), call.config)
        return {"queue_ids": outbox.enqueue(call, mail)}

    def fetched(self, call, mark_read: bool = False) -> tuple[dict, str, dict]:
        """The mail that is asked for, the name of its source, and the warning, if there is one."""
        with self.places(call) as places:
            return *places.fetch(mark_read), places.warning

    def on_user_deleted(self, user_name):
        if self.validity:
            self.validity.on_user_deleted(user_name)
