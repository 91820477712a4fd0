"""The daemons' routers: their names, the routes that they need, and the tables of who may send through which."""

from peewee import TextField

from mailapi import ApiError, Model

IN_ROUTERS = ("store", "redirect", "handoff", "reject", "drop")  # docs/wire.md section 6
OUT_ROUTERS = ("any", "defined", "handoff", "reject", "drop")
NEED_ROUTE = ("store", "redirect", "forward", "handoff")


class Smtpd(Model):
    """The router and route of what a user sends, in generation 9."""

    smtpd_user = TextField()
    smtpd_router = TextField()
    smtpd_route = TextField(null=True)


class Msa(Model):
    """The routers and routes of what a user sends and of what arrives for them, in generation 8."""

    msa_user = TextField()
    msa_inrouter = TextField()
    msa_inroute = TextField(null=True)
    msa_outrouter = TextField()
    msa_outroute = TextField(null=True)


ROUTER_TABLES = {8: Msa, 9: Smtpd}  # by generation


def check_router(router: str, route: str | None, allowed: tuple, sentence: str, need_route=NEED_ROUTE):
    """Refuse an unknown router, and with `sentence` a router without the route that it needs.

    The daemons answer 250 to mail for such a row and then lose it, or crash (docs/wire.md F33).
    """
    if router not in allowed:
        raise ApiError(f"Unknown router {router}.", audit="Unknown router.")
    if router in need_route and not route:
        raise ApiError(sentence)
