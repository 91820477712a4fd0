"""What the SMTP daemon does with a mail: incoming by its recipient, outgoing by who sends it (docs/wire.md section 6)."""

import re

from peewee import OP, Expression, Value

from mailapi import DELEGATED, Addresses, Addresses8, PreparedQuery, Users, readable

from .routers import OUT_ROUTERS, Msa, Smtpd

BY_ORDER = {
    8: Addresses8.select().order_by(Addresses8.address_order.desc()),
    9: Addresses.select().order_by(Addresses.address_order.desc()),
}


def like(value, expression):
    """Return SQLite's `value LIKE expression`: % is any run, _ one character, ASCII letters match in either case."""
    return Expression(value, OP.ILIKE, expression)


def matching(call, address: str) -> list[dict]:
    """The rows whose expression matches the address, in the order in which the daemon looks at them."""
    table = call.generation.address
    return call.db.rows(
        BY_ORDER[call.generation.number].where(like(Value(address), table.address_expression))
    )


def decision(steps: list, accepted=False, stored=None, queued=None) -> dict:
    """The daemon's decision; `steps` are the sentences that lead to it, the last one says it."""
    return {"steps": steps, "decision": {"accepted": accepted, "stored": stored, "queued": queued}}


def envelope(remote: str | None, sender: str | None, recipient: str | None) -> dict:
    """As the outbox row would have it."""
    return {"mail_remote": remote, "mail_envelopefrom": sender, "mail_envelopeto": recipient}


def refused_or_lost(steps: list, router: str) -> dict:
    """The routers that keep nothing; the daemon answers 250 to an in router that it does not know (docs/wire.md F33)."""
    if router == "reject":
        return decision([*steps, "Rejected by the router reject."])
    return decision([*steps, f"Accepted and thrown away by the router {router}."], True)


def as_received(address: str | None, steps: list) -> str | None:
    """Return an address as the SMTP daemon reads it, without bytes beyond ASCII; steps tell of it (docs/wire.md F46)."""
    if address is None or address.isascii():
        return address
    kept = address.encode("ascii", "ignore").decode()
    steps.append(f"The SMTP daemon drops bytes beyond ASCII: {address} is {kept} to it.")
    return kept


########## Credentials in routes ###################################################################
# cmail takes `user:password@host` for the host of the router handoff. Whole routes are shown to who may act for the
# user whose routers they are, as smtpd/ and msa/ do; everybody else sees the host (docs/wire.md F44).

HANDED_OFF = {
    number: [
        PreparedQuery(user.model.select(route).where(user.in_(DELEGATED), router == "handoff"))
        for user, router, route in columns
    ]
    for number, columns in {
        8: [
            (Msa.msa_user, Msa.msa_inrouter, Msa.msa_inroute),
            (Msa.msa_user, Msa.msa_outrouter, Msa.msa_outroute),
        ],
        9: [(Smtpd.smtpd_user, Smtpd.smtpd_router, Smtpd.smtpd_route)],
    }.items()
}


def host_of(route: str) -> str:
    """Return the host of a handoff route, without the credentials for it."""
    return as_text(route).rpartition("@")[2]


def as_text(value: str | bytes) -> str:
    """Return text that somebody may have stored as a BLOB."""
    return value if isinstance(value, str) else readable(value)


def visible_route(call, route: str | None, user: str | None) -> str | None:
    """Return a handoff route as the caller may see it. user: whose routers have it; None: an address has it."""
    return route if not route or call.caller.may_act_for(user) else host_of(route)


def whole_routes(call) -> set[str]:
    """Return the handoff routes that smtpd/ and msa/ show to a delegate."""
    if not call.caller.delegated_users:
        return set()
    queries = HANDED_OFF[call.generation.number]
    return {route for query in queries for route in call.db.column(query, user=call.user_name)}


def routers_shown(call, query: PreparedQuery) -> list[dict]:
    """Return a delegate's rows of smtpd/ or msa/: in their own one they see no credentials, as they cannot set them."""
    rows = call.db.rows(call.page(query) if call.pages else query, user=call.user_name)
    for row in rows if call.user_name not in call.caller.delegated_users else ():
        if call.user_name not in (row.get("smtpd_user"), row.get("msa_user")):
            continue
        for kind in ("smtpd_", "msa_out", "msa_in"):
            router, route = row.get(f"{kind}router"), row.get(f"{kind}route")
            if route and may_hold_credentials(router, route):
                row[f"{kind}route"] = host_of(route)
    return rows


