"""users/?suspend and ?restore: who is suspended cannot log in anywhere, and gets their mail and password back."""

import os
import signal
import subprocess
import sys

import pytest

from support.accounts import WRONG_CREDENTIALS
from support.bearers import make_token, token_works
from support.browsers import log_in
from support.command_line import run_mailapi
from support.daemons import daemon_connection, daemon_log_in
from support.failures import BUSY
from support.site import ROOT, Site, authdata

pytestmark = pytest.mark.every_engine

NOT_SUSPENDED, NO_SUCH_USER = "This user is not suspended.", "There is no such user."


def ask(site, action, user_name="ann", **fields) -> str:
    """Call an action of users/ about a user; return the status."""
    return site(f"users/?{action}", user_name=user_name, **fields)["status"]


def logs_in(site, user="ann", password="pw") -> bool:
    """Tell whether the API and the daemons take a password; they must agree."""
    answer = site("?get_modules", user=user, password=password)
    assert answer["status"] == ("ok" if answer["login"] else WRONG_CREDENTIALS)
    assert answer["login"] is (daemon_log_in(site, user, password) == user)
    return answer["login"]


def kept(site) -> list:
    """Return whose passwords the state database keeps."""
    site.app.state.connect()
    return sorted(row[0] for row in site.app.state.run("SELECT user_name FROM suspension").fetchall())


def test_who_is_suspended_cannot_log_in_until_restored(either):
    before = either.dump()
    assert ask(either, "suspend") == "ok" and kept(either) == ["ann"]
    assert not logs_in(either) and logs_in(either, "bob")
    assert ask(either, "restore") == "ok" and kept(either) == []
    assert logs_in(either) and either.dump() == before


def test_sessions_end_and_tokens_wait(site):
    browser, token = log_in(site, "ann"), make_token(site, "ann")
    assert browser.post("/").json["login"] and token_works(site, token)
    assert ask(site, "suspend") == "ok"
    assert not browser.post("/").json["login"] and not token_works(site, token)
    assert ask(site, "restore") == "ok"
    assert not browser.post("/").json["login"] and token_works(site, token)


def test_nothing_else_of_the_user_changes(either):
    either.sql("INSERT INTO popd VALUES ('ann', 0)")
    either.sql("INSERT INTO api_access VALUES ('ann', 'special')")
    before = either.dump()
    ask(either, "suspend")
    changed = set(before) ^ set(either.dump())
    assert len(changed) == 2 and all(row.startswith("users ") for row in changed)


def test_suspending_again_keeps_the_password(site):
    assert [ask(site, "suspend"), ask(site, "suspend"), ask(site, "restore")] == ["ok"] * 3
    assert logs_in(site)
    assert ask(site, "restore") == NOT_SUSPENDED and logs_in(site)


def test_a_new_password_counts_when_the_user_is_restored(site):
    ask(site, "suspend")
    assert ask(site, "set_password", user_authdata="new") == "ok"
    assert not logs_in(site) and not logs_in(site, password="new")
    ask(site, "restore")
    assert logs_in(site, password="new") and not logs_in(site)


def test_a_password_that_was_taken_away_meanwhile_stays_away(site):
    ask(site, "suspend")
    ask(site, "set_password")
    assert ask(site, "restore") == "ok" and not logs_in(site) and kept(site) == []


def test_who_had_no_password_gets_one_only_when_restored(site):
    assert ask(site, "suspend", "nologin") == "ok"
    ask(site, "set_password", "nologin", user_authdata="pw")
    assert not logs_in(site, "nologin")
    assert ask(site, "restore", "nologin") == "ok" and logs_in(site, "nologin")


@pytest.mark.parametrize("action", ["suspend", "restore"])
def test_an_unknown_user_is_named(site, action):
    before = site.dump()
    status = {"suspend": NO_SUCH_USER, "restore": NOT_SUSPENDED}[action]
    assert ask(site, action, "nobody") == status and site.dump() == before and kept(site) == []


