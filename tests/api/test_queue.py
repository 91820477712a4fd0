"""queue/: whose mail on its way out is shown, in which state, and what can be done with it."""

import json
import subprocess
import sys
import time

import pytest
from mailapi_modules.mail import queue_owners

import mailapi
from support.daemons import file_is_free
from support.outgoing import allow_sending, queue_mail, queued_ids, send_mail
from support.site import ROOT, Site

pytestmark = pytest.mark.every_engine

GONE = "mail not found"
COLUMNS = [
    "mail_id",
    "mail_remote",
    "mail_envelopefrom",
    "mail_envelopeto",
    "mail_submission",
    "mail_submitter",
    "mail_failcount",
    "mail_lasttry",
    "mail_fatality",
    "mail_state",
    "failures",
]


def fail(site: Site, mail_id: int, message="451 later", seconds=1700000000, fatal=0):
    site.sql("INSERT INTO faillog VALUES (?, ?, ?, ?)", mail_id, message, str(seconds), fatal)


def give(site: Site, *addresses: tuple):
    """Addresses that store, the last one matched first: expression, user."""
    for expression, user in addresses:
        row = "'store', ?" if site.generation == 9 else "?"
        site.sql(f"INSERT INTO addresses VALUES (?, NULL, {row})", expression, user)


########## What is shown ###########################################################################


def test_mail_is_shown_with_its_failures_and_without_its_data(either):
    first, second, third = (queue_mail(either, remote=remote) for remote in (None, "relay.org", None))
    for number in range(12):
        fail(either, second, f"451 try {number}", 1700000000 + number)
    fail(either, third, "550 never", 1700000100, fatal=1)
    answer = either("queue/?get")
    assert answer["counts"] == {"waiting": 1, "deferred": 1, "failed": 1}
    one, two, three = answer["queue"]
    assert list(one) == COLUMNS and (one["mail_state"], one["failures"], one["mail_lasttry"]) == (
        "waiting",
        [],
        0,
    )
    assert (two["mail_remote"], two["mail_state"], two["mail_failcount"], two["mail_lasttry"]) == (
        "relay.org",
        "deferred",
        12,
        1700000011,
    )
    assert [entry["fail_message"] for entry in two["failures"]] == [
        f"451 try {number}" for number in range(11, 1, -1)
    ]
    assert three["mail_state"] == "failed" and three["mail_fatality"] == 1
    assert three["failures"] == [{"fail_message": "550 never", "fail_time": 1700000100, "fail_fatal": 1}]
    assert abs(one["mail_submission"] - time.time()) < 60 and "secret" not in json.dumps(answer)


def test_states_and_counts_are_those_of_the_view_outbound(site):
    for number in range(30):
        mail_id = queue_mail(site)
        for _ in range(number % 3):
            fail(site, mail_id, fatal=number % 5 == 0)
    rows = site.sql("SELECT mail_id, mail_failcount, mail_lasttry, mail_fatality FROM outbound")
    mails = site("queue/?get")["queue"]
    assert {
        m["mail_id"]: (
            m["mail_failcount"],
            str(m["mail_lasttry"]) if m["mail_failcount"] else 0,
            m["mail_fatality"],
        )
        for m in mails
    } == {row[0]: (row[1], row[2] if row[1] else 0, int(row[3])) for row in rows}
    for state, count in site("queue/?get")["counts"].items():
        found = queued_ids(site, mail_state=state)
        assert found == [m["mail_id"] for m in mails if m["mail_state"] == state] and len(found) == count > 0


