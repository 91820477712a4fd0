"""The queue that the dispatch daemon delivers from: a row of outbox a recipient, a row of faillog a failure."""

from peewee import BooleanField, Cast, IntegerField, TextField

from mailapi import ApiError, Model, PreparedQuery, param

from ..mail.addresses import Mailbox
from ..mail.compose import Mail
from ..mail.routing import matching, out_router, outbound

AT_ONCE = 8  # times max_message: what one request may queue, as writing it stops all other mail
LARGE = 1024 * 1024  # bytes
NOT_THEIRS = "Rejected: the author does not store to user {} (router defined)."  # for the audit


class Outbox(Model):
    mail_id = IntegerField()
    mail_remote = TextField(null=True)  # the host to deliver to, or the recipient's own
    mail_envelopefrom = TextField(null=True)
    mail_envelopeto = TextField()
    mail_submission = IntegerField()  # seconds since 1970
    mail_submitter = TextField(null=True)  # the user; of mail that came by SMTP the host
    mail_data = TextField(null=True)  # raw bytes, stored as TEXT (docs/wire.md section 7)


class Faillog(Model):
    fail_mail = IntegerField()
    fail_message = TextField(null=True)
    fail_time = TextField()  # seconds since 1970
    fail_fatal = BooleanField()


ADD = PreparedQuery(
    Outbox.insert(
        mail_remote=param("mail_remote"),
        mail_envelopefrom=param("mail_envelopefrom"),
        mail_envelopeto=param("mail_envelopeto"),
        mail_submitter=param("user"),
        mail_data=Cast(param("data"), "TEXT"),
    )
)


def own_address(call) -> str | None:
    """The address to write from without being asked: the only one that stores to the caller, or that is their name."""
    table = call.generation.address
    found = call.db.column(
        table.select(table.address_expression).where(table.stores_to(call.user_name)).distinct()
    )
    addresses = [expression for expression in found if "@" in expression and "%" not in expression]
    return call.user_name if call.user_name in addresses else addresses[0] if len(addresses) == 1 else None


def enqueue(call, mail: Mail) -> list[int]:
    """Queue a mail as the SMTP daemon would have for the caller; the ids of its rows. ApiError where it would not."""
    if len(mail.data) * len(mail.recipients) > AT_ONCE * call.config.max_message:
        raise ApiError("The message is too large for so many recipients.")
    with call.db.transaction():
        routing = out_router(call, call.user_name)
        for author in set(mail.authors) - {mail.sender}:
            decide(call, routing, author, [None])
        rows = [row for row in decide(call, routing, mail.sender, mail.recipients) if row]
        queued = [call.db.execute(ADD, user=call.user_name, data=mail.data, **row).lastrowid for row in rows]
    if len(mail.data) > LARGE:
        call.db.close()  # SQLite keeps what was bound to a statement for as long as it keeps the statement
    return queued


def decide(call, routing: tuple, sender: Mailbox, recipients: list) -> list[dict | None]:
    """The rows to queue, None where the daemon accepts and drops; ApiError with its reason where it refuses."""
    user_of, user = call.generation.address.user_of, call.user_name
    stores = any(user_of(row) == user for one in sender.spellings for row in matching(call, one))
    found = [outbound([], user, routing, stores, sender.address, recipient) for recipient in recipients]
    for one in found:
        if not one["decision"]["accepted"]:
            foreign = routing[0] == "defined"  # whose address it is, the message may say
            raise ApiError(one["steps"][-1], audit=NOT_THEIRS.format(user) if foreign else "")
    return [one["decision"]["queued"] for one in found]
