"""An SMTP server for tests: aiosmtpd, which keeps what comes in a Maildir and refuses recipients named refused@…."""

from aiosmtpd.handlers import Mailbox


class Sink(Mailbox):
    """A handler that stores mails in a Maildir."""

    async def handle_RCPT(self, server, session, envelope, address, options):
        """Refuse recipients named refused@…."""
        if address.startswith("refused@"):
            return "550 5.1.1 No such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"
