"""MSA: what the mail daemons do with each user's incoming and outgoing mail.

In schema version 8, it is stored in the table `msa`. In version 9, the same requests change the table `smtpd`
(outgoing mail) and read `addresses` (incoming mail).
"""

from peewee import IntegrityError, Select, fn

from mailapi import (
    Active,
    ApiError,
    Module,
    PreparedQuery,
    Rule,
    Users,
    address,
    admin_or_delegate,
    delegate_of,
    endpoint,
    param,
    php_text,
    refusal,
)

from .answers import msa
from .directory.address_tables import Addresses
from .directory.lists import PAGE_QUERY
from .directory.owned_rows import OwnedRows
from .mail.router_tables import OUT_ROUTERS, ROUTER_TABLES, Msa, Smtpd, check_router
from .mail.routing_rules import USER_DATABASE, rows_for_delegate

MSA_IN_ROUTERS = ("store", "forward", "handoff", "reject", "drop")


def first_address(user) -> Select:
    """Return a query for a pattern of addresses whose mail a user gets: the one with the highest address_order.

    `user` is the user's name, or a column of user names. The query is for schema version 9.
    """
    return (
        Addresses.select(Addresses.address_expression)
        .where(Addresses.stores_to(user))
        .order_by(Addresses.address_order.desc())
        .limit(1)
    )


FIRST_ADDRESS = first_address(Smtpd.smtpd_user)
OWNER = {8: Msa.msa_user, 9: Smtpd.smtpd_user}
ROWS: dict[int, Select] = {
    8: Msa.select(),
    9: Smtpd.select(
        Smtpd.smtpd_user.alias("msa_user"),
        fn.IIF(fn.EXISTS(FIRST_ADDRESS), "store", "drop").alias("msa_inrouter"),
        FIRST_ADDRESS.alias("msa_inroute"),
        Smtpd.smtpd_router.alias("msa_outrouter"),
        Smtpd.smtpd_route.alias("msa_outroute"),
    ),
}
ROUTERS = {
    number: OwnedRows(ROWS[number], OWNER[number], list_for_delegate=rows_for_delegate) for number in ROWS
}
# By generation, and with the columns of ROUTER_TABLES as parameters.
NEW_ROW = {
    number: {name: param(name) for name in table._meta.fields} for number, table in ROUTER_TABLES.items()
}
IS_USER = {number: owner == param(owner.name) for number, owner in OWNER.items()}
ADD = {number: PreparedQuery(table.insert(NEW_ROW[number])) for number, table in ROUTER_TABLES.items()}
UPDATE = {
    number: PreparedQuery(table.update(NEW_ROW[number]).where(IS_USER[number]))
    for number, table in ROUTER_TABLES.items()
}
DELETE = {
    number: PreparedQuery(table.delete().where(IS_USER[number])) for number, table in ROUTER_TABLES.items()
}
FIRST_ADDRESS_OF_USER = PreparedQuery(first_address(param("user")))
SET_DATABASE = PreparedQuery(
    Users.update(user_database=param("database")).where(Users.user_name == param("user"))
)


def check_new_routers(call):
    """Raise ApiError if a router in the request, such as "forward", is unknown or lacks the route that it needs.

    A router says what happens to mail. Its route is, for example, a host.
    """
    body = call.body
    check_router(
        body["msa_inrouter"],
        body.get("msa_inroute"),
        MSA_IN_ROUTERS,
        f"Router {body['msa_inrouter']} needs an argument (msa_inroute).",
        "msa_inrouter",
        ("forward", "handoff"),
    )
    check_router(
        body["msa_outrouter"],
        body.get("msa_outroute"),
        OUT_ROUTERS,
        f"Router {body['msa_outrouter']} needs an argument (msa_outroute).",
        "msa_outrouter",
    )


def may_set_inroute(call) -> bool:
    """Return whether the caller may set the request's msa_inroute. With the router `store`, it is a database file.

    The API and the mail daemons open that file as the user's mailbox. Only an admin may give a user another file.
    """
    body = call.body
    if call.caller.admin or call.generation.number != 8 or body["msa_inrouter"] != "store":
        return True
    stored = call.db.value(USER_DATABASE, user=body["msa_user"])
    return not body.get("msa_inroute") or body["msa_inroute"] == stored


may_set_database = Rule("of a database other than the stored one: admin", may_set_inroute)
ROUTERS_OF_USER = {
    "required": {
        "msa_user": "Username is not set.",
        "msa_inrouter": "User inrouter is not set.",
        "msa_outrouter": "User outrouter is not set.",
    },
    "optional": {"msa_inroute": address, "msa_outroute": address},
    "validators": [check_new_routers],
    "allow": (delegate_of("msa_user"), may_set_database),
}


