"""Parses HTTP requests in `mailapi serve`. A body that is too long is refused as early as possible."""

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver, FixedStreamReceiver
from waitress.task import ErrorTask
from waitress.utilities import BadRequest, Error

import mailapi

from .bodies import MOST_DISCARDED
from .spool import IN_MEMORY, NoRoom, Spool

MOST_CHUNK_HEADER = 4 * 1024  # bytes of a chunk's first line, or of the trailer behind the last chunk
MOST_HEADERS = 200  # lines of a header: each takes some eighty bytes of memory, however short it is


class JsonError(ErrorTask):
    """A task of waitress that answers an invalid HTTP request with an error in JSON (docs/wire.md section 7a).

    The application is not called.
    """

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
    """The error (HTTP 503) for a request whose body does not fit into the temporary files of all connections."""

    code, reason = 503, "Service Unavailable"
    sentence = "Too much is being sent at the same time. Try again."


# waitress keeps a chunk header in memory, and a client could send one that never ends.
class ChunkedBody(ChunkedReceiver):
    """A request body in chunked encoding (RFC 9112 section 7.1). A chunk header that is too long is refused."""

    def __init__(self, spool, channel):
        super().__init__(spool)
        self.channel = channel

    def received(self, data):
        before = len(self)
        consumed = super().received(data)
        self.channel.bytes_in -= max(0, consumed - (len(self) - before))
        if len(self.control_line) + len(self.trailer) > MOST_CHUNK_HEADER:
            self.error = BadRequest("Chunk header too long")
        return consumed


class RequestParser(HTTPRequestParser):
    """A parser of one request. It drops a body that is too long; the application then answers HTTP 413."""

    most = 0  # bytes that the body may have
    refused = False

    def __init__(self, channel, adj):
        super().__init__(adj)
        self.channel = channel

    def parse_header(self, header_plus):
        if header_plus.count(b"\n") > MOST_HEADERS:
            raise ParsingError("Too many header lines")
        try:
            super().parse_header(header_plus)
        except ValueError:  # Python refuses integers of more than 4,300 digits
            raise ParsingError("Content-Length is invalid") from None
        if "TRANSFER_ENCODING" in self.headers or self.chunked and "CONTENT_LENGTH" in self.headers:
            # A proxy may see another end of this body (RFC 9112 section 6.1).
            self.headers["CONNECTION"] = "close"
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
        self.body_rcv = (
            ChunkedBody(spool, self.channel)
            if self.chunked
            else FixedStreamReceiver(self.content_length, spool)
        )

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
        """Stop parsing the request, and discard the rest of its body.

        The client gets `error`. None means that the body is too long: the application is called without it, and says
        so.
        """
        self.close()
        self.body_rcv, self.error, self.completed, self.refused = None, error, True, True
        self.expect_continue = False
        self.headers["CONNECTION"] = "close"
        if self.chunked:
            self.headers["CONTENT_LENGTH"] = str(self.most + 1)
        self.channel.discard = MOST_DISCARDED
