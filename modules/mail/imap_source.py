"""Access to the INBOX of a user on the IMAP server (RFC 3501): list, read, mark and delete mails."""

import contextlib
import re
from collections.abc import Iterator
from functools import partial

from mailapi import ApiError, Config

from ..clients.base import TOO_MANY, ServiceDown, clients
from ..clients.deadline import to_text
from ..clients.imap import Imap, ImapConversation, refusal
from ..directory.user_limit import UserLimit
from .imap_answers import flags, is_read, parse_answers, received_time
from .imap_validity import Validity
from .message_parser import head
from .sources import HEADER_BYTES, MailSource, SourceUnavailable

REQUEST_SLOT_WAIT = 1  # seconds to wait for a slot (clients/base.py); they count towards PROMPT_SECONDS
SLOTS_OF_USER = 4  # of the six: one user's requests, of up to 30 seconds, leave some to others
IDLE_SECONDS = 2  # without a byte from the server, after which the source counts as unavailable
REQUEST_SECONDS = 30  # for all commands of a request, once INBOX is open
MAX_MAIL = 128 * 1024 * 1024  # bytes of a mail that is read whole
MAX_LIST = 64 * 1024 * 1024  # bytes of the flags and times of all mails
MAX_ROW = 64 * 1024  # bytes of an answer about one mail, apart from the mail itself
MAX_UNSOLICITED = 1024 * 1024  # bytes of answers about changes by other programs
UID_LIMIT = 2**32  # UIDs are below it

# The header fields that lists, searches and threads use. Servers cache them, and need not open every mail.
LISTED_FIELDS = (
    "HEADER.FIELDS (SUBJECT FROM TO DATE MESSAGE-ID IN-REPLY-TO REFERENCES RETURN-PATH DELIVERED-TO)"
)
ENVELOPE = re.compile(rb"(?im)^(Return-Path|Delivered-To):([^\r\n]*)")


def imap_factory(config: Config, validity: Validity) -> "partial[ImapSource]":
    """Return a function that makes an ImapSource for a request. ConfigError if the setting `services` is invalid."""
    client = clients(config)["imap"]
    assert isinstance(client, Imap)
    limit = UserLimit(SLOTS_OF_USER, REQUEST_SLOT_WAIT, partial(ServiceDown, "imap", TOO_MANY))
    return partial(ImapSource, client=client, validity=validity, limit=limit)


