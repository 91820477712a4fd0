"""Queue: mail on its way out, with its failures: look at it, try it again, take it out, or return it."""

import json

from peewee import SQL, fn

from mailapi import (
    ApiError,
    Module,
    PreparedQuery,
    address,
    anyone,
    empty,
    endpoint,
    number,
    optional_number,
    param,
    php_text,
    whole_number,
)

from .mail.outbox import Faillog, Outbox
from .mail.routing import as_text, host_of, whole_routes

MOST = 1000  # mails of a list
MOST_AT_ONCE = 50  # mails to change in one request
HIDDEN = "***"  # in place of credentials
LATEST = 10  # failures of each mail of a list
STATES = ("waiting", "deferred", "failed")  # not tried yet, to be tried again, given up

COLUMNS = [column for column in Outbox._meta.sorted_fields if column is not Outbox.mail_data]
TRIED = Faillog.select(Faillog.fail_mail)
GIVEN_UP = TRIED.where(Faillog.fail_fatal != 0)
IN_STATE = {
    "waiting": Outbox.mail_id.not_in(TRIED),
    "failed": Outbox.mail_id.in_(GIVEN_UP),
    "deferred": Outbox.mail_id.in_(TRIED) & Outbox.mail_id.not_in(GIVEN_UP),
}
COUNTS = Outbox.select(
    fn.COUNT(Outbox.mail_id).alias("mails"),
    *(
        fn.COALESCE(fn.SUM(Outbox.mail_id.in_(these)), 0).alias(name)
        for name, these in (("tried", TRIED), ("failed", GIVEN_UP))
    ),
)
SUMMARY = Faillog.select(  # as the view outbound has it, which would read everybody's
    Faillog.fail_mail,
    fn.COUNT(Faillog.fail_mail).alias("mail_failcount"),
    fn.MAX(Faillog.fail_time).alias("mail_lasttry"),
    fn.SUM(Faillog.fail_fatal).alias("mail_fatality"),
).group_by(Faillog.fail_mail)
UNTRIED = {"mail_failcount": 0, "mail_lasttry": 0, "mail_fatality": 0}
NEWEST = fn.ROW_NUMBER().over(partition_by=[Faillog.fail_mail], order_by=[SQL("rowid DESC")])

