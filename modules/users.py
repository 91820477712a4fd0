"""Users: who exists, their passwords, permissions and aliases."""

from functools import cached_property, reduce

from peewee import JOIN, Case, IntegrityError, TextField, Value, fn

from mailapi import (
    DELEGATED, ENCODER, GENERATIONS, Active, Addresses, ApiError, ApiUserDelegates, Model, Module, Prepared, Rule,
    Users, admin, anyone, arg, delegate_of, endpoint, make_authdata, owner_or_delegate, password, text, text_list,
)


class MailOwner(Model):
    mail_user = TextField()

    class Meta:
        table_name = "mailbox"


HAS_LOGIN = Users.user_authdata.is_null(False)
LINKS = Addresses.select(fn.NULLIF(fn.COUNT(Addresses.address_order), 0)).where(Addresses.stores_to(Users.user_name))
MAILS = (MailOwner.select(MailOwner.mail_user, fn.COUNT(MailOwner.mail_user).alias("mails"))
         .group_by(MailOwner.mail_user).alias("counts"))
SHORT = (Users.select(Users.user_name, HAS_LOGIN.alias("user_login"), Users.user_alias)
         .order_by(Users.user_name))
ONE = SHORT.where(Users.user_name == arg("user"))
OWN_AND_DELEGATED = SHORT.where((Users.user_name == arg("user")) | Users.user_name.in_(DELEGATED))
EVERYBODY = {  # by generation
    8: SHORT,
    9: Users.select(Users.user_name, HAS_LOGIN.alias("has_login"), Users.user_alias, Users.user_database,
                    LINKS.alias("link_count"), fn.COALESCE(MAILS.c.mails, 0).alias("mails"))
        .join(MAILS, JOIN.LEFT_OUTER, on=MAILS.c.mail_user == Users.user_name).order_by(Users.user_name),
}


def modules_in(active: dict, is_active):
    """The column `modules`: a JSON map of those in which the user is active to true, [] where there are none."""
    words = [Case(None, [(is_active(users, Users.user_name), f",{ENCODER.encode(name)}:true")], "") for name, users in active.items()]
    members = fn.SUBSTR(reduce(lambda all_, word: all_.concat(word), words, Value("")), 2)
    return fn.COALESCE(Value("{").concat(fn.NULLIF(members, "")).concat("}"), "[]").alias("modules")


def not_reserved(call):
    """SQLite uses these names for databases (WIRE section 7)."""
    if call.body["user_name"].lower() in ("main", "temp"):
        raise ApiError("Username is not allowed. ")


def permissions_given(call):
    if call.body.get("user_permissions") is None:
        raise ApiError(call.words("No {permission}s is set."))


def alias(value) -> str | None:
    """A user's name; null and "" are given, too: they clear the alias (WIRE F34)."""
    return "" if value in (None, "") else text(value)


def alias_given(call):
    if call.body.get("user_alias") is None:
        raise ApiError("No alias set.")


def another_user(call):
    if call.body.get("user_alias") == call.body["user_name"]:
        raise ApiError("Cannot alias to the same user.")


def may_add(call) -> bool:
    """With delegates_add_users a delegate, too, but with no powers and no alias to give (WIRE F05).

    Nor may the name be one that an address of somebody else's still stores to: they would get its mail.
    """
    if call.caller.admin or not (call.config.delegates_add_users and call.caller.delegate):
        return call.caller.admin
    table = call.generation.address
    waiting = call.db.column(table.select(table.address_expression).where(table.stores_to(call.body["user_name"])))
    gives = call.body.get("user_permissions") or call.body.get("user_alias")
    return not gives and all(map(call.caller.may_manage, waiting))


ADDER = Rule("admin; with delegates_add_users also delegates, without permissions or alias", may_add, "Not allowed")
PERMISSION = {"user_name": "No user is set.", "user_permission": "No {permission} is set."}


