"""Sessions: the session id in the cookie proves that it is genuine, so that a log-in stores nothing.

An id has the user's name, the time of the log-in, random bits, and two codes (keyed BLAKE2b, RFC 7693). The key of both
codes is in the state database. One code is also made from the user's user_authdata (the stored password). So another
password ends the session, whoever sets it (docs/wire.md F19), and nobody can make an id from one database alone. The
state database records what an id cannot contain: which sessions have ended, and which session set the password itself
and therefore goes on.
"""

import base64
import hashlib
import hmac
import os
import time
from functools import lru_cache

from peewee import JOIN, BlobField, IntegerField, TextField

from mailapi import CLOCK_SKEW, LoginRefused, Model, PreparedQuery, StateFailure, Store, param, repeated

STATE_SCHEMA = """
CREATE TABLE IF NOT EXISTS session_key (secret BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS sessions_end (user_hash TEXT PRIMARY KEY, ended INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS sessions_end_ended ON sessions_end (ended);
CREATE TABLE IF NOT EXISTS session_change (session_hash TEXT PRIMARY KEY, user_hash TEXT NOT NULL,
    created INTEGER NOT NULL, next_code BLOB);
CREATE INDEX IF NOT EXISTS session_change_user ON session_change (user_hash, created);
CREATE INDEX IF NOT EXISTS session_change_created ON session_change (created);
CREATE TABLE IF NOT EXISTS long_user_name (user_hash TEXT PRIMARY KEY, user_name TEXT NOT NULL);
"""
MOST_CHANGES = 1000  # rows that a user has in session_change; beyond that, the user's oldest sessions end
SKEW = CLOCK_SKEW * 1000  # milliseconds

# The bytes of an id; PHP takes ids of at most 128 characters (docs/wire.md F41), in base 32 these are 80 bytes.
VERSION, TIME, RANDOM, CHECK, CODE = 1, 6, 8, 6, 16
START = VERSION + TIME + RANDOM
FIXED = START + CHECK + CODE
LONGEST_NAME = 80 - FIXED
WITH_NAME, WITH_HASH = b"\1", b"\2"  # the version: the id ends with the user's name, or with its hash


class SessionKey(Model):
    """The secret key with which the codes of all session ids are made; one row."""

    secret = BlobField()


class SessionsEnd(Model):
    """A user whose sessions have ended if they began at the time `ended` or before."""

    user_hash = TextField()
    ended = IntegerField()  # milliseconds since 1970


class SessionChange(Model):
    """A session that was ended, or one that set its user's password and goes on."""

    session_hash = TextField()
    user_hash = TextField()
    created = IntegerField()  # milliseconds since 1970
    next_code = BlobField(null=True)  # for the new user_authdata; None: ended


class LongUserName(Model):
    """A user name that is too long for an id, which has its hash instead."""

    user_hash = TextField()
    user_name = TextField()


OF_USER = SessionChange.user_hash == param("user_hash")
CHANGES = ("session_hash", "user_hash", "created", "next_code")
# One row: the key, the user's row of sessions_end and the session's row of session_change.
FIND = PreparedQuery(
    SessionKey.select(
        SessionKey.secret, SessionsEnd.ended, SessionChange.session_hash, SessionChange.next_code
    )
    .join(SessionsEnd, JOIN.LEFT_OUTER, on=SessionsEnd.user_hash == param("user_hash"))
    .join(SessionChange, JOIN.LEFT_OUTER, on=SessionChange.session_hash == param("session_hash"))
)
ADD_KEY = PreparedQuery(SessionKey.insert(secret=param("secret")))
ADD_CHANGE = PreparedQuery(SessionChange.replace({name: param(name) for name in CHANGES}))
LAST_KEPT_CHANGE = PreparedQuery(
    SessionChange.select(SessionChange.created)
    .where(OF_USER)
    .order_by(SessionChange.created.desc())
    .limit(1)
    .offset(param("most"))
)
FORGET_CHANGES = PreparedQuery(
    SessionChange.delete().where(
        OF_USER, SessionChange.created <= param("ended"), SessionChange.session_hash != param("but")
    )
)
END_UNTIL = PreparedQuery(SessionsEnd.replace(user_hash=param("user_hash"), ended=param("ended")))
EXPIRED = (
    PreparedQuery(SessionChange.delete().where(SessionChange.created <= param("before"))),
    PreparedQuery(SessionsEnd.delete().where(SessionsEnd.ended <= param("before"))),
)
ADD_LONG_NAME = PreparedQuery(
    LongUserName.replace(user_hash=param("user_hash"), user_name=param("user_name"))
)
FIND_LONG_NAME = PreparedQuery(
    LongUserName.select(LongUserName.user_name).where(LongUserName.user_hash == param("user_hash"))
)


