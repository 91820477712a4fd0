"""Permissions that mean something: admin, delegate, and those that modules declare (Module.permissions)."""

from collections.abc import Collection

from mailapi import Application

CORE_PERMISSIONS = {
    "admin": "may do everything",
    "delegate": "may do for the delegated users and addresses what an admin may",
}


def declared_permissions(app: Application) -> list[dict]:
    """Return each permission that means something, what it is for, and the module that declares it; "" is the core."""
    declared = [
        ("", CORE_PERMISSIONS),
        *((module.path, module.permissions) for module in app.modules.values()),
    ]
    return [
        {"permission": name, "description": names[name] if isinstance(names, dict) else "", "module": path}
        for path, names in declared
        for name in names
    ]


def listed_permissions(call) -> list[dict]:
    """Return the declared permissions in the words of the generation: `right` for `permission` in generation 8."""
    return [
        {call.in_generation("{permission}"): each.pop("permission")} | each
        for each in declared_permissions(call.app)
    ]


def warn_of_unknown(call, permissions: Collection[str]) -> dict:
    """Return members of an answer that warn of permissions without a meaning; {} if there are none.

    The original stores any permission and answers ok; clients of the first wire are warned only with `debug` on.
    """
    if not permissions or not (call.warns or call.config.debug):
        return {}
    known = {each["permission"] for each in declared_permissions(call.app)}
    unknown = sorted(set(permissions) - known)
    if not unknown:
        return {}
    names = ", ".join(f"{name:.100}" for name in unknown[:10])
    warning = call.in_generation(f"Stored, but no module knows the {{permission}}: {names}.")
    return {"status": "warning", "warning": warning}
