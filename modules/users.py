"""Users: who exists, their passwords, permissions and aliases."""

import re
from functools import cached_property, reduce
from operator import itemgetter

from peewee import SQL, IntegrityError, fn

from mailapi import (
    PAGE_QUERY,
    Active,
    ApiError,
    ApiUserDelegates,
    Module,
    PreparedQuery,
    Rule,
    Users,
    admin,
    anyone,
    boolean,
    delegate_of,
    each_generation,
    endpoint,
    file_content,
    list_of_text,
    make_authdata,
    owner_or_delegate,
    param,
    php_text,
    secret,
)

from .directory import deleted_names, user_names, user_rows
from .directory.queries import HAS_LOGIN, NAMES_ON, queries
from .directory.user_import import Import
from .http.large_bodies import read_large_object

STORED = Users.user_authdata.concat("")  # as text, also where it is a BLOB
FIRST_COLON = fn.INSTR(STORED, ":")
STORED_WELL = (
    (FIRST_COLON > 0)
    & (fn.LENGTH(STORED) - 64 == FIRST_COLON)
    & (
        reduce(lambda rest, digit: fn.REPLACE(rest, digit, ""), "0123456789abcdef", fn.SUBSTR(STORED, -64))
        == ""
    )
)
NAMES = PreparedQuery(Users.select(Users.user_name))
NO_SPILL = PreparedQuery(
    SQL("PRAGMA cache_spill = OFF")
)  # pages stay in memory: readers wait for the commit only
ADD = PreparedQuery(
    Users.insert({name: param(name) for name in ("user_name", "user_authdata", "user_alias")})
)
SET_ALIAS = PreparedQuery(
    Users.update(user_alias=param("user_alias")).where(Users.user_name == param("user_name"))
)
GRANT = each_generation(lambda g: g.access.insert(api_user=param("user"), api_permission=param("permission")))


def name_allowed(call):
    user_names.check_new(call.body["user_name"])


def permissions_given(call):
    if call.body.get("user_permissions") is None:
        raise ApiError(call.in_generation("No {permission}s is set."))


def alias(value) -> str | None:
    """A user's name; null and "" are given, too: they clear the alias (docs/wire.md F34)."""
    return "" if value in (None, "") else php_text(value)


def file_given(call):
    if not call.body.get("file"):
        raise ApiError("No file is set.")


def alias_given(call):
    if call.body.get("user_alias") is None:
        raise ApiError("No alias set.")


def another_user(call):
    if call.body.get("user_alias") == call.body["user_name"]:
        raise ApiError("Cannot alias to the same user.")


def may_add(call) -> bool:
    """With delegates_add_users a delegate, too, but with no powers and no alias to give (docs/wire.md F05).

    Nor may the name be another's address, or one that an address of somebody else's still stores to: they would get its
    mail.
    """
    if call.caller.admin or not (call.config.delegates_add_users and call.caller.delegate):
        return call.caller.admin
    table = call.generation.address
    waiting = call.db.column(
        table.select(table.address_expression).where(table.stores_to(call.body["user_name"]))
    )
    gives = call.body.get("user_permissions") or call.body.get("user_alias")
    return not gives and within_reach(call) and all(map(call.caller.may_manage, waiting))


ONE_ADDRESS = re.compile(r"[^\s@%]+@[^\s@%]+")


def within_reach(call) -> bool:
    """Return whether a delegate may give this name: an address must be one that they manage, and with a mail server,
    which makes it a mailbox, every name must be one.

    What services read as a path or a pattern is nobody's name. Nor is what a host may be called: queued mail that came
    by SMTP would be theirs.
    """
    name = call.body["user_name"]
    seen = user_names.visible(name)
    if not user_names.is_word(seen):
        return False
    if "@" not in seen:
        return not call.config.mailserver and not user_names.may_be_host(name)
    return ONE_ADDRESS.fullmatch(name) is not None and call.caller.may_manage(name)


ADDER = Rule(
    "admin; with delegates_add_users also delegates, without permissions or alias", may_add, "Not allowed"
)
PERMISSION = {"user_name": "No user is set.", "user_permission": "No {permission} is set."}


def not_by_own_token(sentence: str) -> Rule:
    """Refuse a token what would make its user's log-in of it, or more of its user than they are."""
    return Rule(
        "no token of user_name's own",
        lambda call: call.restriction is None or call.body["user_name"] != call.user_name,
        sentence,
    )


KEEPS_PASSWORD = not_by_own_token("A token cannot set its user's password.")
KEEPS_PERMISSIONS = not_by_own_token("A token cannot change its user's {permission}s.")
KEEPS_ALIAS = not_by_own_token("A token cannot change its user's alias.")


NOTHING_HERE = {"user_alias": None, "user_database": None, "link_count": None, "mails": 0, "modules": []}


