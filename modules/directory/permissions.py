"""The known permissions: admin, delegate, and those of modules (Module.permissions). Others have no effect."""

from collections.abc import Collection

from mailapi import Application

CORE_PERMISSIONS = {
    "admin": "may do everything",
    "delegate": "may do for the delegated users and addresses what an admin may",
}


def declared_permissions(app: Application) -> list[dict]:
    """Return the known permissions, each with its purpose and the module that declares it ("" for the core)."""
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
    """Return the known permissions for the answer of users/?permissions (for schema version 8 called rights)."""
    return [
        {call.in_generation("{permission}"): each.pop("permission")} | each
        for each in declared_permissions(call.app)
    ]


def warn_of_unknown(call, permissions: Collection[str]) -> dict:
    """Return the member `warning` of an answer if some of the permissions are unknown, otherwise {}.

    The original API stores any permission and answers ok, so clients of the first wire get the warning only
    with `debug` on.
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
