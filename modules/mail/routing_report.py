"""The answer of `addresses/?test`: what the SMTP daemon would do with a mail, as far as the caller may know it."""

from mailapi import ApiError

from ..directory.address_tables import address_table
from .address_access import visibility
from .routing_rules import (
    address_as_received,
    as_text,
    decision,
    inbound,
    matching_rows,
    out_router,
    outbound,
    visible_route,
)


def report_inbound(call) -> dict:
    """Return what the SMTP daemon would do with a mail to the address in the request.

    The result is {"steps": ["Address matched: %@corp.org", …], "decision": {"accepted": True, "stored": "ann",
    "queued": None}}. An address that the caller may not see gets the same result as an unknown address.
    """
    dropped: list[str] = []
    recipient = address_as_received(call.body["address_expression"], dropped)
    sender = call.body.get("sender") and address_as_received(call.body["sender"], dropped)
    rows = matching_rows(call, recipient)
    visible = rows and visibility(call)(rows[0])
    report = inbound(call, rows[0], sender, recipient) if visible else decision(["Address not found."])
    report["steps"][1:1] = dropped
    return report


def report_outbound(call) -> dict:
    """Return what the SMTP daemon would do with a mail from the address in the request.

    The result is {"steps": ["Address matched: %@corp.org", …], "decision": {"accepted": True, "stored": None,
    "queued": {…}}}. The user smtpd_user in the request sends the mail, or else the user who gets the mail to this
    address. ApiError if the caller may not act for smtpd_user.
    """
    named = call.body.get("smtpd_user") or None
    if named and named != call.user_name and not call.caller.may_act_for(named):
        raise ApiError("Not allowed.", code="not_allowed", field="smtpd_user")
    dropped: list[str] = []
    sender = address_as_received(call.body["address_expression"], dropped)
    recipient = call.body.get("recipient") and address_as_received(call.body["recipient"], dropped)
    rows = visible_matches(call, sender, named)
    steps = [f"Address matched: {rows[0]['address_expression']}" if rows else "Address not found.", *dropped]
    users = [as_text(user) for row in rows if (user := address_table(call).user_of(row))]
    user = named or next(iter(users), None)
    if user is None and rows:
        steps.append("Rejected: the address stores to no user who could log in.")
    if user is None:
        return decision(steps)
    router, route = out_router(call, user)
    routing = router, visible_route(call, route, user)
    return outbound(steps, user, routing, user in users, sender, recipient)


def visible_matches(call, sender: str, named: str | None) -> list[dict]:
    """Return those rows of `addresses` that match the mail address `sender` and that the caller may see.

    `named`: the user whom the request names as the one who sends the mail, or None. Rows that store mail for this user
    are visible, too. Without a named user, the first row says who sends: return [] if the caller may not see it.
    """
    rows, user_of, is_visible = matching_rows(call, sender), address_table(call).user_of, visibility(call)
    if rows and not named and not is_visible(rows[0]):
        return []
    return [row for row in rows if user_of(row) == named or is_visible(row)]
