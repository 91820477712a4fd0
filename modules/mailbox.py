"""Mailbox: the caller's own mail, wherever it lies."""

from collections.abc import Callable

from mailapi import Active, ApiError, Module, Prepared, anyone, endpoint, flag, optional_number, text
from mailapi_modules.mailsources import SOURCES, Mail, Source, beginnings, fetched, index, named, sources
from mailapi_modules.messages import listed, shown


def source_name(value) -> str | None:
    value = text(value) or None
    if value not in (None, *SOURCES):
        raise ValueError("no such source")
    return value


NAMED = {"needs": {"mail_id": "No mail id is set"}, "allow": anyone, "own_transactions": True,
         "takes": {"mail_id": optional_number, "mail_sourcedb": source_name}}


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


def change(call, do: Callable[[Source, int], bool]):
    """Do it to the mail where it is; without a source it is looked for in the master database only."""
    if not any(do(source, call.body["mail_id"]) for source in sources(call, *named(call, "master"))):
        raise ApiError("mail not found")
