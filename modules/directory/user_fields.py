"""Checks of the fields in requests about users (names, aliases, permissions, files), before an action runs."""

from mailapi import ApiError, php_text

from ..openapi.schemas import TEXT, json_schema
from . import devices, new_users


def check_new_user(call):
    """Raise ApiError if the name of a new user is not allowed, or their alias is their own name."""
    new_users.check_new_user(call.body["user_name"], call.body.get("user_alias"))
    refuse_device(call)


def check_new_alias(call):
    """Raise ApiError if user_alias is not given, or is the user's own name."""
    if call.body.get("user_alias") is None:
        raise ApiError("No alias set.", code="missing_field", field="user_alias")
    new_users.check_alias(call.body["user_name"], call.body["user_alias"])
    refuse_device(call)


def refuse_device(call):
    """Raise ApiError if the request would turn a user into a device (a log-in for one program).

    Only users/?device_add makes devices.
    """
    if devices.would_be_device(call.body["user_name"], call.body.get("user_alias")):
        raise ApiError("A device is added by device_add.", field="user_alias")


def require_permissions(call):
    """Raise ApiError if user_permissions is not given. An empty list is allowed: it removes all permissions."""
    if call.body.get("user_permissions") is None:
        raise ApiError(
            call.in_generation("No {permission}s is set."), code="missing_field", field="user_permissions"
        )


def require_file(call):
    """Raise ApiError if the request has no file. (The audit would record a field in `required`.)"""
    if not call.body.get("file"):
        raise ApiError("No file is set.", code="missing_field", field="file")


@json_schema(TEXT)
def alias(value) -> str | None:
    """Read the name of the user whose mailbox to open; null becomes "", no alias (docs/wire.md F34)."""
    return "" if value in (None, "") else php_text(value)
