"""Devices: additional log-ins to a user's mailbox, each with its own name and password, for one program.

A device is a row of `users`, such as `ann~phone` with the user_alias `ann`. The mail daemons check the password of the
device, and then open the mailbox of its alias. A device cannot log in to the API, and is in no list of users.
"""

from collections.abc import Iterator

from peewee import fn

from mailapi import ApiError, PreparedQuery, Store, Users, param

MARK = "~"
AFTER_MARK = chr(ord(MARK) + 1)
NO_CREDENTIALS = {"user_name": None, "user_authdata": None}
MARK_POSITION = fn.INSTR(Users.user_name, Users.user_alias.concat(MARK))  # 1 for a device
IS_PERSON = Users.user_alias.is_null() | (MARK_POSITION != 1)
IS_DEVICE = Users.user_alias.is_null(False) & (MARK_POSITION == 1)
# The range of names begins with `ann~`, and ends before all other names.
OF_OWNER = (
    (Users.user_alias == param("owner"))
    & (Users.user_name >= param("first"))
    & (Users.user_name < param("end"))
)
OWNER_OF = PreparedQuery(Users.select(Users.user_alias).where(Users.user_name == param("name"), IS_DEVICE))
DEVICES = PreparedQuery(
    Users.select(Users.user_name, Users.user_authdata).where(OF_OWNER).order_by(Users.user_name)
)
DELETE_DEVICES = PreparedQuery(Users.delete().where(OF_OWNER))
# Where another program deletes a user, the database takes the alias of their devices away, and leaves their passwords.
STRAYS = PreparedQuery(
    Users.select(Users.user_name).where(
        fn.INSTR(Users.user_name, MARK) > 1, IS_PERSON, Users.user_authdata.is_null(False)
    )
)


def owner_values(owner: str) -> dict:
    """Return the query parameters that select a user's devices: {"owner": "ann", "first": "ann~", "end": …}.

    Their names are in the range from `first` to before `end`.
    """
    return {"owner": owner, "first": owner + MARK, "end": owner + AFTER_MARK}


def name_of(owner: str, label: str) -> str:
    """Return the user name of a device, such as `ann~phone` for ann's `phone`."""
    return f"{owner}{MARK}{label}"


def label_of(owner: str, name: str) -> str:
    return name.removeprefix(owner + MARK)


def would_be_device(user_name: str, user_alias: str | None) -> bool:
    """Return whether a user with this name and alias is a device, such as `ann~phone` with the alias `ann`."""
    return bool(user_alias) and user_name.startswith(f"{user_alias}{MARK}")


def is_device(db: Store, user_name: str) -> bool:
    """Return whether a user name is that of a device in the database, such as `ann~phone`."""
    return MARK in user_name and bool(db.read(OWNER_OF, name=user_name))


def owner_of(call, user_name: str) -> str | None:
    """Return the owner of a device, such as `ann` for `ann~phone`; None if there is no such device."""
    return call.db.value(OWNER_OF, name=user_name) if MARK in user_name else None


def refuse_devices(call, *user_names: str):
    """Raise ApiError if a user is a device, such as `ann~phone`. Devices have neither permissions nor delegations."""
    if any(owner_of(call, name) is not None for name in user_names):
        raise ApiError("A device has neither permissions nor delegations.")


def delete_of(call, owner: str):
    """Delete all devices of the user `owner`. Call it before the user is deleted.

    Otherwise the devices would become ordinary users.
    """
    # Where a user is deleted, the database takes their devices' aliases away.
    call.deleted_users += [row["user_name"] for row in call.db.rows(DEVICES, **owner_values(owner))]
    call.db.execute(DELETE_DEVICES, **owner_values(owner))


def strays(db: Store) -> Iterator[str]:
    """Yield a warning about each user who is named like a device, such as ann~phone, and can log in, but is no device.

    Each warning is a sentence that `mailapi check` prints.
    """
    for name in db.column(STRAYS):
        owner = name.partition(MARK)[0]
        yield f"user {ascii(name)} is named like a device of {ascii(owner)}, and is none: a log-in of its own"
