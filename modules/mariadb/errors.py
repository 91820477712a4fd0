"""The error numbers of MariaDB and MySQL, grouped by meaning, and the exceptions that mailapi raises for them."""

from mailapi import ApiError, CommitOutcomeUnknown, TransactionRolledBack

# The server refuses the connection or ends it, the connection cannot be used any more, or the server does not serve.
LOST = {
    0,
    1028,
    1040,
    1042,
    1043,
    1044,
    1045,
    1047,
    1049,
    1053,
    1077,
    1129,
    1130,
    1152,
    1158,
    1159,
    1160,
    1161,
}
LOST |= {1184, 1203, 1226, 1927, 2002, 2003, 2006, 2012, 2013, 2014, 2026, 2055, 4031}
# The server has rolled the transaction back: changed meanwhile, a deadlock or another node's commit, KILL QUERY. Or it
# has not begun it, since another one has its XA identifier.
UNDONE = {1020, 1213, 1317, 1440}
BUSY_NUMBERS = {1205, 1969, 3024}  # a wait for a lock, a statement that took too long
TRUNCATED, TOO_LONG = 1265, 1406  # a note about blanks at the end; an error
UNFIT = {1264, TOO_LONG}
PACKET_TOO_LARGE = 1153
# Constraints of a table: a key that a row has already, a column without a value, a foreign key.
UNIQUE, NOT_NULL, NO_DEFAULT, HAS_CHILDREN, NO_PARENT = 1062, 1048, 1364, 1451, 1452
READ_ONLY = {1290, 1792, 1836}
NO_SUCH_LETTERS = 1267  # a text has letters that the character set of a column does not have


def code(error: BaseException) -> int:
    """Return the error number in an exception of PyMySQL, such as 1062; 0 if it has none."""
    first = next(iter(error.args), None)
    return first if isinstance(first, int) else 0


class Unreachable(ApiError):
    """The error (HTTP 503) for a database server that is down, hangs or refuses the log-in.

    `what`: the name of the database in the message, such as "state database".
    """

    def __init__(self, what: str):
        super().__init__(f"The {what} cannot be reached. Try again.", http=503, retry_after=5)


class Unusable(ApiError):
    """The error (HTTP 500) for a database that lacks what mailapi needs, such as a table or a privilege.

    `what`: the name of the database in the message, such as "state database". The log has the server's own message.
    """

    def __init__(self, what: str):
        super().__init__(f"The {what} cannot be used. The log has the cause.", http=500, code="database")


class NoSuchLetters(Unusable):
    """The error for a search for a text with letters that the column cannot store, so that no row can match."""


class Unfit(ApiError):
    """The error for a value that a column cannot store: it is too long, or has letters that the character set lacks.

    `what`: the name of the database in the message, such as "database of the mailserver".
    """

    def __init__(self, what: str):
        super().__init__(f"The {what} has no place for this. The log has the cause.", code="refused")


class ConnectionLost(TransactionRolledBack):
    """The error for a connection that broke before the commit. The server then rolls back the transaction.

    `what`: the name of the database in the message, such as "state database".
    """

    def __init__(self, what: str):
        super().__init__()
        self.args, self.status, self.retry_after = (f"{what} lost",), Unreachable(what).status, 5


class CommitLost(CommitOutcomeUnknown):
    """The error for a connection that broke during a commit. It is unknown whether the server has committed.

    `store`: the database.
    """

    def __init__(self, store):
        super().__init__(
            f"The connection to the {store.what} was lost; whether the change was made is not known.",
            http=503,
            retry_after=5,
        )
        self.store_in_doubt = store


class TooLarge(ApiError):
    """The error (HTTP 413) for a statement that is longer than the server accepts.

    `most`: the server's limit in bytes (max_allowed_packet).
    """

    def __init__(self, most: int):
        super().__init__(
            f"Too large for the database, which takes {most:,} bytes at once (max_allowed_packet).", http=413
        )
