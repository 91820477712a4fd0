"""Sites with services that real servers give."""

import imaplib
import smtplib

import pytest
from mailapi_modules.clients.base import clients

import mailapi
from support.every_service import SERVICE_MODULE
from support.site import Site


def site_with_services(tmp_path, *servers, **services) -> Site:
    """Return a site with the services of these servers."""
    for server in servers:
        services |= server.setting
    return Site(tmp_path, extra=SERVICE_MODULE, services=services)


def service_client(server, kind, **setting):
    """Return a client of one service; arguments change its setting."""
    given = server.setting[kind]
    given = {"url": given} if isinstance(given, str) else given
    given = {key: value for key, value in (given | setting).items() if value is not None}
    return clients(mailapi.Config("", {}, services={kind: given}))[kind]


def imap_messages(dovecot, user, folder="INBOX"):
    """Return the messages in a user's folder, read over IMAP."""
    imap = imaplib.IMAP4("127.0.0.1", dovecot.ports["imap"])
    imap.login(user, "pw")
    if imap.select(folder)[0] != "OK":
        return None
    found = [imap.fetch(number, "(RFC822)")[1][0][1] for number in imap.search(None, "ALL")[1][0].split()]
    imap.logout()
    return found


def deliver_by_lmtp(dovecot, user, subject, *header):
    """Bring a mail to a user by LMTP, which filters it; further arguments are lines of its header."""
    lines = [f"Subject: {subject}", "From: a@from.example", *header, "", "text", ""]
    with smtplib.LMTP("127.0.0.1", dovecot.ports["lmtp"]) as lmtp:
        lmtp.sendmail("a@from.example", [user], "\r\n".join(lines))


def sent_by_filters(dovecot) -> list[str]:
    """Return the mails that filter scripts have sent, each with its recipients in the first line; forget them."""
    found = [path for path in sorted((dovecot.folder / "sent").iterdir()) if path.name[0] != "."]
    mails = [path.read_text() for path in found]
    for path in found:
        path.unlink()
    return mails


@pytest.fixture(scope="module")
def site_with_dovecot(tmp_path_factory, dovecot):
    """A site whose services are those of a Dovecot."""
    service_client(dovecot, "imap").provision("mail", "bob", None)
    return site_with_services(tmp_path_factory.mktemp("filters"), dovecot)


@pytest.fixture
def site_without_filters(site_with_dovecot, dovecot):
    """A site whose user bob has no filter scripts; no user has one afterwards."""
    site = site_with_dovecot
    site("services/?sieve_deactivate", user="bob")
    for script in site("services/?sieve_list", user="bob")["scripts"]:
        site("services/?sieve_delete", user="bob", script_name=script["script_name"])
    yield site
    for user in ("ann", "bob"):
        service_client(dovecot, "managesieve").purge("mail", user)


CLEAN_MAIL = (
    "From: Ann <ann@one.org>\r\nTo: Bob <bob@one.org>\r\nSubject: Lunch\r\n"
    "Date: Mon, 01 Jun 2026 12:00:00 +0000\r\nMessage-ID: <1@one.org>\r\n"
    "Received: from one.org (one.org [192.0.2.1]) by two.org; Mon, 01 Jun 2026 12:00:01"
    " +0000\r\n\r\nShall we have lunch at noon?\r\n"
)


@pytest.fixture(scope="module")
def site_with_smtp(tmp_path_factory, smtp_sink):
    """A site with an SMTP service, in which ann and bob have addresses and ann may send."""
    site = site_with_services(tmp_path_factory.mktemp("smtp"), smtp_sink)
    site.sql(
        "INSERT INTO addresses VALUES ('ann@one.org', 10, 'store', 'ann'), ('%@corp.org', 11, 'store', 'ann'),"
        " ('bob@one.org', 12, 'store', 'bob'), ('%@drop.org', 13, 'drop', NULL)"
    )
    site.sql("INSERT INTO smtpd VALUES ('ann', 'defined', NULL)")
    site.sink = smtp_sink.folder / "mail/new"
    return site


@pytest.fixture
def site_with_empty_sink(site_with_smtp):
    """A site whose SMTP server has no mail yet."""
    for mail in site_with_smtp.sink.glob("*"):
        mail.unlink()
    return site_with_smtp


def hand_over(site, **fields):
    """Call services/?send as ann."""
    return site(
        "services/?send",
        user="ann",
        **{"sender": "ann@one.org", "recipients": ["to@else.example"], "message": "Subject: hello\n\ntext\n"}
        | fields,
    )
