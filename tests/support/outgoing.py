"""Mail on its way out: who may send, what is sent, what is queued."""

import email
import email.policy

import pytest

from support.site import Site

ONE_RECIPIENT = {"to": "x@else.example"}
QUEUE_ROWS = "SELECT mail_remote, mail_envelopefrom, mail_envelopeto FROM outbox ORDER BY mail_id"


def allow_sending(
    site: Site, router: str | None = "any", route: str | None = None, user: str = "ann"
) -> Site:
    """Give a user an address that stores to them, and an out router; return the site."""
    if site.generation == 9:
        site.sql("INSERT INTO addresses VALUES (?, NULL, 'store', ?)", f"{user}@one.org", user)
        statement = "INSERT INTO smtpd VALUES (?, ?, ?)"
    else:
        site.sql("INSERT INTO addresses VALUES (?, NULL, ?)", f"{user}@one.org", user)
        statement = "INSERT INTO msa VALUES (?, 'store', NULL, ?, ?)"
    if router:
        site.sql(statement, user, router, route)
    return site


def send_mail(site: Site, user="ann", **fields) -> dict:
    """Call mailbox/?send; the field `from` is `sender` here."""
    fields = {"from" if name == "sender" else name: value for name, value in fields.items()}
    return site("mailbox/?send", user=user, **fields)


def queued_data(site: Site) -> list[bytes]:
    """Return the bytes of every mail in the queue."""
    return [data for (data,) in site.sql("SELECT CAST(mail_data AS BLOB) FROM outbox ORDER BY mail_id")]


def queue_mail(
    site: Site, sender: str | None = "a@x.org", submitter: str | None = "mx.host", to="b@y.org", remote=None
) -> int:
    """Store a mail in the queue, as the SMTP daemon does; return its id."""
    return site.insert(
        "INSERT INTO outbox (mail_remote, mail_envelopefrom, mail_envelopeto, mail_submitter, mail_data)"
        " VALUES (?, ?, ?, ?, 'secret')",
        remote,
        sender,
        to,
        submitter,
    )


def queued_ids(site: Site, user="root", **fields) -> list[int]:
    """Return the ids that queue/?get lists."""
    answer = site("queue/?get", user=user, **fields)
    assert answer["status"] == "ok"
    return [mail["mail_id"] for mail in answer["queue"]]


@pytest.fixture
def sending_site(site) -> Site:
    """A site in which ann may send mail."""
    return allow_sending(site)


def sent_mail(site: Site, **fields) -> email.message.EmailMessage:
    """Send a mail and return it from the queue, read by the standard library; check the length of its lines."""
    answer = send_mail(site, **ONE_RECIPIENT | fields)
    assert answer["status"] == "ok", answer["status"]
    data = queued_data(site)[-1]
    lines = data.split(b"\r\n")
    assert lines[-1] == b"" and all(len(line) <= 998 and not set(line) & set(b"\r\n\0") for line in lines)
    return email.message_from_bytes(data, policy=email.policy.SMTPUTF8)


def text_of_part(part: email.message.EmailMessage) -> str:
    """Return the text of a part with the line ends that it was written with."""
    return part.get_content().replace("\r\n", "\n")


def refusal_of(site: Site, user="ann", **fields) -> str:
    """Check that a mail is refused and nothing queued; return the status."""
    before = site.dump()
    answer = send_mail(site, user, **fields)
    assert site.dump() == before and "queue_ids" not in answer and answer["status"] != "ok"
    return answer["status"]
