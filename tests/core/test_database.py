"""The master database belongs to the mail daemons too: what the API never does to it (docs/wire.md section 7)."""

import contextlib
import os
import re
import shutil
import sqlite3
import tempfile
import threading
from pathlib import Path

import pytest

from support.daemons import daemon_connection, file_is_free
from support.permission_table import PREPARATIONS, READS, ROLES, TABLE, TARGETS, add_targets, ask_as
from support.site import OPTIONAL, Site

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]

CLOSED = r"The database cannot be opened: .+\."
LINES = [(generation, *line[:3]) for line in TABLE for generation in line[3]]


def side_files(path) -> list[str]:
    """Return the names of the files that SQLite has made beside a database."""
    return [
        path.name + end for end in ("-wal", "-shm", "-journal") if path.with_name(path.name + end).exists()
    ]


def unchangeable_parts(site: Site) -> tuple:
    """Return what the API must never change: the journal mode, the schema and meta."""
    return (
        site.sql("PRAGMA journal_mode"),
        site.sql("PRAGMA user_version"),
        site.sql("PRAGMA page_size"),
        site.sql("SELECT type, name, tbl_name, sql FROM sqlite_master"),
        site.sql("SELECT * FROM meta"),
    )


def storage_classes(site: Site) -> set[str]:
    """Return the storage classes of all values, but for mail_data."""
    columns = site.sql(
        "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c"
        " WHERE m.type = 'table' AND c.name <> 'mail_data'"
    )
    return {row[0] for table, column in columns for row in site.sql(f"SELECT typeof({column}) FROM {table}")}


########## After every action ######################################################################


@pytest.mark.parametrize(("generation", "path", "action", "fields"), LINES)
def test_action_leaves_the_file_as_the_daemons_need_it(tmp_path, generation, path, action, fields):
    """Allowed or refused, an action leaves no lock and no file; schema, meta and journal mode stay, text is TEXT."""
    site = Site(tmp_path, generation, OPTIONAL)
    add_targets(site)
    site.sql(PREPARATIONS.get((path, action), "SELECT 1"))
    before = unchangeable_parts(site)
    for role in ROLES:
        ask_as(site, path, action, fields, role)
        assert file_is_free(site.dbpath) and side_files(site.dbpath) == [], role
    assert unchangeable_parts(site) == before
    assert storage_classes(site) <= {"text", "integer", "null"}


@pytest.mark.parametrize("table", ["popd", "users", "api_access", "addresses", "mailbox"])
def test_failed_request_leaves_no_transaction_open(either_with_all_modules, table):
    add_targets(either_with_all_modules)
    either_with_all_modules.sql(f"ALTER TABLE {table} RENAME TO gone")
    for path, action, fields, generations, *_ in TABLE:
        if either_with_all_modules.generation in generations:
            user, target = ROLES["delegated"]
            answer = either_with_all_modules.browser().post_json(
                f"/{path}/?{action}" if path else f"/?{action}",
                expect_errors=True,
                params={"auth": {"user_name": user, "password": "pw"}} | fields,
            )
            assert answer.json["status"] and "Traceback" not in answer.text
            assert (
                file_is_free(either_with_all_modules.dbpath)
                and side_files(either_with_all_modules.dbpath) == []
            )
    either_with_all_modules.sql(f"ALTER TABLE gone RENAME TO {table}")
    assert either_with_all_modules("users/?get")["status"] == "ok"


@pytest.mark.parametrize("action", ["get", "read", "unread", "delete"])
def test_action_leaves_the_user_database_unlocked_too(site, action):
    path = site.dbpath.with_name("bob.db3")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        [schema] = site.sql("SELECT sql FROM sqlite_master WHERE name = 'mailbox'")[0]
        connection.executescript(re.sub(r"REFERENCES.*?CASCADE ON UPDATE CASCADE", "", schema))
        connection.execute(
            "INSERT INTO mailbox (mail_id, mail_user, mail_envelopeto, mail_envelopefrom, mail_data)"
            " VALUES (7, 'bob', 'to', 'from', 'text')"
        )
        connection.commit()
    site.sql("UPDATE users SET user_database = ? WHERE user_name = 'bob'", str(path))
    for mail_id in (7, 8):
        site(f"mailbox/?{action}", user="bob", mail_id=mail_id, mail_sourcedb="user")
        assert (
            file_is_free(path)
            and file_is_free(site.dbpath)
            and side_files(path) == side_files(site.dbpath) == []
        )


