"""Mailbox: the caller's own mail, wherever it lies."""

from collections.abc import Callable

from mailapi import Active, ApiError, File, Module, Prepared, anyone, endpoint, flag, optional_number, text
from mailapi_modules.mailparts import html_of, parts, pictures
from mailapi_modules.mailsearch import TERMS, search
from mailapi_modules.mailsources import (
    SOURCES, Mail, OutOfReach, Source, beginnings, fetched, index, named, sources,
)
from mailapi_modules import compose, outbox
from mailapi_modules.messages import data, head, header, headers_of, listed, shown
from mailapi_modules.safehtml import Safe
from mailapi_modules.threads import threads_of


def source_name(value) -> str | None:
    value = text(value) or None
    if value not in (None, *SOURCES):
        raise ValueError("no such source")
    return value


NAMED = {"needs": {"mail_id": "No mail id is set"}, "allow": anyone, "own_transactions": True,
         "takes": {"mail_id": optional_number, "mail_sourcedb": source_name}}
PART = NAMED | {"needs": NAMED["needs"] | {"part": "No part is set"},
                "takes": NAMED["takes"] | {"part": optional_number}}


class Mailbox(Module):
    active = Active(Mail.mail_user)
    harmful = {"has no mail_data, which crashes the POP daemon": Prepared(
        Mail.select(Mail.mail_id).where(Mail.mail_data.is_null()))}

    @endpoint(allow=anyone, takes={"mail_only_unread": flag}, reads_only=True, own_transactions=True)
    def get(self, call):
        """The caller's mail, newest first, with the headers that a list shows."""
        found, warning = index(call, call.body.get("mail_only_unread"))
        return warning | {"mails": [listed(mail, at.name) for at, mail in beginnings(found[:call.limit])]}

    @endpoint(**NAMED)
    def read(self, call):
        """One mail with its text; marks it read, and answers mail_read as it was before."""
        mail, source, warning = fetched(call, mark_read=True)
        return warning | {"mail": shown(mail, source)}

    @endpoint(**NAMED)
    def unread(self, call):
        """Mark a mail unread."""
        change(call, lambda source, mail_id: source.mark(mail_id, read=False))

    @endpoint(**NAMED)
    def delete(self, call):
        """Remove a mail."""
        change(call, lambda source, mail_id: source.delete(mail_id))

    @endpoint(**NAMED, reads_only=True, file=True)
    def raw(self, call):
        """The message itself, to be saved; it stays unread."""
        mail, _, _ = fetched(call)
        subject = header(headers_of(head(data(mail))), "subject")
        return File(data(mail), "message/rfc822", f"{subject or 'mail'}.eml")

    @endpoint(**NAMED, reads_only=True)
    def parts(self, call):
        """What a mail is made of: its texts and attachments."""
        mail, _, warning = fetched(call)
        return warning | {"mail_parts": [part.described() for part in parts(data(mail))]}

    @endpoint(**PART, reads_only=True, file=True)
    def attachment(self, call):
        """A part of a mail, decoded, to be saved."""
        mail, _, _ = fetched(call)
        for part in parts(data(mail)):
            if part.number == call.body["part"]:
                return part.file()
        raise ApiError("part not found")

    @endpoint(**NAMED, reads_only=True)
    def html(self, call):
        """A mail's HTML, made safe to show; "" where it has none."""
        mail, _, warning = fetched(call)
        found = parts(data(mail))
        safe = Safe(html_of(found), pictures(found))
        return warning | {"mail_html": safe.html, "mail_html_complete": safe.complete,
                          "mail_html_blocked": safe.blocked}

    @endpoint(allow=anyone, takes=TERMS, reads_only=True, own_transactions=True)
    def search(self, call):
        """The caller's mails that say something, newest first, a page at a time."""
        return search(call)

    @endpoint(allow=anyone, reads_only=True, own_transactions=True)
    def threads(self, call):
        """The caller's mails, those together that answer one another; the thread with the newest mail first."""
        return threads_of(call)

    @endpoint(allow=anyone, reads_only=True, own_transactions=True)
    def unread_count(self, call):
        """How many mails are unread, by source and in all."""
        counts, warning = {}, {}
        for source in sources(call):
            try:
                counts[source.name] = source.unread_count()
            except OutOfReach as error:
                warning = error.warning
        return warning | {"unread_count": sum(counts.values()), "unread_counts": counts}

    @endpoint(allow=anyone, takes=compose.FIELDS, own_transactions=True, max_body="max_message")
    def send(self, call):
        """Queue a mail for the dispatch daemon, as the SMTP daemon would have; the ids of its rows in outbox."""
        if call.user_name is None:
            raise ApiError("Say whose mailbox: --as USER.")
        mail = compose.mail(call.body, lambda: outbox.own_address(call), call.config)
        return {"queue_ids": outbox.enqueue(call, mail)}


def change(call, do: Callable[[Source, int], bool]):
    """Do it to the mail where it is; without a source it is looked for in the master database only."""
    if not any(do(source, call.body["mail_id"]) for source in sources(call, *named(call, "master"))):
        raise ApiError("mail not found")
