"""Clients of SpamAssassin's spamd and ClamAV's clamd: is it spam, is it a virus?"""

import re
import socket
import struct

from mailapi import ApiError

from ..clients.base import PROMPT, SCAN_SECONDS, Client

CHUNK = 64 * 1024  # bytes
NUMBER = r"(-?[0-9]{1,6}\.?[0-9]{0,6})"
VERDICT = re.compile(rf"(?im)^spam: *(true|false|yes|no) *; *{NUMBER} */ *{NUMBER} *$")


class Spamd(Client):
    """SPAMC/1.5, as spamd/PROTOCOL in SpamAssassin's source has it."""

    kind, schemes = "antispam", {"spamd": 783}

    def ping(self) -> str:
        return "SPAMD/" + self.ask("PING", b"", PROMPT)[0]

    def scan(self, message: bytes) -> dict:
        """Whether it counts as spam, its score, the score from which on it does, and the rules that it met."""
        _, head, body = self.ask("SYMBOLS", message, SCAN_SECONDS)
        if not (verdict := VERDICT.search(head)):
            raise self.nonsense(head)
        return {
            "spam": verdict[1].lower() in ("true", "yes"),
            "score": float(verdict[2]),
            "threshold": float(verdict[3]),
            "rules": [rule for rule in re.split(r"[,\s]+", body) if rule],
        }

    def ask(self, command: str, message: bytes, seconds: float) -> tuple[str, str, str]:
        """The protocol's version, the headers and the body of what spamd answers."""
        with self.talk(seconds) as connection:
            connection.sendall(
                b"%b SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % (command.encode(), len(message))
            )
            connection.sendall(message)
            connection.shutdown(socket.SHUT_WR)  # it reads on until the end
            answer = connection.makefile("rb").read().decode(errors="replace")
            first, _, rest = answer.partition("\n")
            status = re.match(r"SPAMD/([0-9.]{1,9}) +([0-9]{1,9}) +([^\r]*)", first)
            if not status or status[2] != "0":
                raise self.nonsense(first)
            head, _, body = rest.replace("\r\n", "\n").partition("\n\n")
            return status[1], head, body


class Clamd(Client):
    """Commands that begin with z end in a NUL byte, answers too (clamd(8))."""

    kind, schemes = "antivirus", {"clamd": 3310}

    def ping(self) -> str:
        with self.talk() as connection:
            connection.sendall(b"zVERSION\0")
            version = answer_of(connection)
            if not version.startswith("ClamAV"):
                raise self.nonsense(version)
            return version

    def scan(self, message: bytes) -> dict:
        """Whether no signature fits, else the name of one that does."""
        with self.talk(SCAN_SECONDS) as connection:
            try:
                connection.sendall(b"zINSTREAM\0")
                for start in range(0, len(message), CHUNK):
                    chunk = message[start : start + CHUNK]
                    connection.sendall(struct.pack("!I", len(chunk)) + chunk)
                connection.sendall(struct.pack("!I", 0))
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has said why, as of a message that is longer than it takes
            verdict = answer_of(connection)
            if found := re.fullmatch(r"stream: (.+) FOUND", verdict):
                return {"clean": False, "signature": found[1]}
            if verdict == "stream: OK":
                return {"clean": True, "signature": None}
            if verdict.endswith("ERROR"):
                sentence = "The antivirus service refused the message"
                raise ApiError(f"{sentence}: {verdict[:200]}", audit=f"{sentence}.")
            raise self.nonsense(verdict)


def answer_of(connection) -> str:
    answer, lines = bytearray(), connection.makefile("rb")  # bytes would be copied for every piece
    while not answer.endswith(b"\0") and (piece := lines.read1(4096)):
        answer.extend(piece)
    return answer.rstrip(b"\0").decode(errors="replace")
