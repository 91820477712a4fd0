"""Users: adds, lists, imports and deletes users; changes their passwords, permissions and aliases."""

from collections.abc import Iterator
from functools import cached_property

from peewee import IntegrityError

from mailapi import (
    Active,
    ApiError,
    Module,
    PreparedQuery,
    Users,
    admin,
    anyone,
    boolean,
    delegate_of,
    endpoint,
    file_content,
    list_of_text,
    make_authdata,
    owner_or_delegate,
    param,
    php_text,
    refusal,
    secret,
)

from .answers import users
from .directory import deleted_names, device_actions, devices, new_users, suspension, user_names, user_rows
from .directory.dangerous_users import DANGEROUS_USERS
from .directory.external_users import add_external_users, requested_user
from .directory.lists import PAGE_QUERY
from .directory.own_token import may_change_alias, may_change_permissions, may_set_password
from .directory.permissions import REVOKE, REVOKE_ALL, listed_permissions, warn_of_unknown
from .directory.suspension_rows import SCHEMA as SUSPENSION_SCHEMA
from .directory.user_fields import alias, check_new_alias, check_new_user, require_file, require_permissions
from .directory.user_import import UserImport
from .directory.user_lists import HAS_LOGIN, UserLists
from .http.large_bodies import read_large_object

NAMES = PreparedQuery(Users.select(Users.user_name))
IS_USER = Users.user_name == param("user_name")
SET_AUTHDATA = PreparedQuery(Users.update(user_authdata=param("authdata")).where(IS_USER))

ONE_PERMISSION = {
    "required": {"user_name": "No user is set.", "user_permission": "No {permission} is set."},
    "allow": (admin, may_change_permissions),
}


