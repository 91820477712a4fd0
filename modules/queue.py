"""Queue: lists outgoing mails that wait for delivery, with their failures; retries, returns and deletes them."""

import json
from collections.abc import Callable
from functools import partial

from mailapi import (
    BUSY,
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

from .answers import queue
from .mail.outbox import Outbox
from .mail.queue_access import ids_with_remote, without_credentials
from .mail.queue_owners import QueuedMails, read_queued, visible_ids
from .mail.queue_queries import (
    COUNTS,
    DELETE,
    EXISTING,
    GIVE_UP,
    GIVEN_UP_AMONG,
    LATEST_FAILURES,
    LISTS,
    REMOVE_SUBMITTER,
    RETRY,
    SENDERS,
    SUMMARIES,
    filter_values,
)
from .mail.routing_rules import delegated_routes
from .openapi.schemas import NUMBER, json_schema

MOST_LISTED = 1000  # mails
MOST_CHANGED = 50  # mails of one request
STATES = ("waiting", "deferred", "failed")  # not tried yet, to be tried again, given up
ATTEMPTS = 3  # to change mails before the answer is HTTP 503
NO_FAILURES = {"mail_failcount": 0, "mail_lasttry": 0, "mail_fatality": 0}


@json_schema({"anyOf": [NUMBER, {"type": "array", "items": NUMBER, "maxItems": MOST_CHANGED}]})
def mail_ids(value) -> list[int]:
    """Convert the field mail_id, one id or a list of at most 50, to a list of int. ValueError for anything else."""
    values = value if isinstance(value, list) else [] if empty(value) else [value]
    ids = [mail_id for each in values if (mail_id := whole_number(each)) is not None]
    if len(values) > MOST_CHANGED or len(ids) < len(values):
        raise ValueError("too many ids, or one that is null")
    return ids


@json_schema({"type": "string", "enum": list(STATES)})
def state(value) -> str | None:
    """Return the field mail_state: "waiting", "deferred", "failed" or None. ValueError for any other text."""
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
    "manages_transactions": True,
}


class Queue(Module):
    description = queue.DESCRIPTION
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
        """List the mails in the queue that the caller may see, oldest first, each with its latest 10 failures.

        The list has at most 1,000 mails; `after`, a mail_id, continues it. Every other field selects the mails with
        that value, ignoring case; `@domain` means all addresses of the domain. `counts` has the number of mails in
        each state, regardless of mail_state and `after`.

        An admin sees all mails. Other callers see the mails that they, or users delegated to them, have submitted, or
        whose sender address belongs to one of these users. Only an admin, and a delegate of a user with the same
        route, sees the password in mail_remote.
        """
        filters = {name: call.body.get(name) or None for name in FILTERS}
        remote = None
        if not call.caller.admin:
            remote, filters["mail_remote"] = filters["mail_remote"], None
        with call.db.transaction("DEFERRED"):
            queued = read_queued(call)
            routes = None if queued is None else delegated_routes(call)
        visible = visible_ids(call, queued)
        if remote:
            with call.db.transaction("DEFERRED"):
                visible = ids_with_remote(call, visible, remote, routes)
        ids = call.body.get("mail_id") or visible
        if visible is not None:
            ids = [*set(ids).intersection(visible)]
        values = filter_values(filters) | {"ids": json.dumps(ids)}
        with call.db.transaction("DEFERRED"):
            counts = call.db.one(COUNTS[ids is not None], **values)
        with call.db.transaction("DEFERRED"):
            query = LISTS[ids is not None, call.body.get("mail_state")]
            return {"counts": by_state(counts), "queue": page(call, query, values, routes)}

    @endpoint(**OF_MAILS)
    def retry(self, call):
        """Have the dispatch daemon try the mails in mail_id again at once. Their recorded failures are deleted."""
        change_mails(call, lambda ids: call.db.execute_many(RETRY, [{"mail_id": mail_id} for mail_id in ids]))

    @endpoint(**OF_MAILS)
    def delete(self, call):
        """Delete mails from the queue. Neither the sender nor the recipient gets a notice."""
        change_mails(
            call, lambda ids: call.db.execute_many(DELETE, [{"mail_id": mail_id} for mail_id in ids])
        )

    @endpoint(**OF_MAILS)
    def bounce(self, call):
        """Return the mails in mail_id to their senders, with a report that the dispatch daemon sends."""
        change_mails(call, partial(give_up, call))

    def on_user_deleted(self, user_name: str):
        """Remove a deleted user's name from their queued mails, so that no later user of that name sees the mails.

        The mails are still delivered.
        """
        with self.app.db.transaction():
            self.app.db.execute(REMOVE_SUBMITTER, user=user_name)


