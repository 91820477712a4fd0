"""Suspends users: moves their passwords to the state database, so that nobody can log in as them.

A suspended user still gets mail. A user is suspended if the state database has their password and `users` has none. If
both have one (after an interrupted change, or because another program set it), the one in the state database is
obsolete and the user is not suspended.
"""

import os
import secrets
from collections.abc import Iterator, Sequence
from functools import partial

from mailapi import (
    CREDENTIALS_OF,
    DURABLE,
    ApiError,
    Application,
    PreparedQuery,
    Store,
    Users,
    delegate_of,
    endpoint,
    is_url,
    log,
    param,
    sha256,
)

from . import devices
from .suspension_rows import (
    ALL_NAMES,
    COLUMNS,
    DISCARD,
    DISCARD_TOGETHER,
    FIND,
    FIND_SUSPENDED_TOGETHER,
    SET_STORED,
    STORE,
)

IS_USER = Users.user_name == param("user_name")
TAKE_PASSWORD = PreparedQuery(Users.update(user_authdata=None).where(IS_USER))
GIVE_PASSWORD = PreparedQuery(
    Users.update(user_authdata=param("authdata")).where(IS_USER, Users.user_authdata.is_null())
)

ONE_USER = {"required": {"user_name": "Username is not set."}, "allow": delegate_of("user_name")}


def discard_restored(module, call, answer: dict) -> dict:
    """Delete the stored passwords that users/?restore has moved back to the table `users`. Called after the commit.

    Return `answer` without suspension_id, which selects these passwords and is not for clients.
    """
    suspension_id = answer.pop("suspension_id")
    try:
        with module.app.state.transaction():
            module.app.state.execute(DISCARD_TOGETHER, suspension_id=suspension_id)
    except ApiError as error:  # they are obsolete from now on
        log.warning("a suspension has ended, but its record could not be deleted: %s", error.status)
    return answer


def record_without_password(module, call, answer: dict) -> dict:
    """Record the suspension of a user without any password. Return `answer` without the user.

    Called after the commit: before, it would be in effect even if that failed, because `users` does not change.
    """
    for user in answer.pop("without_password"):
        module.app.state.run_with_retry(partial(store_passwords, module.app.state, [user]))
    return answer


@endpoint(**ONE_USER, after_commit=record_without_password)
def suspend(module, call):
    """Stop all log-ins of a user and of their devices, and end their sessions. Mail still comes in.

    Nothing is deleted: the user's password, devices and tokens work again when the user is restored.
    """
    name = call.body["user_name"]
    if name == call.user_name:
        raise ApiError("Nobody can suspend themselves.", field="user_name")
    user = call.db.one(CREDENTIALS_OF, user=name)
    rows = [user, *devices_with_password(call.db, name)] if user else []
    has_password = any(row["user_authdata"] is not None for row in rows)
    if has_password:
        move_passwords(call.app.state, call.db, rows)
    call.new_authdata[name] = None
    call.enlist("suspend", name)
    if not user and not call.participants:
        raise ApiError("There is no such user.", code="not_found", field="user_name")
    return {"without_password": [] if has_password else rows}


@endpoint(**ONE_USER, after_commit=discard_restored)
def restore(module, call):
    """Let a suspended user and their devices (log-ins for one program) log in again, with the passwords from before.

    A device cannot be restored while its owner is suspended.
    """
    name = call.body["user_name"]
    stored = find_current(call, name)
    owner = devices.owner_of(call, name)
    if owner and find_current(call, owner):
        raise ApiError(f"User {owner:.100} is suspended.", field="user_name")
    if stored:
        with call.app.state.transaction("DEFERRED"):
            rows = call.app.state.rows(FIND_SUSPENDED_TOGETHER, suspension_id=stored["suspension_id"])
        for row in rows:
            call.db.execute(GIVE_PASSWORD, user_name=row["user_name"], authdata=row["user_authdata"])
    call.enlist("restore", name)
    if not stored and not call.participants:
        raise ApiError("This user is not suspended.", field="user_name")
    return {"suspension_id": stored["suspension_id"] if stored else ""}


def move_passwords(state: Store, db: Store, rows: Sequence[dict]):
    """Suspend a user: move the passwords of the user and of their devices from table `users` to the state database.

    `rows` are {"user_name": …, "user_authdata": …}: first the user, then the devices. If the user's own password was
    moved before, move only the devices' passwords. Call it within a transaction of `db`.
    """
    for row in store_passwords(state, rows):
        db.execute(TAKE_PASSWORD, user_name=row["user_name"])