def test_nobody_suspends_themselves(site):
    assert ask(site, "suspend", "root") == "Nobody can suspend themselves." and logs_in(site, "root")


def test_a_delegate_suspends_and_restores(site):
    assert site("users/?suspend", user="dele", user_name="ann")["status"] == "ok"
    assert not logs_in(site)
    assert site("users/?restore", user="dele", user_name="ann")["status"] == "ok" and logs_in(site)
    assert site("users/?suspend", user="dele", user_name="bob")["status"] == "Not allowed."


def test_the_password_of_a_deleted_user_is_not_kept_for_the_next_of_that_name(site):
    ask(site, "suspend")
    ask(site, "delete")
    assert kept(site) == []
    assert site("users/?add", user_name="ann")["user"] is True
    assert ask(site, "restore") == NOT_SUSPENDED and not logs_in(site)


def test_nor_if_another_program_deleted_the_user(site):
    ask(site, "suspend", "bob")
    site.sql("DELETE FROM users WHERE user_name = 'bob'")
    assert ask(site, "restore", "bob") == NOT_SUSPENDED and kept(site) == ["bob"]
    assert site("users/?add", user_name="bob")["user"] is True and kept(site) == []
    assert ask(site, "restore", "bob") == NOT_SUSPENDED and not logs_in(site, "bob")


def test_an_import_makes_new_users_of_former_names(site):
    ask(site, "suspend", "bob")
    site.sql("DELETE FROM users WHERE user_name = 'bob'")
    assert site("users/?import", file="user_name\nbob\n")["imported"] == 1 and kept(site) == []
    assert ask(site, "restore", "bob") == NOT_SUSPENDED and not logs_in(site, "bob")


def test_a_refused_import_keeps_the_password_of_who_was_added_and_suspended_meanwhile(site, monkeypatch):
    from mailapi_modules.directory.user_import import UserImport

    def hash_late(users, report_progress):
        monkeypatch.undo()
        site("users/?add", user_name="new", user_authdata="pw")
        site("users/?suspend", user_name="new")
        users.hash(report_progress)

    monkeypatch.setattr(UserImport, "hash", hash_late)
    assert "UNIQUE" in site("users/?import", file="user_name\nnew\n")["status"]
    assert kept(site) == ["new"] and ask(site, "restore", "new") == "ok" and logs_in(site, "new")


def test_a_password_that_another_program_sets_ends_the_suspension(site):
    ask(site, "suspend")
    site.sql("UPDATE users SET user_authdata = ? WHERE user_name = 'ann'", authdata("theirs"))
    assert logs_in(site, password="theirs") and ask(site, "restore") == NOT_SUSPENDED
    assert ask(site, "set_password", user_authdata="new") == "ok"
    assert logs_in(site, password="new") and kept(site) == []


def test_the_kept_password_is_in_no_answer_and_not_in_the_audit(site):
    secret = site.sql("SELECT user_authdata FROM users WHERE user_name = 'ann'")[0][0]
    answers = [site("users/?suspend", user_name="ann"), site("users/?restore", user_name="ann")]
    answers += [site("users/?get", user_name="ann"), site("audit/?get")]
    assert secret not in str(answers) and "suspension_id" not in str(answers)
    targets = [(row["audit_action"], row["audit_target"]) for row in answers[-1]["audit"]]
    assert ("suspend", "ann") in targets and ("restore", "ann") in targets


########## What a crash leaves #####################################################################


@pytest.fixture
def crashing(tmp_path) -> Site:
    """A site that dies when it has written to the state database, before the master database commits."""
    (tmp_path / "crash.py").write_text(
        "import os\nfrom mailapi import Module\n\nclass Crash(Module):\n"
        "    def on_user_change(self, call, change, user_name, password):\n"
        "        os.environ.get('CRASH') and os.kill(os.getpid(), 9)\n"
    )
    site = Site(tmp_path, extra={"Crash": str(tmp_path / "crash.py")})
    lines = [f"{key} = {value!r}" for key, value in site.config.items()]
    (tmp_path / "config.py").write_text("\n".join(lines))
    return site