# What some users submitted, or what goes out under an address of theirs: the first address that matches decides, as it
# does for the mail that comes in. Who has the rest of a domain does not see what its others send. LIKE is slow:
# expressions without a wildcard are looked up, those without % by their length. A sender with letters beyond ASCII is
# nobody's: the SMTP daemon would take another address for it (docs/wire.md F46).
THEIRS = """
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
STORES = {
    8: "address_user IN (SELECT name FROM users)",
    9: "address_router = 'store' AND address_route IN (SELECT name FROM users)",
}
THESE = "mail_id IN (SELECT value FROM json_each(?))"


def theirs(number_of: int, which: str, *more) -> PreparedQuery:
    sql = THEIRS.format(which=which, stores=STORES[number_of])
    return PreparedQuery(SQL(sql, [param("user").value, param("user").value, param("delegate").value, *more]))


ALL = {number_of: theirs(number_of, "TRUE") for number_of in STORES}
SOME = {number_of: theirs(number_of, THESE, param("ids").value) for number_of in STORES}


def ids(value) -> list[int]:
    """One mail_id or a list of them."""
    value = value if isinstance(value, list) else [] if empty(value) else [value]
    found = [whole_number(one) for one in value]
    if len(found) > MOST_AT_ONCE or None in found:
        raise ValueError("too many, or one that is none")
    return found


def state(value) -> str | None:
    if (value := php_text(value)) not in (None, *STATES):
        raise ValueError("no state")
    return value


FILTERS = {
    "mail_submitter": php_text,
    "mail_remote": address,
    "mail_envelopefrom": address,
    "mail_envelopeto": address,
}
NAMED = {"required": {"mail_id": "No mail id is set"}, "optional": {"mail_id": ids}, "allow": anyone}


class Queue(Module):
    identifiers = ("mail_id",)
    dangerous_rows = {
        "has no mail_data, which crashes the daemon that delivers it": PreparedQuery(
            Outbox.select(Outbox.mail_id).where(Outbox.mail_data.is_null())
        )
    }

    @endpoint(
        allow=anyone,
        read_only=True,
        manages_transactions=True,
        optional=FILTERS | {"mail_id": ids, "mail_state": state, "after": optional_number},
    )
    def get(self, call):
        """The mails that the caller may see, oldest first, with their latest failures; how many are in each state."""
        filters = {name: call.body[name] for name in FILTERS if call.body.get(name)}
        remote = None if call.caller.admin else filters.pop("mail_remote", None)
        conditions = [matches(getattr(Outbox, name), value) for name, value in filters.items()]
        if call.body.get("mail_id"):
            conditions.append(Outbox.mail_id.in_(call.body["mail_id"]))
        with call.db.transaction("DEFERRED"):
            visible = theirs_to(call)
            whole = None if visible is None else whole_routes(call)
            if remote:
                visible = with_remote(call, visible, remote, whole)
        if visible is not None:
            conditions.append(
                Outbox.mail_id.in_(SQL("(SELECT value FROM json_each(?))", [json.dumps(visible)]))
            )
        with call.db.transaction("DEFERRED"):
            counts = call.db.one(COUNTS.where(SQL("TRUE"), *conditions))
        with call.db.transaction("DEFERRED"):
            return {"counts": by_state(counts), "queue": page(call, conditions, whole)}

    @endpoint(**NAMED)
    def retry(self, call):
        """Forget the failures of mails: the dispatch daemon tries them again at once."""
        call.db.execute(Faillog.delete().where(Faillog.fail_mail.in_(named(call))))

    @endpoint(**NAMED)
    def delete(self, call):
        """Take mails out of the queue, without telling anybody."""
        call.db.execute(Outbox.delete().where(Outbox.mail_id.in_(named(call))))

    @endpoint(**NAMED)
    def bounce(self, call):
        """Give mails up: the dispatch daemon returns them to their senders with a report."""
        mails = named(call)
        senders = call.db.column(Outbox.select(Outbox.mail_envelopefrom).where(Outbox.mail_id.in_(mails)))
        if not all(senders):
            raise ApiError("A mail without a sender cannot be returned.")
        given_up = call.db.column(GIVEN_UP.where(Faillog.fail_mail.in_(mails)))
        for mail_id in set(mails).difference(given_up):
            call.db.execute(
                Faillog.insert(
                    fail_mail=mail_id,
                    fail_fatal=True,
                    fail_message=f"Returned by {call.user_name or 'the administrator'}.",
                )
            )

    def on_user_deleted(self, user_name: str):
        """What a deleted user submitted is delivered, and is nobody's who gets the same name."""
        with self.app.db.transaction():
            self.app.db.execute(Outbox.update(mail_submitter=None).where(Outbox.mail_submitter == user_name))


def matches(column, value: str):
    """Exactly, but for capitals; `@domain` is every address of it. No LIKE: others choose what stands in the queue."""
    whole = fn.LOWER(column)
    return (fn.SUBSTR(whole, -len(value)) if value[0] == "@" else whole) == fn.LOWER(value)


def theirs_to(call, mails: list[int] | None = None) -> list[int] | None:
    """The ids of all mails, or of those that are named, that the caller may see; None for an admin, who sees all."""
    if call.caller.admin:
        return None
    queries, named = (ALL, {}) if mails is None else (SOME, {"ids": json.dumps(mails)})
    return call.db.column(
        queries[call.generation.number], user=call.user_name, delegate=call.caller.delegate, **named
    )


def named(call) -> list[int]:
    """The mails to change, all of which are there, and the caller's to see."""
    mails = call.body["mail_id"]
    found = theirs_to(call, mails)
    if found is None:
        found = call.db.column(Outbox.select(Outbox.mail_id).where(Outbox.mail_id.in_(mails)))
    if set(mails) != set(found):
        raise ApiError("mail not found")
    return mails


def by_state(counts: dict) -> dict[str, int]:
    mails, tried, failed = (int(counts[name]) for name in ("mails", "tried", "failed"))
    return {"waiting": mails - tried, "deferred": tried - failed, "failed": failed}


