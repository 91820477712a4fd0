"""A server of waitress that accepts no connections for a second when the system has no free files for them."""

import errno
import logging
import time

from waitress.server import TcpWSGIServer

log = logging.getLogger("mailapi.serving")
PAUSE = 1  # second
NO_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)  # errors of accept(2)


# The system reports a connection that waits to be accepted at once again. waitress would log a traceback each time.
class PausingServer(TcpWSGIServer):
    """An HTTP server that listens on one socket, and whose method `readable` is called after each pause."""

    paused_until: float = 0  # from time.monotonic(); 0 if the last connection could be accepted

    def accept(self):
        """Return a new connection and its address. Return None if there is none, or if a pause begins."""
        try:
            accepted = super().accept()
        except OSError as error:
            if error.errno not in NO_FILES:
                raise
            if not self.paused_until:
                log.warning("no connection can be accepted (%s): tried every second", error.strerror)
            self.paused_until = time.monotonic() + PAUSE
            return None
        self.paused_until = 0
        return accepted

    def readable(self):
        """Return whether to accept connections now."""
        return super().readable() and time.monotonic() >= self.paused_until
