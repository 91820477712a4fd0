"""MSA: generation 8's way to say where a user's mail comes in and goes out; on 9 a view of the SMTPD's table."""

from peewee import IntegrityError, fn

from mailapi import (
    DELEGATED,
    OUT_ROUTERS,
    PAGE_QUERY,
    Active,
    Addresses,
    ApiError,
    KeysetPagination,
    Module,
    Msa,
    PreparedQuery,
    Rule,
    Smtpd,
    Users,
    address,
    admin_or_delegate,
    check_router,
    delegate_of,
    endpoint,
    param,
    php_text,
)

from .mail.routing import routers_shown

IN_ROUTERS = ("store", "forward", "handoff", "reject", "drop")


def first_address(user):
    """Generation 9 keeps how mail comes in with the addresses: here it is the user's first one that stores."""
    return (
        Addresses.select(Addresses.address_expression)
        .where(Addresses.stores_to(user))
        .order_by(Addresses.address_order.desc())
        .limit(1)
    )


FIRST = first_address(Smtpd.smtpd_user)
ROWS = {
    8: Msa.select().order_by(Msa.msa_user),
    9: Smtpd.select(
        Smtpd.smtpd_user.alias("msa_user"),
        fn.IIF(fn.EXISTS(FIRST), "store", "drop").alias("msa_inrouter"),
        FIRST.alias("msa_inroute"),
        Smtpd.smtpd_router.alias("msa_outrouter"),
        Smtpd.smtpd_route.alias("msa_outroute"),
    ).order_by(Smtpd.smtpd_user),
}
USER = {8: Msa.msa_user, 9: Smtpd.smtpd_user}
OWN = {number: USER[number] == param("user") for number in USER}
PAGES = {number: KeysetPagination(user) for number, user in USER.items()}
EVERYBODY = {number: PreparedQuery(rows, pages=PAGES[number]) for number, rows in ROWS.items()}
ONE = {number: PreparedQuery(rows.where(OWN[number])) for number, rows in ROWS.items()}
OWN_AND_DELEGATED = {
    number: PreparedQuery(rows.where(OWN[number] | USER[number].in_(DELEGATED)), pages=PAGES[number])
    for number, rows in ROWS.items()
}


def routers_work(call):
    body = call.body
    check_router(
        body["msa_inrouter"],
        body.get("msa_inroute"),
        IN_ROUTERS,
        f"Router {body['msa_inrouter']} needs an argument (msa_inroute).",
        ("forward", "handoff"),
    )
    check_router(
        body["msa_outrouter"],
        body.get("msa_outroute"),
        OUT_ROUTERS,
        f"Router {body['msa_outrouter']} needs an argument (msa_outroute).",
    )


def keeps_database(call) -> bool:
    """Return whether the user's database stays the stored one, or becomes none.

    The path is opened by the API and the daemons: whoever chooses it reads that file as the user's mailbox.
    """
    body = call.body
    if call.caller.admin or call.generation.number != 8 or body["msa_inrouter"] != "store":
        return True
    stored = Users.select(Users.user_database).where(Users.user_name == body["msa_user"])
    return not body.get("msa_inroute") or body["msa_inroute"] == call.db.value(stored)


database_kept = Rule("of a database other than the stored one: admin", keeps_database)
SET = {
    "required": {
        "msa_user": "Username is not set.",
        "msa_inrouter": "User inrouter is not set.",
        "msa_outrouter": "User outrouter is not set.",
    },
    "optional": {"msa_inroute": address, "msa_outroute": address},
    "validators": [routers_work],
    "allow": (delegate_of("msa_user"), database_kept),
}


class MSA(Module):
    identifiers = {"msa_user": None, "msa_inrouter": IN_ROUTERS, "msa_outrouter": OUT_ROUTERS}
    stand_ins = {9: ("SMTPD", "smtpd.py")}
    dangerous_rows = {
        8: {
            "has an in router that the daemons do not know: what comes in is lost": PreparedQuery(
                Msa.select(Msa.msa_user).where(Msa.msa_inrouter.not_in(IN_ROUTERS))
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
        """The routers of everybody, for a delegate of oneself and the delegated ones; or of one user."""
        number = call.generation.number
        if call.body.get("msa_user"):
            return {"msa": call.listing(ONE[number], user=call.body["msa_user"])}
        if call.caller.admin:
            return {"msa": call.listing(EVERYBODY[number])}
        return {"msa": routers_shown(call, OWN_AND_DELEGATED[number])}

    @endpoint(**SET)
    def add(self, call):
        """Routers for a user without any; `msa` is the new row's id, -1 where the database refuses."""
        values = self.values(call)
        try:
            row = call.db.execute(call.generation.routers.insert(values)).lastrowid
            self.set_database(call)
        except IntegrityError as error:
            raise ApiError(str(error), msa=-1) from error
        return {"msa": row}

    @endpoint(**SET)
    def update(self, call):
        """Change a user's routers; a route that is not given is none afterwards."""
        number = call.generation.number
        changed = call.db.execute(
            call.generation.routers.update(self.values(call)).where(USER[number] == call.body["msa_user"])
        ).rowcount
        if changed:
            self.set_database(call)

    @endpoint(required={"msa_user": "Username is not set."}, allow=delegate_of("msa_user"))
    def delete(self, call):
        """Take a user's routers away."""
        number = call.generation.number
        call.db.execute(call.generation.routers.delete().where(USER[number] == call.body["msa_user"]))

    def values(self, call) -> dict:
        """The row to store; generation 9 has no room for how mail comes in."""
        body = call.body
        if call.generation.number == 8:
            return {name: body.get(name) for name in Msa._meta.fields}
        first = call.db.value(first_address(body["msa_user"]))
        if body["msa_inrouter"] != "store" or (body.get("msa_inroute") or first) != first:
            raise ApiError("In this generation incoming mail is routed in addresses/, not in msa/.")
        return {
            "smtpd_user": body["msa_user"],
            "smtpd_router": body["msa_outrouter"],
            "smtpd_route": body.get("msa_outroute"),
        }

    def set_database(self, call):
        """In generation 8 the route of the router store is the user's own database (docs/wire.md F29)."""
        body = call.body
        if call.generation.number == 8 and body["msa_inrouter"] == "store" and "msa_inroute" in body:
            call.db.execute(
                Users.update(user_database=body["msa_inroute"] or None).where(
                    Users.user_name == body["msa_user"]
                )
            )
