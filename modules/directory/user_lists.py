"""The lists of users that `users/?get` returns, with the modules in which each user is active."""

from collections.abc import Callable

from peewee import JOIN, Case, ColumnBase, Expression, Select, TextField, Value, fn

from mailapi import (
    ENCODER,
    GENERATIONS,
    Active,
    ApiError,
    Application,
    Generation,
    Model,
    PreparedQuery,
    RawJSON,
    Users,
    each_generation,
    param,
)

from .active_users import is_active, is_active_on_page, is_one_active, on_page, same_rows
from .address_tables import Addresses
from .devices import IS_PERSON
from .lists import ListQuery, asks_for_page, whole_list
from .owned_rows import OwnedRows

ConditionFor = Callable[[Active], Expression]  # makes the condition for being active in a module


class MailOwner(Model):
    mail_user = TextField()

    class Meta:
        table_name = "mailbox"


HAS_LOGIN = Users.user_authdata.is_null(False)
USER_NAMES = OwnedRows(Users.select(Users.user_name).where(IS_PERSON), owner=Users.user_name)
BRIEF = OwnedRows(
    Users.select(Users.user_name, HAS_LOGIN.alias("user_login"), Users.user_alias).where(IS_PERSON),
    owner=Users.user_name,
)
STORING_ADDRESSES = Addresses.select(fn.NULLIF(fn.COUNT(Addresses.address_order), 0)).where(
    Addresses.stores_to(Users.user_name)
)
MAIL_COUNTS = MailOwner.select(MailOwner.mail_user, fn.COUNT(MailOwner.mail_user).alias("mails")).group_by(
    MailOwner.mail_user
)
COUNTS = MAIL_COUNTS.alias("counts")
COUNTS_ON_PAGE = MAIL_COUNTS.where(on_page(MailOwner.mail_user)).alias("counts")
WITH_MAIL = Active(MailOwner.mail_user)
PERMISSIONS = each_generation(
    lambda g: g.access.select(g.access.api_permission).where(g.access.api_user == param("user"))
)


def with_counts(counts: Select) -> Select:
    """Return a query for all users, with the columns `link_count` and `mails`: how many addresses and mails each has.

    `counts` is a subquery for the number of mails of each user. Addresses count if their mail goes to the user.
    """
    return (
        Users.select(
            Users.user_name,
            HAS_LOGIN.alias("has_login"),
            Users.user_alias,
            Users.user_database,
            STORING_ADDRESSES.alias("link_count"),
            fn.COALESCE(counts.c.mails, 0).alias("mails"),
        )
        .join(counts, JOIN.LEFT_OUTER, on=counts.c.mail_user == Users.user_name)
        .where(IS_PERSON)
        .order_by(Users.user_name)
    )


def active_by_counts(counts: Select, condition_for: ConditionFor) -> ConditionFor:
    """Return a function that converts a module's attribute `active` to the SQL condition that a user is active in it.

    The attribute declares rows: a user is active in POP, for example, if the table popd has a row of the user. If
    these are the rows of the table `mailbox`, the condition uses the subquery `counts`, so that mails are counted only
    once. Otherwise it is `condition_for(active)`.
    """
    return lambda active: (
        counts.c.mails.is_null(False) if same_rows(active, WITH_MAIL) else condition_for(active)
    )


ON_PAGE = on_page(Users.user_name)
ALL, DELEGATED = BRIEF.all.query, BRIEF.own_and_delegated.query
LISTS_OF_BOTH: dict[str, tuple[Select, ConditionFor]] = {
    "delegated": (DELEGATED, is_active),
    "delegated page": (DELEGATED.where(ON_PAGE), is_active_on_page),
    "one": (BRIEF.own.query, is_one_active),
}
# Generation → name → the query, and the function that makes the condition for being active in a module.
LISTS: dict[int, dict[str, tuple[Select, ConditionFor]]] = {
    8: LISTS_OF_BOTH | {"all": (ALL, is_active), "all page": (ALL.where(ON_PAGE), is_active_on_page)},
    9: LISTS_OF_BOTH
    | {
        "all": (with_counts(COUNTS), active_by_counts(COUNTS, is_active)),
        "all page": (
            with_counts(COUNTS_ON_PAGE).where(ON_PAGE),
            active_by_counts(COUNTS_ON_PAGE, is_active_on_page),
        ),
    },
}
# The query's `brief`: pages without `mails` and `modules`, for which all mail is looked at, as it has no index.
BRIEF_PAGES = {
    (number, name): PreparedQuery(query.where(ON_PAGE))
    for number in LISTS
    for name, query in (
        ("all", ALL if number == 8 else ALL.select_extend(STORING_ADDRESSES.alias("link_count"))),
        ("delegated", DELEGATED),
    )
}


