"""Log-in, cookie, session and the state database behind them (docs/wire.md sections 1 and 2, F19, F21, F30)."""

import os
import re
import shutil
import stat
import threading

import pytest
from mailapi_modules.state import session_ids, sessions

from support import engines
from support.browsers import (
    LOGGED_OUT,
    NO_PASSWORD,
    NO_USER_NAME,
    STATE_UNUSABLE,
    WRONG_CREDENTIALS,
    ask,
    browser_with_session,
    credentials,
    is_logged_in,
    log_in,
    post,
    session_of,
    spoil_state_database,
)
from support.site import Site, authdata

pytestmark = pytest.mark.every_engine


def set_cookie(site, environ=None, **fields) -> str | None:
    return post(site.browser(**environ or {}), **fields).headers.get("Set-Cookie")


########## The cookie ##############################################################################


def test_cookie_has_path_httponly_and_samesite(site):
    name_and_value, *attributes = set_cookie(site, auth=credentials()).split("; ")
    assert re.fullmatch("PHPSESSID=[0-9a-v]{60,128}", name_and_value)
    assert attributes == ["Path=/", "HttpOnly", "SameSite=Lax"]


def test_cookie_is_secure_under_https(site):
    assert "; Secure" in set_cookie(site, {"wsgi.url_scheme": "https"}, auth=credentials())


@pytest.mark.parametrize(
    ("mount", "path"), [("/mail", "/mail/"), ("/mail/api/", "/mail/api/"), ("/a b", "/a%20b/")]
)
def test_cookie_belongs_to_the_mount_point(site, mount, path):
    environ = {"SCRIPT_NAME": mount}
    assert f"; Path={path}; " in set_cookie(site, environ, auth=credentials())
    assert f"; Path={path}; " in set_cookie(site, environ | {"HTTP_COOKIE": "PHPSESSID=x"}, url="?logout")


def test_only_a_log_in_sets_a_cookie(site):
    assert set_cookie(site) is None
    assert set_cookie(site, auth=credentials(password="wrong")) is None
    assert "Set-Cookie" not in post(log_in(site)).headers


def test_an_id_chosen_by_the_client_is_never_accepted(site):
    victim = browser_with_session(site, "chosen")
    assert not is_logged_in(victim)
    given = post(victim, auth=credentials()).headers["Set-Cookie"]
    assert "PHPSESSID=chosen" not in given
    assert not is_logged_in(browser_with_session(site, "chosen"))


def test_session_ids_are_accepted_by_session_start_of_php(site):
    """It refuses others, and then answers nothing at all to a browser that has been with mailapi (docs/wire.md F41)."""
    for _ in range(25):
        assert re.fullmatch("[A-Za-z0-9,-]{43,}", session_of(log_in(site)))


def test_each_log_in_has_a_new_id_and_ends_the_session_sent_with_it(site):
    browser = log_in(site)
    other = browser_with_session(site, session_of(browser))
    assert is_logged_in(other)
    ask(browser, auth=credentials("ann"))
    assert (
        session_of(browser) not in other.extra_environ["HTTP_COOKIE"] and ask(browser)["auth_user"] == "ann"
    )
    assert not is_logged_in(other)


def test_ids_are_stored_as_hashes_only(site):
    browser = log_in(site)
    files = sorted(site.dbpath.parent.glob("master.db3.state*"))
    ask(log_in(site, "ann"), "?logout")
    ask(browser, "users/?set_password", user_name="bob", user_authdata="new")
    stored = b"".join(file.read_bytes() for file in files)
    assert b"session_change" in stored
    for secret in (session_of(browser), session_of(browser)[:20], authdata("pw"), authdata("pw")[5:]):
        assert secret.encode() not in stored


def test_state_files_are_readable_by_their_owner_only(site):
    old = os.umask(0)
    try:
        log_in(site)
    finally:
        os.umask(old)
    modes = {
        file.name: stat.S_IMODE(file.stat().st_mode) for file in site.dbpath.parent.glob("master.db3.state*")
    }
    assert modes and set(modes.values()) == {0o600}