class MSA(Module):
    description = msa.DESCRIPTION
    identifiers = {"msa_user": None, "msa_inrouter": MSA_IN_ROUTERS, "msa_outrouter": OUT_ROUTERS}
    stand_ins = {9: ("SMTPD", "smtpd.py")}
    dangerous_rows = {
        8: {
            "has an in router that the daemons do not know: what comes in is lost": PreparedQuery(
                Msa.select(Msa.msa_user).where(Msa.msa_inrouter.not_in(MSA_IN_ROUTERS))
            ),
            "has an out router that the daemons do not know: they take it for any": PreparedQuery(
                Msa.select(Msa.msa_user).where(Msa.msa_outrouter.not_in(OUT_ROUTERS))
            ),
            "has a router without the route that it needs": PreparedQuery(
                Msa.select(Msa.msa_user).where(
                    (Msa.msa_inrouter.in_(["forward", "handoff"]) & Msa.msa_inroute.is_null())
                    | ((Msa.msa_outrouter == "handoff") & Msa.msa_outroute.is_null())
                )
            ),
        }
    }
    active = {8: Active(Msa.msa_user), 9: Active(Smtpd.smtpd_user)}

    @endpoint(
        allow=delegate_of("msa_user", missing=admin_or_delegate),
        optional={"msa_user": php_text},
        query=PAGE_QUERY,
        read_only=True,
    )
    def get(self, call):
        """List what the mail daemons do with users' incoming and outgoing mail. With msa_user, list one user.

        A router says what they do, such as forward; its route says where to. An admin sees all users, a delegate
        themselves and the users delegated to them. A delegate sees no passwords in the routes of their own row.
        """
        routers = ROUTERS[call.generation.number]
        if call.body.get("msa_user"):
            return {"msa": routers.named(call, call.body["msa_user"])}
        return {"msa": routers.visible_to(call)}

    @endpoint(**ROUTERS_OF_USER)
    def add(self, call):
        """Set what the mail daemons do with incoming and outgoing mail of a user for whom nothing is set yet.

        msa_inrouter and msa_inroute are for incoming mail, msa_outrouter and msa_outroute for outgoing mail. `msa` in
        the answer is the new row's id, or -1 if the database refused it.
        """
        values = self.values(call)
        try:
            row = call.db.execute(ADD[call.generation.number], **values).lastrowid
            self.set_database(call)
        except IntegrityError as error:
            raise refusal(error, msa=-1) from error
        return {"msa": row}

    @endpoint(**ROUTERS_OF_USER)
    def update(self, call):
        """Change what the mail daemons do with a user's incoming and outgoing mail.

        The request replaces all four values: msa_inrouter and msa_inroute for incoming, msa_outrouter and msa_outroute
        for outgoing mail. A missing route is removed. In schema version 9, only addresses/ can change incoming mail.
        """
        if call.db.execute(UPDATE[call.generation.number], **self.values(call)).rowcount:
            self.set_database(call)

    @endpoint(required={"msa_user": "Username is not set."}, allow=delegate_of("msa_user"))
    def delete(self, call):
        """Delete a user's routers and routes. The user can send no mail then and, in schema version 8, gets none."""
        number = call.generation.number
        call.db.execute(DELETE[number], **{OWNER[number].name: call.body["msa_user"]})

    def values(self, call) -> dict:
        """Return the request's values for a row of the table `msa`, or in schema version 9, of the table `smtpd`.

        For example {"msa_user": "ann", "msa_inrouter": "store", …} or {"smtpd_user": "ann", "smtpd_router": "any", …}.
        In schema version 9, raise ApiError if msa_inrouter or msa_inroute would change the user's incoming mail: it is
        in the table `addresses` there, which msa/ does not change.
        """
        body = call.body
        if call.generation.number == 8:
            return {name: body.get(name) for name in Msa._meta.fields}
        first = call.db.value(FIRST_ADDRESS_OF_USER, user=body["msa_user"])
        if body["msa_inrouter"] != "store" or (body.get("msa_inroute") or first) != first:
            raise ApiError("In this generation incoming mail is routed in addresses/, not in msa/.")
        return {
            "smtpd_user": body["msa_user"],
            "smtpd_router": body["msa_outrouter"],
            "smtpd_route": body.get("msa_outroute"),
        }

    def set_database(self, call):
        """Store the file of a user's mailbox in the table `users`: with msa_inrouter `store`, msa_inroute is its path.

        A user without such a file has their mail in the master database (docs/wire.md F29). In schema version 9, do
        nothing.
        """
        body = call.body
        if call.generation.number == 8 and body["msa_inrouter"] == "store" and "msa_inroute" in body:
            call.db.execute(SET_DATABASE, user=body["msa_user"], database=body["msa_inroute"] or None)
