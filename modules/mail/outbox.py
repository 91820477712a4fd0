"""The queue of outgoing mail: the tables outbox, with one row per recipient, and faillog, with failed deliveries."""

from peewee import BooleanField, Cast, IntegerField, TextField

from mailapi import ApiError, Model, PreparedQuery, param

from ..directory.new_users import EXPRESSIONS_STORING_TO
from .addresses import Mailbox
from .outgoing import OutgoingMail
from .own_addresses import may_be_sender
from .routing_rules import as_text, out_router, outbound

MAX_MESSAGES = 8  # one request may queue so many times max_message bytes; writing them blocks all other mail
LARGE = 1024 * 1024  # bytes of a message
# The text for the audit when an author is refused: the error message itself contains the address.
REFUSED_AUTHOR = "Rejected: the author does not store to user {} (router defined)."


class Outbox(Model):
    mail_id = IntegerField()
    mail_remote = TextField(null=True)  # the host to deliver to; NULL: the host of the recipient's domain
    mail_envelopefrom = TextField(null=True)
    mail_envelopeto = TextField()
    mail_submission = IntegerField()  # seconds since 1970
    mail_submitter = TextField(null=True)  # the user, or the sending host of mail that came by SMTP
    mail_data = TextField(null=True)  # raw bytes, stored as TEXT (docs/wire.md section 7)


class Faillog(Model):
    fail_mail = IntegerField()
    fail_message = TextField(null=True)
    fail_time = TextField()  # seconds since 1970
    fail_fatal = BooleanField()


INSERT_ROW = PreparedQuery(
    Outbox.insert(
        mail_remote=param("mail_remote"),
        mail_envelopefrom=param("mail_envelopefrom"),
        mail_envelopeto=param("mail_envelopeto"),
        mail_submitter=param("user"),
        mail_data=Cast(param("data"), "TEXT"),
    )
)


def own_address(call) -> str | None:
    """Return the mail address from which the caller sends by default, or None.

    This is the user name if it is an address whose mail is stored in the caller's mailbox, or else the only such
    address. Return None if the caller has no address or several.
    """
    expressions = call.db.column(EXPRESSIONS_STORING_TO[call.generation.number], user=call.user_name)
    addresses = [each for each in {*map(as_text, expressions)} if "@" in each and "%" not in each]
    return call.user_name if call.user_name in addresses else addresses[0] if len(addresses) == 1 else None


def enqueue(call, mail: OutgoingMail) -> list[int]:
    """Queue a mail for delivery, with one row of table outbox for each recipient. Return the ids of the rows.

    ApiError if the SMTP daemon would refuse the sender, an author or a recipient, or if the mail is too large.
    """
    if len(mail.data) * len(mail.recipients) > MAX_MESSAGES * call.config.max_message:
        raise ApiError("The message is too large for so many recipients.", code="too_large")
    with call.db.transaction():
        routing = out_router(call, call.user_name)
        for author in set(mail.authors) - {mail.sender}:
            queue_rows(call, routing, author, [None])
        rows = [row for row in queue_rows(call, routing, mail.sender, mail.recipients) if row]
        queued = [
            call.db.execute(INSERT_ROW, user=call.user_name, data=mail.data, **row).lastrowid for row in rows
        ]
    if len(mail.data) > LARGE:
        call.db.close()  # SQLite keeps the bytes bound to a statement until the statement is freed
    return queued


def queue_rows(call, routing: tuple, sender: Mailbox, recipients: list) -> list[dict | None]:
    """Return for each recipient the row to insert into table outbox; None if the SMTP daemon would drop the mail.

    A row is {"mail_remote": …, "mail_envelopefrom": …, "mail_envelopeto": …}. `routing`: the router and the route of
    the caller's outgoing mail, such as ("handoff", "mx.corp.org"). ApiError if the daemon would refuse the sender or a
    recipient.
    """
    user = call.user_name
    stores = may_be_sender(call, routing[0], sender.variants)
    decisions = [outbound([], user, routing, stores, sender.address, recipient) for recipient in recipients]
    for each in decisions:
        if not each["decision"]["accepted"]:
            audit = REFUSED_AUTHOR.format(user) if routing[0] == "defined" else ""
            raise ApiError(each["steps"][-1], audit=audit, code="not_allowed")
    return [each["decision"]["queued"] for each in decisions]
