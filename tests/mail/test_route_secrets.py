"""Access to the `user:password@` of a handoff route (docs/wire.md F44); and what the SMTP daemon does with odd routers and
addresses (F45, F46), as addresses/?test, mailbox/?send and queue/ have it."""

import json

import pytest

from support.command_line import CONFIG, run_mailapi
from support.outgoing import QUEUE_ROWS, queue_mail, queued_ids, send_mail
from support.site import Site

pytestmark = pytest.mark.every_engine

HOST = "mx.relay.example"
ROUTE = f"relay:p@ss:secret@{HOST}"
SECRET = "secret"


@pytest.fixture
def handoff(either) -> Site:
    """ann and dele hand off to a host that they log in to; only dele may act for ann, and nobody but root for dele."""
    for name in ("ann", "dele"):
        if either.generation == 9:
            either.sql("INSERT INTO smtpd VALUES (?, 'handoff', ?)", name, ROUTE)
            either.sql("INSERT INTO addresses VALUES (?, NULL, 'store', ?)", f"{name}@one.org", name)
        else:
            either.sql("INSERT INTO msa VALUES (?, 'handoff', ?, 'handoff', ?)", name, ROUTE, ROUTE)
            either.sql("INSERT INTO addresses VALUES (?, NULL, ?)", f"{name}@one.org", name)
    return either


def outbound(site: Site, user: str, sender: str, **fields) -> dict:
    return site(
        "addresses/?test", user=user, address_expression=sender, address_routing="outrouter", **fields
    )


########## Credentials in routes ###################################################################


@pytest.mark.parametrize(
    ("user", "of", "whole"),
    [
        ("root", "ann", True),
        ("dele", "ann", True),
        ("ann", "ann", False),
        ("dele", "dele", False),
        ("root", "dele", True),
    ],
)
def test_f44_a_test_tells_a_routes_password_to_who_may_act_for_the_user(handoff, user, of, whole):
    route = ROUTE if whole else HOST
    for fields in ({}, {"smtpd_user": of}):
        answer = outbound(handoff, user, f"{of}@one.org", recipient="x@y.org", **fields)
        if answer["decision"]["queued"] is None:  # dele sees their own address only as who logs in
            assert (user, of, fields) == ("dele", "dele", {})
            continue
        assert answer["decision"]["queued"]["mail_remote"] == route
        assert answer["steps"][-1] == f"Handed off to {route} for user {of}."
        assert (SECRET in json.dumps(answer)) is whole
    if handoff.generation == 8:
        answer = handoff(
            "addresses/?test", user=user, address_expression=f"{of}@one.org", address_routing="inrouter"
        )
        assert (SECRET in json.dumps(answer)) is whole


def test_who_manages_an_address_does_not_learn_its_users_password(site):
    """dele manages the expression, but may not act for root, to whom it stores."""
    site.sql("INSERT INTO smtpd VALUES ('root', 'handoff', ?)", ROUTE)
    site.sql("INSERT INTO addresses VALUES ('x@corp.org', NULL, 'store', 'root')")
    answer = outbound(site, "dele", "x@corp.org")
    assert answer["decision"]["queued"]["mail_remote"] == HOST and SECRET not in json.dumps(answer)


def test_route_of_an_address_is_shown_to_who_may_set_it(site):
    """A delegate of the expression gets the row as it is stored, to send it back changed; steps show the host."""
    site.sql("INSERT INTO addresses VALUES ('x@corp.org', 5, 'handoff', ?)", ROUTE)
    fields = {"address_expression": "x@corp.org", "address_routing": "inrouter"}
    for user, route in (("root", ROUTE), ("dele", HOST)):
        answer = site("addresses/?test", user=user, **fields)
        assert answer["decision"]["queued"]["mail_remote"] == route
        assert answer["steps"][-1] == f"Handed off to {route}."
        assert site("addresses/?get", user=user)["addresses"][0]["address_route"] == ROUTE
    for user in ("ann", "bob"):
        answers = [
            site("addresses/?test", user=user, **fields),
            site("addresses/?get", user=user),
            site("addresses/?get&test=x@corp.org", user=user),
        ]
        assert "mx.relay" not in json.dumps(answers)


