"""The permissions that mailapi knows: "admin", "delegate", and those that modules declare (Module.permissions).

Any other permission can be stored, but has no effect.
"""

from collections.abc import Collection

from mailapi import Application, each_generation, param

CORE_PERMISSIONS = {
    "admin": "may do everything",
    "delegate": "may do for the delegated users and addresses what an admin may",
}
REVOKE = each_generation(
    lambda g: g.access.delete().where(
        g.access.api_user == param("user_name"), g.access.api_permission == param("permission")
    )
)
REVOKE_ALL = each_generation(lambda g: g.access.delete().where(g.access.api_user == param("user_name")))


def declared_permissions(app: Application) -> list[dict]:
    """Return all known permissions, each as {"permission": "admin", "description": "may do everything", "module": ""}.

    `module` is the URL path of the module that declares the permission; "" for those of mailapi itself.
    """
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
    """Return all known permissions for users/?permissions: [{"permission": …, "description": …, "module": …}].

    In schema version 8, the key "permission" is "right".
    """
    return [
        {call.in_generation("{permission}"): each.pop("permission")} | each
        for each in declared_permissions(call.app)
    ]


def warn_of_unknown(call, permissions: Collection[str]) -> dict:
    """Return {"status": "warning", "warning": …} for the answer if one of the permissions is unknown, otherwise {}.

    Clients of the original PHP protocol get the warning only if the setting `debug` is on.
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
