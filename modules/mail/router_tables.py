"""Routers, such as `store` or `handoff`, which say what the mail daemons do with a mail: their names and tables."""

from peewee import TextField

from mailapi import ApiError, Model

IN_ROUTERS = ("store", "redirect", "handoff", "reject", "drop")  # docs/wire.md section 6
OUT_ROUTERS = ("any", "defined", "handoff", "reject", "drop")
NEED_ROUTE = ("store", "redirect", "forward", "handoff")


class Smtpd(Model):
    """A row of `smtpd` in schema version 9: the router and its route for the mail that a user sends."""

    smtpd_user = TextField()
    smtpd_router = TextField()
    smtpd_route = TextField(null=True)


class Msa(Model):
    """A row of `msa` in schema version 8: the routers and routes for a user's incoming (in…) and outgoing mail (out…)."""

    msa_user = TextField()
    msa_inrouter = TextField()
    msa_inroute = TextField(null=True)
    msa_outrouter = TextField()
    msa_outroute = TextField(null=True)


ROUTER_TABLES = {8: Msa, 9: Smtpd}  # by generation


def check_router(
    router: str, route: str | None, allowed: tuple, sentence: str, field: str, need_route=NEED_ROUTE
):
    """Raise ApiError if `router` is not in `allowed`, or, with the text `sentence`, if it has no route but needs one.

    A router, such as `handoff`, says what the daemons do with a mail; its route is, for example, a host. Invalid
    ones make the daemons lose mail or crash (docs/wire.md F33). `field` is the request's field with the router;
    `need_route` has the routers that need a route.
    """
    if router not in allowed:
        raise ApiError(f"Unknown router {router}.", audit="Unknown router.", field=field)
    if router in need_route and not route:
        raise ApiError(sentence, code="missing_field", field=field.replace("router", "route"))
