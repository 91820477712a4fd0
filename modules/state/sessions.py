"""Sessions of users. A log-in stores nothing, because the session id in the cookie itself proves who has logged in.

The codes in an id (session_ids.py) depend on a key in the state database and on the user's stored password.
Therefore a new password ends the user's sessions (docs/wire.md F19), and nobody can make an id from one database
alone. The state database records only which sessions were ended, and which stay valid with a new password.
"""

import hmac
import os
import time

from mailapi import CLOCK_SKEW, DURABLE, LoginRefused, StateFailure, Store, repeated

from .session_ids import (
    CHECK,
    FIXED,
    LONGEST_NAME,
    RANDOM,
    START,
    TIME,
    VERSION,
    WITH_HASH,
    WITH_NAME,
    check_of,
    code_of,
    decoded,
    encoded,
    hash_of,
    next_code_of,
)
from .session_rows import (
    ADD_CHANGE,
    ADD_KEY,
    ADD_LONG_NAME,
    DELETE_CHANGES,
    DELETE_EXPIRED,
    DELETE_LONG_NAME,
    END_LATER,
    END_UNTIL,
    FIND,
    FIND_LONG_NAME,
    LAST_KEPT_CHANGE,
    LATEST,
)

MOST_CHANGES = 1000  # rows that a user has in session_change; beyond that, the user's oldest sessions end
SKEW = CLOCK_SKEW * 1000  # milliseconds
CLEANED_EVERY = 60_000  # milliseconds between deletions of what concerns only old sessions
# Milliseconds for which the records of expired sessions are kept: when a clock that was ahead is set back, these
# sessions are no longer expired, and must not be valid again.
KEPT_LONGER = 7 * 86_400_000


class Session:
    """A session that has not ended. Call `fits` to check that its user still has the same password."""

    def __init__(self, user_name: str, signed: bytes, code: bytes, key: bytes, next_code: bytes | None):
        self.user_name, self.signed, self.code, self.key = user_name, signed, code, key
        self.next_code = next_code  # of a user_authdata that the session has set, or is setting

    def fits(self, authdata: str | bytes) -> bool:
        """Return whether the user's password is unchanged since the log-in, or was changed by this session itself.

        If not, it was changed elsewhere, and the session must end. `authdata`: the stored password (user_authdata).
        """
        if hmac.compare_digest(code_of(self.key, self.signed, authdata), self.code):
            return True
        return self.next_code is not None and hmac.compare_digest(
            next_code_of(self.key, authdata), self.next_code
        )