def with_remote(call, mails: list[int], remote: str, whole: set) -> list[int]:
    """The mails with this remote host as the caller sees it: a filter must not tell more than the list (docs/wire.md F44)."""
    these = Outbox.mail_id.in_(SQL("(SELECT value FROM json_each(?))", [json.dumps(mails)]))
    columns = Outbox.select(Outbox.mail_id, Outbox.mail_remote)
    rows = call.db.rows(columns.where(these, Outbox.mail_remote.is_null(False)))
    wanted, ends = remote.lower(), remote.startswith("@")
    found = {row["mail_id"]: shown_remote(row["mail_remote"], whole).lower() for row in rows}
    return [mail_id for mail_id, shown in found.items() if shown == wanted or ends and shown.endswith(wanted)]


def shown_remote(remote: str, whole: set | None) -> str:
    """A remote host without the credentials for it, unless its route is among those that the caller sees whole."""
    return remote if whole is None or remote in whole else host_of(remote)


def without_credentials(mail: dict, whole: set | None) -> dict:
    """A mail as the caller may see it: the dispatch daemon may have named the route in its failures, too."""
    remote = mail["mail_remote"]
    if remote is None or (host := shown_remote(remote, whole)) == remote:
        return mail
    for failure in mail["failures"]:
        if failure["fail_message"]:
            message = as_text(failure["fail_message"])
            failure["fail_message"] = host_alone(message, as_text(remote), host)
    return mail | {"mail_remote": host}


def host_alone(message: str, remote: str, host: str) -> str:
    """Return a message with the host for the remote, and without its credentials or password, in any case.

    The host stays as it is where the password is a part of it: it is shown anyway.
    """
    credentials = remote.removesuffix(host).removesuffix("@")
    pieces = [piece for between in split(message, remote) for piece in split(between, host)]
    for secret in (credentials, credentials.partition(":")[2]):
        pieces = [HIDDEN.join(split(piece, secret)) for piece in pieces]
    return host.join(pieces)


def split(text: str, separator: str) -> list[str]:
    """Return what is between the separators of a text, which count in any case; "" separates nothing."""
    searched, wanted = lower(text), lower(separator)
    pieces, start = [], 0
    while wanted and (end := searched.find(wanted, start)) >= 0:
        pieces.append(text[start:end])
        start = end + len(wanted)
    return [*pieces, text[start:]]


def lower(text: str) -> str:
    """Return a text in small letters, of the same length."""
    return "".join(letter.lower()[0] for letter in text)


def page(call, conditions: list, whole: set | None) -> list[dict]:
    """The mails after the one that `after` names; `whole` are the routes of which the caller sees the credentials."""
    if call.body.get("mail_state"):
        conditions = [*conditions, IN_STATE[call.body["mail_state"]]]
    after = Outbox.mail_id > (call.body.get("after") or 0)
    rows = call.db.rows(
        Outbox.select(*COLUMNS)
        .where(after, *conditions)
        .order_by(Outbox.mail_id)
        .limit(min(call.limit or MOST, MOST))
    )
    these = Faillog.fail_mail.in_([row["mail_id"] for row in rows])
    summary = {row.pop("fail_mail"): row for row in call.db.rows(SUMMARY.where(these))}
    latest = Faillog.select(Faillog, NEWEST.alias("nth")).where(these).alias("latest")
    failures: dict[int, list] = {}
    columns = SQL("fail_mail, fail_message, fail_time, fail_fatal")
    for row in call.db.rows(latest.select_from(columns).where(SQL("nth") <= LATEST).order_by(SQL("nth"))):
        failures.setdefault(row.pop("fail_mail"), []).append(row | {"fail_time": number(row["fail_time"])})
    mails = [
        described(row, summary.get(row["mail_id"], UNTRIED), failures.get(row["mail_id"], [])) for row in rows
    ]
    return [without_credentials(mail, whole) for mail in mails]


def described(mail: dict, summary: dict, failures: list[dict]) -> dict:
    mail_state = (
        "failed" if summary["mail_fatality"] else "deferred" if summary["mail_failcount"] else "waiting"
    )
    lasttry = {"mail_lasttry": number(summary["mail_lasttry"])}
    return mail | summary | lasttry | {"mail_state": mail_state, "failures": failures}
