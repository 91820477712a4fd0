"""The panel's pages about the mail server: the overview, the queue of mails, the audit, and the services."""

import time
import weakref
from datetime import UTC, datetime

from mailapi import ApiError, Application

from ..http.event import SUCCESSFUL
from .templates import link, text_of
from .visitor import Visitor

ON_PAGE, MOST_RECORDS = 50, 100  # mails of the queue; records of the audit
DAY = 86400  # seconds
FILTERS = ("mail_state", "mail_submitter", "mail_envelopefrom", "mail_envelopeto", "mail_remote")
STATES = ("waiting", "deferred", "failed")
AUDIT_FILTERS = ("audit_user", "audit_module", "audit_action", "audit_target", "audit_address")
# Modules whose tables the overview checks, and the page where they can be mended. Tables of mails take too long.
CHECKED = {"addresses": "addresses", "users": "people", "smtpd": "people", "msa": "people"}
# Seconds for which the overview shows the rows that it found: with 100,000 people they take 0.4 s of CPU to find.
CHECK_AGAIN = 60
DANGEROUS_ROWS: weakref.WeakKeyDictionary[Application, tuple[float, list]] = weakref.WeakKeyDictionary()
WRONG = "Username or password is wrong."  # the status of such a log-in in the audit
QUEUE_CHANGES = ("retry", "bounce", "delete")


def overview(visitor: Visitor) -> dict:
    """Return the template's values for the overview: {"findings": [("mail_failed", 3, "queue"), …], …}.

    A finding is a problem or a number to look at: its kind, its number or text, and the URL of a page about it.
    """
    findings = [*queue_findings(visitor), *service_findings(visitor)]
    findings += [*check_findings(visitor), *log_in_findings(visitor)]
    users = (
        visitor.run("users", "get", query={"brief": "1"}, limit=2)["users"] if visitor.has("users") else []
    )
    addresses = visitor.run("addresses", "get", limit=1)["addresses"] if visitor.has("addresses") else [None]
    return {"findings": findings, "alone": len(users) < 2, "no_addresses": not addresses}


def queue_findings(visitor: Visitor) -> list[tuple]:
    """Return how many mails in the queue have failed: [("mail_failed", 3, "queue?mail_state=failed"), …].

    The list has the same for mails that are deferred or waiting. Numbers that are 0 are left out.
    """
    if not visitor.has("queue"):
        return []
    counts = visitor.run("queue", "get", limit=1)["counts"]
    return [
        (kind, count, link("queue", mail_state=state))
        for kind, state in (
            ("mail_failed", "failed"),
            ("mail_deferred", "deferred"),
            ("mail_waiting", "waiting"),
        )
        if (count := counts[state])
    ]


def service_findings(visitor: Visitor) -> list[tuple]:
    if not visitor.may("services", "get") or not visitor.app.config.services:
        return []
    services = visitor.run("services", "get")["services"]
    return [("service_down", row["kind"], "services") for row in services if not row["up"]]


def check_findings(visitor: Visitor) -> list[tuple]:
    """Return the database rows that make the mail daemons lose mail or crash: [("bad_rows", "bob: …", "people"), …].

    Each has a kind, a sentence, and the URL of the page to correct it. The result is reused for CHECK_AGAIN seconds.
    Return [] if the user is not an admin.
    """
    if not visitor.admin:
        return []
    found_at, findings = DANGEROUS_ROWS.get(visitor.app, (-CHECK_AGAIN, []))
    if time.monotonic() >= found_at + CHECK_AGAIN:
        findings = dangerous_rows(visitor)
        DANGEROUS_ROWS[visitor.app] = time.monotonic(), findings
    return findings


def dangerous_rows(visitor: Visitor) -> list[tuple]:
    findings, number = [], visitor.generation.number
    for path, page in CHECKED.items():
        if not visitor.has(path):
            continue
        declared = visitor.app.modules[path].dangerous_rows
        sentences = {key: query for key, query in declared.items() if isinstance(key, str)}
        for sentence, query in (sentences | declared.get(number, {})).items():
            with visitor.app.db.transaction("DEFERRED"):
                rows = visitor.app.db.column(query)
            if rows:
                named = ", ".join(text_of(row) for row in rows[:3]) + (" …" if len(rows) > 3 else "")
                findings.append(("bad_rows", f"{named}: {sentence}", page))
    return findings


