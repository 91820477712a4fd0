"""A client of ManageSieve (RFC 5804), the protocol by which users keep their filter scripts on the mail server.

The libraries for it know no deadline for a whole conversation, and quote script names badly or not at all; here
every text travels as a literal, whose length goes ahead of it, so that nothing in a text can end it.
"""

import base64
import contextlib
import re
from collections.abc import Iterator

from mailapi import ApiError

from ..clients.base import Client, ServiceDown

SECONDS = 10  # that a conversation may take once the server has greeted
MOST = 4 * 1024 * 1024  # bytes of scripts in one conversation
LONGEST_LINE = 8192
WORD = re.compile(rb'"((?>(?:[^"\\]|\\.)*))"?|([^\s"]+)')


class Refused(Exception):
    """The server answered NO or BYE, with this sentence."""


class ManageSieve(Client):
    kind, schemes = "managesieve", {"sieve": 4190}
    takes = ("url", "user", "password", "plain")

    def ping(self) -> str:
        with self.talk() as connection:
            return Conversation(self, connection).capabilities.get("IMPLEMENTATION") or "sieve"

    def scripts(self, user_name: str, password: str | None) -> list[dict]:
        """The names of a user's scripts, and which of them is active."""
        with self.session(user_name, password) as sieve:
            lines, _ = sieve.command("LISTSCRIPTS")
            return [
                {"script_name": line[0], "active": line[1:] == ["ACTIVE"]} for line in sorted(lines) if line
            ]

    def get(self, user_name: str, password: str | None, name: str) -> str:
        with self.session(user_name, password) as sieve:
            lines, _ = sieve.command("GETSCRIPT", name)
            return lines[0][0]

    def put(self, user_name: str, password: str | None, name: str, script: str) -> str:
        """Keep a script that the server finds right; its warnings, if any."""
        with self.session(user_name, password) as sieve:
            _, remarks = sieve.command("PUTSCRIPT", name, script)
            return remarks[-1].strip() if "(WARNINGS)" in remarks[:-1] else ""

    def activate(self, user_name: str, password: str | None, name: str):
        """Make a script the one that mail is filtered by; without a name none is."""
        with self.session(user_name, password) as sieve:
            sieve.command("SETACTIVE", name)

    def delete(self, user_name: str, password: str | None, name: str):
        with self.session(user_name, password) as sieve:
            sieve.command("DELETESCRIPT", name)

    def purge(self, what: str, user_name: str):
        """All of a user's scripts, the active one, too."""
        with self.session(user_name, None) as sieve:
            sieve.command("SETACTIVE", "")
            for line in filter(None, sieve.command("LISTSCRIPTS")[0]):
                sieve.command("DELETESCRIPT", line[0])

    @contextlib.contextmanager
    def session(self, user_name: str, password: str | None) -> Iterator["Conversation"]:
        """A conversation for the user; what the server refuses in it is an ApiError with its sentence."""
        identity = self.identity(user_name, password)
        with self.talk(most=MOST) as connection:
            sieve = Conversation(self, connection)
            connection.deadline.renew(SECONDS)
            if self.encrypt:
                sieve.start_tls()
            sieve.log_in(identity)
            try:
                yield sieve
            except Refused as refused:
                sentence = str(refused) or "The server refused it without a reason."
                raise ApiError(sentence, audit="The managesieve service refused it.") from None


class Conversation:
    """Commands and answers on one connection, from the greeting on."""

    def __init__(self, client: ManageSieve, connection):
        self.client, self.connection = client, connection
        self.greet()

    def greet(self):
        self.lines = self.connection.makefile("rb")
        self.capabilities = {line[0].upper(): " ".join(line[1:]) for line in self.answer()[0] if line}

    def start_tls(self):
        if "STARTTLS" not in self.capabilities:
            raise ServiceDown(self.client.kind, "it does not offer STARTTLS, and passwords need it")
        self.command("STARTTLS")
        self.connection = self.client.tls.wrap_socket(self.connection, server_hostname=self.client.host)
        self.greet()

    def log_in(self, identity: tuple[str, str, str]):
        try:
            self.command("AUTHENTICATE", "PLAIN", base64.b64encode("\0".join(identity).encode()).decode())
        except Refused:  # without its words: they could repeat what was sent
            raise ServiceDown(self.client.kind, "it refused the log-in") from None

    def command(self, name: str, *texts: str) -> tuple[list[list[str]], list[str]]:
        """The lines of the answer, as their words, and what came with its OK; Refused where it does not say OK."""
        literals = [b" {%d+}\r\n%b" % (len(text), text) for text in map(str.encode, texts)]
        self.connection.sendall(name.encode() + b"".join(literals) + b"\r\n")
        return self.answer()

    def answer(self) -> tuple[list[list[str]], list[str]]:
        found: list[list[str]] = []
        while True:
            verdict, words = self.line()
            if verdict == b"OK":
                return found, words[1:]
            if verdict:
                raise Refused(" ".join(words[1:][-1:]).strip().replace("\r\n", "\n"))
            found.append(words)

    def line(self) -> tuple[bytes, list[str]]:
        """OK, NO or BYE where a line begins with it, and the line's words: atoms, quoted strings, literals."""
        raw, words, verdict = self.read_line(), [], b""
        if said := re.match(rb"(OK|NO|BYE)\b", raw):
            verdict = said[1]
        while True:
            literal = re.search(rb"\{([0-9]{1,9})\+?\}\Z", raw)
            words += [
                re.sub(rb"\\(.)", rb"\1", quoted) if quoted or not atom else atom
                for quoted, atom in WORD.findall(raw[: literal.start()] if literal else raw)
            ]
            if not literal:
                return verdict, [word.decode(errors="replace") for word in words]
            if int(literal[1]) > self.connection.deadline.most:  # before room is made for it
                raise OSError("it sends too much")
            words.append(self.lines.read(int(literal[1])))
            raw = self.read_line()

    def read_line(self) -> bytes:
        raw = self.lines.readline(LONGEST_LINE + 2)
        if not raw.endswith(b"\n"):
            raise self.client.nonsense(raw.decode(errors="replace"))
        return raw.rstrip(b"\r\n")
