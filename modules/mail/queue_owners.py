"""Finds the queued mails that a caller may see: those that the caller has submitted, or that the caller's address sent."""

import json
import sqlite3
from contextlib import closing
from typing import NamedTuple

from peewee import Query, fn

from mailapi import PreparedQuery

from ..directory.address_tables import AddressTable, address_table, each_address_table
from .outbox import Outbox
from .queue_access import has_id_among

MAILS = Outbox.select(Outbox.mail_id, Outbox.mail_submitter, Outbox.mail_envelopefrom)
AMONG = has_id_among(Outbox.mail_id)
MAILS_AMONG = {False: PreparedQuery(MAILS), True: PreparedQuery(MAILS.where(AMONG))}


def possible_rows(table: AddressTable, senders: Query) -> Query:
    """Return a query for the rows of `addresses` that have a wildcard, or equal one of `senders`."""
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
# Matches senders with address expressions in a database in memory, as patterns with many % take long: meanwhile, the
# mail daemons can write to the master database. LIKE is slow: so expressions without a wildcard are compared for
# equality, and those without % only with senders of the same length. If several expressions match a sender, the one
# with the highest address_order decides, as for incoming mail: a user who has some addresses of a domain does not see
# what its other addresses send.
TABLES = """
    CREATE TABLE senders (sender, size);
    CREATE TABLE expressions (expression, position);
"""
LAST_MATCH = """
    WITH keys AS MATERIALIZED (SELECT expression, position, CASE
        WHEN instr(expression, '%') THEN '' WHEN instr(expression, '_') THEN length(expression)
        ELSE lower(expression) END AS length_or_all FROM expressions),
    matches AS (SELECT sender, position FROM senders JOIN keys ON length_or_all = lower(sender)
        UNION ALL SELECT sender, position FROM senders JOIN keys ON length_or_all = size AND sender LIKE expression
        UNION ALL SELECT sender, position FROM senders JOIN keys ON length_or_all = '' AND sender LIKE expression)
    SELECT sender, max(position) FROM matches GROUP BY sender
"""


class QueuedMails(NamedTuple):
    """Queued mails, and what decides who may see them. All of it was read in one transaction."""

    mails: list[tuple]  # mail_id, mail_submitter and mail_envelopefrom
    rows: list[dict]  # rows of `addresses` that may match a sender, in their order
    table: AddressTable
    users: set[str]  # the caller, and the users delegated to the caller

    def visible_ids(self) -> list[int]:
        """Return the ids of the mails that the users have submitted, or whose sender stores to one of the users."""
        others = [
            (mail_id, sender) for mail_id, submitter, sender in self.mails if submitter not in self.users
        ]
        # The SMTP daemon would read a sender with letters beyond ASCII as another address (docs/wire.md F46).
        owners = self.owners({sender for _, sender in others if sender and sender.isascii()})
        own = {mail_id for mail_id, sender in others if owners.get(sender) in self.users}
        own.update(mail_id for mail_id, submitter, _ in self.mails if submitter in self.users)
        return [mail_id for mail_id, *_ in self.mails if mail_id in own]

    def owners(self, senders: set[str]) -> dict[str, str | None]:
        """Return {sender: the user in whose mailbox mail to this address is stored, or None}."""
        if not senders:
            return {}
        expressions = ((row["address_expression"], number) for number, row in enumerate(self.rows))
        with closing(sqlite3.connect(":memory:")) as memory:
            memory.executescript(TABLES)
            memory.executemany("INSERT INTO senders VALUES (?, ?)", ((each, len(each)) for each in senders))
            memory.executemany("INSERT INTO expressions VALUES (?, ?)", expressions)
            return {
                sender: self.table.user_of(self.rows[last]) for sender, last in memory.execute(LAST_MATCH)
            }


def read_queued(call, among: list[int] | None = None) -> QueuedMails | None:
    """Read the queued mails whose ids are in `among`, or all if it is None. Return None for an admin, who may see all.

    Call it in a transaction.
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