def log_in_findings(visitor: Visitor) -> list[tuple]:
    """Return how many log-ins failed in the last 24 hours: [("log_ins_failed", 3, URL of the list of log-ins)].

    They are counted in the latest 1,000 audit records, and in the latest 1,000 about wrong passwords. Return [] if
    none failed, or if the user may not read the audit.
    """
    if not visitor.may("audit", "get"):
        return []
    since = {"since": int(time.time()) - DAY}
    lists = [visitor.run("audit", "get", since | more)["audit"] for more in ({}, {"audit_status": WRONG})]
    entries = {row["audit_id"]: row for rows in lists for row in rows}
    failed = sum(
        row["audit_times"]
        for row in entries.values()
        if row["audit_via"] in ("password", "basic") and row["audit_status"] not in SUCCESSFUL
    )
    return [("log_ins_failed", failed, link("activity", audit_via="password"))] if failed else []


def queue(visitor: Visitor) -> dict:
    """Return the template's values for a page of the queue: {"mails": [row, …], …}. Filters are in the URL."""
    filters = {name: visitor.query(name) for name in FILTERS}
    fields = {name: value for name, value in filters.items() if value} | {"after": visitor.query("after")}
    found = visitor.run("queue", "get", fields, limit=ON_PAGE + 1)
    mails = found["queue"]
    return {
        "mails": mails[:ON_PAGE],
        "counts": found["counts"],
        "filters": filters,
        "states": STATES,
        "is_filtered": any(filters.values()),
        "more": visitor.next_page(mails, ON_PAGE, "mail_id"),
        "is_first": not visitor.query("after"),
    }


def queue_change(visitor: Visitor) -> dict:
    """Return the template's values for the page that asks whether to retry, bounce or delete mails.

    The URL has the change and the ids of the mails: {"change": "retry", "mails": [row, …]}.
    """
    change, ids = visitor.query("change"), visitor.query.all("mail_id")
    if change not in QUEUE_CHANGES:
        raise ApiError(visitor.t.no_such_page, http=404)
    mails = visitor.run("queue", "get", {"mail_id": ids})["queue"] if ids else []
    return {"change": change, "mails": mails}


def change_queue(visitor: Visitor) -> tuple[str, str]:
    """Retry, bounce or delete the mails of the queue that the form names.

    Return the page to redirect to, and the name of the message on it: ("queue", "queue_retry").
    """
    change = visitor.form("change")
    if change not in QUEUE_CHANGES:
        raise ApiError(visitor.t.no_such_page, http=404)
    visitor.run("queue", change, {"mail_id": visitor.form.all("mail_id")})
    return "queue", f"queue_{change}"


def activity(visitor: Visitor) -> dict:
    """Return the template's values for a page of the audit, newest record first: {"entries": [row, …], …}.

    Filters are in the URL.
    """
    filters = {name: visitor.query(name) for name in (*AUDIT_FILTERS, "audit_via", "audit_status")}
    fields: dict = {name: value for name, value in filters.items() if value}
    days = {name: visitor.query(name) for name in ("since", "until")}
    fields |= {"since": start_of(days["since"]), "before": visitor.query("before")}
    if days["until"] and (end := start_of(days["until"])):
        fields["until"] = end + DAY - 1
    entries = visitor.run("audit", "get", fields)["audit"]
    return {
        "entries": entries[:MOST_RECORDS],
        "filters": filters | days,
        "is_filtered": any(filters.values()) or any(days.values()),
        "names": AUDIT_FILTERS,
        "more": visitor.next_page(entries, MOST_RECORDS, "audit_id", "before"),
        "is_first": not visitor.query("before"),
    }


def start_of(day: str) -> int | None:
    """Convert a day, such as "2026-01-31", to the second since 1970 at which it begins in UTC; None if invalid."""
    try:
        return int(datetime.strptime(day[:10], "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def services(visitor: Visitor) -> dict:
    return {"services": visitor.run("services", "get")["services"]}