def test_smtpd_and_msa_show_delegates_no_password_of_their_own(handoff):
    """They may not set it either, nor look it up by their name."""
    module = "smtpd" if handoff.generation == 9 else "msa"
    name, route = f"{module}_user", "smtpd_route" if module == "smtpd" else "msa_outroute"
    found = {row[name]: row for row in handoff(f"{module}/?get", user="dele")[module]}
    assert found["ann"][route] == ROUTE and found["dele"][route] == HOST
    assert SECRET not in json.dumps(found["dele"])
    assert handoff(f"{module}/?get", user="dele", **{name: "dele"})["status"] == "Not allowed."
    assert [row[name] for row in handoff(f"{module}/?get&limit=1&after=ann", user="dele")[module]] == ["dele"]
    assert SECRET not in json.dumps(handoff(f"{module}/?get&limit=1&after=ann", user="dele"))
    assert {row[route] for row in handoff(f"{module}/?get")[module]} == {ROUTE}


def test_f44_queue_shows_the_host_alone(handoff):
    """To the user whose mail it is; whole to who may act for them."""
    ids = send_mail(handoff, sender="ann@one.org", to="x@y.org")["queue_ids"]
    assert handoff.sql("SELECT mail_remote FROM outbox") == [(ROUTE,)]
    handoff.sql("INSERT INTO faillog VALUES (?, ?, 1700000000, 0)", ids[0], f"Cannot reach {ROUTE}: refused")
    for user, route in (("root", ROUTE), ("dele", ROUTE), ("ann", HOST)):
        (mail,) = handoff("queue/?get", user=user)["queue"]
        assert mail["mail_remote"] == route
        assert mail["failures"][0]["fail_message"] == f"Cannot reach {route}: refused"


def test_queue_shows_no_password_to_who_only_calls_themselves_a_user(site):
    """The submitter of mail that came by SMTP is what its client said; its remote host is an address's route."""
    queue_mail(site, "x@y.org", submitter="ann", remote=ROUTE)
    for user in ("ann", "dele"):
        assert site("queue/?get", user=user)["queue"][0]["mail_remote"] == HOST
    assert site("queue/?get")["queue"][0]["mail_remote"] == ROUTE


@pytest.mark.parametrize(
    "remote", [ROUTE, ROUTE.upper(), "@" + HOST, "@ss:secret@" + HOST, f"relay:wrong@{HOST}", "@", "@example"]
)
def test_a_filter_of_the_queue_tells_no_password(handoff, remote):
    send_mail(handoff, sender="ann@one.org", to="x@y.org")
    other = queue_mail(handoff, "ann@one.org", submitter="ann", remote=HOST)
    answer = handoff("queue/?get", user="ann", mail_remote=remote)
    assert answer["queue"] == [] and answer["counts"] == {"waiting": 0, "deferred": 0, "failed": 0}
    assert queued_ids(handoff, "ann", mail_remote=HOST.upper()) == [1, other] == queued_ids(handoff, "ann")
    assert (
        queued_ids(handoff, "root", mail_remote=ROUTE)
        == queued_ids(handoff, "dele", mail_remote=ROUTE)
        == [1]
    )
    assert queued_ids(handoff, "root", mail_remote="@" + HOST) == [1]


def test_no_sentence_trace_or_audit_has_a_routes_password(tmp_path):
    site = Site(tmp_path, debug=True, extra={"Audit": "modules/audit.py"})
    site.sql("INSERT INTO addresses VALUES ('ann@one.org', 1, 'store', 'ann')")
    answers = [
        site("smtpd/?add", smtpd_user="ann", smtpd_router="handoff", smtpd_route=ROUTE),
        site("smtpd/?add", smtpd_user="ann", smtpd_router="handoff", smtpd_route=ROUTE),
        site("smtpd/?update", smtpd_user="ann", smtpd_router="handoff", smtpd_route=ROUTE),
        site("addresses/?add", address_expression="x@y.org", address_router="handoff", address_route=ROUTE),
        site("smtpd/?update", user="bob", smtpd_user="ann", smtpd_router="handoff", smtpd_route=ROUTE),
        send_mail(site, to="x@y.org", message="From: boss@one.org\n\n"),
        send_mail(site, to="x@y.org", text="x"),
        outbound(site, "ann", "ann@one.org"),
        site("queue/?get", user="ann"),
        site("audit/?get"),
    ]
    assert answers[-2]["queue"][0]["mail_remote"] == HOST and SECRET not in json.dumps(answers)


