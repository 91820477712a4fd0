"""A clock that was ahead for a while: what it left behind in the future counts for nothing."""

import pytest

from support.bearers import make_token, token_works
from support.browsers import ask, browser_with_session, is_logged_in, log_in, session_of
from support.failed_log_ins import ADDRESS, OTHER_ADDRESS, attempt_log_in, fail_log_ins
from support.recorded import audit_rows

pytestmark = pytest.mark.every_engine

DAY, YEAR = 86400, 365 * 86400


def test_failed_log_ins_dated_in_the_future_lock_nobody_out(site, clock):
    clock.now += YEAR
    fail_log_ins(site)
    site.state("UPDATE failure SET failures = 30")
    assert attempt_log_in(site) == 900
    clock.now -= YEAR
    fail_log_ins(site)  # and are counted anew
    assert attempt_log_in(site) == 1
    site.state(
        "UPDATE failure SET last = last + 50, failures = 10"
    )  # another instance's clock, a little ahead
    assert attempt_log_in(site) == 1
    assert attempt_log_in(site, "bob", "pw", OTHER_ADDRESS) == 1


def test_a_known_address_dated_in_the_future_does_not_count(site, clock):
    clock.now += YEAR
    assert attempt_log_in(site, "bob", "pw", OTHER_ADDRESS) == "in"
    clock.now -= YEAR
    fail_log_ins(site, 10, "bob", "x", ADDRESS)
    assert attempt_log_in(site, "bob", "pw", OTHER_ADDRESS) == 1
    clock.now += 1
    assert attempt_log_in(site, "bob", "pw", OTHER_ADDRESS) == "in"
    fail_log_ins(site, 1, "bob", "x", ADDRESS)
    assert (
        attempt_log_in(site, "bob", "pw", "192.0.2.50") == 2
        and attempt_log_in(site, "bob", "pw", OTHER_ADDRESS) == "in"
    )  # known now


def test_a_session_dated_in_the_future_is_not_valid(site, clock):
    clock.now += YEAR
    browser = log_in(site)
    assert is_logged_in(browser)
    clock.now -= YEAR
    assert not is_logged_in(browser)
    clock.now += YEAR - 50  # another instance's clock, a little behind
    assert is_logged_in(browser)


def test_whose_sessions_were_ended_by_a_clock_that_was_ahead_can_log_in(site, clock):
    clock.now += YEAR
    early = log_in(site)
    site("users/?set_password", user_name="bob", user_authdata="new")
    clock.now -= YEAR
    browser, other = log_in(site, "bob", "new"), log_in(site, "bob", "new")
    copy = browser_with_session(site, session_of(browser))
    assert is_logged_in(browser) and is_logged_in(other)
    ask(browser, "?logout")
    assert not is_logged_in(copy) and is_logged_in(other)
    assert ask(other, "users/?set_password", user_name="bob", user_authdata="newer")["status"] == "ok"
    assert is_logged_in(other)
    site("users/?set_password", user_name="bob", user_authdata="new")
    assert not is_logged_in(other) and is_logged_in(log_in(site, "bob", "new"))
    clock.now += YEAR
    assert not is_logged_in(early) and not is_logged_in(copy)


@pytest.mark.parametrize("ahead", [2 * DAY, YEAR])
def test_what_was_ended_is_not_valid_again_after_the_clock_was_ahead_for_a_while(site, clock, ahead):
    ask(log_in(site, "root"), "?logout")
    clock.now += 2 * DAY
    browser, other = log_in(site), log_in(site, "dele")
    copies = [browser_with_session(site, session_of(each)) for each in (browser, other)]
    ask(browser, "?logout")
    site("users/?set_password", user_name="dele", user_authdata="new")
    site.sql("UPDATE users SET user_authdata = (SELECT user_authdata FROM users WHERE user_name = 'bob')")
    clock.now += ahead
    for _ in range(3):
        ask(log_in(site, "ann"), "?logout")  # what is expired may be deleted now
        clock.now += 3600
    clock.now -= ahead
    assert not any(map(is_logged_in, copies))


