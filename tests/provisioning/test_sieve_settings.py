"""accounts/?get and ?update without a mail server's database: a forward and an automatic reply in a filter script."""

import time

import pytest

from support.both_generations import add_address
from support.services import deliver_by_lmtp, imap_messages, sent_by_filters, service_client
from support.site import OPTIONAL, Site

pytestmark = pytest.mark.slow

UNSET = {
    "forward": None,
    "autoReply": None,
    "autoReplyEnabled": 0,
    "autoReplyStart": None,
    "autoReplyEnd": None,
}
FORWARD = {"forward": "bob@else.example"}
REPLY = {"autoReply": 'I am "away".\n\u00e4 \\ .\n.\nBob', "autoReplyEnabled": 1}
MINE = '# mine\nrequire "fileinto";\nif header :contains "subject" "invoice" { fileinto "Archive"; stop; }\n'
TO_BOB = "To: bob@one.org"


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def site(request, tmp_path, dovecot) -> Site:
    """A site with the services of Dovecot, in which bob has an address and no filter script."""
    service_client(dovecot, "imap").provision("mail", "bob", None)
    service_client(dovecot, "managesieve").purge("mail", "bob")
    (dovecot.folder / "home/bob/.dovecot.lda-dupes").unlink(missing_ok=True)  # to whom a reply was sent
    site = Site(tmp_path, request.param, OPTIONAL, services=dovecot.setting)
    add_address(site, 10, "bob@one.org", "bob")
    sent_by_filters(dovecot)
    yield site
    service_client(dovecot, "managesieve").purge("mail", "bob")


def update(site, user="bob", check=200, user_name="bob", **fields) -> str:
    return site("accounts/?update", user=user, check=check, user_name=user_name, **fields)["status"]


def settings(site, user="bob") -> dict:
    (account,) = site("accounts/?get", user=user, user_name="bob")["accounts"]
    assert "quota" not in account
    return {name: account[name] for name in UNSET}


def script(site, name) -> str:
    return site("services/?sieve_get", user="bob", script_name=name)["script"]


def scripts(site) -> list:
    return [
        (row["script_name"], row["active"]) for row in site("services/?sieve_list", user="bob")["scripts"]
    ]


def deliver(dovecot, subject, mails=1) -> list[str]:
    """Bring a mail to bob; return what the filters have sent, as many mails as there should be."""
    deliver_by_lmtp(dovecot, "bob", subject, TO_BOB)
    sent, until = sent_by_filters(dovecot), time.monotonic() + 60
    while len(sent) < mails and time.monotonic() < until:
        sent += sent_by_filters(dovecot)
        time.sleep(0.05)
    return sent


def test_a_forward_and_a_reply_are_sent_when_mail_is_delivered(site, dovecot):
    assert settings(site) == UNSET
    assert update(site, **FORWARD, **REPLY) == "ok"
    assert settings(site) == settings(site, "root") == UNSET | FORWARD | REPLY
    assert scripts(site) == [("mailapi", True)]
    sent = deliver(dovecot, "hello", mails=2)
    recipients = [mail.split("\n")[0].split()[-1] for mail in sent]
    assert sorted(recipients) == ["a@from.example", "bob@else.example"]
    reply, forward = (sent[recipients.index(name)] for name in sorted(recipients))
    assert "I am" in reply and "Auto" in reply and "Subject: hello" in forward
    assert any(b"hello" in mail for mail in imap_messages(dovecot, "bob")), "a copy stays"
    assert update(site, forward="", autoReplyEnabled=0) == "ok"
    assert settings(site) == UNSET | {"autoReply": REPLY["autoReply"]}
    assert deliver(dovecot, "again", mails=0) == []
    assert update(site, autoReply=None) == "ok" and scripts(site) == []


