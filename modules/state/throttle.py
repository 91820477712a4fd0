"""The throttle of log-ins: after failed log-ins from a network or of a user, the next log-in has to wait.

A user's failures in a network where the user has logged in before are counted separately. So other people's
failures do not lock the user out there. Each count has a name, its `subject`, such as "user 123": a kind, and a
number that is computed from the network, the user name, or both.
"""

import dataclasses
import hmac
import secrets
import time
from collections.abc import Callable
from functools import lru_cache

from peewee import JOIN, Case, IntegerField, TextField, fn

from mailapi import CLOCK_SKEW, Model, PreparedQuery, Store, TooManyFailures, param, repeated, sha256

from ..http.addresses import network
from . import known_networks
from .known_networks import NETWORK_LIFETIME, ROWS_AT_ONCE, KnownAddress, user_prefix

STATE_SCHEMA = """
CREATE TABLE IF NOT EXISTS failure (subject TEXT PRIMARY KEY, failures INTEGER NOT NULL, last INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS failure_last ON failure (last);
CREATE TABLE IF NOT EXISTS known_address (subject TEXT PRIMARY KEY, last INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS known_address_last ON known_address (last);
CREATE TABLE IF NOT EXISTS throttle_key (secret TEXT NOT NULL);
"""

FAILURE_LIFETIME = 3600  # seconds after which a failed log-in no longer counts
LONGEST_WAIT = {"known": 30, "address": 900, "user": 900}  # seconds; known: where the user logged in before
REMEMBERED_EVERY = 86400  # seconds; more frequent log-ins from a network are not written
BUCKETS = 250_000  # counts of each kind, so that failures under ever new names cannot fill the disk


class Failure(Model):
    """A count of recent failed log-ins: from one network, of one user, or of one user from one network."""

    subject = TextField()  # its kind (a key of LONGEST_WAIT) and the number of a bucket
    failures = IntegerField()
    last = IntegerField()  # seconds since 1970


class ThrottleKey(Model):
    """The secret key of the hash that turns names into numbers, such as "bob" into 123 for the count "user 123".

    Without the key, nobody can choose a user name that gets the number of another one. The table has one row.
    """

    secret = TextField()


def is_recent(column, after="after"):
    """Return the SQL condition :after < column <= :latest. `after`: the name of the first query parameter."""
    return (column > param(after)) & (column <= param("latest"))


LAST_LOGIN = KnownAddress.select(fn.MAX(KnownAddress.last)).where(
    KnownAddress.subject.in_([param("subject"), param("former")]), is_recent(KnownAddress.last, "known_after")
)
SUBJECTS = Failure.subject.in_([param(kind) for kind in LONGEST_WAIT])
# For a log-in: the key, the user's last log-in from the network, and a row for each of its subjects with failures.
FIND = PreparedQuery(
    ThrottleKey.select(ThrottleKey.secret, LAST_LOGIN, Failure.subject, Failure.failures, Failure.last).join(
        Failure, JOIN.LEFT_OUTER, on=SUBJECTS & is_recent(Failure.last)
    )
)
# A count that is too old begins anew.
COUNT_AGAIN = PreparedQuery(
    Failure.update(
        failures=Case(None, [(is_recent(Failure.last), Failure.failures + 1)], 1), last=param("now")
    ).where(Failure.subject.in_([param("first"), param("second")]))
)
COUNT_FIRST = PreparedQuery(
    Failure.insert(subject=param("subject"), failures=1, last=param("now")).on_conflict_ignore()
)
DELETE_FAILURE = PreparedQuery(Failure.delete().where(Failure.subject == param("subject")))
EXPIRED_FAILURES = PreparedQuery(
    Failure.select(Failure.subject)
    .where((Failure.last <= param("after")) | (Failure.last > param("latest")))
    .limit(ROWS_AT_ONCE)
)
KEY = PreparedQuery(ThrottleKey.select(ThrottleKey.secret))
ADD_KEY = PreparedQuery(ThrottleKey.insert(secret=param("secret")))


@dataclasses.dataclass
class Attempt:
    """A log-in that may be tried now, since earlier failures do not make it wait. If it fails, it is counted.

    Its attribute `subjects` names the counts that then increase, such as ["address 8", "user 9"].
    """

    user_name: str
    network: str  # an IPv4 address, or an IPv6 network such as "2001:db8::/64"
    last_login: int | None  # the user's last log-in from this network, in seconds since 1970
    subjects: list[str]  # whose counts increase if it fails


