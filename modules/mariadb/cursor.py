"""The cursor of all connections to MariaDB and MySQL. This file needs PyMySQL; others import it when they connect."""

from pymysql import DataError, OperationalError
from pymysql.cursors import Cursor

from .errors import PACKET_TOO_LARGE, TOO_LONG, TRUNCATED


class ServerCursor(Cursor):
    """A cursor that refuses what the server would shorten, and what it would end the connection for."""

    def _query(self, q):
        self.refuse_too_large(q)
        rows = super()._query(q)
        if self.warning_count and self.description is None:
            self.refuse_shortened()
        return rows

    def refuse_too_large(self, statement: str | bytes):
        """The server ends a connection on which more is sent than it takes at once."""
        most = self.connection.max_allowed_packet - 1
        if len(statement) * 4 <= most:
            return
        if isinstance(statement, str):
            statement = statement.encode(errors="surrogateescape")
        if len(statement) >= most:
            raise OperationalError(PACKET_TOO_LARGE, "more than max_allowed_packet")

    def refuse_shortened(self):
        """Text loses the blanks beyond the length of its column, also in strict mode: the server notes it, no more."""
        warnings = Cursor(self.connection)
        warnings.execute("SHOW WARNINGS")
        for _, number, message in warnings.fetchall():
            if number == TRUNCATED:
                raise DataError(TOO_LONG, message.replace("Data truncated", "Data too long"))
