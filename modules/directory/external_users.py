"""Users who are only in another database, such as the mail server's: how users/?get lists them."""

from operator import itemgetter

from mailapi import ApiError, Module

from .user_lists import matches_page

# Columns that users of another database do not have.
NOT_STORED_HERE: dict[str, object] = {
    "user_alias": None,
    "user_database": None,
    "link_count": None,
    "mails": 0,
    "modules": [],
}


def asked_for(call) -> str | None:
    """Return the one user whom a request to users/?get names, or None if it asks for a list."""
    return call.body.get("username") or call.body.get("user_name")


def add_external_users(module: Module, call, answer: dict) -> dict:
    """Add users of another database, such as the mail server's, to the list in an answer, and return the answer.

    Only users that the caller may see are added. If the other database cannot be read, the answer gets a
    warning instead.
    """
    lists_all = call.caller.admin and not asked_for(call)
    name = None if lists_all else asked_for(call) or call.user_name
    others = module.app.implementers("external_users")
    if not others or name and answer["users"]:
        return answer
    try:
        rows = [row for other in others for row in other.external_users(name)]
    except ApiError as error:
        return answer | {"status": "warning", "warning": error.status}
    if not asked_for(call):
        rows = [row for row in rows if matches_page(row["user_name"], call.query)]
    stored_here = {row["user_name"] for row in answer["users"]} if rows else ()
    shaped = full_row if lists_all and call.generation.number == 9 else brief_row
    permissions: dict[str, list] = {} if lists_all else {call.in_generation("user_{permission}s"): []}
    external = [shaped(row) | permissions for row in rows if row["user_name"] not in stored_here]
    return {"users": sorted(answer["users"] + external, key=itemgetter("user_name"))} if external else answer


def full_row(row: dict) -> dict:
    """Return a user of another database with the columns of users/?get for an admin, in schema version 9."""
    return {"user_name": row["user_name"], "has_login": row["user_login"]} | NOT_STORED_HERE


def brief_row(row: dict) -> dict:
    """Return a user of another database with the columns of users/?get for everybody else."""
    return row | {"user_alias": None, "modules": []}
