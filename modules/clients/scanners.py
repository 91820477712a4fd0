"""The clients of spam and virus scanners: SpamAssassin's spamd and ClamAV's clamd."""

import re
import socket
import struct

from mailapi import ApiError

from .base import PROMPT_SECONDS, SCAN_SECONDS, Client

CHUNK = 64 * 1024  # bytes
NUMBER = r"(-?[0-9]{1,6}\.?[0-9]{0,6})"
VERDICT = re.compile(rf"(?im)^spam: *(true|false|yes|no) *; *{NUMBER} */ *{NUMBER} *$")


class Spamd(Client):
    """The client of SpamAssassin's spamd. It uses protocol version 1.5 (spamd/PROTOCOL in SpamAssassin's source)."""

    kind, schemes = "antispam", {"spamd": 783}

    def ping(self) -> str:
        return "SPAMD/" + self.request("PING", b"", PROMPT_SECONDS)[0]

    def scan(self, message: bytes) -> dict:
        """Let spamd check a message for spam. Return the result as in this example:

        {"spam": True, "score": 7.1, "threshold": 5.0, "rules": ["GTUBE"]}
        """
        _, head, body = self.request("SYMBOLS", message, SCAN_SECONDS)
        if not (verdict := VERDICT.search(head)):
            raise self.protocol_error(head)
        return {
            "spam": verdict[1].lower() in ("true", "yes"),
            "score": float(verdict[2]),
            "threshold": float(verdict[3]),
            "rules": [rule for rule in re.split(r"[,\s]+", body) if rule],
        }

    def request(self, command: str, message: bytes, seconds: float) -> tuple[str, str, str]:
        """Send a command, such as "PING", and a message to spamd. Return (version, headers, body) of the response.

        For example ("1.1", "Spam: True ; 7.1 / 5.0", "GTUBE"). `seconds`: the time limit.
        """
        with self.conversation(seconds) as connection:
            connection.sendall(
                b"%b SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % (command.encode(), len(message))
            )
            connection.sendall(message)
            connection.shutdown(socket.SHUT_WR)  # spamd reads to the end before it answers
            answer = connection.makefile("rb").read().decode(errors="replace")
            status_line, _, remainder = answer.partition("\n")
            status = re.match(r"SPAMD/([0-9.]{1,9}) +([0-9]{1,9}) +([^\r]*)", status_line)
            if not status or status[2] != "0":
                raise self.protocol_error(status_line)
            head, _, body = remainder.replace("\r\n", "\n").partition("\n\n")
            return status[1], head, body


class Clamd(Client):
    """The client of ClamAV's clamd(8), which finds viruses."""

    kind, schemes = "antivirus", {"clamd": 3310}
    # Commands begin with z: then commands and answers end with a NUL byte.

    def ping(self) -> str:
        with self.conversation() as connection:
            connection.sendall(b"zVERSION\0")
            version = read_answer(connection)
            if not version.startswith("ClamAV"):
                raise self.protocol_error(version)
            return version

    def scan(self, message: bytes) -> dict:
        """Let clamd search a message for viruses. Return {"clean": True, "signature": None} if it finds none.

        If it finds one, return {"clean": False, "signature": name of the virus}. ApiError if clamd refuses the
        message, for example because of its size.
        """
        with self.conversation(SCAN_SECONDS) as connection:
            try:
                connection.sendall(b"zINSTREAM\0")
                for start in range(0, len(message), CHUNK):
                    chunk = message[start : start + CHUNK]
                    connection.sendall(struct.pack("!I", len(chunk)) + chunk)
                connection.sendall(struct.pack("!I", 0))
            except (BrokenPipeError, ConnectionResetError):
                pass  # clamd answers, and closes the connection, when a message exceeds its limit
            verdict = read_answer(connection)
            if match := re.fullmatch(r"stream: (.+) FOUND", verdict):
                return {"clean": False, "signature": match[1]}
            if verdict == "stream: OK":
                return {"clean": True, "signature": None}
            if verdict.endswith("ERROR"):
                sentence = "The antivirus service refused the message"
                raise ApiError(f"{sentence}: {verdict[:200]}", audit=f"{sentence}.")
            raise self.protocol_error(verdict)


def read_answer(connection) -> str:
    """Read one answer of clamd from a socket, and return it as text without the NUL byte at its end."""
    answer, file = bytearray(), connection.makefile("rb")  # bytes would be copied for every chunk
    while not answer.endswith(b"\0") and (chunk := file.read1(4096)):
        answer.extend(chunk)
    return answer.rstrip(b"\0").decode(errors="replace")