########## Log-in and log-out ######################################################################


@pytest.mark.parametrize(
    ("auth", "status"),
    [
        (None, NO_USER_NAME),
        ({}, NO_USER_NAME),
        ([], NO_USER_NAME),
        ({"password": "pw"}, NO_USER_NAME),
        (credentials("", ""), NO_USER_NAME),
        (credentials("0"), NO_USER_NAME),
        (credentials(None), NO_USER_NAME),
        ({"user_name": "bob"}, NO_PASSWORD),
        (credentials(password=""), NO_PASSWORD),
        (credentials("nobody here", None), NO_PASSWORD),
        (credentials(password="0"), WRONG_CREDENTIALS),
        (credentials(password="wrong"), WRONG_CREDENTIALS),
        (credentials("nobody here"), WRONG_CREDENTIALS),
        (credentials("nologin"), WRONG_CREDENTIALS),
        (credentials("BOB"), WRONG_CREDENTIALS),
    ],
)
def test_a_refused_log_in_gives_the_reason_and_nothing_else(either, auth, status):
    before = either.dump()
    answer = ask(either.browser(), "pop/?add", auth=auth, pop_user="bob")
    assert list(answer) == ["status", "debug", "api_version", "schema_version", "session", "login"]
    assert (answer["status"], answer["login"]) == (status, False)
    assert either.dump() == before


def test_empty_credentials_with_a_live_cookie_are_logged_in(site):
    browser = log_in(site)
    for auth in ({}, credentials("", ""), credentials(None, None), credentials("", "wrong")):
        answer = ask(browser, "?login", auth=auth)
        assert (answer["status"], answer["login"], answer["auth_user"]) == ("ok", True, "bob")


@pytest.mark.parametrize(
    "auth", [credentials(password="wrong"), credentials("root", "no"), credentials(password="")]
)
def test_wrong_credentials_leave_the_session_alone(site, auth):
    browser = log_in(site)
    before = session_of(browser)
    answer = ask(browser, "pop/?add", auth=auth, pop_user="bob")
    assert answer["login"] is False and site.sql("SELECT * FROM popd") == []
    assert session_of(browser) == before and is_logged_in(browser)


def test_logout_ends_the_session_and_deletes_the_cookie(site):
    browser = log_in(site)
    copy = browser_with_session(site, session_of(browser))
    assert is_logged_in(copy)
    answer = post(browser, "?logout")
    assert list(answer.json)[-1] == "login" and (answer.json["status"], answer.json["login"]) == (
        LOGGED_OUT,
        False,
    )
    assert "Max-Age=0" in answer.headers["Set-Cookie"] and "PHPSESSID" not in browser.cookies
    assert not is_logged_in(copy)
    assert ask(browser, "?logout")["status"] == LOGGED_OUT  # nobody to log out is no error


@pytest.mark.parametrize("url", ["?logout", "users/?logout", "pop/?add&logout", "?get_modules&logout="])
def test_logout_wins_over_credentials_and_actions(site, url):
    browser = log_in(site)
    answer = ask(browser, url, auth=credentials(), pop_user="bob")
    assert (answer["status"], answer["login"]) == (LOGGED_OUT, False)
    assert not is_logged_in(browser)
    assert site.sql("SELECT * FROM popd") == []


def test_two_browsers_have_a_session_each(site):
    first, second, third = log_in(site), log_in(site), log_in(site, "ann")
    ask(first, "?logout")
    assert not is_logged_in(first) and ask(second)["auth_user"] == "bob" and ask(third)["auth_user"] == "ann"


def test_log_ins_store_nothing(site):
    """Scripts log in with every request, and keep no cookie."""
    log_in(site)
    on_sqlite = "SELECT name FROM sqlite_master WHERE type = 'table'"
    tables = [name for (name,) in site.state(on_sqlite if engines.ENGINE == "sqlite" else "SHOW TABLES")]
    before = [site.state(f"SELECT * FROM {table}") for table in tables]
    browsers = [log_in(site) for _ in range(25)]
    assert [site.state(f"SELECT * FROM {table}") for table in tables] == before
    assert all(map(is_logged_in, browsers))


