"""users/?suspend where the user is in a mail server's database, too: both databases, or neither."""

import os
import signal
import subprocess
import sys

import pytest

from mailapi import verify
from support.mailserver_site import (
    BOB,
    CAROL,
    add_user,
    both_databases,
    is_logged_in,
    log_in_browser,
    log_in_works,
    mailserver_row,
    prepared_transactions,
    run_check,
)
from support.site import ROOT, Site

pytestmark = pytest.mark.slow

STATUS = 7  # the column userStatus


@pytest.fixture
def site(site_with_mailserver) -> Site:
    return site_with_mailserver


def ask(site, action, user=BOB) -> str:
    return site(f"users/?{action}", user_name=user)["status"]


def is_active(site, user=CAROL) -> bool:
    """Tell whether a user is active; both databases must agree."""
    (stored,) = site.sql("SELECT user_authdata FROM users WHERE user_name = ?", user)
    active = mailserver_row(site, user)[STATUS] == 0
    assert (stored[0] is not None) is active
    return active


def test_who_exists_only_in_the_mail_server_is_suspended_by_its_status(site):
    browser = log_in_browser(site)
    before = mailserver_row(site)
    assert ask(site, "suspend") == "ok" and mailserver_row(site)[STATUS] == 1
    assert mailserver_row(site)[3] == before[3], "the password survives"
    assert not log_in_works(site, BOB, "test") and not is_logged_in(browser)
    assert site("users/?get", username=BOB)["users"][0]["user_login"] == 0
    assert ask(site, "restore") == "ok" and log_in_works(site, BOB, "test")
    assert not is_logged_in(browser) and ask(site, "restore") == "This user is not suspended."
    assert prepared_transactions(site) == []


def test_who_is_in_both_is_suspended_in_both(site):
    add_user(site)
    assert log_in_works(site, CAROL, "pw") and is_active(site)
    assert ask(site, "suspend", CAROL) == "ok" and not is_active(site)
    assert not log_in_works(site, CAROL, "pw")
    assert site("users/?set_password", user_name=CAROL, user_authdata="new")["status"] == "ok"
    assert not is_active(site) and not log_in_works(site, CAROL, "new")
    assert ask(site, "restore", CAROL) == "ok" and is_active(site) and log_in_works(site, CAROL, "new")


def test_a_password_that_the_mail_server_does_not_take_is_not_kept(site):
    add_user(site)
    assert ask(site, "suspend", CAROL) == "ok"
    site.mail.sql("RENAME TABLE accounts TO away")
    answer = site("users/?set_password", user_name=CAROL, user_authdata="new", check="*")
    assert answer["status"] != "ok"
    site.mail.sql("RENAME TABLE away TO accounts")
    assert ask(site, "restore", CAROL) == "ok" and log_in_works(site, CAROL, "pw")
    [(stored,)] = site.sql("SELECT user_authdata FROM users WHERE user_name = ?", CAROL)
    assert verify("pw", stored)


def test_another_status_of_the_mail_server_is_not_changed(site):
    site.mail.sql("UPDATE accounts SET userStatus = 2")
    assert ask(site, "suspend") == "ok" and mailserver_row(site)[STATUS] == 2
    assert ask(site, "restore") == "ok" and mailserver_row(site)[STATUS] == 0


def test_an_unknown_address_is_no_user(site):
    before = both_databases(site)
    assert ask(site, "suspend", "nobody@corp.org") == "There is no such user."
    assert ask(site, "restore", "nobody@corp.org") == "This user is not suspended."
    assert both_databases(site) == before and prepared_transactions(site) == []


@pytest.mark.parametrize("moment", ["prepared", "committed"])
@pytest.mark.parametrize("action", ["suspend", "restore"])
def test_the_api_killed_between_the_two(site, action, moment):
    """Before the master's commit nothing has changed once it is mended, after it everything."""
    add_user(site)
    if action == "restore":
        ask(site, "suspend", CAROL)
    done = subprocess.run(
        [sys.executable, str(ROOT / "mailapi.py"), "call", "users", action, f"user_name={CAROL}"],
        cwd=site.dbpath.parent,
        env=os.environ | {"CRASH": moment},
    )
    assert done.returncode == -signal.SIGKILL and len(prepared_transactions(site)) == 1
    assert "0 changes in doubt, 1 brought to an end" in run_check(site, "--repair")
    assert is_active(site) is ((action == "suspend") is (moment == "prepared"))
    run_check(site)
    for repeated in ("suspend", "restore"):
        assert ask(site, repeated, CAROL) == "ok"
    assert is_active(site) and log_in_works(site, CAROL, "pw") and prepared_transactions(site) == []
