"""SMTPD: users who may send mail through the SMTP daemon, and where their mail goes."""

from peewee import IntegrityError

from mailapi import (
    Active,
    Module,
    PreparedQuery,
    address,
    admin_or_delegate,
    delegate_of,
    endpoint,
    param,
    php_text,
    refusal,
)

from .answers import smtpd
from .directory.lists import PAGE_QUERY
from .directory.owned_rows import OwnedRows
from .mail.router_tables import OUT_ROUTERS, Msa, Smtpd, check_router
from .mail.routing_rules import rows_for_delegate

SENDERS = OwnedRows(Smtpd.select(), owner=Smtpd.smtpd_user, list_for_delegate=rows_for_delegate)
ROUTER = {name: param(name) for name in ("smtpd_router", "smtpd_route")}
IS_USER = Smtpd.smtpd_user == param("smtpd_user")
ADD = PreparedQuery(Smtpd.insert(smtpd_user=param("smtpd_user"), **ROUTER))
UPDATE = PreparedQuery(Smtpd.update(ROUTER).where(IS_USER))
DELETE = PreparedQuery(Smtpd.delete().where(IS_USER))


def values_of(call) -> dict:
    """Return the request's values for a user's row of `smtpd`: {"smtpd_user": "ann", …}. Missing values are None."""
    return {name: call.body.get(name) for name in ("smtpd_user", *ROUTER)}


def check_new_router(call):
    """Raise ApiError if the router in the request, such as "handoff", is unknown or lacks the route that it needs.

    A router says what happens to mail: any, defined, handoff, reject or drop. Its route is, for example, a host.
    """
    router = call.body["smtpd_router"]
    check_router(
        router,
        call.body.get("smtpd_route"),
        OUT_ROUTERS,
        f"Router {router} needs an argument (smtpd_route).",
        "smtpd_router",
    )


class SMTPD(Module):
    description = smtpd.DESCRIPTION
    identifiers = {"smtpd_user": None, "smtpd_router": OUT_ROUTERS}
    generations = (9,)
    stand_ins = {8: ("MSA", "msa.py")}
    dangerous_rows = {
        9: {
            "has a router that the SMTP daemon does not know: it takes it for any": PreparedQuery(
                Smtpd.select(Smtpd.smtpd_user).where(Smtpd.smtpd_router.not_in(OUT_ROUTERS))
            ),
            "has the router handoff without a route": PreparedQuery(
                Smtpd.select(Smtpd.smtpd_user).where(
                    Smtpd.smtpd_router == "handoff", Smtpd.smtpd_route.is_null()
                )
            ),
        }
    }
    active = {8: Active(Msa.msa_user), 9: Active(Smtpd.smtpd_user)}

    @endpoint(
        allow=delegate_of("smtpd_user", missing=admin_or_delegate),
        optional={"smtpd_user": php_text},
        query=PAGE_QUERY,
        read_only=True,
    )
    def get(self, call):
        """List the users who may send mail, each with what happens to it. With smtpd_user, list only that user.

        smtpd_router says what happens, such as handoff, and smtpd_route where to. An admin sees all users, a delegate
        themselves and the users delegated to them. A delegate sees no password in the route of their own row.
        """
        if call.body.get("smtpd_user"):
            return {"smtpd": SENDERS.named(call, call.body["smtpd_user"])}
        return {"smtpd": SENDERS.visible_to(call)}

    @endpoint(
        required={"smtpd_user": "Username is not set.", "smtpd_router": "User outrouter is not set."},
        optional={"smtpd_route": address},
        validators=[check_new_router],
        allow=delegate_of("smtpd_user"),
    )
    def add(self, call):
        """Let a user send mail. `smtpd` in the answer is the id of the new row, or -1 if the database refused it."""
        try:
            cursor = call.db.execute(ADD, **values_of(call))
        except IntegrityError as error:
            raise refusal(error, smtpd=-1) from error
        return {"smtpd": cursor.lastrowid}

    @endpoint(
        required={"smtpd_user": "Username is not set.", "smtpd_router": "User router is not set."},
        optional={"smtpd_route": address},
        validators=[check_new_router],
        allow=delegate_of("smtpd_user"),
    )
    def update(self, call):
        """Replace what happens to mail that a user sends: smtpd_router and smtpd_route. A missing route is removed."""
        call.db.execute(UPDATE, **values_of(call))

    @endpoint(required={"smtpd_user": "Username is not set."}, allow=delegate_of("smtpd_user"))
    def delete(self, call):
        """Stop a user from sending mail: delete the user's router and route, which smtpd/?add can set again."""
        call.db.execute(DELETE, smtpd_user=call.body["smtpd_user"])