class UserLists:
    """The queries for lists of users. The column `modules` names the modules whose tables have rows of a user."""

    def __init__(self, app: Application):
        self.app = app
        self.external = app.implementers("external_users")  # modules whose users are added to the lists
        self.queries = {
            (number, name): with_modules(app, query, GENERATIONS[number], is_active)
            for number, lists in LISTS.items()
            for name, (query, is_active) in lists.items()
        }

    def visible_to(self, call) -> RawJSON | list[dict]:
        """Return the users that the caller may see, or the page of them that the request asks for.

        An admin sees all users, a delegate themselves and the users delegated to them, any other caller themselves.
        """
        if call.caller.admin:
            return self.read_list(call, "all", USER_NAMES.all)
        if call.caller.delegate:
            return self.read_list(call, "delegated", USER_NAMES.own_and_delegated, user=call.user_name)
        return self.one(call, call.user_name) if matches_page(call.user_name, call.query) else []

    def read_list(self, call, name: str, names: ListQuery, **values) -> RawJSON | list[dict]:
        """Return a list of users, or the page of it that the request asks for. `values` are the queries' parameters.

        `name` selects the query for the rows: "all", or "delegated" for the caller and the users delegated to them.
        `names` is a query for only the names of the same users. It finds the first and the last user of a page.
        """
        number = call.generation.number
        brief = call.query.get("brief")
        if brief or asks_for_page(call):
            page, more = names.page(call)
            on_this_page = call.db.column(page, **values, **more)
            ends = {"first": on_this_page[0], "last": on_this_page[-1]} if on_this_page else {}
            rows = BRIEF_PAGES[number, name] if brief else self.queries[number, f"{name} page"]
            return call.db.rows(rows, **ends, **values) if ends else []
        query = self.queries[number, name]
        if self.external:  # their users are added to the rows
            return call.db.rows(query, **values)
        return whole_list(call, query, **values)

    def one(self, call, name: str) -> list:
        """Return a list that contains one user, with their permissions; [] if there is no such user.

        ApiError if the caller may not see the user.
        """
        if call.user_name != name and not call.caller.may_act_for(name):
            which = "in delegated list" if call.caller.delegate else "the user"
            raise ApiError(
                call.in_generation(f"User has no {{permission}} to do this (not {which})."),
                code="not_allowed",
                users=[],
            )
        number, permissions = call.generation.number, call.in_generation("user_{permission}s")
        return [
            user | {permissions: call.db.column(PERMISSIONS[number], user=name)}
            for user in call.db.rows(self.queries[number, "one"], user=name)
        ]


def matches_page(name: str, query: dict) -> bool:
    """Return whether a user name comes after query["after"] and begins with query["search"], where these are given."""
    return name > (query.get("after") or "") and name.startswith(query.get("search") or "")


def with_modules(
    app: Application, query: Select, generation: Generation, is_active: ConditionFor
) -> PreparedQuery:
    """Add the column `modules` to a query for users, and return the query. A value is the JSON text {"POP": true, …}.

    It names the modules in which a user is active: POP, for example, if the table popd has a row of the user.
    `generation` is the database's schema version. `is_active` is a function that takes a module's attribute `active`,
    and returns the SQL condition that a user is active in the module.
    """
    active_in = {
        name: active for name, module in app.listed().items() if (active := module.active_in(generation))
    }
    return PreparedQuery(query.select_extend(modules_column(active_in, is_active)), nested=("modules",))


def modules_column(active_in: dict[str, Active], is_active: ConditionFor) -> ColumnBase:
    """Return the SQL column `modules`: the JSON text {"POP": true, …}, with the modules in which a user is active.

    `active_in` has the attribute `active` of each module by the module's name. `is_active` converts this attribute to
    the SQL condition that a user is active. For a user who is active in no module, the text is [], as in the PHP API.
    """
    members: ColumnBase = Value("")
    for name, active in active_in.items():
        members = members.concat(Case(None, [(is_active(active), f",{ENCODER.encode(name)}:true")], ""))
    joined = fn.SUBSTR(members, 2)
    return fn.COALESCE(Value("{").concat(fn.NULLIF(joined, "")).concat("}"), "[]").alias("modules")
