"""Transactions on a database server: how they begin, commit and roll back."""

import peewee

from mailapi import TransactionRolledBack, log

from .pool import in_transaction


class Transaction:
    """A context manager for a transaction: it commits at the end of its block, or rolls back after an error.

    With `lock_type` "DEFERRED" the transaction only reads, and sees the database as of one moment. Otherwise it
    writes. Transactions that write run one after the other, as on SQLite.
    """

    def __init__(self, store, lock_type: str):
        self.store, self.writes = store, lock_type != "DEFERRED"

    def __enter__(self):
        store, opened = self.store, self.store.opened
        if opened.begun:  # START TRANSACTION would commit the statements before it
            raise peewee.OperationalError("cannot start a transaction within a transaction")
        store.run("START TRANSACTION" if self.writes else "START TRANSACTION READ ONLY")
        opened.begun, opened.undone = True, False
        try:
            if self.writes:
                store.take_turn()
        except BaseException:
            self.end()
            raise

    def __exit__(self, kind, error, traceback):
        try:
            if kind is None:
                self.commit()
        finally:
            self.end()

    def commit(self):
        if self.store.opened.undone:  # the block has caught the error and gone on
            raise TransactionRolledBack()
        self.store.commit(self.writes)

    def end(self):
        """Roll back the transaction, unless it was committed."""
        opened, self.store.opened.begun = self.store.opened, False
        if opened.connection and in_transaction(opened.connection):
            try:
                opened.connection.rollback()
            except Exception as error:  # the server does it when the connection ends
                log.info("%s: %s", self.store.what, error)
                self.store.close(usable=False)
