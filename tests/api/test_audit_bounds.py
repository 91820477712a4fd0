"""The limits of the audit and the log, whoever fails to log in and however often."""

import json
import logging
import sys

import pytest
from mailapi_modules.state import throttle

import mailapi
from support.browsers import ask, credentials
from support.failed_log_ins import ADDRESS, OTHER_ADDRESS, attempt_log_in, fail_log_ins, post_log_in
from support.recorded import LISTED_COLUMNS, audit_rows
from support.site import Site

pytestmark = pytest.mark.every_engine

LONGEST_LINE = 2000


def entries(site, **fields) -> list[dict]:
    browser = site.browser()
    ask(browser, "?login", auth=credentials("root"))
    return ask(browser, "audit/?get", **fields)["audit"]


def limit(monkeypatch, site, others: int, failed: int):
    """Shares of so many bytes."""
    module = sys.modules[type(site.app.modules["audit"]).__module__]
    monkeypatch.setattr(module, "MOST_BYTES", {0: others, 1: failed, 2: failed})


########## One entry for a wait ####################################################################


def test_refusals_within_a_wait_are_one_entry_with_a_count(either, clock, caplog):
    caplog.set_level(logging.INFO, "mailapi.audit")
    fail_log_ins(either)
    caplog.clear()
    assert [attempt_log_in(either) for _ in range(17)] == [1] * 17
    assert len(caplog.messages) == 1 and "429" in caplog.messages[0]
    clock.now += 1
    assert attempt_log_in(either) == "wrong"  # the next wait begins
    assert [attempt_log_in(either) for _ in range(5)] == [2] * 5
    shown = [(row["audit_http"], row["audit_times"]) for row in entries(either, audit_user="bob")]
    assert shown == [(429, 5), (200, 1), (429, 17)] + [(200, 1)] * 10
    assert len(caplog.messages) == 4  # with the log-in of whoever looks it up
    assert list(entries(either)[0]) == LISTED_COLUMNS


def test_refusals_of_one_address_are_one_entry_whatever_names_it_tries(site, clock):
    fail_log_ins(site, 10, "nobody")
    assert [attempt_log_in(site, f"name {n}") for n in range(50)] == [1] * 50
    refused = [row for row in entries(site) if row["audit_http"] == 429]
    assert [(row["audit_user"], row["audit_address"], row["audit_times"]) for row in refused] == [
        ("name 0", ADDRESS, 50)
    ]


def test_refusals_of_two_subjects_are_two_entries(site, clock):
    assert attempt_log_in(site, "bob", "pw", OTHER_ADDRESS) == "in"
    fail_log_ins(site, 10, "bob", "x", OTHER_ADDRESS)
    fail_log_ins(site, 10, "ann", "x", ADDRESS)
    for _ in range(3):
        assert (
            attempt_log_in(site, "bob", "x", OTHER_ADDRESS)
            == attempt_log_in(site, "ann", "x", "192.0.2.44")
            == 1
        )
    assert sorted(
        (row["audit_user"], row["audit_times"]) for row in entries(site) if row["audit_http"] == 429
    ) == [("ann", 3), ("bob", 3)]


def test_refusals_in_dav_are_counted_as_all_others(tmp_path, clock):
    site = Site(tmp_path, extra={"Service": "modules/services.py"}, services={"dav": "http://127.0.0.1:9/"})
    fail_log_ins(site)
    for _ in range(4):
        site.browser(REMOTE_ADDR=ADDRESS, HTTP_AUTHORIZATION="Basic Ym9iOng=").get("/dav/bob/", status=429)
    refused = [(row["audit_module"], row["audit_times"]) for row in entries(site) if row["audit_http"] == 429]
    assert refused == [("dav", 4)]


def test_a_refusal_is_logged_where_it_cannot_be_kept(site, clock, caplog):
    caplog.set_level(logging.INFO, "mailapi.audit")
    fail_log_ins(site)
    site.state("DROP TABLE audit_entry")
    caplog.clear()
    assert attempt_log_in(site) == 1
    messages = [record.message for record in caplog.records if record.name == "mailapi.audit"]
    assert [text.partition("=")[0].partition(":")[0] for text in messages] == [
        "time",
        "the audit cannot be written",
    ]


########## Bytes ###################################################################################


