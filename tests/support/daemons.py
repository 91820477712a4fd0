"""Mail daemons that use the master database file, too."""

import contextlib
import sqlite3


def daemon_connection(path, **options):
    """Connect to a file as a mail daemon does, without waiting for locks."""
    return contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0, **options))


def file_is_free(path) -> bool:
    """Tell whether a daemon would get the file for itself at once."""
    with daemon_connection(path) as daemon:
        try:
            daemon.execute("BEGIN EXCLUSIVE")
            daemon.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
    return True
