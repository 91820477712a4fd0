"""The SMTP daemon's rules (docs/wire.md section 6) for incoming mail, by recipient, and for outgoing mail, by sender."""

import re

from peewee import OP, Expression, Select

from mailapi import DELEGATED, PreparedQuery, Users, param, readable

from ..directory import lists
from ..directory.address_tables import ADDRESS_TABLES, Addresses, Addresses8
from .router_tables import OUT_ROUTERS, Msa, Smtpd

ROWS_BY_ORDER: dict[int, Select] = {
    8: Addresses8.select().order_by(Addresses8.address_order.desc()),
    9: Addresses.select().order_by(Addresses.address_order.desc()),
}


def like(value, expression) -> Expression:
    """Return the SQL condition that `value` matches `expression`, a pattern like `%@corp.org`, ignoring ASCII case."""
    return Expression(value, OP.ILIKE, expression)


MATCHING_ROWS = {
    number: PreparedQuery(rows.where(like(param("address"), ADDRESS_TABLES[number].address_expression)))
    for number, rows in ROWS_BY_ORDER.items()
}

USER_DATABASE = PreparedQuery(Users.select(Users.user_database).where(Users.user_name == param("user")))
IN_ROUTER_OF_USER = PreparedQuery(
    Msa.select(Msa.msa_inrouter, Msa.msa_inroute).where(Msa.msa_user == param("user"))
)
OUT_ROUTER_OF_USER = {
    8: PreparedQuery(Msa.select(Msa.msa_outrouter, Msa.msa_outroute).where(Msa.msa_user == param("user"))),
    9: PreparedQuery(
        Smtpd.select(Smtpd.smtpd_router, Smtpd.smtpd_route).where(Smtpd.smtpd_user == param("user"))
    ),
}


def matching_rows(call, address: str) -> list[dict]:
    """Return the rows of `addresses` whose pattern matches `address`, in the order in which the daemon tries them."""
    return call.db.rows(MATCHING_ROWS[call.generation.number], address=address)


def decision(
    steps: list[str], accepted: bool = False, stored: str | None = None, queued: dict | None = None
) -> dict:
    """Return {"steps": steps, "decision": {"accepted": …, "stored": …, "queued": …}}, the outcome of a mail.

    `steps`: sentences that explain the outcome. `accepted`: whether the SMTP daemon accepts the mail. `stored`: the
    user in whose mailbox it is stored, or None. `queued`: the envelope() with which it is passed on, or None.
    """
    return {"steps": steps, "decision": {"accepted": accepted, "stored": stored, "queued": queued}}


def envelope(remote: str | None, sender: str | None, recipient: str | None) -> dict:
    """Return a mail's envelope. `remote`: the host to pass the mail to; None for the host of the recipient's domain."""
    return {"mail_remote": remote, "mail_envelopefrom": sender, "mail_envelopeto": recipient}


def rejected_or_dropped(steps: list, router: str) -> dict:
    """Return what happens to a mail that nobody gets: the router `reject` refuses it, other routers throw it away.

    The result is {"steps": [*steps, "Rejected …"], "decision": {"accepted": False, "stored": None, "queued": None}}.
    """
    if router == "reject":
        return decision([*steps, "Rejected by the router reject."])
    return decision([*steps, f"Accepted and thrown away by the router {router}."], True)


def address_as_received(address: str, steps: list) -> str:
    """Drop characters beyond ASCII from an address, as the SMTP daemon does (docs/wire.md F46). Note it in `steps`."""
    if address.isascii():
        return address
    received = address.encode("ascii", "ignore").decode()
    steps.append(f"The SMTP daemon drops bytes beyond ASCII: {address} is {received} to it.")
    return received


########## Credentials in routes ###################################################################
# The daemons (cmail) accept `user:password@host` as the route of the router handoff. Callers who may act for the user
# of the router see the whole route, as in smtpd/ and msa/. All other callers see the host only (docs/wire.md F44).

