"""mailbox/?send: to whom, what is in the audit, and from a terminal (docs/wire.md section 6)."""

import email
import email.policy
import json
import re
import subprocess
import sys

import pytest

from support.outgoing import (
    ONE_RECIPIENT,
    QUEUE_ROWS,
    allow_sending,
    queued_data,
    refusal_of,
    send_mail,
    sent_mail,
    text_of_part,
)
from support.site import ROOT, Site

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]


########## To whom #################################################################################


def test_each_recipient_has_a_row_once(sending_site):
    mail = sent_mail(
        sending_site,
        to='A <a@x.org>, b@x.org, Team: c@x.org, "d e"@x.org;',
        cc=["B@X.org", "F <f@x.org>, g@x.org"],
        bcc="a@x.org, secret@x.org",
    )
    assert [to for _, _, to in sending_site.sql(QUEUE_ROWS)] == [
        "a@x.org",
        "b@x.org",
        "c@x.org",
        '"d e"@x.org',
        "f@x.org",
        "g@x.org",
        "secret@x.org",
    ]
    assert (
        len(set(queued_data(sending_site))) == 1
        and b"secret" not in queued_data(sending_site)[0]
        and mail["Bcc"] is None
    )
    assert [str(g) for g in mail["To"].groups] == ["A <a@x.org>", "b@x.org", 'Team: c@x.org, "d e"@x.org;']
    assert str(mail["Cc"]) == "B@X.org, F <f@x.org>, g@x.org"


def test_nobody_learns_who_else_got_a_blind_copy(sending_site):
    assert sent_mail(sending_site, to=None, bcc="a@x.org, b@x.org")["To"] == "undisclosed-recipients:;"
    assert (
        str(sent_mail(sending_site, to="friends and family:;", bcc="a@x.org")["To"]) == "friends and family:;"
    )
    assert [to for _, _, to in sending_site.sql(QUEUE_ROWS)] == ["a@x.org", "b@x.org", "a@x.org"]


def test_addresses_of_the_world(sending_site):
    mail = sent_mail(
        sending_site,
        sender='"Ann, Lee" <ann@one.org>',
        to='Jörg <j@bücher.example>, 用户@例子.广告, "x y"@straße.de',
    )
    assert [to for _, _, to in sending_site.sql(QUEUE_ROWS)] == [
        "j@xn--bcher-kva.example",
        "用户@xn--fsqu00a.xn--4rr70v",
        '"x y"@xn--strae-oqa.de',
    ]
    assert (
        mail["From"].addresses[0].display_name == "Ann, Lee"
        and mail["To"].addresses[0].display_name == "Jörg"
    )
    shown = [one.addr_spec.encode(errors="surrogateescape").decode() for one in mail["To"].addresses]
    assert shown == [to for _, _, to in sending_site.sql(QUEUE_ROWS)]
    assert "用户@xn--fsqu00a".encode() in queued_data(sending_site)[0], (
        "SMTPUTF8: the local part in UTF-8 (RFC 6532)"
    )


@pytest.mark.parametrize("field", ["from", "to", "cc", "bcc", "reply_to"])
@pytest.mark.parametrize(
    "value",
    ["x", "a@b@c", "a@x.org; b@x.org", "<a@x.org", "a@x.org b", ["a@x.org", "b"], "Ann, Lee <a@x.org>"],
)
def test_what_is_no_address_is_named_and_nothing_queued(sending_site, field, value):
    assert re.fullmatch(r"Not an address: .+\.", refusal_of(sending_site, **ONE_RECIPIENT | {field: value}))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "No recipient is set."),
        ({"to": ""}, "No recipient is set."),
        ({"to": []}, "No recipient is set."),
        ({"to": "nobody:;"}, "No recipient is set."),
        ({"to": " , "}, "No recipient is set."),
        ({"reply_to": "a@x.org"}, "No recipient is set."),
        (ONE_RECIPIENT | {"sender": "a@x.org, b@x.org"}, "The message must be from one address."),
        (ONE_RECIPIENT | {"sender": "team: a@x.org;"}, "The message must be from one address."),
        (
            ONE_RECIPIENT | {"message": "From: a@b\n\nx", "text": "y"},
            "Give a message or its parts, not both.",
        ),
        (
            ONE_RECIPIENT | {"message": "From: a@b\n\nx", "reply_to": "a@b"},
            "Give a message or its parts, not both.",
        ),
    ],
)
def test_what_is_missing_is_told(sending_site, fields, status):
    assert refusal_of(sending_site, **fields) == status


