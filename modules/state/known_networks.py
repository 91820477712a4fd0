"""The networks from which users have logged in: there, only a user's own failed log-ins make the user wait."""

import time

from peewee import IntegerField, TextField

from mailapi import Model, PreparedQuery, Store, param, sha256

NETWORK_LIFETIME = 180 * 86400  # seconds for which a user's network is remembered after a log-in
MOST_NETWORKS = 100  # of a user; beyond that, the least recently used one is deleted
ROWS_AT_ONCE = 100  # deleted in one transaction, so that nobody waits for it


class KnownAddress(Model):
    """A row of the table known_address: a user has logged in from a network. Both are stored as hashes."""

    subject = TextField()  # a hash of the user name, then a hash of user name and network
    last = IntegerField()  # seconds since 1970


NETWORKS_OF_USER = PreparedQuery(
    KnownAddress.select(KnownAddress.subject)
    .where(KnownAddress.subject.between(param("first"), param("last")))
    .order_by(KnownAddress.last.desc())
)
EXPIRED_NETWORKS = PreparedQuery(
    KnownAddress.select(KnownAddress.subject).where(KnownAddress.last <= param("before")).limit(ROWS_AT_ONCE)
)
REMEMBER_NETWORK = PreparedQuery(KnownAddress.replace(subject=param("subject"), last=param("last")))
DELETE_NETWORK = PreparedQuery(KnownAddress.delete().where(KnownAddress.subject == param("subject")))


def user_prefix(user_name: str) -> str:
    """Return 24 hexadecimal digits, a hash, with which `subject` begins in all rows of a user in known_address."""
    return sha256(f"owner {user_name}")[:24]


def of_user(store: Store, user_name: str) -> list[str]:
    """Return the values of `subject` in a user's rows of known_address, the most recently used network first.

    Each is 64 hexadecimal digits: a hash of the user name, then a hash of user name and network.
    """
    first = user_prefix(user_name)
    # Hexadecimal digits follow the prefix.
    return store.column(NETWORKS_OF_USER, first=first, last=first + "g")


def remember(store: Store, user_name: str, subject: str):
    """Store in known_address that a user has logged in from a network. The caller has begun a transaction.

    `subject`: 64 hexadecimal digits, a hash of the user name, then a hash of user name and network. Networks beyond
    the user's latest 100, and all that were not used for 180 days, are deleted.
    """
    now = int(time.time())
    store.execute(REMEMBER_NETWORK, subject=subject, last=now)
    delete(store, of_user(store, user_name)[MOST_NETWORKS:][:ROWS_AT_ONCE])
    delete(store, store.column(EXPIRED_NETWORKS, before=now - NETWORK_LIFETIME))


def delete(store: Store, subjects: list[str]):
    """Delete rows of the table known_address, which has the networks from which users have logged in.

    `subjects`: the values of `subject` in these rows. Each is 64 hexadecimal digits.
    """
    store.execute_many(DELETE_NETWORK, [{"subject": subject} for subject in subjects])
