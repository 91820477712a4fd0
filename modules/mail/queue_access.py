"""Queued mails that a caller may see, and their remote hosts without the credentials that the caller may not see."""

import json

from peewee import SQL, Expression, Field, Select, fn

from mailapi import PreparedQuery, param

from .outbox import Outbox
from .routing_rules import as_text, host_of

# The mails that some users submitted, or that go out under an address that stores to them. The matching_rows address with the
# highest order decides, as for incoming mail: whoever has some addresses of a domain does not see what its other
# addresses send. LIKE is slow: expressions without a wildcard are compared for equality, those without % by their length
# first. A sender with letters beyond ASCII matches nothing: the SMTP daemon would read another address (docs/wire.md F46).
VISIBLE_TO_USERS = """
    WITH users AS (SELECT ? AS name UNION SELECT api_delegate FROM api_user_delegates WHERE api_user = ? AND ?),
    mails AS MATERIALIZED (SELECT mail_id, mail_submitter, mail_envelopefrom AS sender FROM outbox WHERE {which}),
    senders AS MATERIALIZED (SELECT DISTINCT sender FROM mails
        WHERE sender <> '' AND length(hex(sender)) = 2 * length(sender)),
    expressions AS MATERIALIZED (SELECT address_expression, address_order, CASE
        WHEN instr(address_expression, '%') THEN '' WHEN instr(address_expression, '_') THEN length(address_expression)
        ELSE lower(address_expression) END AS length_or_all FROM addresses),
    matched AS (SELECT sender, address_order FROM senders JOIN expressions ON length_or_all = lower(sender)
        UNION ALL SELECT sender, address_order FROM senders JOIN expressions
            ON length_or_all = length(sender) AND sender LIKE address_expression
        UNION ALL SELECT sender, address_order FROM senders JOIN expressions
            ON length_or_all = '' AND sender LIKE address_expression),
    first AS (SELECT sender, max(address_order) AS address_order FROM matched GROUP BY sender)
    SELECT mail_id FROM mails WHERE mail_submitter IN (SELECT name FROM users) OR sender IN (
        SELECT sender FROM first JOIN addresses USING (address_order) WHERE {stores})"""
STORES = {  # generation → the condition for addresses that store to the users
    8: "address_user IN (SELECT name FROM users)",
    9: "address_router = 'store' AND address_route IN (SELECT name FROM users)",
}
HIDDEN = "***"  # in the place of credentials
AMONG_IDS = "mail_id IN (SELECT value FROM json_each(?))"


def has_id_among(column: Field) -> Expression:
    """Return the condition for the ids in param("ids"), a JSON list: there may be more than a statement can have parameters."""
    return column.in_(Select([fn.json_each(param("ids"))], [SQL("value")]))


REMOTES = PreparedQuery(
    Outbox.select(Outbox.mail_id, Outbox.mail_remote).where(
        has_id_among(Outbox.mail_id), Outbox.mail_remote.is_null(False)
    )
)


def visible_query(generation: int, among: str, *parameters) -> PreparedQuery:
    """Return the query for the ids of the mails that a user sees, among those that a condition selects."""
    sql = VISIBLE_TO_USERS.format(which=among, stores=STORES[generation])
    user, delegate = param("user").value, param("delegate").value
    return PreparedQuery(SQL(sql, [user, user, delegate, *parameters]))


VISIBLE = {generation: visible_query(generation, "TRUE") for generation in STORES}
VISIBLE_AMONG = {
    generation: visible_query(generation, AMONG_IDS, param("ids").value) for generation in STORES
}


def visible_ids(call, among: list[int] | None = None) -> list[int] | None:
    """Return the ids of the mails that the caller may see, of all or of those given; None for an admin, who sees all."""
    if call.caller.admin:
        return None
    queries, ids = (VISIBLE, {}) if among is None else (VISIBLE_AMONG, {"ids": json.dumps(among)})
    return call.db.column(
        queries[call.generation.number], user=call.user_name, delegate=call.caller.delegate, **ids
    )


def ids_with_remote(call, ids: list[int], remote: str, visible_whole_routes: set[str]) -> list[int]:
    """Return those mails whose remote host, as the caller sees it, is `remote` or ends with its `@domain`.

    Comparing the stored host would let the caller find out credentials by filtering (docs/wire.md F44).
    """
    rows = call.db.rows(REMOTES, ids=json.dumps(ids))
    wanted, is_domain = remote.lower(), remote.startswith("@")
    remotes = {
        row["mail_id"]: visible_remote(row["mail_remote"], visible_whole_routes).lower() for row in rows
    }
    return [
        mail_id
        for mail_id, visible in remotes.items()
        if visible == wanted or is_domain and visible.endswith(wanted)
    ]


def visible_remote(remote: str, visible_whole_routes: set[str] | None) -> str:
    """Return a remote host without credentials, unless the caller sees this route whole (None: every route)."""
    return remote if visible_whole_routes is None or remote in visible_whole_routes else host_of(remote)


def without_credentials(mail: dict, visible_whole_routes: set[str] | None) -> dict:
    """Return a mail as the caller may see it, without credentials also in the failures that name the remote host."""
    remote = mail["mail_remote"]
    if remote is None or (host := visible_remote(remote, visible_whole_routes)) == remote:
        return mail
    for failure in mail["failures"]:
        if failure["fail_message"]:
            message = as_text(failure["fail_message"])
            failure["fail_message"] = host_alone(message, as_text(remote), host)
    return mail | {"mail_remote": host}


def host_alone(message: str, remote: str, host: str) -> str:
    """Replace the remote in a message by its host, and its credentials or password by HIDDEN. Case does not count.

    The host stays as it is where the password is a part of it: the caller sees it anyway.
    """
    credentials = remote.removesuffix(host).removesuffix("@")
    pieces = [piece for between in split(message, remote) for piece in split(between, host)]
    for secret in (credentials, credentials.partition(":")[2]):
        pieces = [HIDDEN.join(split(piece, secret)) for piece in pieces]
    return host.join(pieces)


def split(text: str, separator: str) -> list[str]:
    """Return the parts of a text between the separators. Case does not count; "" separates nothing."""
    searched, wanted = lower(text), lower(separator)
    pieces, start = [], 0
    while wanted and (end := searched.find(wanted, start)) >= 0:
        pieces.append(text[start:end])
        start = end + len(wanted)
    return [*pieces, text[start:]]


def lower(text: str) -> str:
    """Return a text in lower case, of the same length."""
    return "".join(letter.lower()[0] for letter in text)
