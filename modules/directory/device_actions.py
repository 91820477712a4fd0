"""Actions of users/ that add, list and delete devices: log-ins to a user's mailbox with their own passwords."""

import re
import secrets

from mailapi import (
    ApiError,
    PreparedQuery,
    Users,
    anyone,
    endpoint,
    make_authdata,
    owner_or_delegate,
    param,
    php_text,
)

from . import devices, new_users, suspension, user_names, user_rows
from .own_token import not_by_own_token

MOST_DEVICES = 50  # of one user
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none is easily taken for another one
OWNER = PreparedQuery(
    Users.select(Users.user_name, Users.user_alias).where(Users.user_name == param("user_name"))
)


def refuse_with_mailserver(call):
    """Raise ApiError if the setting `mailserver` is given: its users cannot have log-ins for one program (devices)."""
    if call.config.mailserver:
        raise ApiError("Devices cannot be used with a mailserver.", code="unavailable")


def check_label(call):
    """Raise ApiError unless the new device's name is 1 to 64 letters, digits, dots, dashes or `_`."""
    label = call.body["device_name"]
    if not re.fullmatch(r"[\w.-]{1,64}", label) or not user_names.same_everywhere(label):
        raise ApiError("Device name is not allowed.", field="device_name")


ONE_DEVICE = {"user_name": "Username is not set.", "device_name": "Device name is not set."}
may_add_device = not_by_own_token("A token cannot add a device of its user.")


@endpoint(
    required=ONE_DEVICE,
    validators=[refuse_with_mailserver, check_label],
    allow=(owner_or_delegate("user_name"), may_add_device),
)
def device_add(module, call):
    """Add a device: a name and a password with which one program of a user logs in to the mail daemons.

    `device` in the answer has `user_name` (the name to log in with, such as `ann~phone`), `device_name` and
    `password`, which is never shown again. The device opens the user's mailbox, and sends as the user. It cannot log
    in to the API.
    """
    owner, label = call.body["user_name"], call.body["device_name"]
    name, password = devices.name_of(owner, label), new_password()
    check_owner(call, owner)
    if len(call.db.rows(devices.DEVICES, **devices.owner_values(owner))) >= MOST_DEVICES:
        raise ApiError(f"Too many devices: {MOST_DEVICES} at most. Delete one first.")
    if call.db.one(OWNER, user_name=name) or user_names.is_taken(call.db, name, ignore_case=True):
        raise ApiError("This device name is taken.", code="duplicate", field="device_name")
    call.db.execute(
        new_users.INSERT_USER, user_name=name, user_authdata=make_authdata(password), user_alias=owner
    )
    suspension.discard(call.app.state, name)
    return {"device": {"user_name": name, "device_name": label, "password": password}}


@endpoint(
    optional={"user_name": php_text},
    validators=[refuse_with_mailserver],
    allow=owner_or_delegate("user_name", missing=anyone),
    read_only=True,
)
def device_get(module, call):
    """List a user's devices (log-ins for one program each), by default the caller's, without their passwords."""
    owner = call.body.get("user_name") or call.user_name
    if owner is None:
        raise ApiError("Name the user with --as USER.")
    names = call.db.column(devices.DEVICES, **devices.owner_values(owner))
    return {"devices": [{"user_name": name, "device_name": devices.label_of(owner, name)} for name in names]}


@endpoint(required=ONE_DEVICE, validators=[refuse_with_mailserver], allow=owner_or_delegate("user_name"))
def device_delete(module, call):
    """Delete a device of a user. Nobody can log in with its name and password any longer."""
    owner = call.body["user_name"]
    name = devices.name_of(owner, call.body["device_name"])
    if name not in call.db.column(devices.DEVICES, **devices.owner_values(owner)):
        raise ApiError("Device not found.", code="not_found", field="device_name")
    call.db.execute(user_rows.DELETE_USER, user=name)
    call.new_authdata[name] = None
    call.deleted_users.append(name)


def check_owner(call, owner: str):
    """Raise ApiError if `owner` cannot have devices: there is no such user, or they are suspended or have an alias.

    A user with an alias opens the mailbox of another user.
    """
    row = call.db.one(OWNER, user_name=owner)
    if not row:
        raise ApiError("There is no such user.", code="not_found", field="user_name")
    if row["user_alias"]:
        raise ApiError("An alias has no devices.", field="user_name")
    if suspension.find_current(call, owner):
        raise ApiError("This user is suspended.", field="user_name")


def new_password() -> str:
    """Return a random password of about 100 bits that is easy to type, such as abcde-fghjk-mnpqr-stuvw."""
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(5)) for _ in range(4))
