"""SMTPD: who may send mail through the SMTP daemon, and where it goes."""

from peewee import IntegrityError

from mailapi import (
    DELEGATED,
    OUT_ROUTERS,
    PAGE_QUERY,
    Active,
    ApiError,
    KeysetPagination,
    Module,
    Msa,
    PreparedQuery,
    Smtpd,
    address,
    admin_or_delegate,
    check_router,
    delegate_of,
    endpoint,
    param,
    php_text,
)

from .mail.routing import routers_shown

PAGES = KeysetPagination(Smtpd.smtpd_user)
EVERYBODY = PreparedQuery(Smtpd.select().order_by(Smtpd.smtpd_user), pages=PAGES)
ONE = PreparedQuery(Smtpd.select().where(Smtpd.smtpd_user == param("user")))
OWN_AND_DELEGATED = PreparedQuery(
    Smtpd.select()
    .order_by(Smtpd.smtpd_user)
    .where((Smtpd.smtpd_user == param("user")) | Smtpd.smtpd_user.in_(DELEGATED)),
    pages=PAGES,
)


def router_works(call):
    router = call.body["smtpd_router"]
    check_router(
        router, call.body.get("smtpd_route"), OUT_ROUTERS, f"Router {router} needs an argument (smtpd_route)."
    )


class SMTPD(Module):
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
        """The out routers of everybody, for a delegate of oneself and the delegated ones; or of one user."""
        if call.body.get("smtpd_user"):
            return {"smtpd": call.listing(ONE, user=call.body["smtpd_user"])}
        if call.caller.admin:
            return {"smtpd": call.listing(EVERYBODY)}
        return {"smtpd": routers_shown(call, OWN_AND_DELEGATED)}

    @endpoint(
        required={"smtpd_user": "Username is not set.", "smtpd_router": "User outrouter is not set."},
        optional={"smtpd_route": address},
        validators=[router_works],
        allow=delegate_of("smtpd_user"),
    )
    def add(self, call):
        """Let a user send mail; `smtpd` is the new row's id, -1 where the database refuses."""
        try:
            cursor = call.db.execute(
                Smtpd.insert(
                    smtpd_user=call.body["smtpd_user"],
                    smtpd_router=call.body["smtpd_router"],
                    smtpd_route=call.body.get("smtpd_route"),
                )
            )
        except IntegrityError as error:
            raise ApiError(str(error), smtpd=-1) from error
        return {"smtpd": cursor.lastrowid}

    @endpoint(
        required={"smtpd_user": "Username is not set.", "smtpd_router": "User router is not set."},
        optional={"smtpd_route": address},
        validators=[router_works],
        allow=delegate_of("smtpd_user"),
    )
    def update(self, call):
        """Change how a user's mail goes out; without smtpd_route there is none afterwards."""
        call.db.execute(
            Smtpd.update(
                smtpd_router=call.body["smtpd_router"], smtpd_route=call.body.get("smtpd_route")
            ).where(Smtpd.smtpd_user == call.body["smtpd_user"])
        )

    @endpoint(required={"smtpd_user": "Username is not set."}, allow=delegate_of("smtpd_user"))
    def delete(self, call):
        """Take sending away from a user."""
        call.db.execute(Smtpd.delete().where(Smtpd.smtpd_user == call.body["smtpd_user"]))
