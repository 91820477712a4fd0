"""The cursor of all connections to MariaDB and MySQL. It refuses values and statements that are too long."""

from pymysql import DataError, OperationalError
from pymysql.cursors import Cursor

from .errors import PACKET_TOO_LARGE, TOO_LONG, TRUNCATED


class ServerCursor(Cursor):
    """A cursor of PyMySQL that raises an error where the server would shorten a text or close the connection."""

    def _query(self, q):
        self.refuse_too_large(q)
        rows = super()._query(q)
        if self.warning_count and self.description is None:
            self.refuse_shortened()
        return rows

    def refuse_too_large(self, statement: str | bytes):
        """Raise OperationalError if a statement is longer than the server accepts (max_allowed_packet)."""
        # The server would close the connection.
        most = self.connection.max_allowed_packet - 1
        if len(statement) * 4 <= most:
            return
        if isinstance(statement, str):
            statement = statement.encode(errors="surrogateescape")
        if len(statement) >= most:
            raise OperationalError(PACKET_TOO_LARGE, "more than max_allowed_packet")

    def refuse_shortened(self):
        """Raise DataError if the last statement stored a text from which the server cut off blanks to make it fit."""
        # The server does so even in strict mode, with a warning.
        warnings = Cursor(self.connection)
        warnings.execute("SHOW WARNINGS")
        for _, number, message in warnings.fetchall():
            if number == TRUNCATED:
                raise DataError(TOO_LONG, message.replace("Data truncated", "Data too long"))
