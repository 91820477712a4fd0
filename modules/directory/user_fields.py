"""Checks of the fields of requests about users: names, aliases, permissions and files. They run before the action."""

from mailapi import ApiError, php_text

from ..openapi.schemas import TEXT, json_schema
from . import devices, new_users


def check_new_user(call):
    """Raise ApiError if a new user's name is not allowed, equals user_alias, or makes the user a device.

    A device is a log-in for one program of another user: `ann~phone`, for example, with the user_alias `ann`.
    """
    new_users.check_new_user(call.body["user_name"], call.body.get("user_alias"))
    refuse_device(call)


def check_new_alias(call):
    """Raise ApiError if user_alias is missing, equals user_name, or would make the user a device.

    The user_alias `ann`, for example, would make the user `ann~phone` a device: a log-in for one program of ann.
    """
    if call.body.get("user_alias") is None:
        raise ApiError("No alias set.", code="missing_field", field="user_alias")
    new_users.check_alias(call.body["user_name"], call.body["user_alias"])
    refuse_device(call)


def refuse_device(call):
    """Raise ApiError if user_name and user_alias in the request are those of a device, such as `ann~phone` and `ann`.

    A device is a log-in for one program. Only users/?device_add can add one.
    """
    if devices.would_be_device(call.body["user_name"], call.body.get("user_alias")):
        raise ApiError("A device is added by device_add.", field="user_alias")


def require_permissions(call):
    """Raise ApiError if the request has no user_permissions. An empty list is allowed."""
    if call.body.get("user_permissions") is None:
        raise ApiError(
            call.in_generation("No {permission}s is set."), code="missing_field", field="user_permissions"
        )


def require_file(call):
    """Raise ApiError if the request has no `file`."""
    # The check `required` would let the audit record the file.
    if not call.body.get("file"):
        raise ApiError("No file is set.", code="missing_field", field="file")


@json_schema(TEXT)
def alias(value) -> str | None:
    """Return the field user_alias as text. Null and "" become "", which means no alias (docs/wire.md F34)."""
    return "" if value in (None, "") else php_text(value)