@pytest.mark.parametrize("letter", ["x", "\x01", "ü", "€", "\U0001f600", '"', "\\", "x\U0001f600"])
def test_what_anybody_can_cause_is_cut_in_the_log_and_the_database(site, caplog, letter):
    caplog.set_level(logging.INFO)
    long = letter * 10_000
    post_log_in(site, long, "wrong", "x" * 5000)
    site.raw(
        "pop/?add",
        json.dumps({"pop_user": long[:1000], "auth": credentials(long[:2000], long[:2000])}).encode(),
    )
    site.raw("users/?get", b"", HTTP_AUTHORIZATION="Bearer " + "x" * 30_000)
    ask(site.browser(), "?login", auth=credentials("root"))
    ask(site.browser(HTTP_AUTHORIZATION="Bearer x"), "x" * 30_000 + "/?get", status=404)
    assert site("addresses/?add", user="root", address_expression="a" * 900 + "@b.org", address_router="no")[
        "status"
    ]
    assert len(audit_rows(site)) >= 4
    for line in caplog.messages:
        assert len(line) < LONGEST_LINE and line.isascii()
    for row in audit_rows(site):
        assert sum(len(str(value).encode()) for value in row) < LONGEST_LINE


def test_a_failure_of_the_program_is_logged_at_a_bounded_length(site, caplog, monkeypatch):
    def fails(*_):
        raise RuntimeError("secret-free but long " * 100_000)

    monkeypatch.setattr(site.app.sessions, "find", fails)
    site.browser(HTTP_COOKIE="PHPSESSID=x").get("/users/?get&x=1", status=500)
    monkeypatch.setattr(type(site.app), "module", fails)
    site.browser().get("/" + "a%0Atime=forged" * 5000, status=500)
    failures = [record for record in caplog.records if record.name == "mailapi"]
    assert len(failures) == 2 and all(len(record.getMessage()) < 9000 for record in failures)
    assert "\ntime=forged" not in failures[1].getMessage()


def test_failures_push_out_only_failures(site, monkeypatch):
    site.app.throttle.free = 10**6
    assert site("pop/?add", pop_user="bob")["status"] == "ok"
    assert site("pop/?add", user="bob", pop_user="ann")["status"] == "Not allowed."
    limit(monkeypatch, site, 10**6, 20_000)
    for n in range(150):
        attempt_log_in(site, "bob", f"guess {n}")
        site("?login", user=f"nobody {n}", password="")
        site.browser(HTTP_AUTHORIZATION=f"Bearer {n}").get("/pop/?add")
    rows = audit_rows(site)
    kept = [(row[0], row[6]) for row in rows if row[4] == "add" and row[5]]
    assert kept == [("root", "ok"), ("bob", "Not allowed.")]
    failed = [row for row in rows if row[6] not in ("ok", "Not allowed.")]
    assert 50 < len(failed) < 100  # each takes 200 bytes and what it says
    assert site.state("SELECT COUNT(*) FROM audit_entry") == [(len(rows),)]


def test_others_push_out_no_failures(site, monkeypatch):
    assert attempt_log_in(site, "bob", "wrong") == "wrong"
    limit(monkeypatch, site, 10_000, 10**6)
    for n in range(100):
        site.browser(REMOTE_ADDR=f"192.0.2.{n}").post_json("/?login", {"auth": credentials("ann")})
    assert audit_rows(site)[0][6] == "Username or password is wrong."
    assert 25 < len(audit_rows(site)) < 50


@pytest.mark.sqlite
@pytest.mark.parametrize("long", ["", "x" * 4000])
def test_the_file_takes_no_more_bytes_than_the_shares_say(site, monkeypatch, long):
    site.app.throttle.free = 10**6
    monkeypatch.setattr(throttle, "BUCKETS", 10)
    limit(monkeypatch, site, 200_000, 200_000)
    attempt_log_in(site, "bob", "pw")
    site.state("PRAGMA wal_checkpoint(TRUNCATE)")
    before = site.state("SELECT * FROM pragma_page_count")[0][0]
    for n in range(1500):
        attempt_log_in(site, f"{n} {long}", "wrong")
    pages = site.state("SELECT * FROM pragma_page_count")[0][0] - before
    assert pages * 4096 < 250_000


########## Audits that exist already ###############################################################


def test_the_audit_of_a_former_version_goes_on(site):
    site("?login", user="bob")
    site.state("DROP TABLE audit_entry")
    site.app = mailapi.create_app(site.config)
    site("?login", user="ann")
    assert [(row["audit_user"], row["audit_times"]) for row in entries(site)] == [
        ("root", 1),
        ("ann", 1),
        ("bob", 1),
    ]
    assert len(site.state("SELECT * FROM audit_entry")) == 2


def test_what_a_user_is_refused_displaces_nothing_that_was_done(site, monkeypatch):
    limit(monkeypatch, site, 100_000, 3_000)
    assert site("pop/?add", pop_user="ann")["status"] == "ok"
    for number in range(40):
        assert (
            site("delegates/?user_add", user="bob", api_user="x" * 200, api_delegate=f"u{number}")["status"]
            == "Not allowed."
        )
    rows = site("audit/?get")["audit"]
    assert ("add", "ann", "ok") in [
        (row["audit_action"], row["audit_target"], row["audit_status"]) for row in rows
    ]
    assert 0 < len([row for row in rows if row["audit_action"] == "user_add"]) < 20
