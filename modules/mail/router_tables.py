"""Routers, such as `store` or `handoff`: their names and tables. A router says what happens to a mail."""

from peewee import TextField

from mailapi import ApiError, Model

IN_ROUTERS = ("store", "redirect", "handoff", "reject", "drop")  # docs/wire.md section 6
OUT_ROUTERS = ("any", "defined", "handoff", "reject", "drop")
NEED_ROUTE = ("store", "redirect", "forward", "handoff")


class Smtpd(Model):
    """A row of `smtpd` in schema version 9: what happens to mail from a user (router), and where it goes (route)."""

    smtpd_user = TextField()
    smtpd_router = TextField()
    smtpd_route = TextField(null=True)


class Msa(Model):
    """In generation 8, a user's routers: msa_inrouter for the mail that they get, msa_outrouter for what they send."""

    msa_user = TextField()
    msa_inrouter = TextField()
    msa_inroute = TextField(null=True)
    msa_outrouter = TextField()
    msa_outroute = TextField(null=True)


ROUTER_TABLES = {8: Msa, 9: Smtpd}  # by generation


def check_router(
    router: str, route: str | None, allowed: tuple, sentence: str, field: str, need_route=NEED_ROUTE
):
    """Raise ApiError if a router is unknown, or lacks a route that it needs.

    A router, such as `handoff`, says what the daemons do with a mail; its route is, for example, a host. `allowed`:
    the known routers. `sentence`: the error message for a missing route. `field`: the request's field that has the
    router. `need_route`: the routers that need a route.
    """
    # Invalid routers make the daemons lose mail or crash (docs/wire.md F33).
    if router not in allowed:
        raise ApiError(f"Unknown router {router}.", audit="Unknown router.", field=field)
    if router in need_route and not route:
        raise ApiError(sentence, code="missing_field", field=field.replace("router", "route"))
