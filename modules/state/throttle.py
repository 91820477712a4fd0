"""The throttle of log-ins: failed ones make the next ones wait, by address and by user.

A user's log-ins from a network where they have logged in before are counted apart, so that others' failures do not shut
them out there. The tables are in mailapi.STATE_SCHEMA.
"""

import dataclasses
import hmac
import secrets
import time

from peewee import IntegerField, TextField, fn

from mailapi import CLOCK_SKEW, Model, PreparedQuery, Store, TooManyFailures, network, param, sha256

FAILURE_LIFETIME = 3600  # seconds after which a failed log-in no longer counts
LONGEST_WAIT = {"known": 30, "address": 900, "user": 900}  # seconds
NETWORK_LIFETIME = 180 * 86400  # seconds
MOST_NETWORKS = 100  # of one user; the one that was not used for longest is deleted
BUCKETS = 250_000  # counts of each kind: failures under ever new names and addresses must not fill the disk
ROWS_AT_ONCE = 100  # deleted in one transaction, so that nobody waits for it


class Failure(Model):
    """The recent failed log-ins of a subject."""

    subject = TextField()  # its kind (a key of LONGEST_WAIT) and the number of a bucket
    failures = IntegerField()
    last = IntegerField()  # seconds since 1970


class KnownAddress(Model):
    """The networks from which users have logged in."""

    subject = TextField()  # a hash of user name and network, after one of the user name
    last = IntegerField()  # seconds since 1970


class ThrottleKey(Model):
    """The secret without which nobody can compute which subjects share a bucket."""

    secret = TextField()


def is_recent(column):
    return (column > param("after")) & (column <= param("latest"))


FIND_FAILURES = PreparedQuery(
    Failure.select().where(Failure.subject == param("subject"), is_recent(Failure.last))
)
COUNT_FAILURE = PreparedQuery(
    Failure.replace(subject=param("subject"), failures=param("failures"), last=param("last"))
)
DELETE_FAILURE = PreparedQuery(Failure.delete().where(Failure.subject == param("subject")))
EXPIRED_FAILURES = PreparedQuery(
    Failure.select(Failure.subject)
    .where((Failure.last <= param("after")) | (Failure.last > param("latest")))
    .limit(ROWS_AT_ONCE)
)
LAST_LOGIN = PreparedQuery(
    KnownAddress.select(fn.MAX(KnownAddress.last)).where(
        (KnownAddress.subject == param("subject")) | (KnownAddress.subject == param("former")),
        is_recent(KnownAddress.last),
    )
)
NETWORKS_OF_USER = PreparedQuery(
    KnownAddress.select(KnownAddress.subject)
    .where(KnownAddress.subject.between(param("first"), param("last")))
    .order_by(KnownAddress.last.desc())
)
EXPIRED_NETWORKS = PreparedQuery(
    KnownAddress.select(KnownAddress.subject).where(KnownAddress.last <= param("before")).limit(ROWS_AT_ONCE)
)
REMEMBER_NETWORK = PreparedQuery(KnownAddress.replace(subject=param("subject"), last=param("last")))
KEY = PreparedQuery(ThrottleKey.select(ThrottleKey.secret))


@dataclasses.dataclass
class Attempt:
    """A log-in that need not wait, and the counts before it."""

    user_name: str
    network: str
    last_login: int | None  # of the user from this network, in seconds since 1970
    counts: dict[str, dict | None]  # subject → its row of failure, None where there is none


class LoginThrottle:
    """Count failed log-ins, and refuse a log-in for 1, 2, 4 … seconds after each one beyond the free attempts.

    Everything happens in the transaction of the log-in, so that parallel guesses count, too.
    """

    def __init__(self, store: Store, free_attempts: int):
        self.store, self.free = store, free_attempts

    def check(self, user_name: str, address: str) -> Attempt:
        """Return the attempt; TooManyFailures where it has to wait."""
        client = network(address)
        subjects = network_subjects(user_name, client)
        last_login = self.store.value(LAST_LOGIN, **subjects, **last_seconds(NETWORK_LIFETIME))
        kinds = {"address": client, "user": user_name}
        if last_login is not None:
            kinds = {"known": f"{client} {user_name}"}
        attempt, key = Attempt(user_name, client, last_login, {}), self.key()
        for kind, value in kinds.items():
            subject = f"{kind} {bucket(key, f'{kind} {value}')}"
            row = self.store.one(FIND_FAILURES, subject=subject, **last_seconds(FAILURE_LIFETIME))
            attempt.counts[subject] = row
            if row:
                self.check_wait(row, LONGEST_WAIT[kind])
        return attempt

    def check_wait(self, row: dict, longest: int):
        over = row["failures"] - self.free
        if over < 0:
            return
        wait, passed = min(2 ** min(over, 20), longest), int(time.time()) - row["last"]
        if passed < wait:
            name = f"{row['subject']} {row['failures']} {row['last']}"
            raise TooManyFailures(min(wait, wait - passed), name)

    def key(self) -> str:
        """Return the secret, which the first log-in makes."""
        if not (key := self.store.value(KEY)):
            key = secrets.token_hex(32)
            self.store.execute(ThrottleKey.insert(secret=key))
        return key

    def record_failure(self, attempt: Attempt):
        for subject, row in attempt.counts.items():
            failures = row["failures"] + 1 if row else 1
            self.store.execute(COUNT_FAILURE, subject=subject, failures=failures, last=int(time.time()))

    def take_back(self, attempt: Attempt):
        """Undo record_failure, and delete counts that have expired."""
        for subject, row in attempt.counts.items():
            self.store.execute(COUNT_FAILURE if row else DELETE_FAILURE, **(row or {"subject": subject}))
        self.delete(Failure, self.store.column(EXPIRED_FAILURES, **last_seconds(FAILURE_LIFETIME)))

    def remember_address(self, attempt: Attempt):
        """Record, once a day, that the user has logged in from this network."""
        now = int(time.time())
        if attempt.last_login is not None and now - attempt.last_login <= 86400:
            return
        first = user_prefix(attempt.user_name)
        subject = network_subjects(attempt.user_name, attempt.network)["subject"]
        self.store.execute(REMEMBER_NETWORK, subject=subject, last=now)
        newest = self.store.column(
            NETWORKS_OF_USER, first=first, last=first + "g"
        )  # hexadecimal digits follow
        self.delete(KnownAddress, newest[MOST_NETWORKS:][:ROWS_AT_ONCE])
        self.delete(KnownAddress, self.store.column(EXPIRED_NETWORKS, before=now - NETWORK_LIFETIME))

    def delete(self, model: type[Model], subjects: list[str]):
        if subjects:
            self.store.execute(model.delete().where(model.subject.in_(subjects)))


def last_seconds(seconds: int) -> dict[str, int]:
    """Return the parameters of is_recent for the last so many seconds."""
    now = int(time.time())
    return {"after": now - seconds, "latest": now + CLOCK_SKEW}


def bucket(key: str, value: str) -> int:
    digest = hmac.digest(key.encode(), value.encode(), "sha256")
    return int.from_bytes(digest[:8], "big") % BUCKETS


def user_prefix(user_name: str) -> str:
    return sha256(f"owner {user_name}")[:24]


def network_subjects(user_name: str, network: str) -> dict[str, str]:
    """Return the subject of a user's log-ins from a network, and the one that former versions gave them."""
    both = sha256(f"both {network} {user_name}")
    return {"subject": user_prefix(user_name) + both[:40], "former": both}
