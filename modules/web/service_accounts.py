"""The panel's pages about users' accounts for mail, calendar and contacts: list, settings and deletion."""

from .people import ON_PAGE
from .visitor import PageRefused, Visitor

BITS = {"mail": 1, "calendar": 2, "contacts": 4}  # of the field `provision`
SETTINGS = ("forward", "autoReply", "autoReplyEnabled", "autoReplyStart", "autoReplyEnd")


def accounts(visitor: Visitor) -> dict:
    """Return the template's values for a page of the list of accounts: {"accounts": [row, …], …}."""
    search, after = visitor.query("search"), visitor.query.exactly("after")
    query = {name: value for name, value in (("search", search), ("after", after)) if value}
    rows = visitor.run("accounts", "get", query=query, limit=ON_PAGE + 1)["accounts"]
    return {
        "accounts": rows[:ON_PAGE],
        "more": visitor.next_page(rows, ON_PAGE, "Name"),
        "search": search,
        "is_first": not after,
    }


def service_account(visitor: Visitor) -> dict:
    """Return the template's values for the page of an account for mail, calendar and contacts: {"row": {…}, …}.

    The URL's field user_name selects the user, who may have no account yet.
    """
    name = visitor.query("user_name") or visitor.name
    found = visitor.run("accounts", "get", {"user_name": name})["accounts"]
    row: dict = found[0] if found else {"Name": name, "idAccount": None, "services": []}
    made = {service["kind"] for service in row["services"]}
    return {
        "user_name": name,
        "row": row,
        "has_settings": "forward" in row,
        "settings": {key: field_value(key, row.get(key)) for key in (*SETTINGS, "quota", "userStatus")},
        # Any other number ends log-ins, too.
        "statuses": [(status, status) for status in [str(row.get("userStatus"))] if status not in ("0", "1")],
        "kinds": [(kind, str(bit), kind in made) for kind, bit in BITS.items()],
        "may": {
            "lock": name != visitor.name and visitor.may("accounts", "update", user_name=name, Active=1),
            "limits": visitor.may("accounts", "update", user_name=name, quota=1),
            "provision": visitor.may("accounts", "provision", user_name=name),
            "delete": visitor.may("accounts", "delete", user_name=name),
        },
    }


def field_value(name: str, value) -> str:
    """Convert a setting to the text for its input. Times become "2026-08-01T09:00", as datetime-local needs."""
    text = "" if value is None else str(value)
    return text.replace(" ", "T")[:16] if name in ("autoReplyStart", "autoReplyEnd") else text


def service_account_delete(visitor: Visitor) -> dict:
    name = visitor.query("user_name")
    if not name or not visitor.may("accounts", "delete", user_name=name):
        raise PageRefused(visitor)
    return {"user_name": name}


def settings_of_form(visitor: Visitor) -> dict:
    """Return the fields for the action accounts/?update from the form, such as {"autoReplyEnabled": 1, …}.

    An empty input is "", and a box that is not checked is 0.
    """
    fields = {name: visitor.form(name) for name in ("user_name", *SETTINGS)}
    text = visitor.form.exactly("autoReply").replace("\r\n", "\n")
    return fields | {"autoReply": text, "autoReplyEnabled": int(bool(fields["autoReplyEnabled"]))}


def kinds_of_form(visitor: Visitor) -> dict:
    """Return the fields for the action accounts/?provision: {"user_name": "bob", "provision": 3}.

    3 is the sum of the checked boxes: 1 mail, 2 calendar, 4 contacts.
    """
    chosen = set(visitor.form.all("provision"))
    return {
        "user_name": visitor.form("user_name"),
        "provision": sum(bit for bit in BITS.values() if str(bit) in chosen),
    }