def store_passwords(state: Store, rows: Sequence[dict]) -> Sequence[dict]:
    """Store the passwords of a user and of their devices in the state database. Return the rows that were stored.

    `rows`: {"user_name": …, "user_authdata": …}, first of the user. A user whose password was moved before is left out.
    """
    suspended = find(state, rows[0]["user_name"])
    suspension_id = secrets.token_hex(16)
    if suspended and rows[0]["user_authdata"] is None:
        suspension_id, rows = suspended["suspension_id"], rows[1:]
    for name in [row["user_name"] for row in rows if "\ufffd" in str(row["user_authdata"])]:
        raise ApiError(f"The password of {name:.100} is not UTF-8 and could not be restored: set another.")
    # It must outlast a power cut: the master's commit removes the passwords from `users`.
    with state.transaction(DURABLE):
        for row in rows:
            state.execute(STORE, user_hash=sha256(row["user_name"]), suspension_id=suspension_id, **row)
    return rows


def devices_with_password(db: Store, owner: str) -> list[dict]:
    """Return the devices of a user that can log in, each as {"user_name": "ann~phone", "user_authdata": HASH}."""
    return [
        row
        for row in db.rows(devices.DEVICES, **devices.owner_values(owner))
        if row["user_authdata"] is not None
    ]


def find(state: Store, user_name: str) -> dict | None:
    """Return the row of table `suspension` with the password of a suspended user, or None. It may be obsolete."""
    rows = state.read(FIND, user_hash=sha256(user_name))
    return dict(zip(COLUMNS, rows[0])) if rows else None


def find_current(call, user_name: str) -> dict | None:
    """Return the state database's row with a suspended user's password; None if the user is not suspended."""
    stored = find(call.app.state, user_name)
    return stored if stored and not is_obsolete(call.db, user_name) else None


def stored_names(state: Store) -> list[str]:
    """Return the names of all users and devices whose password is in the state database, even if it is obsolete."""
    return [name for (name,) in state.read(ALL_NAMES)]


def is_obsolete(db: Store, user_name: str) -> bool:
    """Return whether a suspension is not in effect: the user has a password in table `users`, or does not exist."""
    user = db.one(CREDENTIALS_OF, user=user_name)
    return user is None or user["user_authdata"] is not None


def set_stored_password(state: Store, user_name: str, authdata: str | None):
    """Replace the password that a suspended user will have when they are restored. `authdata` is the new hash."""
    with state.transaction(DURABLE):
        state.execute(SET_STORED, user_hash=sha256(user_name), user_authdata=authdata)


def discard(state: Store, user_name: str):
    """Delete the password that a suspended user had from the state database, if it is there."""
    if find(state, user_name):
        with state.transaction(DURABLE):  # or a power cut would give it to a new user without a password
            state.execute(DISCARD, user_hash=sha256(user_name))


def discard_if_obsolete(app: Application, user_name: str):
    """Delete the password of a deleted user from the state database, where it is if the user was suspended.

    Keep it if a new user of this name was suspended in the meantime, since it is theirs.
    """
    if find(app.state, user_name):
        with app.db.transaction():  # no suspension is halfway now
            if is_obsolete(app.db, user_name):
                discard(app.state, user_name)


def check(app: Application, repair: bool) -> Iterator[tuple[bool | None, str]]:
    """Check the stored passwords of suspended users, for `mailapi check`. Yield (passed, sentence) for each result.

    Errors are obsolete passwords (their users were deleted, or have a password in `users`), and devices of suspended
    users that can log in. With `repair`, delete these passwords, and suspend these devices.
    """
    if not is_url(app.config.state) and not os.path.exists(app.config.state):
        return
    suspended = []
    for name in stored_names(app.state):
        obsolete, active = app.db.run_with_retry(partial(check_user, app, name, repair))
        if obsolete:
            yield repair, f"a suspension of {name} is recorded that is not in effect{': deleted' * repair}"
        elif devices.MARK not in name:
            suspended.append(name)
        for device in active:
            yield repair, f"device {device} of {name}, who is suspended, can log in{': stopped' * repair}"
    if suspended:
        yield True, f"suspended users: {len(suspended)}, such as {', '.join(suspended[:3])}"


def check_user(app: Application, user_name: str, repair: bool) -> tuple[bool, list[str]]:
    """Check one user's suspension: return whether it is obsolete, and which devices of the user can log in anyway.

    For example (True, []), or (False, ["ann~phone"]). A suspension is obsolete if the user was deleted, or has a
    password in the table `users`. With `repair`, delete the password of an obsolete suspension. If the suspension is
    in effect, suspend the devices, too.
    """
    with app.db.transaction("IMMEDIATE" if repair else "DEFERRED"):  # no suspension is halfway while we write
        user = app.db.one(CREDENTIALS_OF, user=user_name)
        if is_obsolete(app.db, user_name):
            if repair:
                discard(app.state, user_name)
            return True, []
        active = devices_with_password(app.db, user_name)
        if repair and active:
            move_passwords(app.state, app.db, [user or {}, *active])
        return False, [row["user_name"] for row in active]
