"""The form of a person's page in the panel that changes the person's permissions."""

from .people import user_row
from .visitor import Visitor


def changed_permissions(visitor: Visitor) -> dict:
    """Return the fields for the action users/?update_permissions: {"user_name": "bob", "user_permissions": [...]}.

    They change only what the visitor has ticked or unticked. What somebody else has given or taken since the page was
    shown stays so.
    """
    name, shown = visitor.form("user_name"), visitor.form.all("shown_permission")
    ticked = visitor.form.all("user_permissions")
    kept = [each for each in user_row(visitor, name)["permissions"] if each in ticked or each not in shown]
    new = [each for each in ticked if each not in shown and each not in kept]
    return {"user_name": name, "user_permissions": kept + new}