DELEGATED_HANDOFF_ROUTES = {
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
    """Return the host in a route to a mail server: `mx.corp.org` for `user:password@mx.corp.org`."""
    return as_text(route).rpartition("@")[2]


def as_text(value: str | bytes) -> str:
    """Return a database's value as text. Other programs may have stored it as a BLOB."""
    return value if isinstance(value, str) else readable(value)


def visible_route(call, route: str | None, user: str | None) -> str | None:
    """Return the whole route, such as `user:password@host`, if the caller may act for `user`; else only the host.

    `user`: the user whose mail takes the route; None for the route of an address, which only an admin may see whole.
    """
    return route if not route or call.caller.may_act_for(user) else host_of(route)


def delegated_routes(call) -> set[str]:
    """Return the routes of users delegated to the caller, who may see the passwords: {"user:password@host", …}."""
    if not call.caller.delegated_users:
        return set()
    queries = DELEGATED_HANDOFF_ROUTES[call.generation.number]
    return {route for query in queries for route in call.db.column(query, user=call.user_name)}


def rows_for_delegate(call, query: lists.ListQuery) -> list[dict]:
    """Return rows of the table smtpd or msa, which say what happens to users' mail, for a caller who is a delegate.

    `query` selects the rows. The request may ask for a page of them. Passwords in the delegate's own row are removed.
    """
    # Delegates may not set passwords in their own row either.
    rows = lists.rows(call, query, user=call.user_name)
    for row in rows if call.user_name not in call.caller.delegated_users else ():
        if call.user_name not in (row.get("smtpd_user"), row.get("msa_user")):
            continue
        for kind in ("smtpd_", "msa_out", "msa_in"):
            router, route = row.get(f"{kind}router"), row.get(f"{kind}route")
            if route and may_hold_credentials(router, route):
                row[f"{kind}route"] = host_of(route)
    return rows


def may_hold_credentials(router: str | None, route: str) -> bool:
    """Return whether a route may have a password: `user:password@host`, or any route of the router handoff."""
    return router == "handoff" or router != "store" and ":" in as_text(route).rpartition("@")[0]


########## Incoming ################################################################################


def inbound(call, row: dict, sender: str | None, recipient: str) -> dict:
    """Return {"steps": […], "decision": {…}}: what happens to mail to `recipient`. `row` of `addresses` matches it."""
    steps = [f"Address matched: {row['address_expression']}"]
    router, route = in_router(call, row)
    if router is None:
        return decision([*steps, f"Ignored: user {row['address_user']} has no MSA row."])
    if router in ("store", "redirect", "handoff") and not route:
        return decision([*steps, f"Rejected: the router {router} has no route."])
    if router == "store":
        return stored_decision(call, steps, route)
    if router == "redirect":
        target = redirect_target(route, recipient, sender or "")
        return decision([*steps, f"Redirected to {target}."], True, None, envelope(None, sender, target))
    if router == "handoff":
        host = visible_route(call, route, row["address_user"] if call.generation.number == 8 else None)
        return decision([*steps, f"Handed off to {host}."], True, None, envelope(host, sender, recipient))
    return rejected_or_dropped(steps, router)


def in_router(call, row: dict) -> tuple[str | None, str]:
    """Return what happens to mail for an address: router and route, such as ("handoff", "mx.corp.org") or ("drop", "").

    `row`: the row of `addresses` that matches. In schema version 8, return (None, "") if its user has no row of `msa`.
    """
    if call.generation.number == 9:
        return as_text(row["address_router"]), as_text(row["address_route"] or "")
    user = as_text(row["address_user"])
    msa = call.db.one(IN_ROUTER_OF_USER, user=user)
    if msa is None:
        return None, ""
    router = as_text(msa["msa_inrouter"])
    if router == "store":
        return "store", user
    return "redirect" if router == "forward" else router, as_text(msa["msa_inroute"] or "")


def stored_decision(call, steps: list, user: str) -> dict:
    user_row = call.db.one(USER_DATABASE, user=user)
    if user_row is None:
        return decision([*steps, f"Rejected: there is no user {user}."])
    database = "user database" if user_row["user_database"] else "master database"
    return decision([*steps, f"Stored for user {user} in the {database}."], True, user)


def redirect_target(route: str, recipient: str, sender: str) -> str:
    """Return the address to which a redirect route such as `(to-local)@corp.org` sends a mail.

    (to-local), (to-domain), (from-local), (from-domain) are replaced by parts of `recipient` and `sender`.
    """
    parts: dict[str, str] = {}
    for name, value in (("to", recipient), ("from", sender)):
        local, at, domain = value.rpartition("@")
        parts |= {f"({name}-local)": local if at else domain, f"({name}-domain)": domain if at else ""}
    return re.sub(r"\((to|from)-(local|domain)\)", lambda match: parts[match[0]], route)


########## Outgoing ################################################################################


def out_router(call, user: str) -> tuple[str | None, str | None]:
    """Return router and route of mail from a user, such as ("any", None); (None, None) if the user may not send."""
    rows = call.db.fetch(OUT_ROUTER_OF_USER[call.generation.number], {"user": user})[1]
    return (as_text(rows[0][0]), rows[0][1] and as_text(rows[0][1])) if rows else (None, None)


def outbound(
    steps: list, user: str, routing: tuple, stores_to_user: bool, sender: str, recipient: str | None
) -> dict:
    """Return what happens to a mail that `user` sends from the address `sender` to `recipient`.

    The result is {"steps": [*steps, "Accepted …"], "decision": {"accepted": True, "stored": None, "queued": {…}}}.
    `routing`: router and route of mail that the user sends, such as ("handoff", "mx.corp.org"); (None, None) if the
    user may not send. `stores_to_user`: whether mail to `sender` is stored for the user.
    """
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
        return rejected_or_dropped(steps, router)
    # docs/wire.md F45
    remark = "" if router in OUT_ROUTERS else ", which the daemon does not know and takes for any"
    return decision(
        [*steps, f"Accepted from user {user} (router {router}{remark})."],
        True,
        None,
        envelope(None, sender, recipient),
    )
