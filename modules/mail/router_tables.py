"""Routers, such as `store` or `handoff`: what the mail daemons do with a mail. Their names, routes and tables."""

from peewee import TextField

from mailapi import ApiError, Model

IN_ROUTERS = ("store", "redirect", "handoff", "reject", "drop")  # docs/wire.md section 6
OUT_ROUTERS = ("any", "defined", "handoff", "reject", "drop")
NEED_ROUTE = ("store", "redirect", "forward", "handoff")


class Smtpd(Model):
    """A row of `smtpd` in schema version 9: what happens to the mail that a user sends (router and route)."""

    smtpd_user = TextField()
    smtpd_router = TextField()
    smtpd_route = TextField(null=True)


class Msa(Model):
    """A row of `msa` in schema version 8: what happens to a user's incoming mail (in…) and outgoing mail (out…)."""

    msa_user = TextField()
    msa_inrouter = TextField()
    msa_inroute = TextField(null=True)
    msa_outrouter = TextField()
    msa_outroute = TextField(null=True)


ROUTER_TABLES = {8: Msa, 9: Smtpd}  # by generation


def check_router(
    router: str, route: str | None, allowed: tuple, sentence: str, field: str, need_route=NEED_ROUTE
):
    """Raise ApiError, with the text `sentence`, for a router without its route; also for an unknown router.

    A router, such as `handoff`, says what the daemons do with a mail; its route is, for example, a host. If
    they are wrong, the daemons lose mail or crash (docs/wire.md F33). `field` is the request field of the
    router.
    """
    if router not in allowed:
        raise ApiError(f"Unknown router {router}.", audit="Unknown router.", field=field)
    if router in need_route and not route:
        raise ApiError(sentence, code="missing_field", field=field.replace("router", "route"))