def test_stored_log_outs_are_bounded_and_the_oldest_sessions_end_first(site, clock, monkeypatch):
    monkeypatch.setattr(sessions, "MOST_CHANGES", 10)
    old, other = log_in(site), log_in(site, "ann")
    ended = []
    for _ in range(30):
        clock.now += 1
        browser = log_in(site)
        ended.append(session_of(browser))
        ask(browser, "?logout")
    assert site.state("SELECT COUNT(*) FROM session_change") == [(10,)]
    assert not any(is_logged_in(browser_with_session(site, each)) for each in ended)
    assert not is_logged_in(old) and is_logged_in(other) and is_logged_in(log_in(site))


def test_session_expires_after_session_lifetime(tmp_path, clock):
    site = Site(tmp_path, session_lifetime=600)
    browser, ended = log_in(site), log_in(site)
    ask(ended, "?logout")
    clock.now += 590
    assert is_logged_in(browser)
    clock.now += 11
    assert ask(browser)["status"] == NO_USER_NAME
    for _ in range(30):
        clock.now += 86400
        ask(log_in(site), "?logout")
    assert site.state("SELECT COUNT(*) FROM session_change") == [(8,)]  # what expired does not pile up


def test_an_id_with_any_byte_changed_is_no_session(site):
    """Each byte counts, also those that only spell an id differently."""
    whole = session_of(log_in(site))
    assert is_logged_in(browser_with_session(site, whole))
    for i in range(len(whole)):
        changed = whole[:i] + ("1" if whole[i] == "0" else "0") + whole[i + 1 :]
        assert not is_logged_in(browser_with_session(site, changed))
    for changed in (whole[:-1], whole + "0", whole.upper(), whole[:-1] + "v", "", "0" * 128, "v" * 128):
        assert changed == whole or not is_logged_in(browser_with_session(site, changed))


def test_a_session_id_of_another_installation_is_not_valid(tmp_path):
    """The users are the same, and so are their passwords."""
    installations = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        installations.append(Site(tmp_path / name))
    ids = [session_of(log_in(site)) for site in installations]
    assert [is_logged_in(browser_with_session(site, each)) for site in installations for each in ids] == [
        True,
        False,
        False,
        True,
    ]


def test_a_session_id_with_another_users_name_in_it_is_not_valid(site):
    raw = session_ids.decoded(session_of(log_in(site)))
    forged = raw[: session_ids.FIXED] + b"root"
    assert not is_logged_in(browser_with_session(site, session_ids.encoded(forged)))
    assert is_logged_in(browser_with_session(site, session_ids.encoded(raw)))


########## Who a session is (F19) ##################################################################


def test_session_ends_when_its_user_is_deleted_and_does_not_come_back_with_the_name(site):
    browser = log_in(site)
    site("users/?delete", user_name="bob")
    assert ask(browser)["status"] == NO_USER_NAME
    site("users/?add", user_name="bob", user_authdata="pw")
    assert not is_logged_in(browser)


@pytest.mark.parametrize(
    "change",
    [
        lambda site: site("users/?set_password", user_name="bob", user_authdata="new"),
        lambda site: site("users/?set_password", user_name="bob", user_authdata="pw"),
        lambda site: site("users/?set_password", user="bob", user_name="bob", user_authdata="new"),
        lambda site: site("users/?set_password", user_name="bob"),
        lambda site: site.sql("UPDATE users SET user_authdata = ? WHERE user_name = 'bob'", authdata("new")),
        lambda site: site.sql("UPDATE users SET user_authdata = NULL WHERE user_name = 'bob'"),
    ],
    ids=[
        "by admin",
        "to the same",
        "by oneself elsewhere",
        "taken away",
        "in the file",
        "taken away in the file",
    ],
)
def test_sessions_end_when_the_password_changes(site, change):
    browsers, other = [log_in(site), log_in(site)], log_in(site, "ann")
    change(site)
    assert [is_logged_in(browser) for browser in browsers] == [False, False]
    assert is_logged_in(other)


