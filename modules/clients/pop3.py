"""The client of POP3 servers (RFC 1939), by poplib. It only checks whether a server works."""

import contextlib
import poplib

from .base import Client
from .deadline import OpenSocketMixin, to_text


class PopConversation(OpenSocketMixin, poplib.POP3):
    pass


class Pop(Client):
    kind, schemes = "pop", {"pop3": 110, "pop3s": 995}

    def ping(self) -> str:
        with self.conversation() as connection:
            pop = PopConversation(connection, self.host)
            with contextlib.suppress(poplib.error_proto):  # CAPA is optional
                pop.capa()
            return to_text(pop.welcome).removeprefix("+OK").strip()
