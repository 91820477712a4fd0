"""The mail of the mail server's users in their INBOX, over IMAP (RFC 3501): nothing else in it is shown or changed."""

import contextlib
import re
from collections.abc import Callable, Iterator
from email.utils import mktime_tz, parsedate_tz

from mailapi import ApiError, Config, printable

from ..clients import base as protocols
from ..clients.base import ServiceDown
from ..clients.deadline import readable
from ..clients.mail_protocols import Imap, ImapConversation
from ..mail.imap_validity import Validity
from ..mail.messages import head
from ..mail.sources import HEADERS, Source, SourceUnavailable

WAIT = 1  # seconds for one's turn, of those that connecting and opening INBOX may take (protocols.PROMPT)
SILENCE, ALTOGETHER = (
    2,
    30,
)  # seconds that it may then say nothing, and that all questions of a request may take
LARGEST = 128 * 1024 * 1024  # bytes of a mail that is read whole
LONGEST_LIST = 64 * 1024 * 1024  # bytes of the flags and times of all mails
ROW = 64 * 1024  # bytes that the server may take to say what a mail is, whatever flags it has
NEWS = 1024 * 1024  # bytes that it may say besides: what other programs did meanwhile
UIDS = 2**32  # the end of what a UID can be

# The header fields that lists, searches and threads look at: servers have these at hand, and need not open every mail.
SHOWN = "HEADER.FIELDS (SUBJECT FROM TO DATE MESSAGE-ID IN-REPLY-TO REFERENCES RETURN-PATH DELIVERED-TO)"
# What is asked for of a FETCH answer; what stands in brackets or quotes is passed over as a whole.
ITEM = re.compile(
    rb'(UID|RFC822\.SIZE) (\d+)|(FLAGS) \(([^()]*)\)|(INTERNALDATE) "([^"]*)"'
    rb'|(BODY)\[[^][]*\](?:<\d+>)? (?:"((?>(?:[^"\\]|\\.)*))"|\{\d+\}|NIL)'
)
ENVELOPE = re.compile(rb"(?im)^(Return-Path|Delivered-To):([^\r\n]*)")


def kind(config: Config, validity: Validity) -> Callable[..., "ImapSource"]:
    """What makes the source for a call; ConfigError where `services` cannot be used."""
    client = protocols.clients(config)["imap"]
    return lambda call: ImapSource(call, client, validity)


