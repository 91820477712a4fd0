"""The client of IMAP servers (RFC 3501), by imaplib: creates and empties users' mailboxes, and reads their quotas."""

import contextlib
import imaplib
import re
from collections.abc import Iterator

from mailapi import ApiError, printable

from .base import MAX_BYTES, SLOT_WAIT, Client, ServiceDown
from .deadline import DeadlineSocket, DeadlineTLS, OpenSocketMixin, to_text

SESSION_SECONDS = 10  # of a session, from the greeting on; Dovecot waits 2 s after a wrong password
NAMESPACE_TOKEN = re.compile(rb'[()]|NIL|"((?>(?:[^"\\]|\\.)*))"?')
MAX_LINE = 1_000_000  # bytes
FOLDERS = ("INBOX", "Drafts", "Sent", "Trash", "Junk", "Archive")


class ImapConversation(OpenSocketMixin, imaplib.IMAP4):
    """A connection of imaplib over a socket that is already open.

    It reads by itself, since Python 3.14's imaplib would read past the socket's limits.
    """

    sock: DeadlineSocket | DeadlineTLS

    def read(self, size):
        if size > self.sock.deadline.max_bytes:  # before that much is allocated
            raise OSError("it sends too much")
        return self.sock.lines.read(size)

    def readline(self):
        line = self.sock.lines.readline(MAX_LINE + 1)
        if len(line) > MAX_LINE:
            raise OSError("it sends too much")
        return line


class Imap(Client):
    kind, schemes = "imap", {"imap": 143, "imaps": 993}
    setting_keys = ("url", "user", "password", "plain")

    def ping(self) -> str:
        with self.conversation() as connection:
            welcome = to_text(ImapConversation(connection, self.host).welcome)  # sends CAPABILITY, too
            return re.sub(r"^\* \w+ (\[[^]]*\] ?)?", "", welcome)

    @contextlib.contextmanager
    def session(
        self,
        user_name: str,
        password: str | None,
        seconds: float | None = SESSION_SECONDS,
        max_bytes: float = MAX_BYTES,
        wait: float = SLOT_WAIT,
    ) -> Iterator[ImapConversation]:
        """Log in to the IMAP server as a user for a `with` block, and yield the connection. ServiceDown if that fails.

        The log-in uses the master user in config.py, if there is one, and the user's `password` if not. `seconds`: the
        time limit for the log-in and the block; None: PROMPT_SECONDS (2) for these and for connecting together.
        `max_bytes`: the most bytes to receive. `wait`: the seconds to wait while too many connections to the server
        are open.
        """
        identity = "\0".join(self.sasl_identity(user_name, password)).encode()
        with self.conversation(max_bytes=max_bytes, wait=wait) as connection:
            imap = ImapConversation(connection, self.host)
            if seconds:
                imap.sock.deadline.renew(seconds)
            if self.encrypt and self.scheme != "imaps":
                imap.starttls(self.tls)
            try:
                imap.authenticate("PLAIN", lambda _: identity)
            except imap.error as refused:
                if isinstance(refused, imap.abort):
                    raise
                # The server's own sentence could repeat the credentials.
                raise ServiceDown(self.kind, "it refused the log-in") from None
            yield imap

    def provision(self, resource: str, user_name: str, password: str | None):
        """Create the folders that mail programs expect, such as Drafts, in a user's mailbox, and subscribe to them.

        `resource`: always "mail". `password`: the user's password, or None if it is not known. ServiceDown if a folder
        cannot be created.
        """
        with self.session(user_name, password, seconds=None) as imap:
            for folder in FOLDERS:
                self.create_folder(imap, folder)
                imap.subscribe(folder)

    def create_folder(self, imap: ImapConversation, folder: str):
        """Create a folder in the user's mailbox, unless it exists. ServiceDown if that fails."""
        status, reply = imap.create(folder) if folder != "INBOX" else imap.status(folder, "(MESSAGES)")
        if status != "OK" and b"[ALREADYEXISTS]" not in reply[0] and imap.list(pattern=folder)[1] == [None]:
            raise refusal(f"it did not make {folder}", reply)

    def purge(self, resource: str, user_name: str):
        """Delete all mails and folders of a user. A folder that the server does not delete, such as INBOX, is emptied.

        Folders that the user shares with others stay. `resource`: always "mail". ServiceDown if mails remain, or if
        config.py has no master user for the server.
        """
        with self.session(user_name, None) as imap:
            for folder in sorted({'"INBOX"', *own_folders(imap)}, reverse=True):  # inner before outer ones
                if folder.upper() == '"INBOX"' or imap.delete(folder)[0] != "OK" and has_mails(imap, folder):
                    self.empty_folder(imap, folder)

    def empty_folder(self, imap: ImapConversation, folder: str):
        """Delete all mails in a folder. ServiceDown if that fails."""
        commands = (
            lambda: imap.select(folder),
            lambda: imap.uid("STORE", "1:*", "+FLAGS.SILENT", r"(\Deleted)"),
            imap.expunge,
        )
        for command in commands:
            status, reply = command()
            if status != "OK":
                raise refusal(f"it did not empty {folder}", reply)

    def quota(self, user_name: str, password: str | None) -> list[dict]:
        """Return the quotas of a user's mailbox, such as [{"resource": "STORAGE", "used": 10, "limit": 1024}].

        STORAGE is in units of 1024 bytes (RFC 9208). ApiError if the server does not support quotas.
        """
        with self.session(user_name, password) as imap:
            if b"QUOTA" not in imap.capability()[1][0].split():  # capabilities may grow at the log-in
                raise ApiError("The imap service has no quotas.", code="unavailable")
            status, answers = imap.getquotaroot("INBOX")
            if status != "OK":
                raise refusal("it refused the quota", answers[0])
            lists = [re.search(rb"\(([^()]*)\)\s*\Z", line) for line in answers[1] if isinstance(line, bytes)]
            resources = [match[1].decode().split() for match in lists if match]
            return [
                {"resource": triples[i], "used": int(triples[i + 1]), "limit": int(triples[i + 2])}
                for triples in resources
                for i in range(0, len(triples) - 2, 3)
            ]