def test_list_comes_in_pages(site):
    ids = [queue_mail(site) for _ in range(25)]
    pages, after = [], 0
    while page := site("queue/?get&limit=10", after=after)["queue"]:
        pages.append([mail["mail_id"] for mail in page])
        after = page[-1]["mail_id"]
    assert [len(page) for page in pages] == [10, 10, 5] and sum(pages, []) == ids
    assert site("queue/?get&limit=10", after=ids[9])["counts"]["waiting"] == 25, "of all pages"
    assert site("queue/?get", after="x", check=400)["status"] == "Invalid value for after."


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"mail_submitter": "ann"}, [2]),
        ({"mail_submitter": "ANN"}, [2]),
        ({"mail_remote": "relay.org"}, [3]),
        ({"mail_envelopefrom": "A@one.org"}, [1, 3]),
        ({"mail_envelopefrom": "@ONE.ORG"}, [1, 2, 3]),
        ({"mail_envelopefrom": "a%"}, []),
        ({"mail_envelopefrom": "_@one.org"}, []),
        ({"mail_envelopeto": "x_1@two.org"}, [2]),
        ({"mail_envelopeto": "@two.org", "mail_submitter": "mx.host"}, [1]),
        ({"mail_envelopeto": "@org"}, []),
        ({"mail_id": 2}, [2]),
        ({"mail_id": [3, "1"]}, [1, 3]),
        ({"mail_id": [2, 3], "mail_submitter": "ann"}, [2]),
        ({"mail_state": "failed"}, [2]),
        ({"mail_id": 99}, []),
        ({"mail_submitter": ""}, [1, 2, 3, 4]),
        ({"mail_state": "failed", "after": 2}, []),
    ],
)
def test_filters(site, fields, found):
    queue_mail(site, "a@one.org", to="b@two.org")
    queue_mail(site, "b@one.org", "ann", to="x_1@two.org")
    queue_mail(site, "a@One.org", to="xx1@three.org", remote="relay.org")
    queue_mail(site, "", None, to="x@four.org")
    fail(site, 2, fatal=1)
    assert queued_ids(site, **fields) == found


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mail_state", "lost"),
        ("mail_id", "x"),
        ("mail_id", [1, None]),
        ("mail_id", [[1]]),
        ("mail_id", {"a": 1}),
        ("mail_id", list(range(51))),
        ("mail_envelopefrom", "x" * 1001),
        ("mail_submitter", ["ann"]),
        ("mail_remote", True),
    ],
)
def test_odd_filters_are_refused(site, field, value):
    assert site("queue/?get", check=400, **{field: value})["status"] == f"Invalid value for {field}."


########## Whose it is #############################################################################


def test_everybody_sees_their_own(either):
    give(either, ("%@one.org", "bob"), ("ann@one.org", "ann"), ("dele@corp.org", "dele"))
    mails = {
        "ann's": queue_mail(either, submitter="ann"),
        "from ann": queue_mail(either, "ANN@one.org"),
        "bob's": queue_mail(either, submitter="bob"),
        "from bob": queue_mail(either, "x@One.org"),
        "from dele": queue_mail(either, "dele@corp.org"),
        "report": queue_mail(either, ""),
        "report too": queue_mail(either, None, None),
        "other": queue_mail(either, "x@two.org"),
    }
    sees = {
        "root": list(mails),
        "ann": ["ann's", "from ann"],
        "bob": ["bob's", "from bob"],
        "dele": ["ann's", "from ann", "from dele"],
    }
    for user, names in sees.items():
        answer = either("queue/?get", user=user)
        assert [mail["mail_id"] for mail in answer["queue"]] == [mails[name] for name in names]
        assert answer["counts"] == {"waiting": len(names), "deferred": 0, "failed": 0}


def test_what_one_sends_is_in_ones_queue(either):
    allow_sending(either)
    ids = send_mail(either, to="x@y.org, z@y.org")["queue_ids"]
    assert (
        queued_ids(either, "ann") == queued_ids(either, "dele") == queued_ids(either) == ids
        and queued_ids(either, "bob") == []
    )


@pytest.mark.parametrize(
    "expressions",
    [  # whose, in the order in which they are matched
        [("ann@one.org", "ann"), ("%", "bob")],
        [("a_n@one.org", "ann"), ("%@one.org", "bob")],
        [("%n@%", "ann"), ("ann@one.org", "bob")],
        [("ANN@one.org", "ann"), ("ann@ONE.org", "bob")],
        [("ann@one.org", "ann"), ("___@one.org", "bob"), ("%", "bob")],
        [("%", "ann"), ("ann@one.org", "bob"), ("%@one.org", "bob")],
        [("x@one.org", "bob"), ("ann@one.org", "ann")],
        [("_nn@one.org", "bob"), ("%@two.org", "bob"), ("an_@one.org", "ann")][1:],
    ],
)
def test_the_first_address_that_matches_decides(either, expressions):
    """Who has the rest of a domain does not see what its others send."""
    give(either, *reversed(expressions))
    mail = queue_mail(either, "ann@one.org")
    assert queued_ids(either, "ann") == [mail] and queued_ids(either, "bob") == []


