"""A store on a server, whose threads take their connections from a pool."""

import os
from typing import Any

from mailapi import Store, ThreadConnection, TransactionRolledBack

from .link import Link
from .pool import Pool


class ServerConnection(ThreadConnection):
    """A thread's connection to a database on a server, and the state of its transaction."""

    connection: Any = None  # PyMySQL's
    process = 0  # that opened the connection
    begun = False  # a transaction has begun
    undone = False  # the server has rolled it back
    in_xa = False  # a prepared change needs the connection until it ends


class PooledStore(Store):
    """A database on a server, to which each thread has a connection from its request's first statement to its end."""

    opened: ServerConnection

    def use(self, path: str, link: Link, is_state: bool):
        """Set up the store for a link."""
        self.path, self.what, self.is_state = path, link.what, is_state
        self.link, self.open = link, link.open
        self.opened = ServerConnection()
        self.pools: dict[int, Pool] = {}  # process → its pool
        self.keys: dict[tuple[str, str], list[str]] = {}  # table and unique key → its columns

    @property
    def pool(self) -> Pool:
        """This process's pool; a parent process goes on using its own connections."""
        here = os.getpid()
        if here not in self.pools:
            self.pools.setdefault(here, Pool(self.link.open, self.link.most))  # one, also where threads race
            for other in set(self.pools) - {here}:
                self.pools.pop(other, None)
        return self.pools[here]

    def connect(self):
        """Return this thread's connection; take one from the pool if it has none."""
        opened = self.opened
        if opened.process != os.getpid():
            opened.connection, opened.process, opened.begun = None, os.getpid(), False
        if opened.connection is None:
            opened.connection = self.pool.take()
        return opened.connection

    def close(self, usable: bool = False):
        """Give this thread's connection back to the pool, which closes it unless it is usable."""
        connection, self.opened.connection = self.opened.connection, None
        if connection and self.opened.process == os.getpid():
            self.pool.give_back(connection, usable)

    def release(self):
        """Give this thread's connection back to the pool, for other threads."""
        self.close(usable=True)

    def lose(self):
        """Close this thread's connection, and mark its transaction as rolled back."""
        self.opened.undone = True
        self.close(usable=False)

    def cursor(self):
        """Return a cursor of this thread's connection; TransactionRolledBack where the server has ended a transaction."""
        if self.opened.begun and self.opened.undone:
            raise TransactionRolledBack()  # further statements would not be in the transaction
        return self.connect().cursor()