def test_the_very_first_session_is_valid_after_a_password_was_set_on_the_command_line(site):
    """The sessions of before have ended, while there was no key yet by which ids are made."""
    site.app.sessions.end_others("ann", but="")
    assert is_logged_in(log_in(site, "ann"))


@pytest.mark.parametrize("auth", [{}, credentials()], ids=["by cookie", "by credentials"])
def test_session_that_changed_the_password_stays_valid(site, auth):
    browser, other = log_in(site), log_in(site)
    assert (
        ask(browser, "users/?set_password", auth=auth, user_name="bob", user_authdata="new")["status"] == "ok"
    )
    assert is_logged_in(browser) and not is_logged_in(other)
    assert ask(site.browser(), auth=credentials())["status"] == WRONG_CREDENTIALS
    log_in(site, password="new")


########## The state database ######################################################################


@pytest.mark.sqlite
def test_state_database_deleted_while_running_is_made_anew(site):
    browser = log_in(site)
    for _ in range(2):
        os.remove(site.app.config.state)
        assert ask(browser)["status"] == NO_USER_NAME
        browser = log_in(site)
        assert is_logged_in(browser)


def test_emptied_state_database_is_filled_again(site):
    browser, path = log_in(site), site.dbpath.with_name("master.db3.state")
    spoil_state_database(path, "an empty file")
    assert ask(browser)["status"] == NO_USER_NAME and is_logged_in(log_in(site))


@pytest.mark.parametrize("how", ["garbage", "a folder"])
def test_a_damaged_state_database_is_named_and_used_again_after_repair(site, how):
    browser, path = log_in(site), site.dbpath.with_name("master.db3.state")
    spoil_state_database(path, how)
    for fields in ({}, {"auth": credentials()}):
        answer = post(browser, status=500, **fields).json
        assert re.fullmatch(STATE_UNUSABLE, answer["status"]) and "login" not in answer
    shutil.rmtree(path) if how == "a folder" else path.unlink()
    assert ask(browser)["status"] == NO_USER_NAME and is_logged_in(log_in(site))


def test_a_state_database_without_its_folder_is_named_and_used_again_later(tmp_path):
    site = Site(tmp_path, state=str(tmp_path / "missing" / "state"))
    answer = post(site.browser(), status=500, auth=credentials()).json
    assert re.fullmatch(STATE_UNUSABLE, answer["status"]) and "login" not in answer
    (tmp_path / "missing").mkdir()
    assert is_logged_in(log_in(site))


def test_state_database_is_made_once_by_many_threads(site):
    """Its first users may come at the same time: each is logged in, and stays so."""
    browsers, together = [site.browser() for _ in range(4)], threading.Barrier(4)
    seen = []

    def work(browser):
        together.wait()
        seen.append(browser.post_json("/?x", {"auth": credentials()}, expect_errors=True).json["status"])

    for _ in range(10):
        for file in site.dbpath.parent.glob("master.db3.state*"):
            file.unlink()
        threads = [threading.Thread(target=work, args=[browser]) for browser in browsers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == ["ok"] * len(seen) and all(map(is_logged_in, browsers))


@pytest.mark.parametrize(
    ("url", "body", "status"),
    [
        ("users/?get", b"[", 400),
        ("users/?get&limit=0", b"", 400),
        ("nothing/?get", b"", 404),
        ("users/?get", b" " * 1_100_000, 413),
    ],
)
def test_errors_found_before_the_log_in_have_no_login_key(site, url, body, status):
    answer = log_in(site).post("/" + url, body, status=status).json
    assert not {"login", "auth_user", "permissions"} & set(answer)
