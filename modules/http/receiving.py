"""Requests to `mailapi serve` as they arrive: how long a body may be is decided when the headers are there, before any of
it is kept."""

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver, FixedStreamReceiver
from waitress.task import ErrorTask
from waitress.utilities import BadRequest, Error

import mailapi

from ..http.spool import IN_MEMORY, NoRoom, Spool

CONTROL = 16 * 1024  # bytes that a chunk's first line, or what follows the last chunk, may have


class JsonError(ErrorTask):
    """Answer what the API is not asked about in JSON, as clients expect it of every answer (docs/wire.md section 7a)."""

    def execute(self):
        error = self.request.error
        body = mailapi.encode({"status": getattr(error, "sentence", f"{error.reason}.")})
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        if error.code == 503:
            self.response_headers.append(("Retry-After", str(self.channel.adj.channel_timeout)))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class TooMuchSpooled(Error):
    code, reason = 503, "Service Unavailable"
    sentence = "Too much is being sent at the same time. Try again."


class Chunks(ChunkedReceiver):
    """A chunked body; what is between the chunks is kept in memory, and looked through anew with every piece."""

    def received(self, data):
        consumed = super().received(data)
        if len(self.control_line) + len(self.trailer) > CONTROL:
            self.error = BadRequest("Chunk header too long")
        return consumed


class Request(HTTPRequestParser):
    """A request as it arrives. One whose body is too long is given to the app without it, which refuses it."""

    most = 0  # bytes that the body may have
    refused = False

    def __init__(self, channel, adj):
        super().__init__(adj)
        self.channel = channel

    def parse_header(self, header_plus):
        try:
            super().parse_header(header_plus)
        except ValueError:  # a number of more digits than Python reads
            raise ParsingError("Content-Length is invalid") from None
        if self.body_rcv is None:
            self.expect_continue = False  # waitress would wait for a body
            return
        server = self.channel.server
        self.most = server.body_limit(self.path, self.query)
        if self.content_length > self.most or not self.most:
            self.refuse()
            return
        if self.content_length > IN_MEMORY:
            try:
                server.spooled.check(self.channel, self.content_length)
            except NoRoom:
                self.refuse(TooMuchSpooled(""))
                return
        spool = Spool(server.spooled, self.channel)
        self.body_rcv = Chunks(spool) if self.chunked else FixedStreamReceiver(self.content_length, spool)

    def received(self, data):
        if self.completed:
            return 0
        try:
            consumed = super().received(data)
            if self.chunked and self.body_rcv and not self.error and len(self.body_rcv) > self.most:
                self.refuse()
        except NoRoom:
            self.refuse(TooMuchSpooled(""))
        return len(data) if self.refused else consumed

    def refuse(self, error: Error | None = None):
        """Go on without the body, which the channel throws away: with the error, or else with that of the app."""
        self.close()
        self.body_rcv, self.error, self.completed, self.refused = None, error, True, True
        self.expect_continue = False
        self.headers["CONNECTION"] = "close"
        if self.chunked:
            self.headers["CONTENT_LENGTH"] = str(self.most + 1)
        self.channel.discard = mailapi.MOST_DISCARDED
