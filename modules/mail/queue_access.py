"""Access to queued mails: finding those that a caller may see, and hiding passwords in their remote hosts."""

import json

from peewee import SQL, Expression, Field, Select, fn

from mailapi import PreparedQuery, param

from .outbox import Outbox
from .routing_rules import as_text, host_of

# Selects the mails that some users submitted, or whose sender is an address that stores to these users. If several rows
# of `addresses` match a sender, the one with the highest address_order decides, as for incoming mail: a user who has
# some addresses of a domain does not see what its other addresses send. LIKE is slow: so expressions without a wildcard
# are compared for equality, and those without % only with senders of the same length. A sender with letters beyond
# ASCII matches nothing, because the SMTP daemon would read another address (docs/wire.md F46).
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
HIDDEN = "***"  # replaces credentials
AMONG_IDS = "mail_id IN (SELECT value FROM json_each(?))"


def has_id_among(column: Field) -> Expression:
    """Return an SQL condition: the column's value is in the query's parameter `ids`, a JSON list such as "[1, 2]"."""
    # One parameter takes a list of any length; a statement with thousands of parameters would be refused.
    return column.in_(Select([fn.json_each(param("ids"))], [SQL("value")]))


REMOTES = PreparedQuery(
    Outbox.select(Outbox.mail_id, Outbox.mail_remote).where(
        has_id_among(Outbox.mail_id), Outbox.mail_remote.is_null(False)
    )
)


def visible_query(generation: int, among: str, *parameters) -> PreparedQuery:
    """Return a query for the ids of the queued mails that a user may see.

    `generation`: the schema version, 8 or 9. `among`: another SQL condition that the mails must meet. `parameters`:
    the parameters of this condition.
    """
    sql = VISIBLE_TO_USERS.format(which=among, stores=STORES[generation])
    user, delegate = param("user").value, param("delegate").value
    return PreparedQuery(SQL(sql, [user, user, delegate, *parameters]))


VISIBLE = {generation: visible_query(generation, "TRUE") for generation in STORES}
VISIBLE_AMONG = {
    generation: visible_query(generation, AMONG_IDS, param("ids").value) for generation in STORES
}


def visible_ids(call, among: list[int] | None = None) -> list[int] | None:
    """Return the ids of the queued mails that the caller may see; None for an admin, who may see all.

    `among`: the ids to choose from; all queued mails if it is None.
    """
    if call.caller.admin:
        return None
    queries, ids = (VISIBLE, {}) if among is None else (VISIBLE_AMONG, {"ids": json.dumps(among)})
    return call.db.column(
        queries[call.generation.number], user=call.user_name, delegate=call.caller.delegate, **ids
    )


def ids_with_remote(call, ids: list[int], remote: str, visible_whole_routes: set[str]) -> list[int]:
    """Return the ids of those mails among `ids` that go to the host `remote`, ignoring case.

    If `remote` begins with `@`, it matches every host that ends with it. Passwords that the caller may not see are not
    compared (docs/wire.md F44). `visible_whole_routes`: the hosts that the caller sees with passwords.
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
    """Return a remote host such as `user:password@host` as the caller may see it: unchanged, or only `host`.

    `visible_whole_routes`: the hosts that the caller sees with passwords; all hosts if it is None.
    """
    return remote if visible_whole_routes is None or remote in visible_whole_routes else host_of(remote)


def without_credentials(mail: dict, visible_whole_routes: set[str] | None) -> dict:
    """Return a queued mail without the passwords that the caller may not see, in its host and its error messages.

    `mail`: a row of outbox with `failures`, a list of rows of faillog. `visible_whole_routes`: the hosts that the
    caller sees with passwords; all hosts if it is None.
    """
    remote = mail["mail_remote"]
    if remote is None or (host := visible_remote(remote, visible_whole_routes)) == remote:
        return mail
    for failure in mail["failures"]:
        if failure["fail_message"]:
            message = as_text(failure["fail_message"])
            failure["fail_message"] = hide_credentials(message, as_text(remote), host)
    return mail | {"mail_remote": host}


def hide_credentials(message: str, remote: str, host: str) -> str:
    """Return an error message with `host` in place of `remote`, which is `user:password@host`.

    "***" replaces the password, with or without the user name, elsewhere in the message. Upper and lower case are
    equal.
    """
    # `host` stays in the message even if it contains the password.
    credentials = remote.removesuffix(host).removesuffix("@")
    pieces = [piece for between in split(message, remote) for piece in split(between, host)]
    for secret in (credentials, credentials.partition(":")[2]):
        pieces = [HIDDEN.join(split(piece, secret)) for piece in pieces]
    return host.join(pieces)


def split(text: str, separator: str) -> list[str]:
    """Split a text at each separator, ignoring case, into a list. Return [text] if the separator is ""."""
    searched, wanted = lower_each(text), lower_each(separator)
    pieces, start = [], 0
    while wanted and (end := searched.find(wanted, start)) >= 0:
        pieces.append(text[start:end])
        start = end + len(wanted)
    return [*pieces, text[start:]]


def lower_each(text: str) -> str:
    """Return a text in lower case. Its length stays the same, unlike with str.lower()."""
    return "".join(letter.lower()[0] for letter in text)