class User(Module):
    active = Active(Users.user_name, where=HAS_LOGIN)
    harmful = {
        "is named like a SQLite database": Prepared(
            Users.select(Users.user_name).where(fn.LOWER(Users.user_name).in_(["main", "temp"]))),
        "is an alias of itself": Prepared(
            Users.select(Users.user_name).where(Users.user_alias == Users.user_name)),
        "has a password that is not stored as the daemons read it": Prepared(
            Users.select(Users.user_name).where(HAS_LOGIN, ~fn.GLOB("*:" + "[0-9a-f]" * 64, Users.user_authdata))),
    }

    @endpoint(allow=anyone, takes={"username": text, "user_name": text}, reads_only=True, keep=True)
    def get(self, call):
        """All users, for a delegate oneself and the delegated ones, for others oneself; or the one named."""
        name = call.body.get("username") or call.body.get("user_name")
        if name:
            return {"users": self.one(call, name)}
        if call.caller.admin:
            return {"users": call.listing(self.queries[call.generation.number, "everybody"])}
        if call.caller.delegate:
            return {"users": call.listing(self.queries[call.generation.number, "delegated"], user=call.user_name)}
        return {"users": self.one(call, call.user_name)}

    @endpoint(needs={"user_name": "Username is not set."}, checks=[not_reserved, another_user], allow=ADDER,
              takes={"user_authdata": password, "user_alias": text, "user_permissions": text_list})
    def add(self, call):
        """A new user, with password, alias and permissions where given; `user` says whether it was made."""
        try:
            call.db.execute(Users.insert(
                user_name=call.body["user_name"], user_alias=call.body.get("user_alias"),
                user_authdata=make_authdata(call.body.get("user_authdata"))))
            self.grant(call, call.body.get("user_permissions") or [])
            if not call.caller.admin:
                call.db.execute(ApiUserDelegates.insert(
                    api_user=call.user_name, api_delegate=call.body["user_name"]))
        except (IntegrityError, ApiError) as error:
            raise ApiError(str(error), user=False) from error
        return {"user": True}

    @endpoint(needs={"user_name": "No username set."}, allow=delegate_of("user_name"))
    def delete(self, call):
        """Remove a user; their mail, permissions, delegations and settings go with them."""
        name = call.body["user_name"]
        call.db.execute(Users.delete().where(Users.user_name == name))
        call.new_authdata[name] = None
        call.deleted_users.append(name)
        return {"delete": "ok"}

    @endpoint(needs={"user_name": "Username is not set."}, allow=owner_or_delegate("user_name"),
              takes={"user_authdata": password})
    def set_password(self, call):
        """Set a user's password, or with none take the log-in away; the user's other sessions end."""
        name, authdata = call.body["user_name"], make_authdata(call.body.get("user_authdata"))
        call.db.execute(Users.update(user_authdata=authdata).where(Users.user_name == name))
        call.new_authdata[name] = authdata

    @endpoint(needs=PERMISSION, allow=admin)
    def add_permission(self, call):
        """Grant one permission to a user."""
        self.grant(call, [call.body["user_permission"]])

    @endpoint(needs=PERMISSION, allow=admin)
    def delete_permission(self, call):
        """Take one permission from a user."""
        access = call.generation.access
        call.db.execute(access.delete().where(access.api_user == call.body["user_name"],
                                              access.api_permission == call.body["user_permission"]))

    @endpoint(needs={"user_name": "No user is set."}, checks=[permissions_given], allow=admin,
              takes={"user_permissions": text_list})
    def update_permissions(self, call):
        """Give a user exactly the permissions of the list."""
        access = call.generation.access
        call.db.execute(access.delete().where(access.api_user == call.body["user_name"]))
        self.grant(call, dict.fromkeys(call.body["user_permissions"]))

    @endpoint(needs={"user_name": "No username set."}, checks=[alias_given, another_user], allow=admin,
              takes={"user_alias": alias})
    def update_alias(self, call):
        """Make a user a log-in name for another one's mailbox; "" or null makes it a user of its own again."""
        call.db.execute(Users.update(user_alias=call.body["user_alias"] or None)
                        .where(Users.user_name == call.body["user_name"]))

    @cached_property
    def queries(self) -> dict:
        """What `get` asks the database, with the modules in which the users are active, by generation."""

        def with_modules(query, generation, is_active):
            found = {name: active for name, module in self.app.listed().items()
                     if (active := module.active_in(generation))}
            return Prepared(query.select_extend(modules_in(found, is_active)), nested=("modules",))

        return {(number, name): with_modules(query, generation, is_active)
                for number, generation in GENERATIONS.items()
                for name, query, is_active in (("everybody", EVERYBODY[number], Active.has),
                                               ("delegated", OWN_AND_DELEGATED, Active.has),
                                               ("one", ONE, Active.has_one))}

    def one(self, call, name: str) -> list:
        """The one user, in a list, for whoever may see them (WIRE F06)."""
        if call.user_name != name and not call.caller.may_act_for(name):
            which = "in delegated list" if call.caller.delegate else "the user"
            raise ApiError(f"User has no permission to do this (not {which}).", users=[])
        access = call.generation.access
        granted = access.select(access.api_permission).where(access.api_user == name)
        return [user | {call.words("user_{permission}s"): call.db.column(granted)}
                for user in call.db.rows(self.queries[call.generation.number, "one"], user=name)]

    def grant(self, call, permissions):
        if not all(permissions):
            raise ApiError(call.words("No {permission} is set."))
        for permission in permissions:
            call.db.execute(call.generation.access.insert(
                api_user=call.body["user_name"], api_permission=permission))
