"""The daemons' routers (what they do with a mail): names, the routes that they need, and the tables that store them."""

from peewee import TextField

from mailapi import ApiError, Model

IN_ROUTERS = ("store", "redirect", "handoff", "reject", "drop")  # docs/wire.md section 6
OUT_ROUTERS = ("any", "defined", "handoff", "reject", "drop")
NEED_ROUTE = ("store", "redirect", "forward", "handoff")


class Smtpd(Model):
    """A row of `smtpd` in database generation 9: the router and route of the mail that a user sends."""

    smtpd_user = TextField()
    smtpd_router = TextField()
    smtpd_route = TextField(null=True)


class Msa(Model):
    """How the daemons of a generation 8 database route a user's mail: what arrives (in) and what the user sends (out)."""

    msa_user = TextField()
    msa_inrouter = TextField()
    msa_inroute = TextField(null=True)
    msa_outrouter = TextField()
    msa_outroute = TextField(null=True)


ROUTER_TABLES = {8: Msa, 9: Smtpd}  # by generation


def check_router(
    router: str, route: str | None, allowed: tuple, sentence: str, field: str, need_route=NEED_ROUTE
):
    """Raise ApiError for an unknown router, or, with the message `sentence`, for one without the route that it needs.

    A router, such as `handoff`, is what the daemons do with a mail; a route is its argument, such as a host. The
    daemons lose mail or crash if these are wrong (docs/wire.md F33). `field` names the router in the request.
    """
    if router not in allowed:
        raise ApiError(f"Unknown router {router}.", audit="Unknown router.", field=field)
    if router in need_route and not route:
        raise ApiError(sentence, code="missing_field", field=field.replace("router", "route"))
