"""Mail daemons that use the master database file, too."""

import contextlib
import hashlib
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


def daemon_log_in(site, name: str, password: str) -> str | None:
    """Return the user as whom the SMTP and POP daemons act after a log-in by name and password; None: they refuse it.

    They verify user_authdata of the name that is given, and act as its user_alias if it has one.
    """
    for authdata, alias in site.sql("SELECT user_authdata, user_alias FROM users WHERE user_name = ?", name):
        salt, _, digest = (authdata or "").partition(":")
        if hashlib.sha256((salt + password).encode()).hexdigest() == digest:
            return alias or name
    return None
