"""What a power cut must not undo: the state database waits for the disk where it ends something (modules/state/)."""

import pytest

from support.browsers import ask, log_in, post
from support.counting import statements

pytestmark = pytest.mark.sqlite  # InnoDB waits for each commit


def synchronous(site) -> int:
    return site.app.state.connect().execute("PRAGMA synchronous").fetchone()[0]


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


def test_a_power_cut_shows_no_later_user_what_was_about_the_one_before(site):
    log_in(site, "ann")
    run = statements(site, lambda: site("users/?delete", user_name="ann"))
    marked = next(n for n, sql in enumerate(run) if '"audit_former_user"' in sql)
    level = [sql for sql in run[:marked] if "PRAGMA synchronous" in sql][-1]
    assert level == "PRAGMA synchronous = FULL"


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