def test_a_first_address_that_does_not_store_is_nobodys(site):
    give(site, ("%@one.org", "bob"))
    site.sql("INSERT INTO addresses VALUES ('ann@one.org', NULL, 'redirect', 'bob')")
    queue_mail(site, "ann@one.org")
    assert queued_ids(site, "bob") == queued_ids(site, "ann") == []


def test_orders_below_zero_count_too(site):
    for expression, order, user in (("%@one.org", -10, "bob"), ("ann@one.org", -5, "ann")):
        site.sql("INSERT INTO addresses VALUES (?, ?, 'store', ?)", expression, order, user)
    queue_mail(site, "ann@one.org")
    assert queued_ids(site, "ann") == [1] and queued_ids(site, "bob") == []


def test_delegation_counts_only_with_the_permission(site):
    queue_mail(site, submitter="ann")
    site.sql("DELETE FROM api_access WHERE api_user = 'dele'")
    assert queued_ids(site, "dele") == []
    site.sql("UPDATE api_user_delegates SET api_delegate = 'bob'")
    site.sql("INSERT INTO api_access VALUES ('dele', 'delegate')")
    assert queued_ids(site, "dele") == []


def test_next_user_of_a_name_does_not_inherit_the_queue(site):
    allow_sending(site)
    (mail,) = send_mail(site, to="x@y.org")["queue_ids"]
    site("users/?delete", user_name="ann")
    site("addresses/?delete", address_expression="ann@one.org", address_order=1)
    site("users/?add", user_name="ann", user_authdata="pw")
    assert queued_ids(site, "ann") == [] and queued_ids(site) == [mail], "it is delivered all the same"
    assert site.sql("SELECT mail_submitter FROM outbox") == [(None,)]


########## What is done with it ####################################################################


def test_retry_forgets_the_failures_of_that_mail(either):
    one, two = queue_mail(either), queue_mail(either)
    for mail in (one, one, two):
        fail(either, mail)
    assert either("queue/?retry", mail_id=one)["status"] == "ok"
    assert (
        either.sql("SELECT fail_mail FROM faillog") == [(two,)]
        and len(either.sql("SELECT * FROM outbox")) == 2
    )


def test_delete_takes_mail_out_with_its_failures(either):
    one, two, three = queue_mail(either), queue_mail(either), queue_mail(either)
    for mail in (one, two, three):
        fail(either, mail)
    assert either("queue/?delete", mail_id=[one, str(three)])["status"] == "ok"
    assert either.sql("SELECT mail_id FROM outbox") == either.sql("SELECT fail_mail FROM faillog") == [(two,)]


def test_bounce_gives_up_once(either):
    one, two = queue_mail(either, submitter="ann"), queue_mail(either, submitter="ann")
    fail(either, two, fatal=1)
    for _ in range(2):
        assert either("queue/?bounce", user="ann", mail_id=[one, two, one])["status"] == "ok"
    ((mail, message, seconds, fatal),) = either.sql(
        "SELECT * FROM faillog WHERE SUBSTR(fail_message, 1, 8) = 'Returned'"
    )
    assert (mail, message, fatal) == (one, "Returned by ann.", 1) and abs(int(seconds) - time.time()) < 60
    assert [mail["mail_state"] for mail in either("queue/?get")["queue"]] == ["failed", "failed"]
    types = either.sql("SELECT typeof(fail_time), typeof(fail_fatal) FROM faillog WHERE fail_mail = ?", one)
    assert types == [("text", "integer")]


def test_report_cannot_be_returned(site):
    one = queue_mail(site)
    for sender in ("", None):
        before, report = site.dump(), queue_mail(site, sender)
        assert (
            site("queue/?bounce", mail_id=[one, report])["status"]
            == "A mail without a sender cannot be returned."
        )
        site("queue/?delete", mail_id=report)
        assert [row for row in site.dump() if "sqlite_sequence" not in row] == [
            row for row in before if "sqlite_sequence" not in row
        ]


