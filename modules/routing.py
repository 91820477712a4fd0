"""What the SMTP daemon does with a mail: incoming by its recipient, outgoing by who sends it (WIRE section 6)."""

import re

from peewee import Value

from mailapi import Addresses, Addresses8, Msa, Smtpd, Users, like

BY_ORDER = {8: Addresses8.select().order_by(Addresses8.address_order.desc()),
            9: Addresses.select().order_by(Addresses.address_order.desc())}


def matching(call, address: str) -> list[dict]:
    """The rows whose expression matches the address, in the order in which the daemon looks at them."""
    table = call.generation.address
    return call.db.rows(BY_ORDER[call.generation.number].where(like(Value(address), table.address_expression)))


def decision(steps: list, accepted=False, stored=None, queued=None) -> dict:
    """The daemon's decision; `steps` are the sentences that lead to it, the last one says it."""
    return {"steps": steps, "decision": {"accepted": accepted, "stored": stored, "queued": queued}}


def envelope(remote: str | None, sender: str | None, recipient: str | None) -> dict:
    """As the outbox row would have it."""
    return {"mail_remote": remote, "mail_envelopefrom": sender, "mail_envelopeto": recipient}


def refused_or_lost(steps: list, router: str) -> dict:
    """The routers that keep nothing; the daemon answers 250 to one that it does not know (WIRE F33)."""
    if router == "reject":
        return decision([*steps, "Rejected by the router reject."])
    return decision([*steps, f"Accepted and thrown away by the router {router}."], True)


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


def outbound(steps: list, user: str, routing: tuple, stores_to_user: bool, sender: str, recipient: str | None) -> dict:
    """What becomes of a mail that a user sends to a recipient that is not local, by their out router and its route."""
    router, route = routing
    if router is None:
        return decision([*steps, f"Rejected: user {user} may not send."])
    if router == "defined" and not stores_to_user:
        return decision([*steps, f"Rejected: {sender} does not store to user {user} (router defined)."])
    if router == "handoff" and not route:
        return decision([*steps, "Rejected: the router handoff has no route."])
    if router == "handoff":
        return decision([*steps, f"Handed off to {route} for user {user}."], True, None,
                        envelope(route, sender, recipient))
    if router in ("any", "defined"):
        return decision([*steps, f"Accepted from user {user} (router {router})."], True, None,
                        envelope(None, sender, recipient))
    return refused_or_lost(steps, router)
