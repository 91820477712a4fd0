"""Finds the queued mails that a caller may see: those that the caller has submitted, or that the caller's address sent."""

import json
import sqlite3
import time
from contextlib import closing
from itertools import count
from typing import NamedTuple

from peewee import Query, fn

from mailapi import ApiError, PreparedQuery

from ..directory.address_tables import AddressTable, address_table, each_address_table
from ..directory.user_limit import UserLimit
from .outbox import Outbox
from .queue_access import has_id_among
from .routing_rules import as_text

MAILS = Outbox.select(Outbox.mail_id, Outbox.mail_submitter, Outbox.mail_envelopefrom)
AMONG = has_id_among(Outbox.mail_id)
MAILS_AMONG = {False: PreparedQuery(MAILS), True: PreparedQuery(MAILS.where(AMONG))}


def possible_rows(table: AddressTable, senders: Query) -> Query:
    """Return a query for the rows of `addresses` that may match a sender: those with a wildcard or in `senders`.

    `senders`: a query for the mail addresses of senders, in lower case.
    """
    expression = table.address_expression
    has_wildcard = (fn.INSTR(expression, "%") > 0) | (fn.INSTR(expression, "_") > 0)
    return (
        table.select().where(has_wildcard | fn.LOWER(expression).in_(senders)).order_by(table.address_order)
    )


SENDERS = Outbox.select(fn.LOWER(Outbox.mail_envelopefrom))
ROWS = {
    False: each_address_table(lambda table: possible_rows(table, SENDERS)),
    True: each_address_table(lambda table: possible_rows(table, SENDERS.where(AMONG))),
}
MOST_SECONDS = 10  # of CPU time, for comparing senders with patterns
COMPARISONS = UserLimit(3, wait=1)  # a user's at the same time: mailapi serve has 8 threads
STEP = 1000  # instructions of SQLite after which the time is checked
TOO_MANY = "The queue has too many mails to compare their senders with all addresses. Try again later."
# Senders are compared with address expressions in a database in memory, so that mail daemons can write to the master
# database meanwhile. LIKE is slow: it compares only what has a key in common. If several expressions match a sender,
# the one with the highest address_order decides, as for incoming mail: a user who has some addresses of a domain does
# not see what its other addresses send.
TABLES = """
    CREATE TABLE senders (sender, key, PRIMARY KEY (sender, key)) WITHOUT ROWID;
    CREATE TABLE expressions (expression, key, own, position);
"""
OWN_SENDERS = """
    WITH matches AS MATERIALIZED (SELECT sender, max(position) AS last FROM senders CROSS JOIN expressions USING (key)
        WHERE own AND sender LIKE expression GROUP BY sender)
    SELECT sender FROM matches WHERE NOT EXISTS (
        SELECT 1 FROM senders AS same CROSS JOIN expressions USING (key)
        WHERE same.sender = matches.sender AND NOT own AND position > last AND same.sender LIKE expression)
"""


def key_of_expression(expression: str) -> str:
    """Return the key of an address pattern. Only senders that have this key, too, are compared with the pattern.

    In a pattern, `_` stands for one character, and `%` for any number of them. The key has the length and the domain:
    it is "13 @corp.org" for `ann_@corp.org`. What a wildcard leaves open is missing: the key is " @corp.org" for
    `%@corp.org`, and " " for `%`. A pattern without wildcards is its own key, in lower case.
    """
    if "%" not in expression and "_" not in expression:
        return expression.lower()
    _, at, domain = expression.lower().rpartition("@")
    fixed = at and "%" not in domain and "_" not in domain
    return f"{'' if '%' in expression else len(expression)} {at + domain if fixed else ''}"


def keys_of_sender(sender: str) -> set[str]:
    """Return the keys of all patterns that can match a sender.

    For "ann@corp.org" return {"ann@corp.org", "12 @corp.org", "12 ", " @corp.org", " "}: the address itself, and its
    length (12) and domain, each of which a pattern may leave open.
    """
    _, at, domain = sender.lower().rpartition("@")
    sizes, domains = (len(sender), ""), (at + domain if at else "", "")
    return {sender.lower(), *(f"{size} {domain}" for size in sizes for domain in domains)}


class QueuedMails(NamedTuple):
    """Queued mails, with the addresses and users that decide who may see them. All were read in one transaction."""

    mails: list[tuple]  # mail_id, mail_submitter and mail_envelopefrom
    rows: list[dict]  # rows of `addresses` that may match a sender, in their order
    table: AddressTable
    users: set[str]  # the caller, and the users delegated to the caller

    def visible_ids(self) -> list[int]:
        """Return the ids of the mails that the caller may see.

        One of `users` (the caller and the delegated users) has submitted these mails, or sends them by the sender's
        address: incoming mail to it is stored in the user's mailbox.
        """
        senders = {sender for _, submitter, sender in self.mails if sender and submitter not in self.users}
        # The SMTP daemon would read a sender with letters beyond ASCII as another address (docs/wire.md F46).
        own = self.own_senders({sender for sender in senders if sender.isascii()})
        return [
            mail_id for mail_id, submitter, sender in self.mails if submitter in self.users or sender in own
        ]

    def own_senders(self, senders: set[str]) -> set[str]:
        """Return those of `senders`, mail addresses, for which mail is stored in the mailbox of one of `users`.

        ApiError (HTTP 503) if it takes more than MOST_SECONDS to compare the senders with the patterns in `rows`.
        """
        texts = [row["address_expression"] for row in self.rows]
        keys = [key_of_expression(as_text(text)) for text in texts]
        owned = [self.table.user_of(row) in self.users for row in self.rows]
        own_keys = {key for key, own in zip(keys, owned) if own}
        keys_of = ((sender, keys_of_sender(as_text(sender))) for sender in senders)
        possible = [(sender, key) for sender, shared in keys_of if shared & own_keys for key in shared]
        until = time.thread_time() + MOST_SECONDS
        with closing(sqlite3.connect(":memory:")) as memory:
            memory.executescript(TABLES)
            memory.executemany("INSERT INTO senders VALUES (?, ?)", possible)
            memory.executemany(
                "INSERT INTO expressions VALUES (?, ?, ?, ?)", zip(texts, keys, owned, count())
            )
            memory.set_progress_handler(lambda: time.thread_time() > until, STEP)
            try:
                return {sender for (sender,) in memory.execute(OWN_SENDERS)}
            except sqlite3.OperationalError:
                raise ApiError(TOO_MANY, http=503, retry_after=60, code="busy") from None


def read_queued(call, among: list[int] | None = None) -> QueuedMails | None:
    """Read the queued mails, and what decides which of them the caller may see. Return None for an admin, who sees all.

    `among`: the ids of the mails to read. None stands for all mails in the queue. Call the function in a transaction.
    """
    if call.caller.admin:
        return None
    values = {} if among is None else {"ids": json.dumps(among)}
    return QueuedMails(
        call.db.fetch(MAILS_AMONG[among is not None], values)[1],
        call.db.rows(ROWS[among is not None][call.generation.number], **values),
        address_table(call),
        {call.user_name, *call.caller.delegated_users},
    )


def visible_ids(call, queued: QueuedMails | None) -> list[int] | None:
    """Return the ids of those of the mails that the caller may see. Return None, for all, if `queued` is None.

    Call it outside of transactions. ApiError (HTTP 503) if three other requests of the caller do the same.
    """
    if queued is None:
        return None
    with COMPARISONS.of(call.user_name):
        return queued.visible_ids()