def test_all_recipients_or_none(sending_site):
    sending_site.sql(
        "CREATE TRIGGER t BEFORE INSERT ON outbox WHEN NEW.mail_envelopeto LIKE 'b@%'"
        " BEGIN SELECT RAISE(FAIL, 'full'); END"
    )
    assert refusal_of(sending_site, to="a@x.org, b@x.org, c@x.org") == "full"


@pytest.mark.parametrize("form", [", ".join, list])
def test_recipients_have_a_limit(tmp_path, form):
    site = allow_sending(Site(tmp_path, max_recipients=3))
    people = [f"p{number}@x.org" for number in range(4)]
    assert refusal_of(site, to=form(people)) == "Too many recipients: 3 at most."
    assert refusal_of(site, to=form(people[:2]), bcc=form(people[2:])) == "Too many recipients: 3 at most."
    assert len(send_mail(site, to=form(people[:3]), cc=form(people[:2]))["queue_ids"]) == 3


def test_100000_recipients_are_refused_at_once(sending_site):
    people = [f"p{number}@x.org" for number in range(100_000)]
    for to in (people[:50_000], ", ".join(people), "team: " + ", ".join(people) + ";"):
        assert refusal_of(sending_site, to=to) == "Too many recipients: 100 at most."
    message = "From: a@b\nTo: " + ",\n ".join(people[:9000]) + "\n\n"
    assert refusal_of(sending_site, message=message) == "Too many recipients: 100 at most."
    answer = sending_site(
        "mailbox/?send", user="ann", check=413, to=people
    )  # so many values of a list take too much memory
    assert answer["status"] == "Request body too large."


########## Around it ###############################################################################


def test_audit_and_log_hold_nothing_of_the_mail(sending_site, caplog):
    with caplog.at_level("DEBUG"):
        send_mail(
            sending_site,
            to="secret@x.org",
            subject="secret",
            text="secret",
            attachments=[{"filename": "secret", "data": "c2VjcmV0"}],
        )
        refusal_of(sending_site, to="x@y", subject="secret\n")
    audit = sending_site("audit/?get", audit_action="send")["audit"]
    assert [entry["audit_status"] for entry in audit] == [
        "A line break or control character in subject.",
        "ok",
    ]
    assert "secret" not in json.dumps(audit) and "secret" not in caplog.text and "c2VjcmV0" not in caplog.text


def test_token_that_only_reads_sends_nothing(sending_site):
    token = sending_site("tokens/?add", user="ann", token_name="t", token_reads_only=1)["token"]
    answer = (
        sending_site.browser()
        .post_json("/mailbox/?send", ONE_RECIPIENT, headers={"Authorization": f"Bearer {token}"})
        .json
    )
    assert answer["status"] == "This token may only read." and queued_data(sending_site) == []


def test_from_the_terminal(sending_site, tmp_path):
    config = tmp_path / "config.py"
    config.write_text(
        f"dbpath = {str(sending_site.dbpath)!r}\nmodulelist = {sending_site.config['modulelist']!r}\n"
    )

    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "mailapi", "call", "--config", config, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )

    done = call(
        "mailbox",
        "send",
        "--as",
        "ann",
        "to=Bob <b@x.org>, c@x.org",
        "subject=[x] Grüße",
        "text={not JSON}",
        'attachments=[{"filename": "a", "data": "QUJD"}]',
    )
    assert json.loads(done.stdout) == {"status": "ok", "queue_ids": [1, 2]}, done.stderr
    mail = email.message_from_bytes(queued_data(sending_site)[0], policy=email.policy.SMTP)
    assert mail["Subject"] == "[x] Grüße" and text_of_part(next(mail.iter_parts())) == "{not JSON}"
    assert sending_site.sql("SELECT DISTINCT mail_submitter FROM outbox") == [("ann",)]
    done = call("mailbox", "send", "to=b@x.org")
    assert (
        json.loads(done.stdout)["status"] == "Name the mailbox's user with --as USER."
        and done.returncode == 1
    )
    done = call("queue", "delete", "--as", "ann", "mail_id=[1, 2]")
    assert json.loads(done.stdout) == {"status": "ok"} and queued_data(sending_site) == []