class User(Module):
    description = users.DESCRIPTION
    identifiers = ("user_name", "user_permission", "device_name")
    state_schema = deleted_names.STATE_SCHEMA + SUSPENSION_SCHEMA
    active = Active(Users.user_name, where=HAS_LOGIN)
    dangerous_rows = DANGEROUS_USERS

    @endpoint(
        allow=anyone,
        optional={"username": php_text, "user_name": php_text},
        query=PAGE_QUERY | {"brief": boolean},
        read_only=True,
        after_commit=add_external_users,
    )
    def get(self, call):
        """List the users that the caller may see. With user_name, list only that user.

        An admin sees all users, a delegate themselves and the users delegated to them, any other caller themselves.
        Users who are only in the mail server's database are included; if it does not respond, the answer has a
        warning. A list of one user has their permissions. Only an admin's list of all users counts mails and
        addresses.
        """
        name = requested_user(call)
        return {"users": self.lists.one(call, name) if name else self.lists.visible_to(call)}

    @endpoint(
        required={"user_name": "Username is not set."},
        validators=[check_new_user],
        allow=new_users.may_add_user,
        optional={"user_authdata": secret, "user_alias": php_text, "user_permissions": list_of_text},
        prepare=new_users.finish_deletion,
    )
    def add(self, call):
        """Add a user, with password, alias and permissions if they are given.

        user_authdata is the password in plain text. `user` in the answer is true, or false if the user was refused. A
        user whom a delegate adds is delegated to that delegate.
        """
        name = call.body["user_name"]
        try:
            call.db.execute(
                new_users.INSERT_USER,
                user_name=name,
                user_alias=call.body.get("user_alias"),
                user_authdata=make_authdata(call.body.get("user_authdata")),
            )
            new_users.refuse_confusion(call, name)
            suspension.discard(self.app.state, name)  # a former user's
            new_users.grant(call, name, call.body.get("user_permissions") or [])
            if not call.caller.admin:
                new_users.delegate_to_caller(call, name)
            call.enlist("add", name, call.body.get("user_authdata"))
        except IntegrityError as error:
            raise refusal(error, user=False) from error
        except ApiError as refused:
            refused.answer["user"] = False
            raise
        return {"user": True} | warn_of_unknown(call, call.body.get("user_permissions") or [])

    @endpoint(required={"user_name": "No username set."}, allow=delegate_of("user_name"))
    def delete(self, call):
        """Delete a user, with their mail, permissions, delegations and settings. Their sessions and tokens end.

        If there is no such user, delete the rows that a former user of that name left behind.
        """
        name = call.body["user_name"]
        deleted_names.record(call, name)
        devices.delete_of(call, name)
        if not call.db.execute(user_rows.DELETE_USER, user=name).rowcount:
            user_rows.delete(call, name)
        call.new_authdata[name] = None
        call.deleted_users.append(name)
        call.enlist("delete", name)
        return {"delete": "ok"}

    @endpoint(
        required={"user_name": "Username is not set."},
        allow=(owner_or_delegate("user_name"), may_set_password),
        optional={"user_authdata": secret},
    )
    def set_password(self, call):
        """Set a user's password and end their other sessions. Without user_authdata nobody can log in as this user."""
        name, authdata = call.body["user_name"], make_authdata(call.body.get("user_authdata"))
        stored = suspension.find(self.app.state, name)
        suspended = stored is not None and not suspension.is_obsolete(call.db, name)
        if not suspended:
            call.db.execute(SET_AUTHDATA, user_name=name, authdata=authdata)
            call.new_authdata[name] = authdata
        call.enlist("set_password", name, call.body.get("user_authdata"))  # it may refuse the change
        if suspended:
            suspension.set_stored_password(self.app.state, name, authdata)
        elif stored:
            suspension.discard(self.app.state, name)

    suspend, restore = suspension.suspend, suspension.restore
    device_add, device_get = device_actions.device_add, device_actions.device_get
    device_delete = device_actions.device_delete

    @endpoint(**ONE_PERMISSION)
    def add_permission(self, call):
        """Give a user one more permission."""
        new_users.grant(call, call.body["user_name"], [call.body["user_permission"]])
        return warn_of_unknown(call, [call.body["user_permission"]])

    @endpoint(**ONE_PERMISSION)
    def delete_permission(self, call):
        """Take one permission from a user."""
        call.db.execute(
            REVOKE[call.generation.number],
            user_name=call.body["user_name"],
            permission=call.body["user_permission"],
        )

    @endpoint(
        required={"user_name": "No user is set."},
        validators=[require_permissions],
        allow=(admin, may_change_permissions),
        optional={"user_permissions": list_of_text},
    )
    def update_permissions(self, call):
        """Replace a user's permissions by those in the list user_permissions."""
        call.db.execute(REVOKE_ALL[call.generation.number], user_name=call.body["user_name"])
        new_users.grant(call, call.body["user_name"], dict.fromkeys(call.body["user_permissions"]))
        return warn_of_unknown(call, call.body["user_permissions"])

    @endpoint(
        required={"user_name": "No username set."},
        validators=[check_new_alias],
        allow=(admin, may_change_alias),
        optional={"user_alias": alias},
    )
    def update_alias(self, call):
        """Let a user open the mailbox of the user user_alias as their own. With "" or null, they open theirs again."""
        call.db.execute(
            new_users.SET_ALIAS,
            user_name=call.body["user_name"],
            user_alias=call.body["user_alias"] or None,
        )

    @endpoint(
        allow=admin,
        validators=[require_file],
        optional={"file": file_content, "dry_run": boolean},
        manages_transactions=True,
        max_body=32 * 1024 * 1024,
        read_body=read_large_object,
    )
    def import_(self, call):
        """Add all users in a file, CSV with a header or JSON lines. If one of them is refused, none is added.

        `checked` is the number of users in the file, `imported` the number of users added. With dry_run, none are
        added. If users are refused, `problems` lists the first 100 bad lines, each with `line` and `status`.
        """
        visible_form = user_names.without_case if call.config.services else user_names.visible
        users = UserImport(call.body["file"], call.report_progress, visible_form)
        with call.db.transaction("DEFERRED"):
            suspended = set(suspension.stored_names(self.app.state))
            users.compare(set(call.db.column(NAMES)), user_rows.orphans(call), suspended)
        users.refuse_bad()
        if call.body.get("dry_run"):
            return {"imported": 0, "checked": len(users.users)}
        users.hash(call.report_progress)
        new_users.finish_deletions(call, users.users)
        new_users.insert_users(call, users.sorted())
        return {"imported": len(users.users), "checked": len(users.users)}

    @endpoint(allow=anyone, read_only=True)
    def permissions_(self, call):
        """List the permissions that this installation knows, each with the module that checks it."""
        return {call.in_generation("user_{permission}s"): listed_permissions(call)}

    def external_credentials(self, user_name: str, logging_in: bool) -> dict | None:
        """Return {"user_name": None, "user_authdata": None} for a device, which cannot use the API; else None."""
        if devices.MARK in user_name and devices.is_device(self.app.db, user_name):
            return devices.NO_CREDENTIALS
        return None

    def on_user_deleted(self, user_name: str):
        """Delete the networks from which a deleted user logged in, and the password that a suspension has stored."""
        self.app.throttle.forget_user(user_name)
        suspension.discard_if_obsolete(self.app, user_name)

    def check(self, repair: bool) -> Iterator[tuple[bool | None, str]]:
        """Check user names, devices and suspensions, for `mailapi check`. With `repair`, correct the suspensions.

        Yield (True, sentence) if all is well, (False, sentence) for an error, (None, sentence) for a warning.
        """
        self.app.db.connect()
        names = self.app.db.column(NAMES)
        yield from ((False, problem) for problem in user_names.problems(names))
        if self.app.config.services:
            yield from ((None, problem) for problem in user_names.problems_at_services(names))
        yield from ((None, problem) for problem in devices.strays(self.app.db))
        yield from suspension.check(self.app, repair)

    @cached_property
    def lists(self) -> UserLists:
        return UserLists(self.app)
