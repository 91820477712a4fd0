"""What a power cut must not undo: the state database waits for the disk where it ends something (modules/state/)."""

import pytest

from support.browsers import ask, log_in, post
from support.counting import statements
from support.site import OPTIONAL, Site

pytestmark = pytest.mark.sqlite  # InnoDB waits for each commit


def synchronous(site) -> int:
    return site.app.state.connect().execute("PRAGMA synchronous").fetchone()[0]


def level_before(part: str, run: list[str]) -> str:
    """Return the last PRAGMA before the statement with this part."""
    marked = next(n for n, sql in enumerate(run) if part in sql)
    return next((sql for sql in reversed(run[:marked]) if "PRAGMA synchronous" in sql), "")


ENDS = {
    "a log-out": lambda browser, site: ask(browser, "?logout"),
    "a suspension": lambda browser, site: site("users/?suspend", user_name="ann"),
    "a deletion": lambda browser, site: site("users/?delete", user_name="ann"),
    "a token's end": lambda browser, site: ask(browser, "tokens/?delete", token_id=1),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_ends_stays_ended_after_a_power_cut(site, end):
    browser = log_in(site)
    ask(browser, "tokens/?add", token_name="x")
    run = statements(site, lambda: end(browser, site))
    first = run.index("PRAGMA synchronous = FULL")
    assert run[first + 1] == "BEGIN EXCLUSIVE"
    assert "COMMIT" in run[first : run.index("PRAGMA synchronous = NORMAL")]
    assert synchronous(site) == 1  # NORMAL


def test_a_user_who_is_locked_out_stays_so_after_a_power_cut(tmp_path):
    site = Site(tmp_path, extra={"Account": OPTIONAL["Account"]})
    site.app.modules["accounts"].ledger.enter("ann", 0, None)
    run = statements(site, lambda: site("accounts/?update", user_name="ann", Active=0))
    assert level_before('SET "Active"', run) == "PRAGMA synchronous = FULL"


def test_a_password_that_is_set_during_a_suspension_stays_after_a_power_cut(site):
    site("users/?suspend", user_name="ann")
    run = statements(site, lambda: site("users/?set_password", user_name="ann", user_authdata="new"))
    assert level_before('UPDATE "suspension"', run) == "PRAGMA synchronous = FULL"


def test_a_power_cut_gives_no_new_user_the_password_of_a_suspended_one_before(site):
    """Who was deleted by another program. Without a password of their own the new one would be suspended."""
    site("users/?suspend", user_name="bob")
    site.sql("DELETE FROM users WHERE user_name = 'bob'")
    run = statements(site, lambda: site("users/?add", user_name="bob"))
    assert level_before('DELETE FROM "suspension"', run) == "PRAGMA synchronous = FULL"


def test_a_power_cut_shows_no_later_user_what_was_about_the_one_before(site):
    log_in(site, "ann")
    run = statements(site, lambda: site("users/?delete", user_name="ann"))
    assert level_before('"audit_former_user"', run) == "PRAGMA synchronous = FULL"


def test_other_writes_do_not_wait_for_the_disk(site):
    browser = log_in(site, "root")
    for work in (
        lambda: post(site.browser(), auth={"user_name": "bob", "password": "wrong"}),
        lambda: ask(browser, "users/?set_password", user_name="ann", user_authdata="new"),
        lambda: ask(browser, "users/?add", user_name="new"),
    ):
        run = statements(site, work)
        assert "COMMIT" in run and not any("PRAGMA" in sql for sql in run)


def test_a_commit_that_fails_leaves_the_connection_as_it_was(site):
    browser = log_in(site)
    site.state("DROP TABLE session_change")
    assert "Logged out in this browser only" in ask(browser, "?logout")["status"]
    assert synchronous(site) == 1
