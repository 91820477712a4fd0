"""Completes the answers of users/?get from other databases, such as the mail server's: users, and who may log in."""

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
MOST_QUERIES = 10  # for the users of one list; a longer list is compared with all users of the other database


def requested_user(call) -> str | None:
    """Return the user name in a request to users/?get for one user; None if the request is for a list."""
    return call.body.get("username") or call.body.get("user_name")


def add_external_users(module: Module, call, answer: dict) -> dict:
    """Add users of other databases, such as the mail server's, to the list in `answer`, and return the answer.

    Only users whom the caller may see are added. For a user of both databases, the other one says whether they can log
    in. If another database cannot be read, the answer gets a warning instead. Called after the action users/?get.
    """
    lists_all = call.caller.admin and not requested_user(call)
    others = module.app.implementers("external_users")
    if not others:
        return answer
    names = [user["user_name"] for user in answer["users"]] or [requested_user(call) or call.user_name]
    asked = [None] if lists_all or len(names) > MOST_QUERIES else names
    try:
        rows = [row for other in others for name in asked for row in other.external_users(name)]
    except ApiError as error:
        return answer | {"status": "warning", "warning": error.status}
    stored_here = set_log_ins(answer["users"], rows) if rows else set()
    if stored_here and not lists_all:
        return answer
    if not requested_user(call):
        rows = [row for row in rows if matches_page(row["user_name"], call.query)]
    shaped = full_row if lists_all and call.generation.number == 9 else brief_row
    permissions: dict[str, list] = {} if lists_all else {call.in_generation("user_{permission}s"): []}
    external = [shaped(row) | permissions for row in rows if row["user_name"] not in stored_here]
    return {"users": sorted(answer["users"] + external, key=itemgetter("user_name"))} if external else answer


def set_log_ins(users: list[dict], rows: list[dict]) -> set[str]:
    """Set user_login or has_login in `users` to the user_login in `rows`, those of other databases, which decide.

    Return the names of all `users`.
    """
    login_of = {row["user_name"]: row["user_login"] for row in rows}
    for user in users:
        for column in user.keys() & {"has_login", "user_login"}:
            user[column] = login_of.get(user["user_name"], user[column])
    return {user["user_name"] for user in users}


def full_row(row: dict) -> dict:
    """Convert a user of another database to the long form in users/?get: {"user_name": …, "has_login": 1, …}.

    An admin's list of all users has this form in schema version 9. `row` is {"user_name": …, "user_login": 1}.
    """
    return {"user_name": row["user_name"], "has_login": row["user_login"]} | NOT_STORED_HERE


def brief_row(row: dict) -> dict:
    """Convert a user of another database to the short form in users/?get: {"user_name": …, "user_login": 1, …}.

    Each of these lists has this form: a list of one user, any list for a caller who is not an admin, and any list in
    schema version 8. `row` is {"user_name": …, "user_login": 1}.
    """
    return row | {"user_alias": None, "modules": []}