def test_the_users_own_script_stays_as_it_is(site, dovecot):
    site("services/?sieve_put", user="bob", script_name="mine", script=MINE)
    site("services/?sieve_activate", user="bob", script_name="mine")
    assert update(site, **FORWARD) == "ok" and scripts(site) == [("mine", True)]
    assert script(site, "mine") != MINE
    assert len(deliver(dovecot, "invoice of today")) == 1
    assert any(b"invoice of today" in mail for mail in imap_messages(dovecot, "bob", "Archive"))
    assert update(site, forward=None) == "ok"
    assert script(site, "mine").replace("\r\n", "\n") == MINE and settings(site) == UNSET


@pytest.mark.parametrize(
    ("fields", "replies"),
    [
        ({"autoReplyStart": "2020-01-01", "autoReplyEnd": "2037-01-01T00:00:00Z"}, 1),
        ({"autoReplyStart": "2020-01-01T00:00:00+10:00"}, 1),
        ({"autoReplyStart": "2037-01-01"}, 0),
        ({"autoReplyEnd": "2020-01-01"}, 0),
    ],
)
def test_a_reply_has_its_time(site, dovecot, fields, replies):
    assert update(site, **REPLY, **fields) == "ok"
    assert len(deliver(dovecot, "when", mails=replies)) == replies


def test_times_are_shown_as_local_times_and_read_back_as_they_are(site):
    assert (
        update(site, **REPLY, autoReplyStart="2026-08-01T09:00", autoReplyEnd="2026-08-08 17:30:15") == "ok"
    )
    found = settings(site)
    assert (found["autoReplyStart"], found["autoReplyEnd"]) == ("2026-08-01 09:00:00", "2026-08-08 17:30:15")
    assert update(site, **found) == "ok" and settings(site) == found
    assert update(site, autoReplyEnd="2026-08-01 09:00:00") == "autoReplyStart must be before autoReplyEnd."
    assert settings(site) == found


def test_what_is_refused_changes_nothing(site):
    assert update(site, autoReplyEnabled=1) == "autoReply is not set."
    assert update(site, forward="bob@one.org") == "forward must not be an address of the user."
    assert update(site, "root", quota=5) == "quota and userStatus need a mailserver."
    assert update(site, quota=5) == "Not allowed." == update(site, "ann", **FORWARD)
    assert update(site, "root", user_name="nobody", **FORWARD) == "There is no such user."
    assert scripts(site) == [] and settings(site) == UNSET


def test_lines_of_ours_that_cannot_be_read_are_named_and_hide_no_account(site):
    update(site, **FORWARD)
    broken = script(site, "mailapi").replace('{"', "{'")
    site("services/?sieve_put", user="bob", script_name="mailapi", script=broken)
    sentence = "mailapi's lines in the filter script cannot be read: delete them from the script."
    assert update(site, **REPLY) == sentence and script(site, "mailapi") == broken
    answer = site("accounts/?get", user="bob", user_name="bob")
    assert (answer["status"], answer["warning"]) == ("warning", sentence) and answer["accounts"]


def test_a_script_in_latin_1_stays_as_it_is(site, dovecot):
    raw = 'if header :contains "subject" "Grüße" { discard; }\r\n'.encode("latin-1")
    with service_client(dovecot, "managesieve").session("bob", None) as sieve:
        sieve.connection.sendall(b'PUTSCRIPT "mine" {%d+}\r\n%b\r\nSETACTIVE "mine"\r\n' % (len(raw), raw))
        sieve.read_response(), sieve.read_response()
        status = update(site, **FORWARD)
        sieve.connection.sendall(b'GETSCRIPT "mine"\r\n')
        sieve.read_line()
        stored = sieve.lines.read(len(raw))
    assert (status, stored) == ("The filter script is not UTF-8: changing it would lose letters.", raw)


def test_without_either_there_are_no_settings(tmp_path):
    site = Site(tmp_path, extra={"Account": OPTIONAL["Account"]})
    status = update(site, **FORWARD)
    assert status == "Neither a mailserver nor the managesieve service is configured."
    assert "forward" not in site("accounts/?get", user="bob", user_name="bob")["accounts"][0]
