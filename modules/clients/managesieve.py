"""The client of ManageSieve servers (RFC 5804), which store the mail filter scripts of users."""

import base64
import contextlib
import re
from collections.abc import Iterator

from mailapi import ApiError

from .base import Client, ServiceDown

SESSION_SECONDS = 10  # of a conversation, from the greeting on
MAX_BYTES = 4 * 1024 * 1024  # received in one conversation
MAX_LINE = 8192  # bytes
MAX_WORDS = 50_000  # words and lines of a response: each takes up to a hundred bytes of memory
TOKEN = re.compile(rb'"((?>(?:[^"\\]|\\.)*))"?|([^\s"]+)')


class Refused(Exception):
    """The error for a command that the server has refused (NO or BYE). Its text is the server's explanation."""


# Existing libraries cannot limit the time of a whole conversation, and quote names wrongly. This client sends each
# argument as a literal (its length, then its bytes), so that no argument can be taken for a command.
class ManageSieve(Client):
    kind, schemes = "managesieve", {"sieve": 4190}
    setting_keys = ("url", "user", "password", "plain")

    def ping(self) -> str:
        with self.conversation() as connection:
            return Conversation(self, connection).capabilities.get("IMPLEMENTATION") or "sieve"

    def scripts(self, user_name: str, password: str | None) -> list[dict]:
        """Return a user's filter scripts, sorted by name, such as [{"script_name": "spam", "active": True}]."""
        with self.session(user_name, password) as sieve:
            lines, _ = sieve.command("LISTSCRIPTS")
            return [
                {"script_name": line[0], "active": line[1:] == ["ACTIVE"]} for line in sorted(lines) if line
            ]

    def get(self, user_name: str, password: str | None, name: str) -> str:
        """Return the text of the user's filter script `name`. ApiError if there is no such script."""
        with self.session(user_name, password) as sieve:
            lines, _ = sieve.command("GETSCRIPT", name)
            return lines[0][0]

    def put(self, user_name: str, password: str | None, name: str, script: str) -> str:
        """Store a filter script for a user. Return the server's warnings about the script, or "" if there are none.

        `name`: the script's name. `script`: its text. ApiError with the server's explanation if the text has an error.
        """
        with self.session(user_name, password) as sieve:
            _, response = sieve.command("PUTSCRIPT", name, script)
            return response[-1].strip() if "(WARNINGS)" in response[:-1] else ""

    def activate(self, user_name: str, password: str | None, name: str):
        """Let the script `name` filter the user's mail, and no other script. If `name` is "", no script filters it."""
        with self.session(user_name, password) as sieve:
            sieve.command("SETACTIVE", name)

    def delete(self, user_name: str, password: str | None, name: str):
        with self.session(user_name, password) as sieve:
            sieve.command("DELETESCRIPT", name)

    def purge(self, resource: str, user_name: str):
        """Delete all filter scripts of a user, including the active one. `resource` is ignored."""
        with self.session(user_name, None) as sieve:
            sieve.command("SETACTIVE", "")
            for line in filter(None, sieve.command("LISTSCRIPTS")[0]):
                sieve.command("DELETESCRIPT", line[0])

    @contextlib.contextmanager
    def session(self, user_name: str, password: str | None) -> Iterator["Conversation"]:
        """Log in to the ManageSieve server as a user for a `with` block, and yield the connection.

        ApiError with the server's explanation if the server refuses a command in the block.
        """
        identity = self.sasl_identity(user_name, password)
        with self.conversation(max_bytes=MAX_BYTES) as connection:
            sieve = Conversation(self, connection)
            connection.deadline.renew(SESSION_SECONDS)
            if self.encrypt:
                sieve.start_tls()
            sieve.log_in(identity)
            try:
                yield sieve
            except Refused as refused:
                sentence = str(refused) or "The server refused it without a reason."
                raise ApiError(sentence, audit="The managesieve service refused it.") from None


class Conversation:
    """A connection to a ManageSieve server. It sends commands and reads the responses."""

    def __init__(self, client: ManageSieve, connection):
        self.client, self.connection = client, connection
        self.read_greeting()

    def read_greeting(self):
        self.lines = self.connection.makefile("rb")
        self.capabilities = {line[0].upper(): " ".join(line[1:]) for line in self.read_response()[0] if line}

    def start_tls(self):
        if "STARTTLS" not in self.capabilities:
            raise ServiceDown(self.client.kind, "it does not offer STARTTLS, and passwords need it")
        self.command("STARTTLS")
        self.connection = self.client.tls.wrap_socket(self.connection, server_hostname=self.client.host)
        self.read_greeting()

    def log_in(self, identity: tuple[str, str, str]):
        try:
            self.command("AUTHENTICATE", "PLAIN", base64.b64encode("\0".join(identity).encode()).decode())
        except Refused:  # The server's own sentence could repeat the credentials.
            raise ServiceDown(self.client.kind, "it refused the log-in") from None

    def command(self, name: str, *arguments: str) -> tuple[list[list[str]], list[str]]:
        """Send a ManageSieve command. Return the lines of the response before its OK, and the words after the OK.

        For example ([["spam", "ACTIVE"], ["vacation"]], ["Done."]): each line is a list of its words. Raise Refused if
        the server answers NO or BYE.
        """
        literals = [b" {%d+}\r\n%b" % (len(text), text) for text in map(str.encode, arguments)]
        self.connection.sendall(name.encode() + b"".join(literals) + b"\r\n")
        return self.read_response()

    def read_response(self) -> tuple[list[list[str]], list[str]]:
        lines: list[list[str]] = []
        left = MAX_WORDS
        while True:
            status, tokens = self.read_tokens()
            left -= 1 + len(tokens)
            if left < 0:
                raise OSError("it sends too much")
            if status == b"OK":
                return lines, tokens[1:]
            if status:
                raise Refused(" ".join(tokens[1:][-1:]).strip().replace("\r\n", "\n"))
            lines.append(tokens)

    def read_tokens(self) -> tuple[bytes, list[str]]:
        """Read a line of a response. Return its status and a list of all its words, such as (b"OK", ["OK", "Done."]).

        The status is b"OK", b"NO" or b"BYE", and b"" for any other line. A quoted string or literal (RFC 5804 section
        1.2) is one word.
        """
        raw, tokens, status = self.read_line(), [], b""
        if match := re.match(rb"(OK|NO|BYE)\b", raw):
            status = match[1]
        while True:
            literal = re.search(rb"\{([0-9]{1,9})\+?\}\Z", raw)
            tokens += [
                re.sub(rb"\\(.)", rb"\1", quoted) if quoted or not atom else atom
                for quoted, atom in TOKEN.findall(raw[: literal.start()] if literal else raw)
            ]
            if not literal:
                return status, [token.decode(errors="replace") for token in tokens]
            if int(literal[1]) > self.connection.deadline.max_bytes:  # before that much is allocated
                raise OSError("it sends too much")
            tokens.append(self.lines.read(int(literal[1])))
            raw = self.read_line()

    def read_line(self) -> bytes:
        raw = self.lines.readline(MAX_LINE + 2)
        if not raw.endswith(b"\n"):
            raise self.client.protocol_error(raw.decode(errors="replace"))
        return raw.rstrip(b"\r\n")