class Sessions:
    """Begins, finds and ends the sessions of users.

    `store`: the state database. `lifetime`: the longest duration of a session, in seconds.
    """

    def __init__(self, store: Store, lifetime: int):
        self.store, self.lifetime = store, lifetime * 1000
        self.cleaned_at = 0  # milliseconds since 1970

    def begin(self, user_name: str, authdata: str | bytes, replaced: str | None) -> str:
        """Begin a session of a user, and return its id.

        `authdata`: the stored password; a new one ends the session. `replaced`: the id of a session to end, or None.
        """
        name = user_name.encode()
        user_hash = hash_of(name)
        if replaced:
            self.end(replaced)
        if not (rows := self.store.read(FIND, user_hash=user_hash, session_hash="")):
            self.make_key()
            rows = self.store.read(FIND, user_hash=user_hash, session_hash="")
        key, ended = rows[0][:2]
        now, version = milliseconds(), WITH_NAME
        created = max(now, (ended or 0) + 1)
        ended_by_wrong_clock = created > now + SKEW  # it was ahead
        if ended_by_wrong_clock:
            created = now
        if len(name) > LONGEST_NAME:
            version, name = WITH_HASH, bytes.fromhex(user_hash)
            self.remember_long_name(user_hash, user_name)
        start = version + created.to_bytes(TIME, "big") + os.urandom(RANDOM)
        code = code_of(key, start + name, authdata)
        token = encoded(start + check_of(key, start + name + code) + code + name)
        if ended_by_wrong_clock:  # without a record, the session would be one of those that were ended
            self.keep(token, Session(user_name, start + name, code, key, None), authdata)
        return token

    @repeated
    def make_key(self):
        """Store a new secret key for session ids, unless the database has one."""
        with self.store.transaction():
            if not self.store.value(FIND, user_hash="", session_hash=""):
                self.store.execute(ADD_KEY, secret=os.urandom(32))

    @repeated
    def remember_long_name(self, user_hash: str, user_name: str):
        """Store a user name that is too long for a session id. The id contains its hash, `user_hash`, instead."""
        if not self.store.read(FIND_LONG_NAME, user_hash=user_hash):
            with self.store.transaction(DURABLE):
                self.store.execute(ADD_LONG_NAME, user_hash=user_hash, user_name=user_name)

    def find(self, token: str) -> Session | None:
        """Return the session with the id `token`, or None if the id is forged or the session has ended or expired."""
        if not (raw := decoded(token)):
            return None
        created = int.from_bytes(raw[VERSION : VERSION + TIME], "big")
        if not -SKEW <= time.time() * 1000 - created < self.lifetime:
            return None
        name = raw[FIXED:]
        is_long = raw[:VERSION] == WITH_HASH
        user_hash = name.hex() if is_long else hash_of(name)
        rows = self.store.read(FIND, user_hash=user_hash, session_hash=hash_of(raw))
        if not rows:
            return None
        key, ended, changed, next_code = rows[0]
        signed, code = raw[:START] + name, raw[START + CHECK : FIXED]
        if not hmac.compare_digest(check_of(key, signed + code), raw[START : START + CHECK]):
            return None
        if next_code is None and (changed or created <= (ended or 0)):
            return None
        if is_long:
            rows = self.store.read(FIND_LONG_NAME, user_hash=user_hash)
            if not rows:  # all sessions of the user have ended
                return None
            name = rows[0][0].encode()
        return Session(name.decode(), signed, code, key, next_code)

    def check(self, session: Session, token: str, user: dict | None):
        """Raise LoginRefused unless the session is that of `user`, whose password was not changed outside of it.

        `token`: the session's id. `user`: a row with user_name and user_authdata, or None if there is no such user.
        """
        if user and user["user_authdata"] and session.user_name == user["user_name"]:
            if session.fits(user["user_authdata"]):
                return
            latest = self.find(token)  # it may have set the password since it was read
            if latest and latest.fits(user["user_authdata"]):
                return
        raise LoginRefused("Username is not set!")

    def expect(self, token: str, authdata: str):
        """Keep a session valid when its user sets a new password in it. Call this before the password is changed.

        `token`: the session's id. `authdata`: the new stored password (user_authdata).
        """
        if session := self.find(token):
            self.keep(token, session, authdata)

    def keep(self, token: str, session: Session, authdata: str | bytes):
        """Record that a session stays valid with `authdata`, the user's new stored password. `token`: its id."""
        self.record_change(token, session, next_code_of(session.key, authdata))

    @repeated
    def end(self, token: str):
        """End the session with the id `token`. If that fails, free disk space in the state database and try again."""
        if session := self.find(token):
            try:
                self.record_change(token, session, None)
            except StateFailure:
                self.store.make_room()
                self.record_change(token, session, None)

    def record_change(self, token: str, session: Session, next_code: bytes | None):
        """Store in the table session_change that a session has ended, or that it stays valid with a new password.

        `token`: the session's id. `next_code`: from `next_code_of` for the new password; None for an end, which
        survives a power cut. If the user has more than 1,000 rows, the oldest sessions end.
        """
        created = int.from_bytes(session.signed[VERSION : VERSION + TIME], "big")
        user_hash, session_hash = hash_of(session.user_name.encode()), hash_of(decoded(token) or b"")
        with self.store.transaction(DURABLE if next_code is None else "IMMEDIATE"):
            self.store.execute(
                ADD_CHANGE,
                session_hash=session_hash,
                user_hash=user_hash,
                created=created,
                next_code=next_code,
            )
            oldest = self.store.value(LAST_KEPT_CHANGE, user_hash=user_hash, most=MOST_CHANGES)
            if oldest is not None:
                ended = max(oldest, self.ended_until(user_hash))
                self.store.execute(END_UNTIL, user_hash=user_hash, ended=ended)
                self.store.execute(DELETE_CHANGES, user_hash=user_hash, but="")
            self.delete_expired()

    @repeated
    def end_others(self, user_name: str, but: str):
        """End all sessions of a user except the one with the id `but`. If `but` is "", end all."""
        name = user_name.encode()
        user_hash = hash_of(name)
        with self.store.transaction():
            # A clock may differ: also end sessions that another machine begins now, or that began after the last end.
            ended = milliseconds() + SKEW // 2
            if not self.store.execute(END_LATER, user_hash=user_hash, ended=ended).rowcount:
                self.store.execute(END_UNTIL, user_hash=user_hash, ended=ended)
            self.store.execute(DELETE_CHANGES, user_hash=user_hash, but=hash_of(decoded(but) or b""))
            if len(name) > LONGEST_NAME and not but:  # the next log-in stores the name again
                self.store.execute(DELETE_LONG_NAME, user_hash=user_hash)
            self.delete_expired()

    def ended_until(self, user_hash: str) -> int:
        """Return the time when a user's sessions were last ended, in milliseconds since 1970, or 0 if they never were.

        Sessions that began at this time or earlier are invalid.
        """
        rows = self.store.fetch(FIND, {"user_hash": user_hash, "session_hash": ""})[1]
        return rows and rows[0][1] or 0

    def delete_expired(self):
        """Delete the records of sessions that expired more than a week ago by any clock, at most once a minute."""
        now = milliseconds()
        if abs(now - self.cleaned_at) < CLEANED_EVERY:
            return
        # Ages count from the latest record that is older than a session can be. After a jump, this is one from before
        # the jump, until all sessions from before it have expired by any clock.
        latest = max(time or 0 for time in self.store.fetch(LATEST, {"until": now - self.lifetime})[1][0])
        before = min(latest, now - KEPT_LONGER) - self.lifetime - SKEW
        for query in DELETE_EXPIRED:
            self.store.execute(query, before=before)
        self.cleaned_at = now


def milliseconds() -> int:
    return int(time.time() * 1000)