def test_journal_mode_set_by_another_program_is_kept(site):
    site.sql("PRAGMA journal_mode = WAL")
    assert site("pop/?add", pop_user="bob")["status"] == site("pop/?get")["status"] == "ok"
    assert site.sql("PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("ünïcode", "ünïcode"),
        ("007", "007"),
        ("1e3", "1e3"),
        (5, "5"),
        ("x'00'", "x'00'"),
        ("%", "%"),
        ("' OR 1=1 --", "' OR 1=1 --"),
    ],
)
def test_user_names_are_stored_as_text(either_with_all_modules, name, stored):
    either_with_all_modules("users/?add", user_name=name, user_authdata="pw")
    assert either_with_all_modules("pop/?add", pop_user=name)["status"] == "ok"
    assert either_with_all_modules("delegates/?user_add", api_user=name, api_delegate=name)["status"] == "ok"
    for table, column in (
        ("users", "user_name"),
        ("popd", "pop_user"),
        ("api_user_delegates", "api_delegate"),
    ):
        found = either_with_all_modules.sql(
            f"SELECT typeof({column}), {column} FROM {table} WHERE {column} = ?", stored
        )
        assert found == [("text", stored)]
    assert either_with_all_modules("users/?get", user=stored)["users"][0]["user_name"] == stored


def test_foreign_keys_are_enforced_in_every_connection(site):
    def refused():
        return site("pop/?add", pop_user="nobody")["status"] == "FOREIGN KEY constraint failed"

    assert refused()
    shutil.copy(site.dbpath, site.dbpath.with_suffix(".new"))
    os.replace(site.dbpath.with_suffix(".new"), site.dbpath)
    assert refused() and site.sql("SELECT * FROM popd") == []
    results = []
    thread = threading.Thread(target=lambda: results.append(refused()))
    thread.start()
    thread.join()
    assert results == [True]


def test_deleted_user_leaves_no_row_behind(either_with_all_modules):
    add_targets(either_with_all_modules)
    either_with_all_modules.sql("UPDATE users SET user_alias = 'ann' WHERE user_name = 'bob'")
    either_with_all_modules("users/?delete", user_name="ann")
    assert either_with_all_modules.sql("PRAGMA foreign_key_check") == []
    assert either_with_all_modules.sql("SELECT user_alias FROM users WHERE user_name = 'bob'") == [(None,)]
    kept = [
        row for row in either_with_all_modules.dump() if "'ann'" in row and not row.startswith("addresses ")
    ]
    assert kept == []


########## The file comes and goes #################################################################


def damage(path: Path, how: str):
    """Delete the file, or replace it by something that is no database."""
    os.remove(path)
    if how == "a folder":
        path.mkdir()
    elif how == "a link to nothing":
        path.symlink_to("nothing")
    elif how != "missing":
        path.write_bytes({"garbage": b"no database" * 999, "short": b"x", "an empty file": b""}[how])


@pytest.mark.parametrize(
    "how", ["missing", "a folder", "a link to nothing", "garbage", "short", "an empty file"]
)
@pytest.mark.parametrize("used", [True, False], ids=["while running", "from the start"])
def test_a_file_that_is_no_database_is_named_and_not_changed(site, how, used):
    """HTTP 500, nothing created (F26); put back, it works without a restart."""
    if used:
        site("?get_modules")
    kept = site.dbpath.read_bytes()
    damage(site.dbpath, how)
    before = sorted((file.name, file.lstat().st_size) for file in site.dbpath.parent.glob("master*"))
    for url in ("users/?get", "pop/?add", "?get_modules", "?logout"):
        answer = site(url, check=500, pop_user="bob")
        assert re.fullmatch(CLOSED, answer["status"]) and "login" not in answer
        assert {"debug", "api_version", "schema_version", "session"} < set(answer)
    assert sorted((file.name, file.lstat().st_size) for file in site.dbpath.parent.glob("master*")) == before
    if site.dbpath.is_dir():
        site.dbpath.rmdir()
    site.dbpath.unlink(missing_ok=True)
    site.dbpath.write_bytes(kept)
    assert site("pop/?add", pop_user="bob")["status"] == "ok"