def change_mails(call, change: Callable[[list[int]], None]):
    """Call change(ids) in a transaction. `ids` is the list of mail ids in the request.

    ApiError if a mail does not exist or the caller may not see it.
    """
    for _ in range(ATTEMPTS):
        with call.db.transaction("DEFERRED"):
            queued = read_queued(call, call.body["mail_id"])
        visible = visible_ids(call, queued)  # takes seconds with many patterns, in which others write
        if call.db.run_with_retry(partial(change_unless_stale, call, change, queued, visible)):
            return
    raise ApiError(BUSY, http=503, retry_after=1, code="busy")


def change_unless_stale(
    call, change: Callable[[list[int]], None], queued: QueuedMails | None, visible: list[int] | None
) -> bool:
    """Call change(ids) in a transaction, as change_mails() does. Return False if `queued` is no longer up to date.

    `queued`: the result of read_queued(). `visible`: the ids of those mails that the caller may see; None for all.
    """
    ids = call.body["mail_id"]
    with call.db.transaction():
        call.identify()
        if read_queued(call, ids) != queued:
            return False
        if set(ids) != set(call.db.column(EXISTING, ids=json.dumps(ids)) if visible is None else visible):
            raise ApiError("mail not found", code="not_found", field="mail_id")
        change(ids)
    return True


def give_up(call, ids: list[int]):
    """Record that mails cannot be delivered. ApiError if one of them has no sender to whom it could be returned."""
    among = {"ids": json.dumps(ids)}
    if not all(call.db.column(SENDERS, **among)):
        raise ApiError("A mail without a sender cannot be returned.")
    message = f"Returned by {call.user_name or 'the administrator'}."
    to_give_up = set(ids).difference(call.db.column(GIVEN_UP_AMONG, **among))
    call.db.execute_many(GIVE_UP, [{"mail_id": mail_id, "message": message} for mail_id in to_give_up])


def by_state(counts: dict) -> dict[str, int]:
    """Return how many mails are not tried yet, to be tried again, or given up: {"waiting": 3, "deferred": 1, …}.

    `counts` has three numbers: "mails" (all mails), "tried" (mails with a failed attempt), "failed" (mails given up).
    """
    mails, tried, failed = (int(counts[name]) for name in ("mails", "tried", "failed"))
    return {"waiting": mails - tried, "deferred": tried - failed, "failed": failed}


def page(call, query: PreparedQuery, values: dict, routes: set[str] | None) -> list[dict]:
    """Return a page of mails in the queue, [{"mail_id": 5, "mail_state": "waiting", "failures": [], …}].

    `query` with the parameters `values` selects the mails. `routes` are the values of mail_remote whose passwords the
    caller may see; None means all.
    """
    limit = min(call.limit or MOST_LISTED, MOST_LISTED)
    rows = call.db.rows(query, **values, after=call.body.get("after") or 0, limit=limit)
    listed = json.dumps([row["mail_id"] for row in rows])
    summaries = {row.pop("fail_mail"): row for row in call.db.rows(SUMMARIES, ids=listed)}
    failures = latest_failures(call, listed)
    mails = [
        with_failures(row, summaries.get(row["mail_id"], NO_FAILURES), failures.get(row["mail_id"], []))
        for row in rows
    ]
    return [without_credentials(mail, routes) for mail in mails]


def latest_failures(call, ids: str) -> dict[int, list[dict]]:
    """Return the latest failures of each mail, newest first, as {mail id: [failure, …]}.

    `ids` is a JSON list of mail ids. Mails without a failure are left out.
    """
    failures: dict[int, list] = {}
    for row in call.db.rows(LATEST_FAILURES, ids=ids):
        failures.setdefault(row.pop("fail_mail"), []).append(row | {"fail_time": number(row["fail_time"])})
    return failures


def with_failures(mail: dict, summary: dict, failures: list[dict]) -> dict:
    """Return a mail with the keys of `summary`, with `failures`, and with `mail_state`: waiting, deferred or failed.

    `summary` is {"mail_failcount": 1, "mail_lasttry": TIME, "mail_fatality": 0}, with mail_fatality 1 for a mail that
    was given up.
    """
    mail_state = (
        "failed" if summary["mail_fatality"] else "deferred" if summary["mail_failcount"] else "waiting"
    )
    lasttry = {"mail_lasttry": number(summary["mail_lasttry"])}
    return mail | summary | lasttry | {"mail_state": mail_state, "failures": failures}
