"""The base class of databases on a server: a thread takes a connection from a pool, and gives it back later."""

import os
from typing import Any

from mailapi import Store, ThreadConnection, TransactionRolledBack

from .link import Link
from .pool import Pool


class ServerConnection(ThreadConnection):
    """A thread's connection to a database server, and the state of its transaction."""

    connection: Any = None  # PyMySQL's
    process = 0  # the id of the process that opened the connection
    begun = False  # a transaction has begun
    undone = False  # the server has rolled it back
    in_xa = False  # a prepared change needs the connection until it ends


class PooledStore(Store):
    """A database on a server. Each thread takes a connection from a pool when it needs one.

    The thread gives the connection back at the end of its request.
    """

    opened: ServerConnection

    def use(self, path: str, link: Link, is_state: bool):
        """Set the attributes of a new store. Subclasses call this in their constructors.

        `path`: the URL or the name of the database. `link`: opens its connections. `is_state`: whether it is the state
        database, in which mailapi stores sessions and the audit.
        """
        self.path, self.what, self.is_state = path, link.what, is_state
        self.link, self.open = link, link.open
        self.opened = ServerConnection()
        self.pools: dict[int, Pool] = {}  # process → its pool
        self.keys: dict[tuple[str, str], list[str]] = {}  # table and unique key → its columns

    @property
    def pool(self) -> Pool:
        """Return this process' pool of connections. A forked process gets a pool of its own."""
        here = os.getpid()
        if here not in self.pools:
            self.pools.setdefault(here, Pool(self.link.open, self.link.most))  # only one, if threads race
            for other in set(self.pools) - {here}:
                self.pools.pop(other, None)
        return self.pools[here]

    def connect(self):
        """Return this thread's connection. If it has none, take one from the pool."""
        opened = self.opened
        if opened.process != os.getpid():
            opened.connection, opened.process, opened.begun = None, os.getpid(), False
        if opened.connection is None:
            opened.connection = self.pool.take()
        return opened.connection

    def close(self, usable: bool = False):
        """Give this thread's connection back to the pool, which closes it unless it is `usable` by other threads."""
        connection, self.opened.connection = self.opened.connection, None
        if connection and self.opened.process == os.getpid():
            self.pool.give_back(connection, usable)

    def release(self):
        """Give this thread's connection back to the pool, for other threads."""
        self.close(usable=True)

    def close_broken(self):
        """Close this thread's connection after an error. The server thereby rolls back the thread's transaction."""
        self.opened.undone = True
        self.close(usable=False)

    def cursor(self):
        """Return a cursor on this thread's connection.

        TransactionRolledBack if the server has rolled back the current transaction.
        """
        if self.opened.begun and self.opened.undone:
            raise TransactionRolledBack()  # further statements would not be in the transaction
        return self.connect().cursor()
