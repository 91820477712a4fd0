"""mailbox/?send: who may send as whom (docs/wire.md section 6)."""

import json
import time

import pytest

from support.outgoing import ONE_RECIPIENT, QUEUE_ROWS, allow_sending, refusal_of, send_mail, sent_mail
from support.site import ROOT, Site, authdata

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]


RECORDED = ROOT / "tests/conformance/routing.jsonl"
SHARED = ROOT.parent / "shared/conformance/routing.jsonl"


@pytest.mark.parametrize("file", [RECORDED, SHARED], ids=["selected", "all"])
def test_the_queue_is_as_the_smtp_daemon_left_it(tmp_path, file):
    """Every recorded decision about outgoing mail, sent through the API instead."""
    if not file.exists():
        pytest.skip("the recordings are not beside the project")
    seen = set()
    for number, scenario in enumerate(map(json.loads, file.read_text().splitlines())):
        (tmp_path / str(number)).mkdir()
        site = Site(tmp_path / str(number))
        for user in scenario["users"]:
            site.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", user, authdata("pw"))
        for row in scenario["addresses"]:
            site.sql("INSERT INTO addresses VALUES (?, ?, ?, ?)", *row)
        for row in scenario["smtpd"]:
            site.sql("INSERT INTO smtpd VALUES (?, ?, ?)", *row)
        for test in scenario["tests"]:
            if test["address_routing"] == "outrouter":
                answer = send_mail(
                    site, test["smtpd_user"], sender=test["address_expression"], to=test["recipient"]
                )
                queued, decision = site.sql(QUEUE_ROWS), test["decision"]
                assert queued == ([tuple(decision["queued"].values())] if decision["queued"] else [])
                assert (answer["status"] == "ok") is decision["accepted"]
                assert len(answer.get("queue_ids", [])) == len(queued)
                site.sql("DELETE FROM outbox")
                seen.add((bool(queued), decision["accepted"]))
    assert seen == {(True, True), (False, True), (False, False)}


NONE, ANY = "Rejected: user ann may not send.", (None, "ann@one.org", "x@else.example")
ROUTERS = [  # router, route → the sentence or the row for a sender that stores to ann, and for one that does not
    (None, None, NONE, NONE),
    ("any", None, ANY, (None, "else@two.org", "x@else.example")),
    ("defined", None, ANY, "Rejected: else@two.org does not store to user ann (router defined)."),
    ("handoff", "mx.example", ("mx.example", *ANY[1:]), ("mx.example", "else@two.org", "x@else.example")),
    ("handoff", None, *["Rejected: the router handoff has no route."] * 2),
    ("reject", None, *["Rejected by the router reject."] * 2),
    ("drop", None, None, None),
    ("teleport", None, ANY, (None, "else@two.org", "x@else.example")),  # docs/wire.md F45
]


@pytest.mark.parametrize(("router", "route", "own", "foreign"), ROUTERS)
def test_out_router_of_the_caller_decides(either, router, route, own, foreign):
    allow_sending(either, router, route)
    for sender, expected in (("ann@one.org", own), ("else@two.org", foreign)):
        if isinstance(expected, str):
            assert refusal_of(either, sender=sender, **ONE_RECIPIENT) == expected
        else:
            answer = send_mail(either, sender=sender, **ONE_RECIPIENT)
            assert answer["status"] == "ok" and len(answer["queue_ids"]) == (expected is not None)
            assert either.sql(QUEUE_ROWS) == ([expected] if expected else [])
            either.sql("DELETE FROM outbox")


def test_row_is_as_the_schema_documents_it(sending_site):
    answer = send_mail(sending_site, **ONE_RECIPIENT, text="ü")
    ((mail_id, submission, submitter, kind),) = sending_site.sql(
        "SELECT mail_id, mail_submission, mail_submitter, typeof(mail_data) FROM outbox"
    )
    assert answer["queue_ids"] == [mail_id] and submitter == "ann" and kind == "text"
    assert abs(submission - time.time()) < 60 and type(submission) is int


def test_defined_counts_every_address_that_the_header_shows(either):
    allow_sending(either, "defined")
    message = "From: {}\nTo: x@else.example\n\ntext"
    assert send_mail(either, message=message.format("ann@one.org"))["status"] == "ok"
    for header in (
        "boss@one.org",
        "Boss <boss@one.org>\nSender: ann@one.org",
        "ann@one.org\nSender: boss@one.org",
    ):
        sentence = "Rejected: boss@one.org does not store to user ann (router defined)."
        assert refusal_of(either, sender="ann@one.org", message=message.format(header)) == sentence


def test_defined_knows_a_domain_in_either_spelling(site):
    allow_sending(site, "defined")
    for stored, sender in (
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ("ann@xn--tst-qla.org", "ann@täst.org"),
    ):
        site.sql("INSERT INTO addresses VALUES (?, NULL, 'store', 'ann')", stored)
        assert send_mail(site, sender=sender, **ONE_RECIPIENT)["status"] == "ok"
    assert site.sql("SELECT mail_envelopefrom FROM outbox ORDER BY mail_id") == [
        ("ann@xn--bcher-kva.example",),
        ("ann@xn--tst-qla.org",),
    ]


def test_permission_of_others_does_not_count(site):
    """An administrator may change who sends what; sending, they are a user like any other."""
    allow_sending(site, "any")
    for user in ("root", "dele"):
        assert (
            refusal_of(site, user, sender="ann@one.org", **ONE_RECIPIENT)
            == f"Rejected: user {user} may not send."
        )


@pytest.mark.parametrize(
    ("addresses", "default"),
    [
        (["ann@one.org"], "ann@one.org"),
        (["ann@one.org", "%@two.org"], "ann@one.org"),
        (["ann_lee@one.org"], "ann_lee@one.org"),
        (["ann@one.org", "ann@two.org"], None),
        (["%@one.org"], None),
        (["ann"], None),
        ([], None),
        (["ann@one.org", "ann"], "ann@one.org"),
        (["no address@one.org"], None),
    ],
)
def test_without_from_it_is_the_only_address_of_the_caller(site, addresses, default):
    site.sql("INSERT INTO smtpd VALUES ('ann', 'any', NULL)")
    for address in addresses:
        site.sql("INSERT INTO addresses VALUES (?, NULL, 'store', 'ann')", address)
    if default:
        assert sent_mail(site)["From"] == default and site.sql(QUEUE_ROWS)[0][1] == default
    else:
        assert refusal_of(site, **ONE_RECIPIENT) in (
            "The message must be from one address.",
            "Not an address: no address@one.org.",
        )


def test_without_from_it_is_the_address_that_is_the_users_name(site):
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES ('lee@one.org', ?)", authdata("pw"))
    site.sql("INSERT INTO smtpd VALUES ('lee@one.org', 'any', NULL)")
    for address in ("office@one.org", "lee@one.org"):
        site.sql("INSERT INTO addresses VALUES (?, NULL, 'store', 'lee@one.org')", address)
    assert (
        send_mail(site, "lee@one.org", **ONE_RECIPIENT)["status"] == "ok"
        and site.sql(QUEUE_ROWS)[0][1] == "lee@one.org"
    )


def test_local_recipient_is_queued_like_any_other(sending_site):
    """The dispatch daemon brings it to the SMTP daemon, whose in routers then decide."""
    sending_site.sql("INSERT INTO addresses VALUES ('bob@one.org', NULL, 'redirect', 'z@z.example')")
    assert send_mail(sending_site, to="bob@one.org")["status"] == "ok"
    assert sending_site.sql(QUEUE_ROWS) == [(None, "ann@one.org", "bob@one.org")]
