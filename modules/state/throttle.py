"""The throttle of log-ins: after failed ones the next must wait, counted by network and by user.

Log-ins of a user from a network where the user has logged in before are counted separately, so that other people's
failures do not lock the user out there. Counts have a `subject`: the kind (a key of LONGEST_WAIT) and a bucket, a
number that is computed from the network, the user, or both.
"""

import dataclasses
import hmac
import secrets
import time
from collections.abc import Callable

from peewee import IntegerField, TextField, fn

from mailapi import CLOCK_SKEW, Model, PreparedQuery, Store, TooManyFailures, param, repeated, sha256

from ..http.addresses import network

STATE_SCHEMA = """
CREATE TABLE IF NOT EXISTS failure (subject TEXT PRIMARY KEY, failures INTEGER NOT NULL, last INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS failure_last ON failure (last);
CREATE TABLE IF NOT EXISTS known_address (subject TEXT PRIMARY KEY, last INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS known_address_last ON known_address (last);
CREATE TABLE IF NOT EXISTS throttle_key (secret TEXT NOT NULL);
"""

FAILURE_LIFETIME = 3600  # seconds after which a failed log-in no longer counts
LONGEST_WAIT = {"known": 30, "address": 900, "user": 900}  # seconds; known: where the user logged in before
NETWORK_LIFETIME = 180 * 86400  # seconds for which a user's network is remembered after a log-in
REMEMBERED_EVERY = 86400  # seconds; more frequent log-ins from a network are not written
MOST_NETWORKS = 100  # of a user; beyond that, the least recently used one is deleted
BUCKETS = 250_000  # counts of each kind, so that failures under ever new names cannot fill the disk
ROWS_AT_ONCE = 100  # deleted in one transaction, so that nobody waits for it


class Failure(Model):
    """The number of recent failed log-ins of a subject."""

    subject = TextField()  # its kind (a key of LONGEST_WAIT) and the number of a bucket
    failures = IntegerField()
    last = IntegerField()  # seconds since 1970


class KnownAddress(Model):
    """A network from which a user has logged in."""

    subject = TextField()  # a hash of the user name, then a hash of user name and network
    last = IntegerField()  # seconds since 1970


class ThrottleKey(Model):
    """The secret key of the buckets. Without it nobody can compute which users or networks share a bucket."""

    secret = TextField()


def is_recent(column):
    """Return the SQL condition that a time in a column is later than `after`, and not in the future (`latest`)."""
    return (column > param("after")) & (column <= param("latest"))


