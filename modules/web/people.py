"""The panel's pages about people: the list, adding, importing, showing and deleting them."""

from mailapi import ApiError

from ..mail.router_tables import OUT_ROUTERS
from .responses import secret_to_show
from .templates import link
from .visitor import PageRefused, Visitor

ON_PAGE = 100  # people
LONGEST_SHOWN = 200_000  # characters of a file to import, in the page that shows its problems
MOST_ADDRESSES, MOST_ENTRIES = 50, 10  # of one person's page
IN_ROUTERS_8 = ("store", "forward", "handoff", "reject", "drop")  # of msa/ in database generation 8


def people(visitor: Visitor) -> dict:
    """Return the template's values for a page of the people whom the user manages: {"users": [row, …], …}."""
    search, after = visitor.query("search"), visitor.query.exactly("after")
    query = {name: value for name, value in (("search", search), ("after", after), ("brief", "1")) if value}
    users = visitor.run("users", "get", query=query, limit=ON_PAGE + 1)["users"]
    return {
        "users": [row | {"login": row.get("has_login", row.get("user_login"))} for row in users[:ON_PAGE]],
        "more": visitor.next_page(users, ON_PAGE, "user_name"),
        "search": search,
        "is_first": not after,
        "may_add": may_add(visitor),
        "may_import": visitor.may("users", "import"),
    }


def may_add(visitor: Visitor) -> bool:
    """Return whether the user may add people. Which names a delegate may add is checked later."""
    return visitor.admin or visitor.manages and visitor.app.config.delegates_add_users


def person_add(visitor: Visitor) -> dict:
    if not may_add(visitor):
        raise PageRefused(visitor)
    modules = {"address": "addresses", "sending": sending_module(visitor), "pop": "pop"}
    return {
        "permissions": permission_names(visitor, []),
        "suggested": visitor.query("user_name"),
        "options": [option for option, module in modules.items() if visitor.has(module, "add")],
    }


def people_import(visitor: Visitor) -> dict:
    """Return the template's values for the page that imports people: {"file": "…", "problems": ["…"], …}."""
    sent = file_of_form(visitor)
    return {
        "file": "" if len(sent) > LONGEST_SHOWN or "password" in sent else sent,
        "problems": visitor.answer.get("problems", []),
        "checked": visitor.answer.get("checked"),
    }


def file_of_form(visitor: Visitor) -> str:
    """Return the text of the uploaded file; without a file, the text that was typed."""
    chosen = next((file["content"] for name, file in visitor.form.files if name == "chosen"), b"")
    return chosen.decode("utf-8-sig", "replace") or visitor.form.exactly("file")


def import_people(visitor: Visitor) -> tuple[str, str] | None:
    """Import the people in the form's file. Return ("people", "people_imported.12") for 12 people: page and message.

    If the form says to check the file only, add nobody, and return None: the form's page shows the result.
    """
    dry_run = visitor.form("change") != "import"
    added = visitor.run("users", "import", {"file": file_of_form(visitor), "dry_run": dry_run})
    visitor.answer = added
    return None if dry_run else ("people", f"people_imported.{added['imported']}")


def add_person(visitor: Visitor) -> tuple[str, str]:
    """Add the person whom the form describes, with what is ticked there: an address, sending, POP.

    Return the person's page, and the name of the message on it: ("person?user_name=bob", "person_added").
    """
    name, chosen = visitor.form("user_name"), visitor.form.all("also")
    fields = {"user_name": name, "user_authdata": visitor.form.exactly("user_authdata")}
    visitor.run("users", "add", fields | {"user_permissions": visitor.form.all("user_permissions")})
    further = [action for option, action in offered_actions(visitor, name) if option in chosen]
    done = "person_added"
    for module, action_fields in further:
        try:
            visitor.run(module, "add", action_fields)
        except ApiError:
            done = "person_added_partly"
    return link("person", user_name=name), done


def offered_actions(visitor: Visitor, name: str) -> list[tuple[str, tuple[str, dict]]]:
    """Return the actions that the page for a new person offers as check boxes: [(check box, (module, fields)), …].

    For example: ("sending", ("smtpd", {"smtpd_user": "bob", …})) stands for the action smtpd/?add with these fields.
    """
    if visitor.generation.number == 8:
        routers = {"msa_user": name, "msa_inrouter": "store", "msa_outrouter": "defined"}
        target: dict = {"address_user": name}
    else:
        routers = {"smtpd_user": name, "smtpd_router": "defined"}
        target = {"address_router": "store", "address_route": name}
    actions: list[tuple[str, tuple[str, dict]]] = [
        ("sending", (sending_module(visitor), routers)),
        ("pop", ("pop", {"pop_user": name})),
    ]
    address = ("address", ("addresses", {"address_expression": name} | target))
    return [address, *actions] if "@" in name else actions


def permission_names(visitor: Visitor, granted: list[str]) -> list[str]:
    """Return the names of all permissions, such as ["admin", "delegate", …], and others that are in `granted`."""
    modules = visitor.app.modules.values()
    known = ["admin", "delegate", *(name for module in modules for name in module.permissions)]
    return list(dict.fromkeys([*known, *granted]))


def user_row(visitor: Visitor, name: str) -> dict:
    """Return the data of a user, {"user_name": "bob", …}. ApiError (HTTP 404) if the visitor sees no user `name`."""
    rows = visitor.run("users", "get", {"user_name": name})["users"] if name else []
    if not rows:
        raise ApiError(visitor.t.no_such_user, http=404)
    granted = rows[0].get("user_permissions", rows[0].get("user_rights")) or []
    return rows[0] | {"permissions": list(granted), "login": rows[0]["user_login"]}