def killed(site, action: str):
    """Run an action of `mailapi call` that is killed between the two databases."""
    command = [sys.executable, str(ROOT / "mailapi.py"), "call", "users", action, "user_name=ann"]
    done = subprocess.run(command, cwd=site.file.parent, env=os.environ | {"CRASH": "1"})
    assert done.returncode == -signal.SIGKILL


@pytest.mark.sqlite
@pytest.mark.slow
def test_killed_while_suspending_nothing_has_changed_and_check_mends(crashing):
    killed(crashing, "suspend")
    assert logs_in(crashing) and kept(crashing) == ["ann"]
    folder, line = crashing.file.parent, "a suspension of ann is recorded that is not in effect"
    assert f"FAIL  User: {line}" in run_mailapi(folder, "check", check=1)
    assert f"ok    User: {line}: deleted" in run_mailapi(folder, "check", "--repair")
    assert logs_in(crashing) and kept(crashing) == []


@pytest.mark.sqlite
@pytest.mark.slow
def test_killed_while_restoring_the_user_is_still_suspended(crashing):
    ask(crashing, "suspend")
    killed(crashing, "restore")
    assert not logs_in(crashing) and kept(crashing) == ["ann"]
    assert "ok    User: suspended users: 1, such as ann" in run_mailapi(crashing.file.parent, "check")
    assert ask(crashing, "restore") == "ok" and logs_in(crashing)


def test_a_password_left_by_a_crash_never_comes_back(site):
    """Killed after the master's commit: the row is there, and what the user does then counts."""
    ask(site, "suspend")
    secret = site.app.state.run("SELECT user_authdata FROM suspension").fetchone()[0]
    site.sql("UPDATE users SET user_authdata = ? WHERE user_name = 'ann'", secret)  # what `restore` commits
    assert ask(site, "set_password") == "ok"  # takes the log-in away
    assert ask(site, "restore") == NOT_SUSPENDED and not logs_in(site) and kept(site) == []


@pytest.mark.sqlite
def test_a_password_that_could_not_be_restored_is_not_taken_away(tmp_path):
    """The mail daemons take any bytes before the colon; no text has them."""
    site, stored = Site(tmp_path), b"s\xe4lt:" + b"0" * 64
    site.sql("UPDATE users SET user_authdata = CAST(? AS TEXT) WHERE user_name = 'ann'", stored)
    assert "not UTF-8" in ask(site, "suspend")
    rows = site.sql("SELECT CAST(user_authdata AS BLOB) FROM users WHERE user_name = 'ann'")
    assert rows == [(stored,)] and kept(site) == []
    assert ask(site, "set_password", user_authdata="new") == ask(site, "suspend") == "ok"


@pytest.mark.sqlite
def test_a_suspension_that_was_refused_is_not_in_effect(site):
    """Nor that of a user without a password, whose row in `users` does not change."""
    ask(site, "get")
    site.app.db.database.timeout = 0.2
    with daemon_connection(site.dbpath) as daemon:
        daemon.execute("BEGIN")
        daemon.execute("SELECT * FROM users").fetchall()
        assert site("users/?suspend", check=503, user_name="nologin")["status"] == BUSY
    site.app.db.close()
    assert ask(site, "set_password", "nologin", user_authdata="pw") == "ok" and logs_in(site, "nologin")
    assert ask(site, "set_password", "nologin") == ask(site, "suspend", "nologin") == "ok"
    assert ask(site, "set_password", "nologin", user_authdata="pw") == "ok" and not logs_in(site, "nologin")
    assert ask(site, "restore", "nologin") == "ok" and logs_in(site, "nologin")
