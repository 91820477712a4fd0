"""The client of SMTP servers (RFC 5321), by smtplib. It sends messages."""

import contextlib
import re
import smtplib
import socket

from mailapi import ApiError

from .base import Client, ServiceDown
from .deadline import DeadlineSocket, to_text

DELIVERY_SECONDS = 60  # for one message, from MAIL on


class SmtpConversation(smtplib.SMTP):
    """A connection of smtplib over a socket that is already open."""

    def __init__(self, connection: DeadlineSocket, host: str):
        self.connection = connection
        super().__init__(host, local_hostname=socket.gethostname())  # smtplib's default asks the DNS

    def connect(self, *address):
        code, self.welcome = super().connect(*address)
        return code, self.welcome

    def _get_socket(self, host, port, timeout):
        return self.connection


class Smtp(Client):
    kind, schemes = "smtp", {"smtp": 25, "smtps": 465}
    setting_keys = ("url", "user", "password", "plain")

    def ping(self) -> str:
        with self.conversation() as connection:
            smtp = SmtpConversation(connection, self.host)
            code, reply = smtp.ehlo()
            if code != 250:
                raise self.protocol_error(to_text(reply))
            return to_text(smtp.welcome).split("\n")[0]

    def send(self, sender: str, recipients: list[str], message: bytes):
        """Send a message to all recipients. If the server refuses one recipient, nobody gets the message.

        `sender` and `recipients`: mail addresses. ApiError with the server's reason if the server refuses the sender,
        a recipient or the message.
        """
        with self.conversation() as connection:
            smtp = SmtpConversation(connection, self.host)
            smtp.ehlo_or_helo_if_needed()
            if self.master:
                self.log_in(smtp, *self.master)
            connection.deadline.renew(DELIVERY_SECONDS)
            parameters = self.mail_parameters(smtp, sender, recipients, message)
            self.check_reply(smtp.docmd("MAIL", f"FROM:<{sender}>{parameters}"), sender)
            for recipient in recipients:
                self.check_reply(smtp.docmd("RCPT", f"TO:<{recipient}>"), recipient)
            # Some servers take a bare CR or LF for a line end, and see two messages in one ("SMTP smuggling").
            try:
                self.check_reply(smtp.data(re.sub(rb"\r\n|\r|\n", b"\r\n", message)), "the message")
            except smtplib.SMTPDataError as refused:
                self.check_reply((refused.smtp_code, refused.smtp_error), "the message")
            with contextlib.suppress(OSError):  # the server has accepted the message by now
                smtp.quit()

    def log_in(self, smtp: SmtpConversation, user: str, password: str):
        """Log in to the SMTP server, with STARTTLS if passwords must be encrypted. ServiceDown if it refuses."""
        if not (user + password).isascii():  # smtplib cannot send them
            raise ServiceDown(self.kind, "its user and password in config.py must be ASCII")
        if self.encrypt and self.scheme != "smtps":
            smtp.starttls(context=self.tls)
        try:
            smtp.login(user, password)
        except smtplib.SMTPAuthenticationError:
            raise ServiceDown(self.kind, "it refused the log-in") from None

    def mail_parameters(
        self, smtp: SmtpConversation, sender: str, recipients: list[str], message: bytes
    ) -> str:
        """Return the parameters of the SMTP command MAIL for a message, such as " SMTPUTF8 SIZE=1234". It may be "".

        Only parameters that the server supports are returned. ApiError if an address is not ASCII, and the server does
        not support SMTPUTF8 (RFC 6531).
        """
        parameters = ""
        if not (sender + "".join(recipients)).isascii():
            if not smtp.has_extn("smtputf8"):
                raise ApiError("The smtp service accepts ASCII addresses only.", field="recipients")
            smtp.command_encoding, parameters = "utf-8", " SMTPUTF8"
        if smtp.has_extn("8bitmime") and not message.isascii():
            parameters += " BODY=8BITMIME"
        return parameters + f" SIZE={len(message)}" if smtp.has_extn("size") else parameters

    @staticmethod
    def check_reply(reply: tuple[int, bytes | str], subject: str):
        """Raise ApiError if the code of an SMTP reply is not 2xx, which means success.

        `reply`: (code, text). `subject`: what the server has refused, an address or "the message".
        """
        if not 200 <= reply[0] < 300:
            sentence = f"The smtp service refused {subject}: {reply[0]}"
            raise ApiError(f"{sentence} {to_text(reply[1])[:200]}", audit=sentence)