def may_hold_credentials(router: str, route: str) -> bool:
    """Whether a route is a handoff's, or was one before the router changed."""
    return router == "handoff" or router != "store" and ":" in as_text(route).rpartition("@")[0]


########## Incoming ################################################################################


def inbound(call, row: dict, sender: str | None, recipient: str) -> dict:
    """What becomes of a mail whose recipient this row decides about."""
    steps = [f"Address matched: {row['address_expression']}"]
    router, route = in_router(call, row)
    if router is None:
        return decision([*steps, f"Ignored: user {row['address_user']} has no MSA row."])
    if router in ("store", "redirect", "handoff") and not route:
        return decision([*steps, f"Rejected: the router {router} has no route."])
    if router == "store":
        return stored(call, steps, route)
    if router == "redirect":
        target = redirected(route, recipient, sender or "")
        return decision([*steps, f"Redirected to {target}."], True, None, envelope(None, sender, target))
    if router == "handoff":
        route = visible_route(call, route, row["address_user"] if call.generation.number == 8 else None)
        return decision([*steps, f"Handed off to {route}."], True, None, envelope(route, sender, recipient))
    return refused_or_lost(steps, router)


def in_router(call, row: dict) -> tuple[str | None, str | None]:
    """Router and route of a row; in generation 8 those of the user that it stores to."""
    if call.generation.number == 9:
        return row["address_router"], row["address_route"]
    user = row["address_user"]
    msa = call.db.one(Msa.select(Msa.msa_inrouter, Msa.msa_inroute).where(Msa.msa_user == user))
    if msa is None:
        return None, None
    if msa["msa_inrouter"] == "store":
        return "store", user
    return "redirect" if msa["msa_inrouter"] == "forward" else msa["msa_inrouter"], msa["msa_inroute"]


def stored(call, steps: list, user: str) -> dict:
    found = call.db.one(Users.select(Users.user_database).where(Users.user_name == user))
    if found is None:
        return decision([*steps, f"Rejected: there is no user {user}."])
    where = "user database" if found["user_database"] else "master database"
    return decision([*steps, f"Stored for user {user} in the {where}."], True, user)


def redirected(route: str, recipient: str, sender: str) -> str:
    parts = {}
    for name, value in (("to", recipient), ("from", sender)):
        local, at, domain = value.rpartition("@")
        parts |= {f"({name}-local)": local if at else domain, f"({name}-domain)": domain if at else ""}
    return re.sub(r"\((to|from)-(local|domain)\)", lambda found: parts[found[0]], route)


########## Outgoing ################################################################################


def out_router(call, user: str) -> tuple[str | None, str | None]:
    """Router and route of what a user sends; None for who may not send."""
    if call.generation.number == 9:
        columns = Smtpd.smtpd_router, Smtpd.smtpd_route, Smtpd.smtpd_user
    else:
        columns = Msa.msa_outrouter, Msa.msa_outroute, Msa.msa_user
    rows = call.db.fetch(columns[0].model.select(*columns[:2]).where(columns[2] == user), {})[1]
    return rows[0] if rows else (None, None)


def outbound(
    steps: list, user: str, routing: tuple, stores_to_user: bool, sender: str, recipient: str | None
) -> dict:
    """What becomes of a mail that a user sends to a recipient that is not local, by their out router and its route."""
    router, route = routing
    if router is None:
        return decision([*steps, f"Rejected: user {user} may not send."])
    if router == "defined" and not stores_to_user:
        return decision([*steps, f"Rejected: {sender} does not store to user {user} (router defined)."])
    if router == "handoff" and not route:
        return decision([*steps, "Rejected: the router handoff has no route."])
    if router == "handoff":
        return decision(
            [*steps, f"Handed off to {route} for user {user}."],
            True,
            None,
            envelope(route, sender, recipient),
        )
    if router in ("drop", "reject"):
        return refused_or_lost(steps, router)
    known = (
        "" if router in OUT_ROUTERS else ", which the daemon does not know and takes for any"
    )  # docs/wire.md F45
    return decision(
        [*steps, f"Accepted from user {user} (router {router}{known})."],
        True,
        None,
        envelope(None, sender, recipient),
    )
