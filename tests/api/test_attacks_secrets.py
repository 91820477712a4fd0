"""Secrets in sentences, routers and failures that readers of the audit, the log or the queue saw; foreign databases."""

import json
import logging
import sqlite3

import pytest

from support.outgoing import queue_mail

pytestmark = pytest.mark.every_engine

SECRET = "hunter2"

########## Databases ###############################################################################

STORE = {"msa_user": "ann", "msa_inrouter": "store", "msa_outrouter": "any"}


@pytest.mark.sqlite
@pytest.mark.parametrize("action", ["add", "update"])
def test_delegate_cannot_point_a_user_at_another_database(site8, tmp_path, action):
    foreign = tmp_path / "foreign.db3"
    foreign.write_bytes(site8.file.read_bytes())
    with sqlite3.connect(foreign) as database:
        database.execute(
            "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_submission, mail_proto,"
            " mail_data) VALUES ('ann', 't', 'f', 1, 'smtp', 'Subject: theirs\n\n')"
        )
    database.close()
    if action == "update":
        site8("msa/?add", **STORE)
    for path in (str(foreign), site8.place):
        answer = site8(f"msa/?{action}", user="dele", **STORE, msa_inroute=path)
        assert answer["status"] == "Not allowed."
    assert site8.sql("SELECT user_database FROM users WHERE user_name = 'ann'") == [(None,)]
    assert site8("mailbox/?get", user="ann")["mails"] == []


def test_delegate_keeps_or_clears_a_users_database(site8):
    site8("msa/?add", **STORE, msa_inroute="/x.db3")

    def update(**fields) -> tuple[str, list]:
        status = site8("msa/?update", user="dele", **STORE, **fields)["status"]
        return status, site8.sql("SELECT user_database FROM users WHERE user_name = 'ann'")

    assert update() == update(msa_inroute="/x.db3") == ("ok", [("/x.db3",)])
    assert update(msa_inroute="/y.db3") == ("Not allowed.", [("/x.db3",)])
    assert update(msa_inroute=None) == ("ok", [(None,)])
    assert update(msa_inroute="/x.db3") == ("Not allowed.", [(None,)])


########## The audit and the log ###################################################################

REFUSED = [
    ("mailbox/?send", {"message": f"From: ann@one.org\n{SECRET} in a letter\n\nx"}, "Not a header line."),
    ("mailbox/?send", {"from": "ann@one.org", "to": "x@y.org", "bcc": SECRET}, "Not an address."),
    ("mailbox/?send", {"message": f"From: ann@one.org\nTo: {SECRET}\n\nx"}, "Not an address."),
    ("mailbox/?send", {"from": "ann@one.org", "to": "x@y.org", "in_reply_to": SECRET}, "Not a message id."),
    (
        "mailbox/?send",
        {"from": f"{SECRET}@one.org", "to": "x@y.org"},
        "Rejected: the author does not store to user ann (router defined).",
    ),
    (
        "mailbox/?send",
        {"from": "a@b.org", "to": "x@y.org", "attachments": [{"content_type": SECRET, "data": ""}]},
        "Not a content type of an attachment.",
    ),
    (
        "mailbox/?send",
        {
            "from": "a@b.org",
            "to": "x@y.org",
            "attachments": [{"filename": SECRET, "content_type": "a/b", "data": "é"}],
        },
        "The data of an attachment is not base64.",
    ),
    ("tokens/?add", {"token_name": "t", "token_modules": [SECRET]}, "Unknown module."),
]


@pytest.mark.parametrize(("url", "fields", "sentence"), REFUSED)
def test_audit_has_no_sentence_with_what_was_sent(site, caplog, url, fields, sentence):
    caplog.set_level(logging.INFO)
    site.sql("INSERT INTO smtpd VALUES ('ann', 'defined', NULL)")
    answer = site(url, user="ann", **fields)
    assert SECRET in answer["status"], answer
    (row, *_) = site("audit/?get", audit_user="ann")["audit"]
    assert row["audit_status"] == sentence
    assert SECRET not in json.dumps(site("audit/?get")) and SECRET not in caplog.text


