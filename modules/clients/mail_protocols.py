"""Clients of the mail servers: SMTP, IMAP and POP3, on top of the standard library's."""

import contextlib
import imaplib
import poplib
import re
import smtplib
import socket
from collections.abc import Iterator

from mailapi import ApiError

from ..clients.base import MOST, SLOT_WAIT, Client, ServiceDown
from ..clients.deadline import DeadlineSocket, readable

SECONDS = (
    10  # that a conversation may take once the server has greeted; Dovecot thinks 2 s over a wrong password
)
DELIVERY_SECONDS = 60  # for a message to be taken over
FOLDERS = ("INBOX", "Drafts", "Sent", "Trash", "Junk", "Archive")


class SmtpConversation(smtplib.SMTP):
    """smtplib over a socket that is already open."""

    def __init__(self, connection: DeadlineSocket, host: str):
        self.connection = connection
        super().__init__(host, local_hostname=socket.gethostname())  # its own default asks the DNS

    def connect(self, *where):
        code, self.welcome = super().connect(*where)
        return code, self.welcome

    def _get_socket(self, host, port, timeout):
        return self.connection


class OpenSocket:
    """For imaplib and poplib: a socket that is already open."""

    def __init__(self, connection: DeadlineSocket, host: str):
        self.connection = connection
        super().__init__(host)

    def _create_socket(self, timeout):
        return self.connection


class ImapConversation(OpenSocket, imaplib.IMAP4):
    def read(self, size):
        if size > self.sock.deadline.most:  # imaplib would make room for it
            raise OSError("it sends too much")
        return super().read(size)


class PopConversation(OpenSocket, poplib.POP3):
    pass


class Smtp(Client):
    kind, schemes = "smtp", {"smtp": 25, "smtps": 465}
    takes = ("url", "user", "password", "plain")

    def ping(self) -> str:
        with self.talk() as connection:
            smtp = SmtpConversation(connection, self.host)
            code, said = smtp.ehlo()
            if code != 250:
                raise self.nonsense(readable(said))
            return readable(smtp.welcome).split("\n")[0]

    def send(self, sender: str, recipients: list[str], message: bytes):
        """Hand a message over to all recipients or to none; ApiError has the server's reason."""
        with self.talk() as connection:
            smtp = SmtpConversation(connection, self.host)
            smtp.ehlo_or_helo_if_needed()
            if self.master:
                self.log_in(smtp)
            connection.deadline.renew(DELIVERY_SECONDS)
            options = self.options(smtp, sender, recipients, message)
            self.accepted(smtp.docmd("MAIL", f"FROM:<{sender}>{options}"), sender)
            for recipient in recipients:
                self.accepted(smtp.docmd("RCPT", f"TO:<{recipient}>"), recipient)
            # Bare line ends would let a message pass for two ("SMTP smuggling").
            try:
                self.accepted(smtp.data(re.sub(rb"\r\n|\r|\n", b"\r\n", message)), "the message")
            except smtplib.SMTPDataError as refused:
                self.accepted(refused.args, "the message")
            with contextlib.suppress(OSError):  # the message is theirs by now
                smtp.quit()

    def log_in(self, smtp: SmtpConversation):
        if self.encrypt and self.scheme != "smtps":
            smtp.starttls(context=self.tls)
        try:
            smtp.login(*self.master)
        except smtplib.SMTPAuthenticationError:
            raise ServiceDown(self.kind, "it refused the log-in") from None

    def options(self, smtp: SmtpConversation, sender: str, recipients: list[str], message: bytes) -> str:
        """What the server must know beforehand; ApiError where it cannot take such a message."""
        words = ""
        if not (sender + "".join(recipients)).isascii():
            if not smtp.has_extn("smtputf8"):
                raise ApiError("The smtp service takes no addresses that are not ASCII.")
            smtp.command_encoding, words = "utf-8", " SMTPUTF8"
        if smtp.has_extn("8bitmime") and not message.isascii():
            words += " BODY=8BITMIME"
        return words + f" SIZE={len(message)}" if smtp.has_extn("size") else words

    @staticmethod
    def accepted(reply: tuple[int, bytes], what: str):
        if not 200 <= reply[0] < 300:
            sentence = f"The smtp service refused {what}: {reply[0]} {readable(reply[1])[:200]}"
            raise ApiError(sentence, audit=f"The smtp service refused {what}: {reply[0]}")


