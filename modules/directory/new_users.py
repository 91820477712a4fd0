"""Adds users: the access rule for `users/?add`, the checks that it shares with `users/?import`, and the inserts."""

import re
from collections.abc import Collection, Iterable
from functools import partial

from peewee import SQL

from mailapi import (
    CREDENTIALS_OF,
    LONGEST,
    ApiError,
    ApiUserDelegates,
    PreparedQuery,
    Rule,
    Users,
    each_generation,
    param,
)

from . import deleted_names, devices, suspension, user_names, user_rows
from .address_tables import each_address_table

INSERT_USER = PreparedQuery(
    Users.insert({name: param(name) for name in ("user_name", "user_authdata", "user_alias")})
)
SET_ALIAS = PreparedQuery(
    Users.update(user_alias=param("user_alias")).where(Users.user_name == param("user_name"))
)
GRANT = each_generation(lambda g: g.access.insert(api_user=param("user"), api_permission=param("permission")))
EXPRESSIONS_STORING_TO = each_address_table(
    lambda table: table.select(table.address_expression).where(table.stores_to(param("user")))
)
DELEGATE = PreparedQuery(ApiUserDelegates.insert(api_user=param("caller"), api_delegate=param("user")))
# Changed pages stay in memory until the commit, so that readers wait only for that.
KEEP_PAGES_IN_MEMORY = PreparedQuery(SQL("PRAGMA cache_spill = OFF"))
ONE_ADDRESS = re.compile(r"[^\s@%]+@[^\s@%]+")


def may_add(call) -> bool:
    """Return whether the caller may add the user in the request: an admin, or a delegate under three conditions.

    The setting delegates_add_users is on. The new user has neither permissions nor an alias. The delegate manages all
    addresses whose mail goes to the new user, and the name itself if it is an address (docs/wire.md F05).
    """
    if call.caller.admin or not (call.config.delegates_add_users and call.caller.delegate):
        return call.caller.admin
    stored_to = call.db.column(EXPRESSIONS_STORING_TO[call.generation.number], user=call.body["user_name"])
    gives = call.body.get("user_permissions") or call.body.get("user_alias")
    return not gives and delegate_may_name(call) and all(map(call.caller.may_manage, stored_to))


def delegate_may_name(call) -> bool:
    """Return whether the caller, a delegate, may give a new user the user_name in the request.

    A name with `@` must be a mail address that the delegate manages. With the setting `mailserver`, other names are
    refused. Names like `../bob`, `b*`, `mx.example.com` and `ann~phone` are refused: mail services could misread them.
    """
    name = call.body["user_name"]
    visible = user_names.visible(name)
    if not user_names.is_word(visible) or devices.MARK in visible:
        return False
    if "@" not in visible:
        return not call.config.mailserver and not user_names.may_be_host(name)
    return ONE_ADDRESS.fullmatch(name) is not None and call.caller.may_manage(name)


may_add_user = Rule(
    "admin; with delegates_add_users also delegates, without permissions or alias", may_add, "Not allowed"
)


def check_new_user(user_name: str, user_alias: str | None):
    """Raise ApiError if the name is not allowed for new users, such as `main`, or if it equals the alias."""
    user_names.check_new(user_name)
    check_alias(user_name, user_alias)


def check_alias(user_name: str, user_alias: str | None):
    """Raise ApiError if the alias equals the name. The alias is another user, whose mailbox this user opens."""
    if user_alias == user_name:
        raise ApiError("Cannot alias to the same user.", field="user_alias")


def check_permissions(permissions: Iterable[str], word: str = "permission"):
    """Raise ApiError if one of the permissions is empty. `word`, "permission" or "right", is used in the message."""
    if not all(permissions):
        raise ApiError(f"No {word} is set.", field="user_permissions")


