"""What goes wrong with a database on a server: its error numbers, and what the answer has of them."""

from mailapi import ApiError, CommitOutcomeUnknown, TransactionRolledBack

from ..mariadb.url import GONE, Unreachable

# The connection is of no use any more, or the server does not serve.
LOST = GONE | {0, 1028, 1184, 1203, 1226, 2002, 2003, 2006, 2012, 2013, 2014, 2026, 2055, 4031}
UNDONE = {1020, 1213, 1317}  # changed meanwhile, a deadlock or another node's commit, KILL QUERY
BUSY_NUMBERS = {1205, 1969, 3024}  # a lock was not to be had, a statement took too long
TRUNCATED, TOO_LONG = 1265, 1406  # a note about blanks at the end; an error
UNFIT = {1264, TOO_LONG}
PACKET_TOO_LARGE = 1153


class ConnectionLost(TransactionRolledBack):
    """The connection was lost before the transaction was committed: the server undoes it."""

    def __init__(self, what: str):
        super().__init__()
        self.args, self.status, self.retry_after = (f"{what} lost",), Unreachable(what).status, 5


class CommitLost(CommitOutcomeUnknown):
    """The connection was lost while a change was being committed."""

    def __init__(self, store):
        super().__init__(
            f"The connection to the {store.what} was lost; whether the change was made is not known.",
            http=503,
            retry_after=5,
        )
        self.store_in_doubt = store


class TooLarge(ApiError):
    """More than the server takes at once: its administrator decides how much that is."""

    def __init__(self, most: int):
        super().__init__(
            f"Too large for the database, which takes {most:,} bytes at once (max_allowed_packet).", http=413
        )