def test_a_token_dated_in_the_future_is_not_valid(site, clock):
    clock.now += YEAR
    early = make_token(site, token_expires=clock.now + 3600)
    assert token_works(site, early)
    clock.now -= YEAR
    assert not token_works(site, early)
    secret = make_token(site)
    site.state("UPDATE token SET token_used = ?", clock.now + YEAR)
    assert token_works(site, secret)
    assert site.state("SELECT token_used FROM token ORDER BY token_id")[1] == (clock.now,)


def test_a_claim_dated_in_the_future_blocks_nobody(site, clock):
    from mailapi_modules.provisioning.account_store import Ledger

    site.app.config.apiserver = str(site.file.with_name("accounts.db3"))
    ledger = Ledger(site.app, {"mail": "imap://one"})
    clock.now += YEAR
    assert ledger.enter("bob", 1, None)[1] == ["mail"]
    assert ledger.enter("bob", 1, None)[1] == []  # somebody is at it
    clock.now -= YEAR
    assert ledger.enter("bob", 1, None)[1] == ["mail"]


########## The audit ###############################################################################


def audited_users(site) -> list[str]:
    """Return the users in the audit, from the oldest row to the newest."""
    return [row[0] for row in audit_rows(site)]


def test_a_clock_that_jumps_ahead_deletes_no_audit(site, clock):
    lifetime = site.app.config.audit_lifetime
    for days in range(0, 100, 2):
        clock.now += 43200
        attempt_log_in(site, "bob", f"guess {days}")
        clock.now += 43200
        attempt_log_in(site, "ann", "pw")
    clock.now += 2 * lifetime
    for n in range(20):
        attempt_log_in(site, "root", "pw", f"192.0.2.{n}")
    clock.now -= 2 * lifetime
    attempt_log_in(site, "dele", "pw")
    seen = audited_users(site)
    assert seen.count("root") == 20 and seen[-1] == "dele"
    assert seen.count("bob") + seen.count("ann") >= 96  # two days' entries at the most


def test_old_rows_are_deleted_after_the_clock_has_been_ahead_for_a_day(site, clock):
    """A server that was off for a year forgets what it must, a day later."""
    attempt_log_in(site, "bob", "pw")
    clock.now += YEAR
    attempt_log_in(site, "ann", "pw")
    assert audited_users(site) == ["bob", "ann"]
    clock.now += 86400
    attempt_log_in(site, "dele", "pw")
    assert audited_users(site) == ["ann", "dele"]


def test_old_rows_are_deleted_to_the_second_when_requests_come_every_day(site, clock):
    attempt_log_in(site, "bob", "pw")
    lifetime = site.app.config.audit_lifetime
    for _ in range(lifetime // 43200):
        clock.now += 43200
        attempt_log_in(site, "ann", "pw")
    assert audited_users(site).count("bob") == 1
    clock.now += 1
    attempt_log_in(site, "dele", "pw")
    assert audited_users(site).count("bob") == 0


def test_log_ins_are_recorded_when_the_clock_was_set_back(site, clock):
    site("?get_modules", user="bob")
    clock.now -= DAY
    site("?get_modules", user="bob")
    site("?get_modules", user="bob")  # the same within an hour is recorded once
    assert audited_users(site) == ["bob", "bob"]


def test_a_clock_that_is_behind_for_a_while_deletes_nothing(site, clock):
    for _ in range(3):
        attempt_log_in(site, "bob", "pw")
    clock.now -= 10 * YEAR
    attempt_log_in(site, "ann", "pw")
    clock.now += 10 * YEAR
    attempt_log_in(site, "dele", "pw")
    assert [name for name in audited_users(site) if name != "ann"] == ["bob"] * 3 + ["dele"]