def refusal(reason: str, reply: list) -> ServiceDown:
    """Return the error for a command that the server refused: `reason`, and the server's sentence from `reply`."""
    sentence = printable(" ".join(to_text(reply[0] or b"").split()))[:100].rstrip(". ")
    return ServiceDown("imap", f"{reason}: {sentence}")


def has_mails(imap: ImapConversation, folder: str) -> bool:
    r"""Return whether a folder exists and can have mails, which `\Noselect` denies (RFC 3501 section 7.2.2)."""
    lines = [line[0] if isinstance(line, tuple) else line for line in imap.list(pattern=folder)[1]]
    return any(line and not re.match(rb"(?i)\([^()]*\\(noselect|nonexistent)\b", line) for line in lines)


def own_folders(imap: ImapConversation) -> list[str]:
    """Return the user's own folders as quoted strings, without the public ones and those of other users.

    The latter two are in other namespaces (RFC 2342), and the user may have the right to delete them.
    """
    spaces = namespaces(imap)
    folders = []
    for folder in quoted_folders(imap):
        # A folder belongs to the longest prefix. "Public" alone also belongs to the prefix "Public/".
        around = [(len(p), own) for p, own in spaces if (folder[:-1] + p[-1:]).startswith(f'"{p}')]
        if not around or max(around)[1]:
            folders.append(folder)
    return folders


def namespaces(imap: ImapConversation) -> list[tuple[str, bool]]:
    """Return the namespaces of the IMAP server, such as [("", True), ("Public/", False)]. True: the user's own ones.

    Return [] if the server does not support the command NAMESPACE. ServiceDown if it refuses the command.
    """
    if b"NAMESPACE" not in imap.capability()[1][0].upper().split():
        return []
    status, reply = imap.namespace()
    if status != "OK":
        raise refusal("it did not name the shared folders", reply)
    # The answer has three lists: the user's own, other users' and shared namespaces. NIL is an empty list.
    found, depth, part, before = [], 0, 0, b""
    for match in NAMESPACE_TOKEN.finditer(reply[0]):
        depth += (match[0] == b"(") - (match[0] == b")")
        if before == b"(" and depth == 2 and match[1] is not None:
            found.append((match[1].decode(), part == 0))
        part += depth == 0
        before = match[0]
    return found


def quoted_folders(imap: ImapConversation) -> list[str]:
    """Return the folders of the mailbox as quoted strings for IMAP commands, such as ['"Sent"', '"Drafts"'].

    Names with line ends or with characters beyond ASCII are left out, since they cannot be quoted.
    """
    names = []
    for line in imap.list()[1]:
        if isinstance(line, tuple):  # the name came as a literal
            names.append(b'"%b"' % re.sub(rb'(["\\])', rb"\\\1", line[1]))
        elif match := re.search(rb'(?:"[^"]*"|NIL) (?:"((?:[^"\\]|\\.)*)"|([^"\s]+))\Z', line or b""):
            names.append(b'"%b"' % (match[2] or match[1]))
    return [name.decode() for name in names if name.isascii() and b"\r" not in name and b"\n" not in name]
