"""mailbox/?send: to whom, what is in the audit, and from a terminal (docs/wire.md section 6)."""

import email
import email.policy
import json
import re
import subprocess
import sys

import pytest

from support.outgoing import ROWS, TO, content, data_of, let_send, refused, send, sent
from support.site import ROOT, Site

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]


########## To whom #################################################################################


def test_each_recipient_has_a_row_once(ready):
    mail = sent(
        ready,
        to='A <a@x.org>, b@x.org, Team: c@x.org, "d e"@x.org;',
        cc=["B@X.org", "F <f@x.org>, g@x.org"],
        bcc="a@x.org, secret@x.org",
    )
    assert [to for _, _, to in ready.sql(ROWS)] == [
        "a@x.org",
        "b@x.org",
        "c@x.org",
        '"d e"@x.org',
        "f@x.org",
        "g@x.org",
        "secret@x.org",
    ]
    assert len(set(data_of(ready))) == 1 and b"secret" not in data_of(ready)[0] and mail["Bcc"] is None
    assert [str(g) for g in mail["To"].groups] == ["A <a@x.org>", "b@x.org", 'Team: c@x.org, "d e"@x.org;']
    assert str(mail["Cc"]) == "B@X.org, F <f@x.org>, g@x.org"


def test_nobody_learns_who_else_got_a_blind_copy(ready):
    assert sent(ready, to=None, bcc="a@x.org, b@x.org")["To"] == "undisclosed-recipients:;"
    assert str(sent(ready, to="friends and family:;", bcc="a@x.org")["To"]) == "friends and family:;"
    assert [to for _, _, to in ready.sql(ROWS)] == ["a@x.org", "b@x.org", "a@x.org"]


def test_addresses_of_the_world(ready):
    mail = sent(
        ready,
        sender='"Ann, Lee" <ann@one.org>',
        to='Jörg <j@bücher.example>, 用户@例子.广告, "x y"@straße.de',
    )
    assert [to for _, _, to in ready.sql(ROWS)] == [
        "j@xn--bcher-kva.example",
        "用户@xn--fsqu00a.xn--4rr70v",
        '"x y"@xn--strae-oqa.de',
    ]
    assert (
        mail["From"].addresses[0].display_name == "Ann, Lee"
        and mail["To"].addresses[0].display_name == "Jörg"
    )
    shown = [one.addr_spec.encode(errors="surrogateescape").decode() for one in mail["To"].addresses]
    assert shown == [to for _, _, to in ready.sql(ROWS)]
    assert "用户@xn--fsqu00a".encode() in data_of(ready)[0], "SMTPUTF8: the local part in UTF-8 (RFC 6532)"


@pytest.mark.parametrize("field", ["from", "to", "cc", "bcc", "reply_to"])
@pytest.mark.parametrize(
    "value",
    ["x", "a@b@c", "a@x.org; b@x.org", "<a@x.org", "a@x.org b", ["a@x.org", "b"], "Ann, Lee <a@x.org>"],
)
def test_what_is_no_address_is_named_and_nothing_queued(ready, field, value):
    assert re.fullmatch(r"Not an address: .+\.", refused(ready, **TO | {field: value}))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "Say to whom."),
        ({"to": ""}, "Say to whom."),
        ({"to": []}, "Say to whom."),
        ({"to": "nobody:;"}, "Say to whom."),
        ({"to": " , "}, "Say to whom."),
        ({"reply_to": "a@x.org"}, "Say to whom."),
        (TO | {"sender": "a@x.org, b@x.org"}, "Say which address it is from."),
        (TO | {"sender": "team: a@x.org;"}, "Say which address it is from."),
        (TO | {"message": "From: a@b\n\nx", "text": "y"}, "Give a message or its parts, not both."),
        (TO | {"message": "From: a@b\n\nx", "reply_to": "a@b"}, "Give a message or its parts, not both."),
    ],
)
def test_what_is_missing_is_told(ready, fields, status):
    assert refused(ready, **fields) == status


def test_all_recipients_or_none(ready):
    ready.sql(
        "CREATE TRIGGER t BEFORE INSERT ON outbox WHEN NEW.mail_envelopeto LIKE 'b@%'"
        " BEGIN SELECT RAISE(FAIL, 'full'); END"
    )
    assert refused(ready, to="a@x.org, b@x.org, c@x.org") == "full"


@pytest.mark.parametrize("form", [", ".join, list])
def test_recipients_have_a_limit(tmp_path, form):
    site = let_send(Site(tmp_path, max_recipients=3))
    people = [f"p{number}@x.org" for number in range(4)]
    assert refused(site, to=form(people)) == "Too many recipients: 3 at most."
    assert refused(site, to=form(people[:2]), bcc=form(people[2:])) == "Too many recipients: 3 at most."
    assert len(send(site, to=form(people[:3]), cc=form(people[:2]))["queue_ids"]) == 3


def test_100000_recipients_are_refused_at_once(ready):
    people = [f"p{number}@x.org" for number in range(100_000)]
    for to in (people[:50_000], ", ".join(people), "team: " + ", ".join(people) + ";"):
        assert refused(ready, to=to) == "Too many recipients: 100 at most."
    message = "From: a@b\nTo: " + ",\n ".join(people[:9000]) + "\n\n"
    assert refused(ready, message=message) == "Too many recipients: 100 at most."
    answer = ready(
        "mailbox/?send", user="ann", check=413, to=people
    )  # so many values of a list take too much memory
    assert answer["status"] == "Request body too large."


########## Around it ###############################################################################


def test_audit_and_log_hold_nothing_of_the_mail(ready, caplog):
    with caplog.at_level("DEBUG"):
        send(
            ready,
            to="secret@x.org",
            subject="secret",
            text="secret",
            attachments=[{"filename": "secret", "data": "c2VjcmV0"}],
        )
        refused(ready, to="x@y", subject="secret\n")
    audit = ready("audit/?get", audit_action="send")["audit"]
    assert [entry["audit_status"] for entry in audit] == [
        "A line break or control character in subject.",
        "ok",
    ]
    assert "secret" not in json.dumps(audit) and "secret" not in caplog.text and "c2VjcmV0" not in caplog.text


def test_token_that_only_reads_sends_nothing(ready):
    token = ready("tokens/?add", user="ann", token_name="t", token_reads_only=1)["token"]
    answer = (
        ready.browser().post_json("/mailbox/?send", TO, headers={"Authorization": f"Bearer {token}"}).json
    )
    assert answer["status"] == "This token may only read." and data_of(ready) == []


def test_from_the_terminal(ready, tmp_path):
    config = tmp_path / "config.py"
    config.write_text(f"dbpath = {str(ready.dbpath)!r}\nmodulelist = {ready.config['modulelist']!r}\n")

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
    mail = email.message_from_bytes(data_of(ready)[0], policy=email.policy.SMTP)
    assert mail["Subject"] == "[x] Grüße" and content(next(mail.iter_parts())) == "{not JSON}"
    assert ready.sql("SELECT DISTINCT mail_submitter FROM outbox") == [("ann",)]
    done = call("mailbox", "send", "to=b@x.org")
    assert json.loads(done.stdout)["status"] == "Say whose mailbox: --as USER." and done.returncode == 1
    done = call("queue", "delete", "--as", "ann", "mail_id=[1, 2]")
    assert json.loads(done.stdout) == {"status": "ok"} and data_of(ready) == []