SUBJECTS = Failure.subject.in_([param("subject"), param("other")])
FIND_FAILURES = PreparedQuery(
    Failure.select(Failure.subject, Failure.failures, Failure.last).where(SUBJECTS, is_recent(Failure.last))
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
LAST_LOGIN = KnownAddress.select(fn.MAX(KnownAddress.last)).where(
    KnownAddress.subject.in_([param("subject"), param("former")]), is_recent(KnownAddress.last)
)
KEY_AND_LAST_LOGIN = PreparedQuery(ThrottleKey.select(ThrottleKey.secret, LAST_LOGIN))
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
KEY = PreparedQuery(ThrottleKey.select(ThrottleKey.secret))
ADD_KEY = PreparedQuery(ThrottleKey.insert(secret=param("secret")))


@dataclasses.dataclass
class Attempt:
    """A log-in that may check its password now."""

    user_name: str
    network: str
    last_login: int | None  # the user's last log-in from this network, in seconds since 1970
    subjects: list[str]  # whose counts increase if it fails


class LoginThrottle:
    """A counter of failed log-ins. Beyond `free_attempts` failures, a log-in has to wait for 1, 2, 4 … seconds.

    Counts are read before the password is checked, and written only after a failure. So of guesses at the same time,
    each thread can check one too early; but all of them count.
    """

    def __init__(self, store: Store, free_attempts: int):
        self.store, self.free = store, free_attempts
        self.written: object = None  # the database that took a write; another one may have its name now

    def attempt(self, user_name: str, address: str, verify: Callable[[], bool]) -> bool:
        """Return verify(), which checks the password, and count a failure; TooManyFailures if the log-in is too early.

        If failures cannot be counted, as on a full disk, nobody gets in (StateFailure). So a process proves that it can
        write before its first attempt, when the database was replaced or got another mode, and after a failed write.
        """
        attempt = self.read(user_name, address) if self.written == self.store.identity() else None
        if attempt is None:
            self.prove_writable()
            attempt = self.read(user_name, address)
        assert attempt is not None  # the database has its secret now
        if verify():
            if attempt.last_login is None or int(time.time()) - attempt.last_login > REMEMBERED_EVERY:
                self.remember_network(attempt)
            return True
        try:
            self.record_failure(attempt)
        except BaseException:
            self.written = None
            raise
        return False

    @repeated
    def prove_writable(self):
        """Write as much as counting a failure does, and the key if it is missing; StateFailure if that fails."""
        with self.store.transaction():
            self.store.execute(COUNT_FAILURE, subject="none", failures=0, last=int(time.time()))
            self.store.execute(DELETE_FAILURE, subject="none")
            if not self.store.column(KEY):
                self.store.execute(ADD_KEY, secret=secrets.token_hex(32))
        self.written = self.store.identity()

    def read(self, user_name: str, address: str) -> Attempt | None:
        """Return the attempt, or raise TooManyFailures if it is too early. None if the database is new, without key."""
        client, now = network(address), int(time.time())
        names = network_subjects(user_name, client)
        found = self.store.read(
            KEY_AND_LAST_LOGIN, after=now - NETWORK_LIFETIME, latest=now + CLOCK_SKEW, **names
        )
        if not found:
            return None
        key, last_login = found[0]
        kinds = {"address": client, "user": user_name}
        if last_login is not None:
            kinds = {"known": f"{client} {user_name}"}
        subjects = [f"{kind} {bucket(key, f'{kind} {value}')}" for kind, value in kinds.items()]
        attempt = Attempt(user_name, client, last_login, subjects)
        for subject, failures, last in self.failures(attempt, now):
            self.check_wait(subject, failures, last, now)
        return attempt

    def failures(self, attempt: Attempt, now: int) -> list[tuple]:
        """Return the counts of an attempt's subjects: subject, failures, time of the last one (seconds since 1970)."""
        first, last = attempt.subjects[0], attempt.subjects[-1]
        return self.store.read(
            FIND_FAILURES, subject=first, other=last, after=now - FAILURE_LIFETIME, latest=now + CLOCK_SKEW
        )

    def check_wait(self, subject: str, failures: int, last: int, now: int):
        """Raise TooManyFailures if a subject with these failures, the last one at `last`, must still wait at `now`."""
        if (over := failures - self.free) < 0:
            return
        longest = LONGEST_WAIT[subject.partition(" ")[0]]
        wait, passed = min(2 ** min(over, 20), longest), now - last
        if passed < wait:
            raise TooManyFailures(min(wait, wait - passed), f"{subject} {failures} {last}")

    @repeated
    def record_failure(self, attempt: Attempt):
        """Count a failed attempt for its subjects, and delete counts that have expired."""
        now = int(time.time())
        with self.store.transaction():
            counts = {subject: failures for subject, failures, _ in self.failures(attempt, now)}
            for subject in attempt.subjects:
                failures = counts.get(subject, 0) + 1
                self.store.execute(COUNT_FAILURE, subject=subject, failures=failures, last=now)
            expired = self.store.column(
                EXPIRED_FAILURES, after=now - FAILURE_LIFETIME, latest=now + CLOCK_SKEW
            )
            self.delete(DELETE_FAILURE, expired)

    @repeated
    def remember_network(self, attempt: Attempt):
        """Record that the user has logged in from this network; delete the networks that are old or too many."""
        now, first = int(time.time()), user_prefix(attempt.user_name)
        subject = network_subjects(attempt.user_name, attempt.network)["subject"]
        with self.store.transaction():
            self.store.execute(REMEMBER_NETWORK, subject=subject, last=now)
            # hexadecimal digits follow the prefix
            newest = self.store.column(NETWORKS_OF_USER, first=first, last=first + "g")
            self.delete(DELETE_NETWORK, newest[MOST_NETWORKS:][:ROWS_AT_ONCE])
            self.delete(DELETE_NETWORK, self.store.column(EXPIRED_NETWORKS, before=now - NETWORK_LIFETIME))

    def delete(self, query: PreparedQuery, subjects: list[str]):
        if subjects:
            self.store.execute_many(query, [{"subject": subject} for subject in subjects])


def bucket(key: str, value: str) -> int:
    """Return the number of the bucket in which a network or user (`value`) is counted."""
    digest = hmac.digest(key.encode(), value.encode(), "sha256")
    return int.from_bytes(digest[:8], "big") % BUCKETS


def user_prefix(user_name: str) -> str:
    """Return the start of the subjects of all networks of a user in known_address."""
    return sha256(f"owner {user_name}")[:24]


def network_subjects(user_name: str, network: str) -> dict[str, str]:
    """Return a user's network as known_address stores it: `subject`, and `former`, as older versions stored it."""
    both = sha256(f"both {network} {user_name}")
    return {"subject": sha256(f"owner {user_name}")[:24] + both[:40], "former": both}