def test_next_request_uses_a_file_that_has_replaced_the_old_one(site, tmp_path):
    (tmp_path / "other").mkdir()
    other = Site(tmp_path / "other")
    other.sql("INSERT INTO users (user_name) VALUES ('new')")
    assert len(site("users/?get")["users"]) == 5
    os.replace(other.dbpath, site.dbpath)
    assert "new" in [user["user_name"] for user in site("users/?get")["users"]]
    assert site("pop/?add", pop_user="new")["status"] == "ok" and site.sql("SELECT pop_user FROM popd") == [
        ("new",)
    ]


def test_next_request_uses_a_file_that_was_deleted_and_made_again(either_with_all_modules):
    for _ in range(3):
        assert either_with_all_modules("pop/?add", pop_user="bob")["status"] == "ok"
        os.remove(either_with_all_modules.dbpath)
        either_with_all_modules.create()
        assert either_with_all_modules("pop/?get")["pop"] == []


def test_generation_follows_the_file(both):
    site, site8 = both
    assert site("users/?get")["api_version"] == 9
    os.replace(site8.dbpath, site.dbpath)
    answer = site("users/?get")
    assert (answer["api_version"], answer["schema_version"]) == (8, 8) and "rights" in answer
    assert (
        site("msa/?get")["msa"] == [] and site("smtpd/?get", check=404)["status"] == "Unknown module smtpd."
    )


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("UPDATE meta SET value = '7'", 7),
        ("UPDATE meta SET value = '10'", 10),
        ("UPDATE meta SET value = NULL", None),
        ("DELETE FROM meta", None),
        ("UPDATE meta SET value = 'abc'", "abc"),
        ("UPDATE meta SET value = ''", ""),
        ("UPDATE meta SET value = '99'", 99),
        ("UPDATE meta SET \"key\" = 'SCHEMA_VERSION'", None),
    ],
)
def test_unknown_schema_version_is_answered_with_both_versions_and_nothing_else(
    either_with_all_modules, statement, shown
):
    either_with_all_modules("?get_modules")
    either_with_all_modules.sql(statement)
    before = either_with_all_modules.dump()
    for url in ("users/?get", "users/?delete", "?logout", "nothing/?get"):
        assert either_with_all_modules(url, user_name="bob") == {
            "status": "Api version and schema version is not the same.",
            "api_version": 9,
            "schema_version": shown,
        }
    assert either_with_all_modules.dump() == before


########## Others at work ##########################################################################


def test_reads_work_while_a_daemon_writes(either_with_all_modules):
    add_targets(either_with_all_modules)
    with daemon_connection(either_with_all_modules.dbpath) as daemon:
        daemon.execute("BEGIN IMMEDIATE")
        daemon.execute("INSERT INTO users (user_name) VALUES ('coming')")
        for path, action, fields, generations, *_ in TABLE:
            if action in READS and either_with_all_modules.generation in generations:
                role = "own" if path == "mailbox" else "admin"
                assert ask_as(either_with_all_modules, path, action, fields, role)["status"] == "ok"
        assert "coming" not in str(either_with_all_modules("users/?get")["users"])
        daemon.execute("COMMIT")
    assert "coming" in str(either_with_all_modules("users/?get")["users"])


def test_write_waits_until_a_daemon_has_finished_writing(site):
    site("?get_modules")
    with daemon_connection(site.dbpath, check_same_thread=False) as daemon:
        daemon.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.5, lambda: daemon.execute("COMMIT"))
        timer.start()
        assert site("pop/?add", pop_user="bob")["status"] == "ok"
        timer.join()