class Imap(Client):
    kind, schemes, provides = "imap", {"imap": 143, "imaps": 993}, ("mail",)
    takes = ("url", "user", "password", "plain")

    def ping(self) -> str:
        with self.talk() as connection:
            welcome = readable(
                ImapConversation(connection, self.host).welcome
            )  # it asks for the capabilities, too
            return re.sub(r"^\* \w+ (\[[^]]*\] ?)?", "", welcome)

    @contextlib.contextmanager
    def session(
        self,
        user_name: str,
        password: str | None,
        seconds: float | None = SECONDS,
        most: float = MOST,
        wait: float = SLOT_WAIT,
    ) -> Iterator[ImapConversation]:
        """A conversation in which user_name is logged in, by the master credentials or the user's own password.

        It may take so many seconds from the greeting on; with None, PROMPT with the greeting.
        """
        identity = "\0".join(self.identity(user_name, password)).encode()
        with self.talk(most=most, wait=wait) as connection:
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
                raise ServiceDown(
                    self.kind, "it refused the log-in"
                ) from None  # its words could repeat what was sent
            yield imap

    def provision(self, what: str, user_name: str, password: str | None):
        """The folders that mail clients expect exist, and are subscribed."""
        if what not in self.provides:
            return super().provision(what, user_name, password)
        with self.session(user_name, password, seconds=None) as imap:
            for folder in FOLDERS:
                done, said = imap.create(folder) if folder != "INBOX" else imap.status(folder, "(MESSAGES)")
                if (
                    done != "OK"
                    and b"[ALREADYEXISTS]" not in said[0]
                    and imap.list(pattern=folder)[1] == [None]
                ):
                    raise ServiceDown(self.kind, f"it did not make {folder}: {readable(said[0])[:100]}")
                imap.subscribe(folder)
        return None

    def purge(self, what: str, user_name: str):
        """Every folder with its mail, and the mail in INBOX, which itself cannot go."""
        if what not in self.provides:
            return super().purge(what, user_name)
        with self.session(user_name, None) as imap:
            for folder in sorted(folders(imap), reverse=True):  # what is inside a folder before the folder
                if folder.upper() != b'"INBOX"':
                    imap.delete(folder)
            imap.select("INBOX")
            imap.uid("STORE", "1:*", "+FLAGS.SILENT", r"(\Deleted)")
            imap.expunge()
        return None

    def quota(self, user_name: str, password: str | None) -> list[dict]:
        """What of each resource is used and how much there may be: STORAGE in units of 1024 bytes (RFC 9208)."""
        with self.session(user_name, password) as imap:
            if b"QUOTA" not in imap.capability()[1][0].split():  # what it said before the log-in may be less
                raise ApiError("The imap service keeps no quotas.")
            _, answers = imap.getquotaroot("INBOX")
            lists = [re.search(rb"\(([^()]*)\)\s*\Z", line) for line in answers[1] if isinstance(line, bytes)]
            resources = [found[1].decode().split() for found in lists if found]
            return [
                {"resource": words[i], "used": int(words[i + 1]), "limit": int(words[i + 2])}
                for words in resources
                for i in range(0, len(words) - 2, 3)
            ]


def folders(imap: ImapConversation) -> list[bytes]:
    """The names of all folders, quoted."""
    names = []
    for line in imap.list()[1]:
        if isinstance(line, tuple):  # the name came as a literal
            names.append(b'"%b"' % re.sub(rb'(["\\])', rb"\\\1", line[1]))
        elif found := re.search(rb'(?:"[^"]*"|NIL) (?:"((?:[^"\\]|\\.)*)"|([^"\s]+))\Z', line or b""):
            names.append(b'"%b"' % (found[2] or found[1]))
    return [name for name in names if name.isascii() and b"\r" not in name and b"\n" not in name]


class Pop(Client):
    kind, schemes = "pop", {"pop3": 110, "pop3s": 995}

    def ping(self) -> str:
        with self.talk() as connection:
            pop = PopConversation(connection, self.host)
            with contextlib.suppress(poplib.error_proto):  # CAPA is optional
                pop.capa()
            return readable(pop.welcome).removeprefix("+OK").strip()