class LoginThrottle:
    """Counts failed log-ins. After `free_attempts` failures, the next log-in has to wait for 1, 2, 4 … seconds.

    Threads that check passwords in parallel may each check one too early, but every failure is counted.
    """

    def __init__(self, store: Store, free_attempts: int):
        self.store, self.free = store, free_attempts
        self.written: object = None  # the database that took a write; another one may have its name now
        self.key = ""  # the secret in the database, as it was when it was last read

    def attempt(self, user_name: str, address: str, verify: Callable[[], bool]) -> bool:
        """Return whether a log-in succeeds: verify() checks the password, and a failure is counted.

        Raise TooManyFailures if the log-in is too early, or StateFailure if failures cannot be counted, as on a full
        disk. `address`: the client's IP address.
        """
        attempt = self.check(user_name, address) if self.written == self.store.identity() else None
        if attempt is None:
            self.prove_writable()
            attempt = self.check(user_name, address)
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
        """Check that failed log-ins can be stored, and create a missing ThrottleKey. StateFailure if that fails."""
        with self.store.transaction():
            self.store.execute(COUNT_FIRST, subject="none", now=int(time.time()))
            self.store.execute(DELETE_FAILURE, subject="none")
            if not self.store.column(KEY):
                self.store.execute(ADD_KEY, secret=secrets.token_hex(32))
        self.written = self.store.identity()

    def check(self, user_name: str, address: str) -> Attempt | None:
        """Raise TooManyFailures if a log-in has to wait, after failures of the user or of the client's network.

        Otherwise return an Attempt, which says what to count if the log-in fails. Return None if the database has no
        secret key yet, so that nothing can be counted. `address`: the client's IP address.
        """
        client, now = network(address), int(time.time())
        expected = self.key
        subjects = subjects_of(expected, user_name, client)
        rows = self.store.read(FIND, **subjects, **times_of(now))
        if not rows:
            return None
        key, last_login = rows[0][:2]
        if key != expected:  # another database, or the first log-in
            self.key = key
            return self.check(user_name, address)
        kinds = ("address", "user") if last_login is None else ("known",)
        counted = [subjects[kind] for kind in kinds]
        for _, _, subject, failures, last in rows:
            if subject in counted and failures >= self.free:
                self.check_wait(subject, failures, last, now)
        return Attempt(user_name, client, last_login, counted)

    def check_wait(self, subject: str, failures: int, last: int, now: int):
        """Raise TooManyFailures if a log-in at the time `now` is too early after this number of `failures`.

        `subject`: the name of the count, such as "user 9". `last`: the time of the last failure. Times are in seconds
        since 1970.
        """
        longest = LONGEST_WAIT[subject.partition(" ")[0]]
        wait, passed = min(2 ** min(failures - self.free, 20), longest), now - last
        if passed < wait:
            raise TooManyFailures(min(wait, wait - passed), f"{subject} {failures} {last}")

    @repeated
    def record_failure(self, attempt: Attempt):
        """Add 1 to the counts of failed log-ins that a failed attempt names in `subjects`, such as "user 9".

        A count without a row in the table `failure` gets one. In this case, rows without a failure in the last hour
        are deleted.
        """
        now = int(time.time())
        times, subjects = times_of(now), attempt.subjects
        with self.store.transaction():
            names = {"first": subjects[0], "second": subjects[-1]}
            if self.store.execute(COUNT_AGAIN, now=now, **names, **times).rowcount < len(subjects):
                for subject in subjects:
                    self.store.execute(COUNT_FIRST, subject=subject, now=now)
                expired = self.store.column(EXPIRED_FAILURES, **times)
                self.store.execute_many(DELETE_FAILURE, [{"subject": subject} for subject in expired])

    @repeated
    def remember_network(self, attempt: Attempt):
        """Store that a user has logged in from a network. Delete networks unused for 180 days, or beyond 100."""
        subject = subjects_of(self.key, attempt.user_name, attempt.network)["subject"]
        with self.store.transaction():
            known_networks.remember(self.store, attempt.user_name, subject)

    @repeated
    def forget_user(self, user_name: str):
        """Delete the networks of a deleted user's log-ins. They must not count for a later user of that name."""
        with self.store.transaction():
            known_networks.delete(self.store, known_networks.of_user(self.store, user_name))


def bucket(key: str, value: str) -> int:
    """Return the number in the name of a count of failed log-ins, such as 123 in "user 123": a hash below 250,000.

    `value`: what is counted, such as "user bob" or "address 10.0.0.1". Values with equal numbers share a count. `key`:
    the secret key of the hash.
    """
    digest = hmac.digest(key.encode(), value.encode(), "sha256")
    return int.from_bytes(digest[:8], "big") % BUCKETS


@lru_cache(maxsize=100)
def subjects_of(key: str, user_name: str, network: str) -> dict[str, str]:
    """Return the keys (the column `subject`) of the rows for a log-in in the tables `failure` and `known_address`.

    For example {"address": "address 8", "user": "user 9", "known": "known 7", "subject": "3f…", "former": "b2…"}. The
    first three are counts of failed log-ins: from the network, of the user, and of the user from this network.
    "subject" is the row in known_address, "former" its key in older versions of mailapi. `key`: the secret key.
    """
    both = sha256(f"both {network} {user_name}")
    counted = {"known": f"{network} {user_name}", "address": network, "user": user_name}
    return {"subject": user_prefix(user_name) + both[:40], "former": both} | {
        kind: f"{kind} {bucket(key, f'{kind} {value}')}" for kind, value in counted.items()
    }


def times_of(now: int) -> dict[str, int]:
    """Return the times between which failures and log-ins count, as parameters of queries, in seconds since 1970.

    Failed log-ins count after "after" (an hour ago), known networks after "known_after" (180 days ago), and both until
    "latest" (in a minute): {"after": …, "known_after": …, "latest": …}.
    """
    after, known_after = now - FAILURE_LIFETIME, now - NETWORK_LIFETIME
    return {"after": after, "known_after": known_after, "latest": now + CLOCK_SKEW}
