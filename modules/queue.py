"""Queue: outgoing mails and their failures; retry, delete or bounce them."""

from peewee import SQL, Expression, Field, fn

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
    php_text,
    whole_number,
)

from .mail.outbox import Faillog, Outbox
from .mail.queue_access import has_id_among, ids_with_remote, visible_ids, without_credentials
from .mail.routing import visible_whole_routes

MOST_LISTED = 1000  # mails
MOST_CHANGED = 50  # mails of one request
MOST_FAILURES = 10  # of each listed mail, the latest ones
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
        fn.COALESCE(fn.SUM(Outbox.mail_id.in_(ids)), 0).alias(name)
        for name, ids in (("tried", TRIED), ("failed", GIVEN_UP))
    ),
)
SUMMARY = Faillog.select(  # as in the view `outbound`, which would read the failures of all mails
    Faillog.fail_mail,
    fn.COUNT(Faillog.fail_mail).alias("mail_failcount"),
    fn.MAX(Faillog.fail_time).alias("mail_lasttry"),
    fn.SUM(Faillog.fail_fatal).alias("mail_fatality"),
).group_by(Faillog.fail_mail)
NO_FAILURES = {"mail_failcount": 0, "mail_lasttry": 0, "mail_fatality": 0}
AGE_RANK = fn.ROW_NUMBER().over(partition_by=[Faillog.fail_mail], order_by=[SQL("rowid DESC")])


def mail_ids(value) -> list[int]:
    """Return a list of mail ids, from one id or a list of them."""
    values = value if isinstance(value, list) else [] if empty(value) else [value]
    ids = [mail_id for each in values if (mail_id := whole_number(each)) is not None]
    if len(values) > MOST_CHANGED or len(ids) < len(values):
        raise ValueError("too many ids, or one that is null")
    return ids


def state(value) -> str | None:
    """Return one of STATES, or None."""
    if (value := php_text(value)) not in (None, *STATES):
        raise ValueError("unknown state")
    return value


FILTERS = {
    "mail_submitter": php_text,
    "mail_remote": address,
    "mail_envelopefrom": address,
    "mail_envelopeto": address,
}
OF_MAILS = {
    "required": {"mail_id": "No mail id is set"},
    "optional": {"mail_id": mail_ids},
    "allow": anyone,
}


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
        optional=FILTERS | {"mail_id": mail_ids, "mail_state": state, "after": optional_number},
    )
    def get(self, call):
        """List the queued mails that the caller may see, oldest first, with their latest 10 failures; count them by state.

        An admin sees all mails. Others see those that they or their delegated users submitted, and those with a sender
        address that stores to one of these users. The fields filter by equality, without regard to case; `@domain` stands
        for all its addresses. The list has at most 1,000 mails; `after`, a mail_id, continues it. `counts` ignores
        mail_state and `after`. Credentials are shown in mail_remote only to those who see them in smtpd/ or msa/.
        """
        filters = {name: call.body[name] for name in FILTERS if call.body.get(name)}
        remote = None if call.caller.admin else filters.pop("mail_remote", None)
        conditions = [matches(getattr(Outbox, name), value) for name, value in filters.items()]
        if call.body.get("mail_id"):
            conditions.append(Outbox.mail_id.in_(call.body["mail_id"]))
        with call.db.transaction("DEFERRED"):
            visible = visible_ids(call)
            routes = None if visible is None else visible_whole_routes(call)
            if remote:
                visible = ids_with_remote(call, visible, remote, routes)
        if visible is not None:
            conditions.append(has_id_among(visible))
        with call.db.transaction("DEFERRED"):
            counts = call.db.one(COUNTS.where(SQL("TRUE"), *conditions))
        with call.db.transaction("DEFERRED"):
            return {"counts": by_state(counts), "queue": page(call, conditions, routes)}

    @endpoint(**OF_MAILS)
    def retry(self, call):
        """Delete the failures of mails, so that the dispatch daemon tries them again at once."""
        call.db.execute(Faillog.delete().where(Faillog.fail_mail.in_(existing_ids(call))))

    @endpoint(**OF_MAILS)
    def delete(self, call):
        """Delete mails from the queue. Neither sender nor recipient is notified."""
        call.db.execute(Outbox.delete().where(Outbox.mail_id.in_(existing_ids(call))))

    @endpoint(**OF_MAILS)
    def bounce(self, call):
        """Give up mails, so that the dispatch daemon returns them to their senders with a report."""
        ids = existing_ids(call)
        senders = call.db.column(Outbox.select(Outbox.mail_envelopefrom).where(Outbox.mail_id.in_(ids)))
        if not all(senders):
            raise ApiError("A mail without a sender cannot be returned.")
        given_up = call.db.column(GIVEN_UP.where(Faillog.fail_mail.in_(ids)))
        for mail_id in set(ids).difference(given_up):
            call.db.execute(
                Faillog.insert(
                    fail_mail=mail_id,
                    fail_fatal=True,
                    fail_message=f"Returned by {call.user_name or 'the administrator'}.",
                )
            )

    def on_user_deleted(self, user_name: str):
        """Remove the submitter from a deleted user's mails: they are delivered, but no later user of that name sees them."""
        with self.app.db.transaction():
            self.app.db.execute(Outbox.update(mail_submitter=None).where(Outbox.mail_submitter == user_name))