class Session:
    """A genuine session that was not ended. It counts if `fits` is true of its user's current user_authdata."""

    def __init__(self, user_name: str, signed: bytes, code: bytes, key: bytes, next_code: bytes | None):
        self.user_name, self.signed, self.code, self.key = user_name, signed, code, key
        self.next_code = next_code  # of a user_authdata that the session has set, or is setting

    def fits(self, authdata: str | bytes) -> bool:
        """Return whether the session began with this user_authdata (stored password), or has set it itself."""
        if hmac.compare_digest(code_of(self.key, self.signed, authdata), self.code):
            return True
        return self.next_code is not None and hmac.compare_digest(
            next_code(self.key, authdata), self.next_code
        )


class Sessions:
    """The sessions of one application. store: the state database; lifetime: in seconds."""

    def __init__(self, store: Store, lifetime: int):
        self.store, self.lifetime = store, lifetime * 1000

    def begin(self, user_name: str, authdata: str | bytes, replaced: str | None) -> str:
        """Begin a session and return its id. authdata: the user's user_authdata; replaced: id of a session to end."""
        name = user_name.encode()
        user_hash = hash_of(name)
        if replaced:
            self.end(replaced)
        rows = self.store.read(FIND, user_hash=user_hash, session_hash="") or [
            (self.make_key(), None, None, None)
        ]
        key, ended, *_ = rows[0]
        created, version = max(int(time.time() * 1000), (ended or 0) + 1), WITH_NAME
        if len(name) > LONGEST_NAME:
            version, name = WITH_HASH, bytes.fromhex(user_hash)
            self.remember_long_name(user_hash, user_name)
        start = version + created.to_bytes(TIME, "big") + os.urandom(RANDOM)
        code = code_of(key, start + name, authdata)
        raw = start + check_of(key, start + name + code) + code + name
        return encoded(raw)

    @repeated
    def make_key(self) -> bytes:
        """Return the key for the codes; make and store it if no other process has done so."""
        with self.store.transaction():
            if not (key := self.store.value(FIND, user_hash="", session_hash="")):
                key = os.urandom(32)
                self.store.execute(ADD_KEY, secret=key)
            return key

    @repeated
    def remember_long_name(self, user_hash: str, user_name: str):
        """Store a user name that is too long for a session id, unless it is stored already."""
        if not self.store.read(FIND_LONG_NAME, user_hash=user_hash):
            with self.store.transaction():
                self.store.execute(ADD_LONG_NAME, user_hash=user_hash, user_name=user_name)

    def find(self, token: str) -> Session | None:
        """Return the session with the id `token`; None if the id is forged, or the session has ended or expired."""
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
            name = self.store.read(FIND_LONG_NAME, user_hash=user_hash)[0][0].encode()
        return Session(name.decode(), signed, code, key, next_code)

    def check(self, session: Session, token: str, user: dict | None):
        """Raise LoginRefused unless the session belongs to this user and fits the user's stored password.

        user: a row with user_name and user_authdata, or None; token: the session's id. If the password does not fit,
        the session is read again, since it may just have set a new one.
        """
        if user and user["user_authdata"] and session.user_name == user["user_name"]:
            if session.fits(user["user_authdata"]):
                return
            latest = self.find(token)  # it may have set the password since it was read
            if latest and latest.fits(user["user_authdata"]):
                return
        raise LoginRefused("Username is not set!")

    def expect(self, token: str, authdata: str):
        """Record the user_authdata that a session is about to set, so that it goes on after the change of password."""
        if session := self.find(token):
            self.change(token, session, next_code(session.key, authdata))

    @repeated
    def end(self, token: str):
        """End the session with this id. On a full disk, make room in the state database and try again."""
        if session := self.find(token):
            try:
                self.change(token, session, None)
            except StateFailure:
                self.store.make_room()
                self.change(token, session, None)

    def change(self, token: str, session: Session, next_code: bytes | None):
        """Record that a session has ended, or (next_code) that it goes on with a new password.

        If the user then has more than MOST_CHANGES records, the user's oldest sessions end.
        """
        created = int.from_bytes(session.signed[VERSION : VERSION + TIME], "big")
        user_hash, session_hash = hash_of(session.user_name.encode()), hash_of(decoded(token) or b"")
        with self.store.transaction():
            self.store.execute(
                ADD_CHANGE,
                session_hash=session_hash,
                user_hash=user_hash,
                created=created,
                next_code=next_code,
            )
            oldest = self.store.value(LAST_KEPT_CHANGE, user_hash=user_hash, most=MOST_CHANGES)
            if oldest is not None:
                self.end_until(user_hash, max(oldest, self.ended(user_hash)), but="")
            self.delete_expired()

    @repeated
    def end_others(self, user_name: str, but: str):
        """End all sessions of a user, except for the one with the id `but` ("": none), which set a new password."""
        user_hash = hash_of(user_name.encode())
        with self.store.transaction():
            # A clock may differ: also end sessions that another machine begins now, or that began after the last end.
            ended = max(milliseconds() + SKEW // 2, self.ended(user_hash) + 1)
            self.end_until(user_hash, ended, hash_of(decoded(but) or b""))
            self.delete_expired()

    def ended(self, user_hash: str) -> int:
        """Return the time, in milliseconds since 1970, up to which a user's sessions have ended; 0 if none has."""
        rows = self.store.fetch(FIND, {"user_hash": user_hash, "session_hash": ""})[1]
        return rows and rows[0][1] or 0

    def end_until(self, user_hash: str, ended: int, but: str):
        """End a user's sessions that began up to the time `ended` (milliseconds), except one with the hash `but`."""
        self.store.execute(END_UNTIL, user_hash=user_hash, ended=ended)
        self.store.execute(FORGET_CHANGES, user_hash=user_hash, ended=ended, but=but)

    def delete_expired(self):
        for query in EXPIRED:
            self.store.execute(query, before=milliseconds() - self.lifetime)


def milliseconds() -> int:
    return int(time.time() * 1000)


def encoded(raw: bytes) -> str:
    return base64.b32hexencode(raw).decode().rstrip("=").lower()


def decoded(token: str) -> bytes | None:
    """Return the bytes of an id: version, time, random bits, two codes, name. None if the text cannot be an id."""
    try:
        number = int(token, 32) if token.isalnum() else 0
    except ValueError:
        return None
    size, unused = divmod(5 * len(token), 8)
    if size <= FIXED or unused > 4 or number & ((1 << unused) - 1) or token != token.lower():
        return None  # an id can be written in one way only
    raw = (number >> unused).to_bytes(size, "big")
    return raw if raw[:VERSION] in (WITH_NAME, WITH_HASH) else None


def hash_of(data: bytes) -> str:
    """Return the hash under which a user's name or a session's id is stored."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


@lru_cache(maxsize=1000)
def digest_of(authdata: str | bytes) -> bytes:
    """Return a hash of a user_authdata (stored password) for making codes. The hash itself is stored nowhere."""
    data = authdata if isinstance(authdata, bytes) else authdata.encode(errors="surrogatepass")
    return hashlib.blake2b(data, digest_size=32, person=b"mailapi authdata").digest()


def code_of(key: bytes, signed: bytes, authdata: str | bytes) -> bytes:
    """Return the code of an id that proves the user's user_authdata; signed: the rest of the id."""
    data = digest_of(authdata) + signed
    return hashlib.blake2b(data, key=key, digest_size=CODE, person=b"mailapi code").digest()


def check_of(key: bytes, signed: bytes) -> bytes:
    """Return the code of an id that needs no user_authdata, to refuse a forged id without the master database."""
    return hashlib.blake2b(signed, key=key, digest_size=CHECK, person=b"mailapi check").digest()


def next_code(key: bytes, authdata: str | bytes) -> bytes:
    """Return the code that is stored for a session which goes on with a new user_authdata."""
    return hashlib.blake2b(digest_of(authdata), key=key, digest_size=CODE, person=b"mailapi next").digest()