@pytest.mark.parametrize("field", ["smtpd_router", "msa_inrouter", "msa_outrouter"])
def test_audit_has_routers_only_if_they_are_known(either, caplog, field):
    caplog.set_level(logging.INFO)
    module = "smtpd" if either.generation == 9 else "msa"
    if not field.startswith(module):
        pytest.skip("the other generation's")
    fields = STORE if module == "msa" else {"smtpd_user": "ann", "smtpd_router": "any"}
    route = f"user:{SECRET}@relay"
    for action in ("add", "update"):
        answer = either(f"{module}/?{action}", **fields | {field: route})
        assert answer["status"] == f"Unknown router {route}."
        newest = either("audit/?get", audit_module=module)["audit"][0]
        others = [value for name, value in fields.items() if name != field]
        assert (newest["audit_status"], newest["audit_target"]) == ("Unknown router.", " ".join(others))
    either(f"{module}/?add", **fields)
    assert either("audit/?get", audit_module=module)["audit"][0]["audit_target"] == " ".join(fields.values())
    assert SECRET not in json.dumps(either("audit/?get")) and SECRET not in caplog.text


def test_audit_has_no_other_direction_and_no_field_that_is_none(site):
    site("addresses/?test", address_expression="a@one.org", address_routing=SECRET)
    site("users/?get", check=400, **{SECRET: "\0"})
    site("addresses/?add", address_expression="a@one.org", address_router=SECRET)
    statuses = [row["audit_status"] for row in site("audit/?get")["audit"]]
    assert "Invalid value for a field." in statuses and "Unknown router." in statuses
    assert SECRET not in json.dumps(site("audit/?get"))


########## The queue ###############################################################################

REMOTE, HOST = f"relay:{SECRET}@mx.relay.example", "mx.relay.example"
MESSAGES = [
    (f"Cannot reach {REMOTE}: refused", f"Cannot reach {HOST}: refused"),
    (f"Cannot reach {REMOTE.upper()}: refused", f"Cannot reach {HOST}: refused"),
    (f"LOGIN relay:{SECRET} failed", "LOGIN *** failed"),
    (f"LOGIN Relay:{SECRET.title()} failed", "LOGIN *** failed"),
    (f"535 {SECRET} is wrong, {SECRET.upper()}!", "535 *** is wrong, ***!"),
    (f"{SECRET}@mx.relay.example", f"***@{HOST}"),
    ("İ: nothing of it", "İ: nothing of it"),
    (f"İ {SECRET}", "İ ***"),
]


@pytest.mark.parametrize(("message", "shown"), MESSAGES)
def test_failures_in_the_queue_show_no_credentials(either, message, shown):
    mail = queue_mail(either, "x@y.org", submitter="ann", remote=REMOTE)
    either.sql("INSERT INTO faillog VALUES (?, ?, 1700000000, 0)", mail, message)
    for user, expected in (("ann", shown), ("dele", shown), ("root", message)):
        (found,) = either("queue/?get", user=user)["queue"]
        assert found["failures"][0]["fail_message"] == expected


def test_host_is_shown_whole_where_the_password_is_a_part_of_it(site):
    mail = queue_mail(site, "x@y.org", submitter="ann", remote="u:relay@mx.relay.example")
    site.sql("INSERT INTO faillog VALUES (?, 'mx.relay.example: no', 1700000000, 0)", mail)
    (found,) = site("queue/?get", user="ann")["queue"]
    assert found["failures"][0]["fail_message"] == "mx.relay.example: no"


########## Addresses ###############################################################################


def test_an_admins_delete_goes_by_the_order_alone(site):
    """As the original's, which the recorded exchanges hold us to: the expression is not compared."""
    site("addresses/?add", address_expression="new@one.org", address_router="drop", address_order=5)
    assert site("addresses/?delete", address_expression="old@one.org", address_order=5)["status"] == "ok"
    assert site.sql("SELECT * FROM addresses") == []