def matches(column: Field, value: str) -> Expression:
    """Return the condition that a column equals a value, without regard to case; `@domain` matches all its addresses.

    It does not use LIKE: `_` and `%` in the value would be wildcards, and others choose the text of the columns.
    """
    lower = fn.LOWER(column)
    return (fn.SUBSTR(lower, -len(value)) if value[0] == "@" else lower) == fn.LOWER(value)


def existing_ids(call) -> list[int]:
    """Return the ids of the request; ApiError unless the caller may see each of these mails."""
    ids = call.body["mail_id"]
    visible = visible_ids(call, ids)
    if visible is None:
        visible = call.db.column(Outbox.select(Outbox.mail_id).where(Outbox.mail_id.in_(ids)))
    if set(ids) != set(visible):
        raise ApiError("mail not found")
    return ids


def by_state(counts: dict) -> dict[str, int]:
    """Return the numbers of mails by state, from the row of COUNTS."""
    mails, tried, failed = (int(counts[name]) for name in ("mails", "tried", "failed"))
    return {"waiting": mails - tried, "deferred": tried - failed, "failed": failed}


def page(call, conditions: list, routes: set[str] | None) -> list[dict]:
    """Return the listed mails with an id above `after`; the caller sees credentials in `routes` (None: in all)."""
    if call.body.get("mail_state"):
        conditions = [*conditions, IN_STATE[call.body["mail_state"]]]
    after = Outbox.mail_id > (call.body.get("after") or 0)
    rows = call.db.rows(
        Outbox.select(*COLUMNS)
        .where(after, *conditions)
        .order_by(Outbox.mail_id)
        .limit(min(call.limit or MOST_LISTED, MOST_LISTED))
    )
    ids = [row["mail_id"] for row in rows]
    summaries = {row.pop("fail_mail"): row for row in call.db.rows(SUMMARY.where(Faillog.fail_mail.in_(ids)))}
    failures = latest_failures(call, ids)
    mails = [
        described(row, summaries.get(row["mail_id"], NO_FAILURES), failures.get(row["mail_id"], []))
        for row in rows
    ]
    return [without_credentials(mail, routes) for mail in mails]


def latest_failures(call, ids: list[int]) -> dict[int, list[dict]]:
    """Return the latest failures of each mail that has some, newest first."""
    ranked = (
        Faillog.select(Faillog, AGE_RANK.alias("age_rank")).where(Faillog.fail_mail.in_(ids)).alias("ranked")
    )
    columns, rank = SQL("fail_mail, fail_message, fail_time, fail_fatal"), SQL("age_rank")
    failures: dict[int, list] = {}
    for row in call.db.rows(ranked.select_from(columns).where(rank <= MOST_FAILURES).order_by(rank)):
        failures.setdefault(row.pop("fail_mail"), []).append(row | {"fail_time": number(row["fail_time"])})
    return failures


def described(mail: dict, summary: dict, failures: list[dict]) -> dict:
    """Return a mail with its state, the summary of its failures and the latest ones."""
    mail_state = (
        "failed" if summary["mail_fatality"] else "deferred" if summary["mail_failcount"] else "waiting"
    )
    lasttry = {"mail_lasttry": number(summary["mail_lasttry"])}
    return mail | summary | lasttry | {"mail_state": mail_state, "failures": failures}
