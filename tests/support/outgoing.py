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
    """An address that stores to the user, and an out router."""
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
    fields = {"from" if name == "sender" else name: value for name, value in fields.items()}
    return site("mailbox/?send", user=user, **fields)


def queued_data(site: Site) -> list[bytes]:
    return [data for (data,) in site.sql("SELECT CAST(mail_data AS BLOB) FROM outbox ORDER BY mail_id")]


def queue_mail(
    site: Site, sender: str | None = "a@x.org", submitter: str | None = "mx.host", to="b@y.org", remote=None
) -> int:
    """A mail in the queue, as the SMTP daemon puts it there; its id."""
    return site.insert(
        "INSERT INTO outbox (mail_remote, mail_envelopefrom, mail_envelopeto, mail_submitter, mail_data)"
        " VALUES (?, ?, ?, ?, 'secret')",
        remote,
        sender,
        to,
        submitter,
    )


def queued_ids(site: Site, user="root", **fields) -> list[int]:
    answer = site("queue/?get", user=user, **fields)
    assert answer["status"] == "ok"
    return [mail["mail_id"] for mail in answer["queue"]]


@pytest.fixture
def sending_site(site) -> Site:
    return allow_sending(site)


def sent_mail(site: Site, **fields) -> email.message.EmailMessage:
    """The mail that these fields queue, read by the standard library; it is what will go over the wire."""
    answer = send_mail(site, **ONE_RECIPIENT | fields)
    assert answer["status"] == "ok", answer["status"]
    data = queued_data(site)[-1]
    lines = data.split(b"\r\n")
    assert lines[-1] == b"" and all(len(line) <= 998 and not set(line) & set(b"\r\n\0") for line in lines)
    return email.message_from_bytes(data, policy=email.policy.SMTPUTF8)


def text_of_part(part: email.message.EmailMessage) -> str:
    """The text of a part with the line ends that it was written with."""
    return part.get_content().replace("\r\n", "\n")


def refusal_of(site: Site, user="ann", **fields) -> str:
    """The sentence for a mail that is not sent; nothing is queued."""
    before = site.dump()
    answer = send_mail(site, user, **fields)
    assert site.dump() == before and "queue_ids" not in answer and answer["status"] != "ok"
    return answer["status"]