@pytest.mark.parametrize("action", ["retry", "delete", "bounce"])
def test_all_mails_that_are_named_or_none(either, action):
    mine, foreign, gone = queue_mail(either, submitter="ann"), queue_mail(either, submitter="bob"), 99
    for mail in (mine, foreign):
        fail(either, mail)
    before = either.dump()
    for ids in ([mine, foreign], [mine, gone], foreign, gone, str(foreign), -1, 10**17):
        assert either(f"queue/?{action}", user="ann", mail_id=ids)["status"] == GONE
    assert either(f"queue/?{action}", mail_id=[mine, gone])["status"] == GONE
    for ids in (None, [], "", 0):
        assert either(f"queue/?{action}", mail_id=ids)["status"] == "No mail id is set"
    assert (
        either(f"queue/?{action}", check=400, mail_id=list(range(51)))["status"]
        == "Invalid value for mail_id."
    )
    assert either.dump() == before


def test_check_names_mail_without_data(site, tmp_path):
    (tmp_path / "config.py").write_text(
        f"dbpath = {site.place!r}\nmodulelist = {site.config['modulelist']!r}\n"
    )
    queue_mail(site)
    site.sql("UPDATE outbox SET mail_data = NULL")
    command = [sys.executable, ROOT / "mailapi.py", "check"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "FAIL  Queue: 1 has no mail_data" in done.stdout and done.returncode == 1


def test_writers_do_not_wait_while_senders_are_matched(site, monkeypatch):
    """A delegate's patterns may take long: 500 with hundreds of % took ten seconds for 600 mails."""
    give(site, ("%@x.org", "ann"))
    queue_mail(site)
    free, own_senders = [], queue_owners.QueuedMails.own_senders

    def watched(*args):
        free.append(file_is_free(site.dbpath))
        return own_senders(*args)

    monkeypatch.setattr(queue_owners.QueuedMails, "own_senders", watched)
    assert len(site("queue/?get", user="ann")["queue"]) == 1 and free == [True]


@pytest.mark.parametrize("action", ["retry", "delete", "bounce"])
def test_writers_do_not_wait_while_senders_of_changed_mails_are_matched(site, monkeypatch, action):
    """A delegate's patterns held the write lock for ten seconds, and daemons gave up after five."""
    give(site, ("%@x.org", "ann"))
    mail_id = queue_mail(site)
    free, own_senders = [], queue_owners.QueuedMails.own_senders

    def watched(*args):
        free.append(file_is_free(site.dbpath))
        return own_senders(*args)

    monkeypatch.setattr(queue_owners.QueuedMails, "own_senders", watched)
    assert site(f"queue/?{action}", user="ann", mail_id=mail_id)["status"] == "ok" and free == [True]


@pytest.mark.parametrize(
    "meanwhile",
    [
        "UPDATE addresses SET address_route = 'bob'",
        "DELETE FROM api_user_delegates",
        "DELETE FROM api_access WHERE api_user = 'dele'",
    ],
)
def test_rights_that_end_while_senders_are_matched_do_not_count(site, monkeypatch, meanwhile):
    give(site, ("%@x.org", "ann"))
    mail_id = queue_mail(site)
    own_senders = queue_owners.QueuedMails.own_senders

    def interrupted(*args):
        site.sql(meanwhile)
        return own_senders(*args)

    monkeypatch.setattr(queue_owners.QueuedMails, "own_senders", interrupted)
    assert site("queue/?delete", user="dele", mail_id=mail_id)["status"] == GONE
    assert queued_ids(site) == [mail_id]


def test_a_change_that_is_always_overtaken_is_refused(site, monkeypatch):
    give(site, ("%@x.org", "ann"))
    mail_id = queue_mail(site)
    own_senders = queue_owners.QueuedMails.own_senders

    def interrupted(*args):
        give(site, ("%@y.org", "bob"))
        return own_senders(*args)

    monkeypatch.setattr(queue_owners.QueuedMails, "own_senders", interrupted)
    assert site("queue/?delete", user="ann", mail_id=mail_id, check=503)["status"] == mailapi.BUSY
    assert queued_ids(site) == [mail_id]