########## Out routers that the daemon does not know ###############################################


def with_router(site: Site, router: str) -> Site:
    if site.generation == 9:
        site.sql("INSERT INTO smtpd VALUES ('ann', ?, NULL)", router)
    else:
        site.sql("INSERT INTO msa VALUES ('ann', 'store', NULL, ?, NULL)", router)
    return site


@pytest.mark.parametrize("router", ["teleport", "DEFINED", "Drop", ""])
def test_f45_unknown_out_router_sends_as_any(either, router):
    with_router(either, router)
    queued = {"mail_remote": None, "mail_envelopefrom": "boss@one.org", "mail_envelopeto": "x@y.org"}
    answer = outbound(either, "ann", "boss@one.org", smtpd_user="ann", recipient="x@y.org")
    assert answer["decision"] == {"accepted": True, "stored": None, "queued": queued}
    assert "does not know" in answer["steps"][-1] and "Accepted" in answer["steps"][-1]
    assert len(send_mail(either, sender="boss@one.org", to="x@y.org")["queue_ids"]) == 1
    assert either.sql(QUEUE_ROWS) == [tuple(queued.values())]


@pytest.mark.sqlite
def test_check_says_what_unknown_routers_do(either, tmp_path):
    with_router(either, "teleport")
    module = {9: '"SMTPD": "modules/smtpd.py"', 8: '"MSA": "modules/msa.py"'}[either.generation]
    (tmp_path / "config.py").write_text(CONFIG.replace("{", "{" + module + ", "))
    printed = run_mailapi(tmp_path, "check", check=1)
    assert "does not know: it takes it for any" in printed or "do not know: they take it for any" in printed
    assert "lost" not in printed
    if either.generation == 8:
        either.sql("UPDATE msa SET msa_inrouter = 'teleport', msa_outrouter = 'any'")
        assert "MSA: ann has an in router that the daemons do not know: what comes in is lost" in run_mailapi(
            tmp_path, "check", check=1
        )


########## Addresses with bytes beyond ASCII #######################################################


def test_f46_a_test_matches_what_the_daemon_keeps_of_an_address(site):
    for expression, number, router, route in (
        ("jörg@one.org", 9, "store", "bob"),
        ("jrg@one.org", 8, "redirect", "(to-local)+(from-local)@else.example"),
        ("%@one.org", 7, "store", "ann"),
    ):
        site.sql("INSERT INTO addresses VALUES (?, ?, ?, ?)", expression, number, router, route)
    answer = site(
        "addresses/?test", address_expression="jörg@one.org", sender="ä@b.org", address_routing="inrouter"
    )
    assert answer["steps"][0] == "Address matched: jrg@one.org"
    assert "jörg@one.org is jrg@one.org" in answer["steps"][1] and "ä@b.org is @b.org" in answer["steps"][2]
    assert answer["decision"]["queued"] == {
        "mail_remote": None,
        "mail_envelopefrom": "@b.org",
        "mail_envelopeto": "jrg+@else.example",
    }
    rows = site(f"addresses/?get&test={'j%C3%B6rg@one.org'}")["addresses"]
    assert [row["address_expression"] for row in rows] == ["jrg@one.org", "%@one.org"]
    plain = site("addresses/?test", address_expression="jrg@one.org", address_routing="inrouter")
    assert len(plain["steps"]) == 2