def with_elsewhere(user: Module, call, added: dict) -> dict:
    """The answer with those whom only another database knows, such as a mail server's."""
    everybody = call.caller.admin and not asked_for(call)
    named = None if everybody else asked_for(call) or call.user_name
    if not user.app.credential_providers or named and added["users"]:
        return added
    try:
        found = [row for module in user.app.modules.values() for row in module.external_users(named)]
    except ApiError as error:
        return added | {"status": "warning", "warning": error.status}
    if not asked_for(call):
        found = [row for row in found if fits(row["user_name"], call.query)]
    known = {row["user_name"] for row in added["users"]} if found else ()
    shape = described if everybody and call.generation.number == 9 else shortly
    single = {} if everybody else {call.in_generation("user_{permission}s"): []}
    others = [shape(row) | single for row in found if row["user_name"] not in known]
    return {"users": sorted(added["users"] + others, key=itemgetter("user_name"))} if others else added


def fits(name: str, page: dict) -> bool:
    """Whether a user is on the page that is asked for, or on one after it."""
    return name > (page.get("after") or "") and name.startswith(page.get("search") or "")


def asked_for(call) -> str | None:
    return call.body.get("username") or call.body.get("user_name")


def described(row: dict) -> dict:
    return {"user_name": row["user_name"], "has_login": row["user_login"]} | NOTHING_HERE


def shortly(row: dict) -> dict:
    return row | {"user_alias": None, "modules": []}


