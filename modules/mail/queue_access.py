"""Hides passwords in the remote hosts of queued mails, and finds mails by their remote host."""

import json

from peewee import SQL, Expression, Field, Select, fn

from mailapi import PreparedQuery, param

from .outbox import Outbox
from .routing_rules import as_text, host_of

HIDDEN = "***"  # replaces credentials


def has_id_among(column: Field) -> Expression:
    """Return an SQL condition: the column's value is in the query's parameter `ids`, a JSON list such as "[1, 2]"."""
    # One parameter takes a list of any length; a statement with thousands of parameters would be refused.
    return column.in_(Select([fn.json_each(param("ids"))], [SQL("value")]))


REMOTES = PreparedQuery(
    Outbox.select(Outbox.mail_id, Outbox.mail_remote).where(
        has_id_among(Outbox.mail_id), Outbox.mail_remote.is_null(False)
    )
)


def ids_with_remote(call, ids: list[int], remote: str, delegated_routes: set[str]) -> list[int]:
    """Return the ids of those queued mails among `ids` that go to the host `remote`, ignoring case.

    If `remote` begins with `@`, it matches every host that ends with it. A mail's host may have a password, as in
    "user:password@mx.corp.org". `delegated_routes` has the hosts that the caller may see whole. Of all others only
    "mx.corp.org" is compared, so that nobody can guess passwords (docs/wire.md F44).
    """
    rows = call.db.rows(REMOTES, ids=json.dumps(ids))
    wanted, is_domain = remote.lower(), remote.startswith("@")
    remotes = {
        row["mail_id"]: as_text(visible_remote(row["mail_remote"], delegated_routes)).lower() for row in rows
    }
    return [
        mail_id
        for mail_id, visible in remotes.items()
        if visible == wanted or is_domain and visible.endswith(wanted)
    ]


def visible_remote(remote: str, delegated_routes: set[str] | None) -> str:
    """Return a remote host such as "user:password@mx.corp.org" as the caller may see it: whole, or only "mx.corp.org".

    `delegated_routes`: the hosts that the caller may see whole. None stands for all hosts.
    """
    return remote if delegated_routes is None or remote in delegated_routes else host_of(remote)


def without_credentials(mail: dict, delegated_routes: set[str] | None) -> dict:
    """Return a queued mail without the passwords that the caller may not see, in its host and its error messages.

    `mail`: a row of outbox with `failures`, a list of rows of faillog. `delegated_routes`: the hosts, such as
    "user:password@mx.corp.org", that the caller may see whole. None stands for all hosts.
    """
    remote = mail["mail_remote"]
    if remote is None or (host := visible_remote(remote, delegated_routes)) == remote:
        return mail
    for failure in mail["failures"]:
        if failure["fail_message"]:
            message = as_text(failure["fail_message"])
            failure["fail_message"] = hide_credentials(message, as_text(remote), host)
    return mail | {"mail_remote": host}


def hide_credentials(message: str, remote: str, host: str) -> str:
    """Return an error message with `host` in place of `remote`, which is `user:password@host`.

    Elsewhere in the message, "***" replaces `user:password` and `password`. Upper and lower case are equal.
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