@pytest.mark.parametrize(
    ("sender", "accepted"),
    [
        ("än@one.org", True),
        ("nä@one.org", True),
        ("änä@one.org", True),
        ("äm@one.org", False),
        ("bö@one.org", False),
    ],
)
def test_defined_holds_what_the_daemon_keeps_against_the_addresses(either, sender, accepted):
    for expression in ("n@one.org", "bö@one.org"):
        row = "'store', 'ann'" if either.generation == 9 else "'ann'"
        either.sql(f"INSERT INTO addresses VALUES (?, NULL, {row})", expression)
    with_router(either, "defined")
    answer = outbound(either, "ann", sender, smtpd_user="ann", recipient="ü@y.org")
    assert answer["decision"]["accepted"] is accepted
    if accepted:
        assert answer["decision"]["queued"] == {
            "mail_remote": None,
            "mail_envelopefrom": "n@one.org",
            "mail_envelopeto": "@y.org",
        }
    assert any(f"{sender} is" in step for step in answer["steps"])


def test_mailbox_send_compares_addresses_as_they_are_written(site):
    """jörg is not jrg: what the daemon would make of it is no reason to write as somebody else."""
    site.sql("INSERT INTO addresses VALUES ('jrg@one.org', 2, 'store', 'ann')")
    with_router(site, "defined")
    refused = "Rejected: jörg@one.org does not store to user ann (router defined)."
    assert send_mail(site, sender="jörg@one.org", to="x@y.org")["status"] == refused
    assert send_mail(site, sender="jrg@one.org", to="x@y.org")["status"] == "ok"


def test_unseen_address_looks_like_none_also_beyond_ascii(site):
    site.sql("INSERT INTO addresses VALUES ('jrg@one.org', 1, 'store', 'bob')")
    unseen, none = (
        site("addresses/?test", user="ann", address_expression=one, address_routing="inrouter")
        for one in ("jörg@one.org", "jörg@two.org")
    )
    assert [step.replace("two", "one") for step in none["steps"]] == unseen["steps"]
    assert unseen["steps"][0] == "Address not found." and unseen["decision"] == none["decision"]


def test_mail_from_beyond_ascii_is_in_nobodys_queue_but_the_submitters(site):
    """The daemon would take another address for it, so that no expression says whose it is."""
    site.sql(
        "INSERT INTO addresses VALUES ('jörg@one.org', 2, 'store', 'bob'), ('%@one.org', 1, 'store', 'bob')"
    )
    queue_mail(site, "jörg@one.org", submitter="ann")
    plain = queue_mail(site, "jrg@one.org", submitter=None)
    assert (
        queued_ids(site, "bob") == [plain]
        and queued_ids(site, "ann") == [1]
        and queued_ids(site) == [1, plain]
    )


@pytest.mark.sqlite
def test_check_names_expressions_that_never_match(either, tmp_path):
    row = "'drop', NULL" if either.generation == 9 else "'ann'"
    for expression in ("jörg@one.org", "jorg@one.org", "%@bücher.example"):
        either.sql(f"INSERT INTO addresses VALUES (?, NULL, {row})", expression)
    (tmp_path / "config.py").write_text(CONFIG)
    printed = run_mailapi(tmp_path, "check", check=1)
    for expression in ("jörg@one.org", "%@bücher.example"):
        assert f"FAIL  Address: {expression} has letters beyond ASCII" in printed
    assert "jorg" not in printed


def test_what_another_program_stored_as_blob_is_read_as_text(either):
    router = "'store', ?" if either.generation == 9 else "?"
    either.sql(f"INSERT INTO addresses VALUES (?, NULL, {router})", b"ann@one.org", "ann")
    table, row = ("smtpd", "'handoff', ?") if either.generation == 9 else ("msa", "'store', '', 'handoff', ?")
    either.sql(f"INSERT INTO {table} VALUES ('ann', {row})", b"relay:secret@mx.org")
    mail = queue_mail(either, submitter="ann", remote=b"relay:secret@mx.org")
    for user in ("dele", "ann"):
        (listed,) = either("addresses/?get", user=user)["addresses"]
        assert listed["address_expression"] == "ann@one.org"
    assert queued_ids(either, "dele", mail_remote="@mx.org") == [mail]
    assert queued_ids(either, "ann", mail_remote="mx.org") == [mail]
    assert send_mail(either, to="x@y.org", subject="x")["status"] == "ok"
    assert either.sql(QUEUE_ROWS)[-1][1] == "ann@one.org"
