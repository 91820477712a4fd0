"""The lists of users: what `users/?get` asks the database for, with the modules in which each user is active."""

from functools import reduce

from peewee import JOIN, Case, TextField, Value, fn

from mailapi import (
    DELEGATED,
    ENCODER,
    GENERATIONS,
    Active,
    Addresses,
    Application,
    Model,
    PreparedQuery,
    Users,
    param,
)

from .active_users import is_active, is_active_on_page, is_one_active, on_page, same_rows
from .pagination import KeysetPagination


class MailOwner(Model):
    mail_user = TextField()

    class Meta:
        table_name = "mailbox"


HAS_LOGIN = Users.user_authdata.is_null(False)
LINKS = Addresses.select(fn.NULLIF(fn.COUNT(Addresses.address_order), 0)).where(
    Addresses.stores_to(Users.user_name)
)
MAILS = MailOwner.select(MailOwner.mail_user, fn.COUNT(MailOwner.mail_user).alias("mails")).group_by(
    MailOwner.mail_user
)
SHORT = Users.select(Users.user_name, HAS_LOGIN.alias("user_login"), Users.user_alias).order_by(
    Users.user_name
)
ONE = SHORT.where(Users.user_name == param("user"))
OWN_AND_DELEGATED = SHORT.where((Users.user_name == param("user")) | Users.user_name.in_(DELEGATED))
COUNTS, COUNTS_ON_PAGE = MAILS.alias("counts"), MAILS.where(on_page(MailOwner.mail_user)).alias("counts")
WITH_MAIL = Active(MailOwner.mail_user)


def counted(counts):
    """Everybody, with how many addresses store to them and how many mails they have."""
    return (
        Users.select(
            Users.user_name,
            HAS_LOGIN.alias("has_login"),
            Users.user_alias,
            Users.user_database,
            LINKS.alias("link_count"),
            fn.COALESCE(counts.c.mails, 0).alias("mails"),
        )
        .join(counts, JOIN.LEFT_OUTER, on=counts.c.mail_user == Users.user_name)
        .order_by(Users.user_name)
    )


def by_counts(counts, otherwise):
    """How that list tells who is active: by the mails where these tell, for looking at them again takes longest."""
    return lambda active: counts.c.mails.is_null(False) if same_rows(active, WITH_MAIL) else otherwise(active)


ON_PAGE = on_page(Users.user_name)
SOME = {
    "delegated": (OWN_AND_DELEGATED, is_active),
    "delegated page": (OWN_AND_DELEGATED.where(ON_PAGE), is_active_on_page),
    "one": (ONE, is_one_active),
}
LISTS = {  # by generation: the query, and how it tells who is active in a module
    8: SOME
    | {"everybody": (SHORT, is_active), "everybody's page": (SHORT.where(ON_PAGE), is_active_on_page)},
    9: SOME
    | {
        "everybody": (counted(COUNTS), by_counts(COUNTS, is_active)),
        "everybody's page": (
            counted(COUNTS_ON_PAGE).where(ON_PAGE),
            by_counts(COUNTS_ON_PAGE, is_active_on_page),
        ),
    },
}
NAMES_ON = {
    name: PreparedQuery(query, pages=KeysetPagination(Users.user_name))
    for name, query in {
        "everybody's page": Users.select(Users.user_name).order_by(Users.user_name),
        "delegated page": OWN_AND_DELEGATED.select(Users.user_name),
    }.items()
}


def queries(app: Application) -> dict[tuple[int, str], PreparedQuery]:
    """Each of LISTS with the column `modules`, by generation and name."""
    return {
        (number, name): with_modules(app, query, GENERATIONS[number], active_condition)
        for number, lists in LISTS.items()
        for name, (query, active_condition) in lists.items()
    }


def with_modules(app: Application, query, generation, active_condition) -> PreparedQuery:
    found = {
        name: active for name, module in app.listed().items() if (active := module.active_in(generation))
    }
    return PreparedQuery(query.select_extend(modules_in(found, active_condition)), nested=("modules",))


def modules_in(active: dict, active_condition):
    """The column `modules`: a JSON map of those in which the user is active to true, [] where there are none."""
    words = [
        Case(None, [(active_condition(users), f",{ENCODER.encode(name)}:true")], "")
        for name, users in active.items()
    ]
    members = fn.SUBSTR(reduce(lambda all_, word: all_.concat(word), words, Value("")), 2)
    return fn.COALESCE(Value("{").concat(fn.NULLIF(members, "")).concat("}"), "[]").alias("modules")