class User(Module):
    identifiers = ("user_name", "user_permission")
    state_schema = deleted_names.STATE_SCHEMA
    active = Active(Users.user_name, where=HAS_LOGIN)
    dangerous_rows = {
        "is named like a SQLite database": PreparedQuery(
            Users.select(Users.user_name).where(fn.LOWER(Users.user_name).in_(["main", "temp"]))
        ),
        "is an alias of itself": PreparedQuery(
            Users.select(Users.user_name).where(Users.user_alias == Users.user_name)
        ),
        "has a password that is not stored as the daemons read it": PreparedQuery(
            Users.select(Users.user_name).where(HAS_LOGIN, ~STORED_WELL)
        ),
    }

    @endpoint(
        allow=anyone,
        optional={"username": php_text, "user_name": php_text},
        query=PAGE_QUERY,
        read_only=True,
        after_commit=with_elsewhere,
    )
    def get(self, call):
        """All users, for a delegate oneself and the delegated ones, for others oneself; or the one named."""
        if name := asked_for(call):
            return {"users": self.one(call, name)}
        if call.caller.admin:
            return {"users": self.listed(call, "everybody", "everybody's page")}
        if call.caller.delegate:
            return {"users": self.listed(call, "delegated", "delegated page", user=call.user_name)}
        return {"users": self.one(call, call.user_name) if fits(call.user_name, call.query) else []}

    @endpoint(
        required={"user_name": "Username is not set."},
        validators=[name_allowed, another_user],
        allow=ADDER,
        optional={"user_authdata": secret, "user_alias": php_text, "user_permissions": list_of_text},
    )
    def add(self, call):
        """A new user, with password, alias and permissions where given; `user` says whether it was made."""
        try:
            call.db.execute(
                ADD,
                user_name=call.body["user_name"],
                user_alias=call.body.get("user_alias"),
                user_authdata=make_authdata(call.body.get("user_authdata")),
            )
            self.refuse_confusion(call, call.body["user_name"])
            self.grant(call, call.body.get("user_permissions") or [])
            if not call.caller.admin:
                call.db.execute(
                    ApiUserDelegates.insert(api_user=call.user_name, api_delegate=call.body["user_name"])
                )
            call.enlist("add", call.body["user_name"], call.body.get("user_authdata"))
        except IntegrityError as error:
            raise ApiError(str(error), user=False) from error
        except ApiError as refused:
            refused.answer["user"] = False
            raise
        return {"user": True}

    @endpoint(required={"user_name": "No username set."}, allow=delegate_of("user_name"))
    def delete(self, call):
        """Remove a user; their mail, permissions, delegations and settings go with them, or what is left of these."""
        name = call.body["user_name"]
        deleted_names.record(call, name)
        if not call.db.execute(Users.delete().where(Users.user_name == name)).rowcount:
            user_rows.delete(call, name)
        call.new_authdata[name] = None
        call.deleted_users.append(name)
        call.enlist("delete", name)
        return {"delete": "ok"}

    @endpoint(
        required={"user_name": "Username is not set."},
        allow=(owner_or_delegate("user_name"), KEEPS_PASSWORD),
        optional={"user_authdata": secret},
    )
    def set_password(self, call):
        """Set a user's password, or with none take the log-in away; the user's other sessions end."""
        name, authdata = call.body["user_name"], make_authdata(call.body.get("user_authdata"))
        call.db.execute(Users.update(user_authdata=authdata).where(Users.user_name == name))
        call.new_authdata[name] = authdata
        call.enlist("set_password", name, call.body.get("user_authdata"))

    @endpoint(required=PERMISSION, allow=(admin, KEEPS_PERMISSIONS))
    def add_permission(self, call):
        """Grant one permission to a user."""
        self.grant(call, [call.body["user_permission"]])

    @endpoint(required=PERMISSION, allow=(admin, KEEPS_PERMISSIONS))
    def delete_permission(self, call):
        """Take one permission from a user."""
        access = call.generation.access
        call.db.execute(
            access.delete().where(
                access.api_user == call.body["user_name"],
                access.api_permission == call.body["user_permission"],
            )
        )

    @endpoint(
        required={"user_name": "No user is set."},
        validators=[permissions_given],
        allow=(admin, KEEPS_PERMISSIONS),
        optional={"user_permissions": list_of_text},
    )
    def update_permissions(self, call):
        """Give a user exactly the permissions of the list."""
        access = call.generation.access
        call.db.execute(access.delete().where(access.api_user == call.body["user_name"]))
        self.grant(call, dict.fromkeys(call.body["user_permissions"]))

    @endpoint(
        required={"user_name": "No username set."},
        validators=[alias_given, another_user],
        allow=(admin, KEEPS_ALIAS),
        optional={"user_alias": alias},
    )
    def update_alias(self, call):
        """Make a user a log-in name for another one's mailbox; "" or null makes it a user of its own again."""
        call.db.execute(
            Users.update(user_alias=call.body["user_alias"] or None).where(
                Users.user_name == call.body["user_name"]
            )
        )

    @endpoint(
        allow=admin,
        validators=[file_given],
        optional={"file": file_content, "dry_run": boolean},
        manages_transactions=True,
        max_body=32 * 1024 * 1024,
        read_body=read_large_object,
    )
    def import_(self, call):
        """Add all users of a file, or none; `imported` says how many. With dry_run they are only checked."""
        look = user_names.without_case if call.config.services else user_names.visible
        found = Import(call.body["file"], call.report_progress, look)
        with call.db.transaction("DEFERRED"):
            found.compare(set(call.db.column(NAMES)), user_rows.orphans(call))
        found.refuse_bad()
        if not call.body.get("dry_run"):
            found.hash(call.report_progress)
            self.insert(
                call, [found.users[name] for name in sorted(found.users)]
            )  # the index grows at its end
        return {"imported": 0 if call.body.get("dry_run") else len(found.users), "checked": len(found.users)}

    def insert(self, call, users: list[dict]):
        """All in one transaction, during which nobody else can write: whatever could be done before was."""
        call.report_progress(f"writing {len(users):,} users")
        first = [user | {"user_alias": None} for user in users]  # aliases may be of users that come later
        aliases = [user for user in users if user["user_alias"]]
        granted = [
            {"user": user["user_name"], "permission": permission}
            for user in users
            for permission in user["user_permissions"]
        ]
        call.db.execute(NO_SPILL)
        with call.db.transaction():
            call.identify()
            if not call.caller.admin:
                raise ApiError("Not allowed.")
            call.db.execute_many(ADD, first)
            call.db.execute_many(SET_ALIAS, aliases)
            call.db.execute_many(GRANT[call.generation.number], granted)

    @cached_property
    def queries(self) -> dict:
        return queries(self.app)

    def listed(self, call, everything: str, page: str, **values):
        """A list, or the page of it that is asked for."""
        number = call.generation.number
        if not call.pages:
            query = self.queries[number, everything]
            return (
                call.db.rows(query, **values)
                if self.app.credential_providers
                else call.listing(query, **values)
            )
        names = call.db.column(call.page(NAMES_ON[page]), **values)
        return (
            call.db.rows(self.queries[number, page], first=names[0], last=names[-1], **values)
            if names
            else []
        )

    def one(self, call, name: str) -> list:
        """The one user, in a list, for whoever may see them (docs/wire.md F06)."""
        if call.user_name != name and not call.caller.may_act_for(name):
            which = "in delegated list" if call.caller.delegate else "the user"
            raise ApiError(
                call.in_generation(f"User has no {{permission}} to do this (not {which})."), users=[]
            )
        access = call.generation.access
        granted = access.select(access.api_permission).where(access.api_user == name)
        return [
            user | {call.in_generation("user_{permission}s"): call.db.column(granted)}
            for user in call.db.rows(self.queries[call.generation.number, "one"], user=name)
        ]

    def refuse_confusion(self, call, name: str):
        """Refuse a new user who would be taken for another one, or get what an earlier one of that name has left."""
        by_delegate = not call.caller.admin
        if user_names.is_taken(call.db, name, ignore_case=by_delegate or bool(call.config.services)):
            raise ApiError("Username is not allowed. ")
        left = user_rows.left(call, name)
        if by_delegate and (
            left or user_rows.left_elsewhere(call, name) or deleted_names.is_recorded(call, name)
        ):
            raise ApiError(ADDER.refusal)
        if left:
            raise ApiError(f"Rows of this user name are left in {', '.join(left)}: delete the user first.")

    def check(self, repair):
        """Yield the users whose names are taken for others'."""
        self.app.db.connect()
        names = self.app.db.column(NAMES)
        yield from ((False, problem) for problem in user_names.problems(names))
        if self.app.config.services:
            yield from ((None, problem) for problem in user_names.problems_at_services(names))

    def grant(self, call, permissions):
        if not all(permissions):
            raise ApiError(call.in_generation("No {permission} is set."))
        for permission in permissions:
            call.db.execute(GRANT[call.generation.number], user=call.body["user_name"], permission=permission)