class ImapSource(MailSource):
    """The INBOX of a user on the IMAP server, during one request. All methods share one connection.

    Mails that are flagged as deleted are treated as missing.
    """

    name = "imap"

    def __init__(self, call, client: Imap, validity: Validity, limit: UserLimit):
        super().__init__(call)
        self.client, self.validity, self.limit = client, validity, limit
        self.stack = contextlib.ExitStack()
        self.imap: ImapConversation | None = None  # with INBOX open

    def exists(self) -> bool:
        """Return whether the IMAP server knows the user."""
        return "accountId" in (self.call.external_user or self.call.app.external_credentials(self.user) or {})

    def keys(self, only_unread: bool = False) -> list[tuple]:
        with self.inbox():
            mails = self.fetch_items("1:*", "INTERNALDATE", max_bytes=MAX_LIST) if self.mail_count else []
            return [
                (self.mail_id(items), received_time(items))
                for items in mails
                if not (only_unread and is_read(items))
            ]

    def beginnings(self, mail_ids: list[int], size: int) -> list[dict]:
        with self.inbox():
            uids = ",".join(str(mail_id - self.offset) for mail_id in mail_ids if self.is_possible(mail_id))
            fields = f"INTERNALDATE BODY.PEEK[{LISTED_FIELDS if size <= HEADER_BYTES else ''}]<0.{size}>"
            max_bytes = len(mail_ids) * (size + MAX_ROW)
            mails = self.fetch_items(uids, fields, "BODY", max_bytes) if uids else []
            return list(map(self.row, mails))

    def fetch(self, mail_id: int, mark_read: bool = False) -> dict | None:
        with self.inbox(writable=mark_read):
            if not (size := self.size(mail_id)):
                return None
            if size > MAX_MAIL:
                raise ApiError(f"The mail is too large to be read: {MAX_MAIL} bytes at most.")
            items = self.fetch_one(mail_id, "INTERNALDATE BODY.PEEK[]", "BODY", max_bytes=size)
            if items and mark_read and not is_read(items):
                self.store(mail_id, "+", r"\Seen")
            return items and self.row(items)

    def mark(self, mail_id: int, read: bool) -> bool:
        with self.inbox(writable=True):
            if exists := bool(self.size(mail_id)):
                self.store(mail_id, "+" if read else "-", r"\Seen")
            return exists

    def delete(self, mail_id: int) -> bool:
        """Delete a mail, and return whether it existed.

        A server without the extension UIDPLUS (RFC 4315) keeps the mail, flagged as deleted. Deleting such a mail
        again also returns True.
        """
        with self.inbox(writable=True) as imap:
            if not self.size(mail_id, deleted=True):
                return False
            self.store(mail_id, "+", r"\Deleted")
            if not {b"UIDPLUS", b"IMAP4REV2"}.isdisjoint(imap.capability()[1][0].upper().split()):
                try:
                    self.command("EXPUNGE", mail_id - self.offset)
                except ServiceDown:
                    self.store(mail_id, "-", r"\Deleted")
                    raise
            return True

    def unread_count(self) -> int:
        with self.inbox():
            return len((self.command("SEARCH", "UNSEEN", "UNDELETED")[0] or b"").split())

    def close(self):
        self.imap = None
        self.stack.close()

    @contextlib.contextmanager
    def inbox(self, writable: bool = False) -> Iterator[ImapConversation]:
        """Yield a connection to the IMAP server with INBOX open. It stays open for the other methods.

        Flags can be changed if `writable` is True. An exception in the `with` block closes the connection. Raise
        SourceUnavailable if the IMAP server fails.
        """
        try:
            if self.imap is None:
                self.imap = self.open(writable)
            yield self.imap
        except Exception as error:
            self.imap = None
            try:  # the client turns errors of the conversation into ServiceDown
                self.stack.__exit__(type(error), error, error.__traceback__)
                raise
            except ServiceDown as down:
                raise SourceUnavailable(down.status, audit=down.audit) from error

    def open(self, writable: bool) -> ImapConversation:
        """Connect to the IMAP server, open INBOX, and return the connection. With `writable`, flags can be changed."""
        self.stack.enter_context(self.limit.of(self.user))
        imap = self.stack.enter_context(
            self.client.session(self.user, self.call.password, seconds=None, wait=REQUEST_SLOT_WAIT)
        )
        status, reply = imap.select("INBOX", readonly=not writable)
        uidvalidity = imap.response("UIDVALIDITY")[1][0]
        if status != "OK" or not uidvalidity:
            raise refusal("it refused INBOX", reply)
        self.mail_count = int(reply[0] or 0)
        self.offset = self.validity.id_offset(self.user, int(uidvalidity))
        imap.sock.deadline.max_idle = IDLE_SECONDS
        imap.sock.deadline.renew(REQUEST_SECONDS)
        return imap

    def is_possible(self, mail_id: int) -> bool:
        """Return whether a mail can have this id. Ids from before a change of UIDVALIDITY (RFC 3501) are invalid."""
        return 0 < mail_id - self.offset < UID_LIMIT

    def mail_id(self, items: dict[bytes, bytes]) -> int:
        return int(items[b"UID"]) + self.offset

    def size(self, mail_id: int, deleted: bool = False) -> int:
        """Return the size of a mail in bytes: at least 1, or 0 if there is no such mail.

        If `deleted` is False, a mail that is flagged as deleted is treated as missing.
        """
        possible = self.is_possible(mail_id)
        items = self.fetch_one(mail_id, "RFC822.SIZE", deleted=deleted) if possible else None
        return max(1, int(items[b"RFC822.SIZE"])) if items else 0

    def store(self, mail_id: int, sign: str, flag: str):
        self.command("STORE", mail_id - self.offset, f"{sign}FLAGS.SILENT", f"({flag})")

    def fetch_one(
        self, mail_id: int, names: str, required: str = "", max_bytes: int = 0, deleted: bool = False
    ) -> dict[bytes, bytes] | None:
        mails = self.fetch_items(mail_id - self.offset, names, required, max_bytes, deleted)
        return next((items for items in mails if self.mail_id(items) == mail_id), None)

    def fetch_items(
        self, uids, names: str, required: str = "", max_bytes: int = 0, deleted: bool = False
    ) -> list[dict]:
        """Fetch data of mails. Return a list such as [{b"UID": b"7", b"FLAGS": b"", b"RFC822.SIZE": b"512"}].

        `uids` selects the mails, as in "1:*". `names` is the data to fetch in addition to UID and flags, such as
        "RFC822.SIZE". Mails for which the server does not send `names`, or `required` if given, are left out. So are
        mails flagged as deleted, unless `deleted` is True. The answer may have `max_bytes` bytes, and MAX_UNSOLICITED
        more for changes by other programs.
        """
        mails: dict[bytes, dict] = {}
        for items in parse_answers(self.command("FETCH", uids, f"(FLAGS {names})", max_bytes=max_bytes)):
            mails.setdefault(items.get(b"UID", b""), {}).update(items)
        return [
            items
            for items in mails.values()
            if items.keys() >= {b"UID", b"FLAGS", (required or names).encode()}
            and (deleted or rb"\deleted" not in flags(items))
        ]

    def command(self, name: str, *arguments, max_bytes: int = 0) -> list:
        """Send a command with UIDs, such as FETCH. Return imaplib's list. Raise ServiceDown if the server refuses it.

        The answer may have `max_bytes` bytes, and MAX_UNSOLICITED more for changes by other programs.
        """
        imap = self.imap
        assert imap is not None  # commands are sent within inbox()
        imap.sock.deadline.max_bytes = max_bytes + MAX_UNSOLICITED
        status, reply = imap.uid(name, *map(str, arguments))
        if status == "OK":
            return reply
        if name == "FETCH" and b"EXPUNGEISSUED" in reply[0]:  # RFC 5530: some of the mails are gone
            return imap.response("FETCH")[1]
        raise refusal(f"it refused {name}", reply)

    def row(self, items: dict[bytes, bytes]) -> dict:
        """Return a mail as a row of table `mailbox`: {"mail_id": 7, "mail_user": "ann", "mail_read": 0, …}.

        `items`: the server's data, such as {b"UID": b"7", b"FLAGS": b"", b"BODY": b"Subject: Hello"}. The sender and
        the recipient in the row are those in the header fields Return-Path and Delivered-To.
        """
        raw = items.get(b"BODY", b"")
        envelope = {
            name.lower(): to_text(value.strip(b" \t<>"))
            for name, value in reversed(ENVELOPE.findall(head(raw)))
        }
        return {
            "mail_id": self.mail_id(items),
            "mail_user": self.user,
            "mail_read": int(is_read(items)),
            "mail_ident": None,
            "mail_envelopeto": envelope.get(b"delivered-to", self.user),
            "mail_envelopefrom": envelope.get(b"return-path", ""),
            "mail_submission": received_time(items),
            "mail_submitter": None,
            "mail_proto": "smtp",
            "mail_data": raw,
        }
