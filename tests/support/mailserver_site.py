"""Sites whose users are also a mail server's, in a database of their own."""

import subprocess
import sys

import pytest

from support.site import OPTIONAL, ROOT, Site

ACCOUNT = {"Account": OPTIONAL["Account"]}
WRONG_CREDENTIALS, NOT_ALLOWED = "Username or password is wrong.", "Not allowed."
MAILSERVER_UNREACHABLE = "The database of the mailserver cannot be reached. Try again."
LAST_LOGIN = 11  # the column of accounts
BOB, CAROL = "bob@atmail.com", "carol@corp.org"
# What a test does in the middle of a change, when another module can: "prepared" in MariaDB, "committed" in SQLite.
CRASH = """
import os
from mailapi import Participant, Module

class Crash(Module):
    moment = os.environ.get("CRASH")

    def act(self):
        os.kill(os.getpid(), 9)

    def on_user_change(self, call, change, user_name, password):
        if self.moment == "prepared":
            self.act()
        if self.moment == "committed":
            call.participants.insert(0, self)

    def rollback(self): pass
    def commit(self): self.act()
"""


@pytest.fixture
def site_with_mailserver(tmp_path, mailserver) -> Site:
    """A site whose users are also a mail server's, with the module Crash."""
    (tmp_path / "crash.py").write_text(CRASH)
    extra = ACCOUNT | {"Crash": str(tmp_path / "crash.py")}
    found = Site(tmp_path, extra=extra, mailserver=mailserver.url)
    found.mail = mailserver
    (tmp_path / "config.py").write_text(
        "\n".join(f"{key} = {value!r}" for key, value in found.config.items())
    )
    return found


def get_modules(site, user=BOB, password="test", **fields) -> dict:
    """Log in and ask for the modules; return the answer."""
    return site("?get_modules", user=user, password=password, **fields)


def log_in_works(site, user, password) -> bool:
    """Tell whether a user can log in; check the status of the answer."""
    answer = get_modules(site, user, password)
    assert answer["status"] == ("ok" if answer["login"] else WRONG_CREDENTIALS)
    return answer["login"]


def mailserver_row(site, user=BOB) -> tuple | None:
    """Return a user's row in the mail server's database, or None."""
    return next(iter(site.mail.sql("SELECT * FROM accounts WHERE BINARY username = %s", user)), None)


def both_databases(site) -> list:
    """Return all rows of the master database and all accounts of the mail server, without the times of log-ins."""
    accounts = site.mail.sql("SELECT * FROM accounts ORDER BY accountId")
    return [site.dump(), [row[:LAST_LOGIN] + row[LAST_LOGIN + 1 :] for row in accounts]]


def copy_bob(site, user, status=0):
    """Add another user to the mail server, with bob's password."""
    site.mail.sql(
        "INSERT INTO accounts SELECT NULL, 1, %s, password, 1, dateModified, dateCreate, %s, '', NULL, NULL, NULL,"
        " NULL, NULL, 1, 0, 1, '', 1 FROM accounts WHERE accountId = 4",
        user,
        status,
    )


def log_in_browser(site, user=BOB, password="test"):
    """Return a browser in which the user is logged in."""
    browser = site.browser()
    assert browser.post_json("/", {"auth": {"user_name": user, "password": password}}).json["login"]
    return browser


def is_logged_in(browser) -> bool:
    """Tell whether a browser has a session that is valid."""
    return browser.post("/").json["login"]


def prepared_transactions(site) -> list:
    """Return the transactions that the mail server has prepared and not ended."""
    return site.mail.sql("XA RECOVER")


def add_user(site, user=CAROL, **fields) -> dict:
    """Call users/?add."""
    return site("users/?add", user_name=user, **({"user_authdata": "pw"} | fields))


def run_check(site, *options, code=0) -> str:
    """Run `mailapi check` and return what it prints; check its exit status."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "mailapi.py"), "check", *options],
        cwd=site.dbpath.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done.stdout


def run_call(site, *arguments) -> tuple[int, str]:
    """Run `mailapi call`; return its exit status and what it prints."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "mailapi.py"), "call", *arguments],
        cwd=site.dbpath.parent,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr
