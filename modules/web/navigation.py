"""The menu of the panel, which lists the pages that the user may open."""

from .visitor import Visitor

# Page, the action that it needs, and whether it is only for those who manage others.
MENU = (
    ("overview", None, True),
    ("people", ("users", "get"), True),
    ("addresses", ("addresses", "get"), False),
    ("queue", ("queue", "get"), False),
    ("activity", ("audit", "get"), True),
    ("services", ("services", "get"), True),
    ("accounts", ("accounts", "get"), True),
    ("mail", ("mailbox", "search"), False),
    ("account", None, False),
)


def navigation(visitor: Visitor) -> list[tuple[str, str, str]]:
    """Return the menu as (URL, key, label): [("people", "people", "People"), …].

    Return [] if the user is not logged in.
    """
    if not visitor.call.identified:
        return []
    return [
        ("./" if key == "overview" else key, key, getattr(visitor.t, key))
        for key, needs, for_managers in MENU
        if (visitor.manages or not for_managers)
        and (needs is None or visitor.has(*needs) and may_see(visitor, needs))
    ]


def may_see(visitor: Visitor, needs: tuple[str, str]) -> bool:
    """Return whether the user may run an action, such as ("audit", "get").

    Rules that depend on the fields of a request are ignored.
    """
    found = visitor.endpoint(*needs)
    return found is not None and all(rule.of_fields or rule.test(visitor.call) for rule in found[1].allow)