def refuse_confusion(call, user_name: str):
    """Raise ApiError if a new user could be confused with another user, or could get the data of a former user.

    Call it after the insert, in the same transaction, which the error rolls back. It refuses a name that looks like
    another user's name, or that still has rows in the tables. If a delegate adds the user, or if services are
    configured, names that differ only in case look the same. A delegate is also refused if a user of this name was
    deleted before, or has left mail or tokens, for example.
    """
    by_delegate = not call.caller.admin
    if user_names.is_taken(call.db, user_name, ignore_case=by_delegate or bool(call.config.services)):
        raise ApiError("Username is not allowed. ", field="user_name")
    tables = user_rows.tables_with_rows_of(call, user_name)
    if by_delegate and (
        tables
        or user_rows.has_data_elsewhere(call, user_name)
        or deleted_names.recorded(call.app.state, [user_name])
    ):
        raise ApiError(may_add_user.refusal, code="not_allowed")
    if tables:
        raise ApiError(
            f"Rows of this user name are left in {', '.join(tables)}: delete the user first.",
            code="in_use",
            field="user_name",
        )


def grant(call, user_name: str, permissions: Collection[str]):
    """Give a user permissions, such as ["admin"]. ApiError if one is empty, or if the user is a device."""
    if permissions:
        check_permissions(permissions, call.generation.permission)
        devices.refuse_devices(call, user_name)
    for permission in permissions:
        call.db.execute(GRANT[call.generation.number], user=user_name, permission=permission)


def finish_deletion(module, call):
    """Delete the data that a deleted user with the same name as the new user has left in modules.

    Such data is left if a process was killed while it deleted the user. Called before the transaction of users/?add.
    """
    if call.restriction:
        call.restriction(module, module.endpoints["add"])
    name = call.body.get("user_name") or ""
    if len(name) > LONGEST:  # such a name takes seconds, and anybody can send it
        call.app.identify(call)
    if name and (len(name) <= LONGEST or call.caller.admin):
        finish_deletions(call, [name])


def finish_deletions(call, new_names: Collection[str]):
    """Delete the data that deleted users have left in modules, so that new users of the same names do not get it.

    Such data is left if a process was killed while it deleted a user. Call it before the users `new_names` are added.
    Nothing is deleted unless the caller is an admin.
    """
    for name in deleted_names.recorded(call.app.state, new_names):
        if call.app.db.run_with_retry(partial(may_have_left_data, call, name)):
            call.app.notify_deleted([name])


def may_have_left_data(call, name: str) -> bool:
    """Return whether the caller is an admin, and nobody has this user name, here or in another database."""
    with call.db.transaction("DEFERRED"):
        call.identify()
        if not call.caller.admin or call.db.one(CREDENTIALS_OF, user=name):
            return False
    call.app.release()
    call.app.external_credentials(name, logging_in=True)  # also ends what a crash has left in doubt there
    return not any(other.external_users(name) for other in call.app.implementers("external_users"))


def delegate_to_caller(call, user_name: str):
    """Let the caller, a delegate, manage the user `user_name`."""
    call.db.execute(DELEGATE, caller=call.user_name, user=user_name)


def insert_users(call, users: list[dict]):
    """Insert many users for users/?import, in one transaction. ApiError if the caller is no longer an admin.

    Each user is a dictionary of user_name, user_authdata (the hash of the password), user_alias and user_permissions.
    Check the users before, because the transaction blocks other programs.
    """
    call.report_progress(f"writing {len(users):,} users")
    # Aliases are set last: an alias may name a user who is inserted later.
    without_alias = [user | {"user_alias": None} for user in users]
    with_alias = [user for user in users if user["user_alias"]]
    grants = [
        {"user": user["user_name"], "permission": permission}
        for user in users
        for permission in user["user_permissions"]
    ]
    call.db.execute(KEEP_PAGES_IN_MEMORY)
    with call.db.transaction():
        call.identify()
        if not call.caller.admin:
            raise ApiError("Not allowed.", code="not_allowed")
        call.db.execute_many(INSERT_USER, without_alias)
        call.db.execute_many(SET_ALIAS, with_alias)
        call.db.execute_many(GRANT[call.generation.number], grants)
        for name in {user["user_name"] for user in users}.intersection(
            suspension.stored_names(call.app.state)
        ):
            suspension.discard(call.app.state, name)  # it is a former user's