def test_two_threads_read_and_write_at_the_same_time(either_with_all_modules):
    failures = []
    either_with_all_modules("?get_modules")  # makes the state database

    def work(user: str):
        for number in range(20):
            action = ("add", "get", "delete", "get")[number % 4]
            answer = either_with_all_modules(f"pop/?{action}", user=user, pop_user=user)
            if (answer["status"], answer["auth_user"]) != ("ok", user):
                failures.append((user, action, answer))

    threads = [threading.Thread(target=work, args=[user]) for user in TARGETS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (
        failures == []
        and either_with_all_modules.sql("SELECT * FROM popd") == []
        and file_is_free(either_with_all_modules.dbpath)
    )


@contextlib.contextmanager
def ordinary_user(*owned: Path):
    """Go on as an ordinary user who owns these files: the modes of files mean nothing to root."""
    root = os.geteuid() == 0
    for path in owned if root else ():
        os.chown(path, 65534, 65534)
    os.seteuid(65534 if root else os.geteuid())
    try:
        yield
    finally:
        os.seteuid(0 if root else os.geteuid())


@pytest.fixture
def site_of_ordinary_user():
    """A site in a folder that an ordinary user can enter: pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        with ordinary_user(Path(folder), site.dbpath):
            yield site


def test_a_read_only_file_is_read_and_a_change_is_refused_with_the_reason(site_of_ordinary_user):
    os.chmod(site_of_ordinary_user.dbpath, 0o444)
    before = site_of_ordinary_user.dbpath.read_bytes()
    assert len(site_of_ordinary_user("users/?get")["users"]) == 5
    for url in ("pop/?add", "pop/?delete", "users/?set_password"):
        answer = site_of_ordinary_user(url, pop_user="bob", user_name="bob")
        assert (answer["status"], answer["login"]) == ("attempt to write a readonly database", True)
    assert (
        site_of_ordinary_user.dbpath.read_bytes() == before and side_files(site_of_ordinary_user.dbpath) == []
    )
    os.chmod(site_of_ordinary_user.dbpath, 0o644)
    assert site_of_ordinary_user("pop/?add", pop_user="bob")["status"] == "ok"  # without a restart


def test_unreadable_file_is_named_and_recovers(site_of_ordinary_user):
    os.chmod(site_of_ordinary_user.dbpath, 0o000)
    assert re.fullmatch(CLOSED, site_of_ordinary_user("users/?get", check=500)["status"])
    os.chmod(site_of_ordinary_user.dbpath, 0o644)
    assert site_of_ordinary_user("pop/?add", pop_user="bob")["status"] == "ok"


def test_state_database_that_cannot_be_made_is_named_and_recovers(site_of_ordinary_user):
    folder = site_of_ordinary_user.dbpath.parent
    os.chmod(folder, 0o555)
    assert (
        site_of_ordinary_user("?get_modules", check=500)["status"]
        == "The state database cannot be used: Permission denied."
    )
    os.chmod(folder, 0o755)
    assert site_of_ordinary_user("?get_modules")["login"] is True


def test_state_database_that_cannot_be_written_is_named_and_recovers(site_of_ordinary_user):
    state = site_of_ordinary_user.app.config.state
    site_of_ordinary_user("?get_modules")
    site_of_ordinary_user.app.sessions.store.close()
    os.chmod(state, 0o400)
    answer = site_of_ordinary_user("pop/?add", check=500, pop_user="bob")
    assert (
        re.fullmatch(r"The state database cannot be used: .+\.", answer["status"]) and "login" not in answer
    )
    assert site_of_ordinary_user.sql("SELECT * FROM popd") == []
    os.chmod(state, 0o600)
    assert site_of_ordinary_user("pop/?add", pop_user="bob")["status"] == "ok"  # without a restart


@pytest.mark.sqlite
def test_locked_state_database_is_busy_and_recovers(site):
    site("?login")
    site.app.state.database.timeout = 0.2
    holder = sqlite3.connect(site.app.config.state, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    before = site.dump()
    assert site("?login")["login"] is True  # writes nothing
    for password in ("wrong", "pw"):  # a failure that cannot be counted: from now on all have to wait
        answer = site("pop/?add", check=503, password=password, pop_user="bob")
        assert answer["status"] == "The database is busy. Try again." and "login" not in answer
    assert site.dump() == before
    holder.execute("ROLLBACK")
    holder.close()
    assert site("pop/?add", pop_user="bob")["status"] == "ok"