class ImapSource(Source):
    """A user's INBOX. One conversation serves all questions of a request.

    What somebody has marked as deleted and not yet expunged counts as gone.
    """

    name = "imap"

    def __init__(self, call, client: Imap, validity: Validity):
        super().__init__(call)
        self.client, self.validity = client, validity
        self.stack, self.imap = contextlib.ExitStack(), None

    def exists(self) -> bool:
        """Whether it is the mail server that knows the user."""
        return "accountId" in (self.call.external_user or self.call.app.external_credentials(self.user) or {})

    def keys(self, only_unread=False):
        with self.inbox():
            found = self.fetched("1:*", "INTERNALDATE", most=LONGEST_LIST) if self.mails else []
            return [
                {"mail_id": self.mail_id(said), "mail_submission": submission(said)}
                for said in found
                if not (only_unread and is_read(said))
            ]

    def beginnings(self, mail_ids, size):
        with self.inbox():
            uids = ",".join(str(mail_id - self.before) for mail_id in mail_ids if self.fits(mail_id))
            part = f"INTERNALDATE BODY.PEEK[{SHOWN if size <= HEADERS else ''}]<0.{size}>"
            found = self.fetched(uids, part, "BODY", most=len(mail_ids) * (size + ROW)) if uids else []
            return list(map(self.row, found))

    def fetch(self, mail_id, mark_read=False):
        with self.inbox(writable=mark_read):
            if not (size := self.size(mail_id)):
                return None
            if size > LARGEST:
                raise ApiError(f"The mail is too large to be read: {LARGEST} bytes at most.")
            found = self.one(mail_id, "INTERNALDATE BODY.PEEK[]", "BODY", most=size)
            if found and mark_read and not is_read(found):
                self.store(mail_id, "+", r"\Seen")
            return found and self.row(found)

    def mark(self, mail_id, read):
        with self.inbox(writable=True):
            if there := bool(self.size(mail_id)):
                self.store(mail_id, "+" if read else "-", r"\Seen")
            return there

    def delete(self, mail_id):
        """Expunge this mail and no other; a server without UIDPLUS (RFC 4315) cannot, and it stays marked as deleted.

        One that is marked already can still be expunged, where that failed the first time.
        """
        with self.inbox(writable=True) as imap:
            if not self.size(mail_id, deleted=True):
                return False
            self.store(mail_id, "+", r"\Deleted")
            if not {b"UIDPLUS", b"IMAP4REV2"}.isdisjoint(imap.capability()[1][0].upper().split()):
                try:
                    self.ask("EXPUNGE", mail_id - self.before)
                except ServiceDown:
                    self.store(mail_id, "-", r"\Deleted")
                    raise
            return True

    def unread_count(self):
        with self.inbox():
            return len((self.ask("SEARCH", "UNSEEN", "UNDELETED")[0] or b"").split())

    def close(self):
        self.imap = None
        self.stack.close()

    @contextlib.contextmanager
    def inbox(self, writable: bool = False) -> Iterator[ImapConversation]:
        """The conversation, INBOX opened; OutOfReach, with the conversation at its end, for whatever goes wrong."""
        try:
            if self.imap is None:
                self.open(writable)
            yield self.imap
        except Exception as error:
            self.imap = None
            try:  # the service's client puts it in words
                self.stack.__exit__(type(error), error, error.__traceback__)
                raise
            except ServiceDown as down:
                raise SourceUnavailable(down.status, audit=down.audit) from error

    def open(self, writable: bool):
        self.imap = imap = self.stack.enter_context(
            self.client.session(self.user, self.call.password, seconds=None, wait=WAIT)
        )
        done, said = imap.select("INBOX", readonly=not writable)
        validity = imap.response("UIDVALIDITY")[1][0]
        if done != "OK" or not validity:
            raise refused("INBOX", said)
        self.mails, self.before = int(said[0] or 0), self.validity.before(self.user, int(validity))
        imap.sock.deadline.silence = SILENCE
        imap.sock.deadline.renew(ALTOGETHER)

    def fits(self, mail_id: int) -> bool:
        """Whether it can be the id of a mail in INBOX, as its UIDs are counted now."""
        return 0 < mail_id - self.before < UIDS

    def mail_id(self, said: dict[bytes, bytes]) -> int:
        return int(said[b"UID"]) + self.before

    def size(self, mail_id: int, deleted: bool = False) -> int:
        """How large a mail is, at least 1; 0 where there is none, or, but for where that is asked for, a deleted one."""
        found = self.one(mail_id, "RFC822.SIZE", deleted=deleted) if self.fits(mail_id) else None
        return max(1, int(found[b"RFC822.SIZE"])) if found else 0

    def store(self, mail_id: int, sign: str, flag: str):
        self.ask("STORE", mail_id - self.before, f"{sign}FLAGS.SILENT", f"({flag})")

    def one(self, mail_id: int, *asked: str, **options) -> dict[bytes, bytes] | None:
        found = self.fetched(mail_id - self.before, *asked, **options)
        return next((said for said in found if self.mail_id(said) == mail_id), None)

    def fetched(self, uids, asked: str, item: str = "", most: int = 0, deleted: bool = False) -> list[dict]:
        """What is asked of mails, and their flags, in so many bytes; who is gone is left out.

        A server may tell other mails' new flags as well: what an answer must have is `item`, or all that is asked.
        """
        found: dict[bytes, dict] = {}
        for said in answers(self.ask("FETCH", uids, f"(FLAGS {asked})", most=most)):
            found.setdefault(said.get(b"UID", b""), {}).update(said)
        return [
            said
            for said in found.values()
            if said.keys() >= {b"UID", b"FLAGS", (item or asked).encode()}
            and (deleted or rb"\deleted" not in flags(said))
        ]

    def ask(self, command: str, *arguments, most: int = 0) -> list:
        """What the server says to a UID command, in so many bytes; ServiceDown where it refuses."""
        self.imap.sock.deadline.most = most + NEWS
        done, said = self.imap.uid(command, *map(str, arguments))
        if done == "OK":
            return said
        if command == "FETCH" and b"EXPUNGEISSUED" in said[0]:  # RFC 5530: all but those that have gone
            return self.imap.response("FETCH")[1]
        raise refused(command, said)

    def row(self, said: dict[bytes, bytes]) -> dict:
        """A mail as a row of the mailbox table; its envelope as whoever delivered it wrote that down."""
        raw = said.get(b"BODY", b"")
        noted = {
            name.lower(): readable(value.strip(b" \t<>"))
            for name, value in reversed(ENVELOPE.findall(head(raw)))
        }
        return {
            "mail_id": self.mail_id(said),
            "mail_user": self.user,
            "mail_read": int(is_read(said)),
            "mail_ident": None,
            "mail_envelopeto": noted.get(b"delivered-to", self.user),
            "mail_envelopefrom": noted.get(b"return-path", ""),
            "mail_submission": submission(said),
            "mail_submitter": None,
            "mail_proto": "smtp",
            "mail_data": raw,
        }


def answers(pieces: list) -> Iterator[dict[bytes, bytes]]:
    """What each FETCH answer says, by item; imaplib has a literal apart from what stands around it."""
    around, literal = [], b""
    for piece in pieces:
        if isinstance(piece, tuple):
            around.append(piece[0])
            literal = piece[1]
        elif piece is not None:
            yield items(b"".join([*around, piece]), literal)
            around, literal = [], b""


def items(around: bytes, literal: bytes) -> dict[bytes, bytes]:
    found = {}
    for match in ITEM.finditer(around):
        name, value = ([group for group in match.groups() if group is not None] + [literal])[:2]
        found[name] = re.sub(rb"\\(.)", rb"\1", value) if match[8] else value
    return found


def flags(said: dict[bytes, bytes]) -> list[bytes]:
    return said.get(b"FLAGS", b"").lower().split()


def is_read(said: dict[bytes, bytes]) -> bool:
    return rb"\seen" in flags(said)


def submission(said: dict[bytes, bytes]) -> int:
    """When the server got a mail, in seconds since 1970; 0 where it does not say."""
    try:
        return int(mktime_tz(parsedate_tz(readable(said.get(b"INTERNALDATE", b"")).strip())))
    except (TypeError, ValueError, OverflowError):
        return 0


def refused(what: str, said: list) -> ServiceDown:
    words = printable(" ".join(readable(said[0] or b"").split()))[:100].rstrip(". ")
    return ServiceDown("imap", f"it refused {what}: {words}")