def changed_permissions(visitor: Visitor) -> dict:
    """Return the fields for the action users/?update_permissions: {"user_name": "bob", "user_permissions": […]}.

    They change only what the visitor has ticked or unticked, not what others have changed since the page was shown.
    """
    name, shown = visitor.form("user_name"), visitor.form.all("shown_permission")
    ticked = visitor.form.all("user_permissions")
    kept = [each for each in user_row(visitor, name)["permissions"] if each in ticked or each not in shown]
    new = [each for each in ticked if each not in shown and each not in kept]
    return {"user_name": name, "user_permissions": kept + new}


def person_delete(visitor: Visitor) -> dict:
    user = user_row(visitor, visitor.query("user_name"))
    if not visitor.may("users", "delete", user_name=user["user_name"]):
        raise PageRefused(visitor)
    return {"user": user, "addresses": stored_addresses(visitor, user["user_name"])}


def person(visitor: Visitor) -> dict:
    """Return the template's values for a person's page: {"user": {…}, "may": {"password": True, …}, …}."""
    user = user_row(visitor, visitor.query("user_name"))
    name = user["user_name"]
    may = {
        "password": visitor.may("users", "set_password", user_name=name),
        "alias": visitor.may("users", "update_alias", user_name=name),
        "permissions": visitor.may("users", "update_permissions", user_name=name),
        "suspend": name != visitor.name and visitor.may("users", "suspend", user_name=name),
        "delete": visitor.may("users", "delete", user_name=name),
        "address": visitor.has("addresses", "add"),
    }
    return {
        "user": user,
        "may": may,
        "permissions": permission_names(visitor, user["permissions"]),
        "addresses": stored_addresses(visitor, name),
        "sending": sending(visitor, name),
        "pop": pop(visitor, name),
        "delegations": delegations(visitor, name),
        "tokens": tokens_of(visitor, name) if visitor.admin and visitor.has("tokens") else None,
        "devices": devices_of(visitor, name) if not user["user_alias"] else None,
        "secret": secret_to_show(visitor),
        "entries": activity_of(visitor, name),
    }


def stored_addresses(visitor: Visitor, name: str) -> list[dict] | None:
    """Return the addresses whose mail is stored for a person; None if the module for addresses is missing."""
    if not visitor.has("addresses"):
        return None
    return visitor.run("addresses", "get", {"address_user": name}, limit=MOST_ADDRESSES)["addresses"]


def sending_module(visitor: Visitor) -> str:
    """Return the name of the API module for mail that people send: "msa" in database generation 8, else "smtpd"."""
    return "msa" if visitor.generation.number == 8 else "smtpd"


def sending(visitor: Visitor, name: str) -> dict | None:
    """Return what happens to mail that a person sends: {"row": {"smtpd_router": "any", …}, "may": True, …}.

    `row` is of table smtpd or msa. `may` tells if the visitor may change it. Return None if they may not see it.
    """
    module = sending_module(visitor)
    owner = {f"{module}_user": name}
    if not visitor.may(module, "get", **owner):
        return None
    row = next(iter(visitor.run(module, "get", owner)[module]), None)
    return {
        "row": row,
        "may": visitor.may(module, "delete", **owner),
        "routers": OUT_ROUTERS,
        "in_routers": IN_ROUTERS_8 if module == "msa" else (),
    }


def pop(visitor: Visitor, name: str) -> dict | None:
    """Return whether a person may collect mail by POP: {"on": True, "lock": False, "may": True}.

    `lock` tells if the mailbox is locked now, and `may` if the visitor may change this. None if they may not see it.
    """
    if not visitor.may("pop", "get", pop_user=name):
        return None
    row = next(iter(visitor.run("pop", "get", {"pop_user": name})["pop"]), None)
    return {
        "on": row is not None,
        "lock": bool(row and row["pop_lock"]),
        "may": visitor.may("pop", "add", pop_user=name),
    }


def delegations(visitor: Visitor, name: str) -> dict | None:
    """Return who manages a person, and which people and addresses the person manages. None if the visitor is no admin.

    For example {"managers": ["alice"], "managed": ["carol"], "expressions": ["%@example.org"]}.
    """
    if not visitor.admin or not visitor.has("delegates"):
        return None
    found = visitor.run("delegates", "get")["delegates"]
    return {
        "managers": [row["api_user"] for row in found["users"] if row["api_delegate"] == name],
        "managed": [row["api_delegate"] for row in found["users"] if row["api_user"] == name],
        "expressions": [row["api_expression"] for row in found["addresses"] if row["api_user"] == name],
    }


def devices_of(visitor: Visitor, name: str) -> list[dict] | None:
    """Return the rows of a person's devices, each a password for one program; None if the visitor may not see them."""
    if visitor.app.config.mailserver or not visitor.may("users", "device_get", user_name=name):
        return None
    return visitor.run("users", "device_get", {"user_name": name})["devices"]


def tokens_of(visitor: Visitor, name: str) -> list[dict]:
    return [row for row in visitor.run("tokens", "get")["tokens"] if row["token_user"] == name]


def activity_of(visitor: Visitor, name: str) -> list[dict] | None:
    """Return the latest audit records about what a person did; None if the visitor may not read the audit."""
    if not visitor.may("audit", "get"):
        return None
    return visitor.run("audit", "get", {"audit_user": name})["audit"][:MOST_ENTRIES]
