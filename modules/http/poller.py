"""Waits for events on the sockets of `mailapi serve`, by epoll on Linux and by poll elsewhere."""

import collections
import logging
import os
import select
import threading
from typing import TYPE_CHECKING, Any

from waitress import wasyncore

if TYPE_CHECKING:
    from .channel import Channel
    from .waitress_server import Server

log = logging.getLogger("mailapi.serving")
HAS_EPOLL = hasattr(select, "epoll")  # on Linux; elsewhere poll is used, which looks at every connection
LONGEST_WAIT = 1  # second, after which the servers are asked whether connections must be closed


# The system knows which events each socket waits for, so that a connection on which nothing happens costs nothing.
# waitress would ask every connection again before each wait.
class Poller:
    """Waits for events on the sockets of dispatchers. In waitress, a dispatcher is a listening server or a connection.

    Call `note_change` when a connection may wait for other events than before. Only the thread that calls `poll` may
    register or close dispatchers.
    """

    def __init__(self) -> None:
        self.map: dict = {}
        self.servers: list[Server] = []
        self.changed: collections.deque[wasyncore.dispatcher] = collections.deque()
        self.registered: dict[int, int] = {}  # file descriptor → events, if there are any
        self.system: Any = select.epoll() if HAS_EPOLL else select.poll()
        self.longest_wait = LONGEST_WAIT if HAS_EPOLL else LONGEST_WAIT * 1000  # poll takes milliseconds
        # If several workers wait at a listening socket, the system wakes one of them for each connection.
        self.exclusive = getattr(select, "EPOLLEXCLUSIVE", 0) if HAS_EPOLL else 0
        self.thread = 0  # the id of the thread that runs the loop
        self.pipe_out, self.pipe_in = os.pipe()  # to wake that thread
        self.system.register(self.pipe_out, select.POLLIN)
        self.wakes = False  # a byte is in the pipe, or is about to be

    def poll(self, wait: bool):
        """Yield (dispatcher, events) for each dispatcher that has events. The events are bits, such as POLLIN.

        `wait`: whether to wait for events, up to a second, if there are none.
        """
        self.register_changed()
        for fd, events in self.system.poll(self.longest_wait if wait else 0):
            if fd == self.pipe_out:
                os.read(fd, 4096)
                self.wakes = False
            elif dispatcher := self.map.get(fd):
                self.changed.append(dispatcher)
                yield dispatcher, events

    def note_change(self, channel: "Channel"):
        """Note that a connection may wait for other events now, such as POLLOUT. Any thread may call this."""
        self.changed.append(channel)
        self.wake()

    def wake(self):
        """Make the thread that waits in `poll` return from it. Any thread may call this."""
        if threading.get_ident() != self.thread and not self.wakes:
            self.wakes = True
            os.write(self.pipe_in, b"x")

    def register_changed(self):
        """Tell the system (epoll) for which events dispatchers in `changed`, and servers that are due, wait now."""
        while self.changed:
            self.register(self.changed.popleft())
        for server in self.servers:
            if server.is_due():
                self.register(server)

    def register(self, dispatcher):
        """Tell the system (epoll) for which events a connection or server waits. Close it if the system refuses."""
        fd = dispatcher._fileno
        if self.map.get(fd) is not dispatcher:  # it was closed
            return
        events = select.POLLIN * bool(dispatcher.readable()) | select.POLLOUT * bool(dispatcher.writable())
        try:
            self.set_events(fd, events, self.exclusive if dispatcher.accepting else 0)
        except OSError:
            if dispatcher.accepting:
                raise
            log.exception("a connection cannot be registered")
            dispatcher.handle_close()

    def set_events(self, fd: int, events: int, flags: int):
        before = self.registered.get(fd, 0)
        if events == before:
            return
        if not events:
            self.unregister(fd)
        elif before:
            self.system.modify(fd, events)
            self.registered[fd] = events
        else:
            self.system.register(fd, events | flags)
            self.registered[fd] = events

    def unregister(self, fd: int):
        """Tell the system to report no more events of a file descriptor. Call this before the file is closed."""
        if self.registered.pop(fd, 0):
            self.system.unregister(fd)

    def close(self):
        """Close all dispatchers and the poller's own files."""
        wasyncore.close_all(self.map)
        os.close(self.pipe_out)
        os.close(self.pipe_in)
        if HAS_EPOLL:
            self.system.close()
