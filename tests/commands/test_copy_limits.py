"""`mailapi copy`: rows at the ends of what a column can have, and tables that are not the schema's."""

import contextlib
import sqlite3

import pytest

import mailapi
from support.copying import execute_all, file_rows, run_copy
from support.site import SCHEMAS


@pytest.fixture
def master(tmp_path):
    """A file of generation 9 without rows."""
    path = tmp_path / "from.db3"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMAS[9].read_text())
    return path


@pytest.mark.parametrize("target", ["server", "file"])
def test_rows_at_both_ends_of_the_numbers_are_copied(master, tmp_path, database, target):
    ends = (-(2**63), -(2**63) + 1, -1, 0, 1, 2**63 - 2, 2**63 - 1)
    execute_all(
        master,
        *[("INSERT INTO addresses (address_expression, address_order) VALUES ('x', ?)", end) for end in ends],
        *[("INSERT INTO users (rowid, user_name) VALUES (?, ?)", end, f"u{end}") for end in ends],
        *[("INSERT INTO outbox (mail_id, mail_envelopeto) VALUES (?, 'x')", end) for end in ends],
    )
    between = database.url if target == "server" else tmp_path / "between.db3"
    run_copy(tmp_path, master, between)
    if target == "server":
        assert database.sql("SELECT rowid, user_name FROM users ORDER BY 1") == [
            (end, f"u{end}") for end in ends
        ]
    run_copy(tmp_path, between, tmp_path / "back.db3")
    assert file_rows(tmp_path / "back.db3") == file_rows(master)


@pytest.mark.parametrize(
    "table, column, value",
    [
        ("users", "user_name", "v" * 255 + " "),
        ("users", "user_name", "v" * 255 + " " * 70),
        ("users", "user_name", "v" * 256),
        ("users", "user_alias", "v" * 255 + " "),
        ("api_access", "api_permission", "v" * 512 + " "),
        ("api_address_delegates", "api_expression", "v" * 512 + "  "),
    ],
)
def test_a_row_that_is_longer_than_the_servers_column_is_named(
    master, tmp_path, database, table, column, value
):
    execute_all(
        master,
        *[("INSERT INTO users (user_name) VALUES (?)", f"u{number}") for number in range(50)],
        *[
            (f"INSERT INTO {name} VALUES (?, ?)", f"u{number}", str(number))
            for name in ("api_access", "api_address_delegates")
            for number in range(50)
        ],
        (f"UPDATE {table} SET {column} = ? WHERE rowid = 31", value),
    )
    said = run_copy(tmp_path, master, database.url, check=1)
    assert f"{table}, row 31: Data too long for column '{column}'." in said and "changing" not in said


def test_a_row_that_is_too_large_for_the_server_is_named(master, tmp_path, database, mariadb):
    [(before,)] = mariadb.sql("SELECT @@GLOBAL.max_allowed_packet")
    execute_all(
        master,
        ("INSERT INTO users (user_name) VALUES ('ann')",),
        *[
            (
                "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_data) VALUES ('ann', '', '', ?)",
                "x" * size,
            )
            for size in (10, 10, 1_100_000, 10)
        ],
    )
    mariadb.sql("SET GLOBAL max_allowed_packet = 1048576")
    try:
        assert "mailbox, row 3: more than max_allowed_packet." in run_copy(
            tmp_path, master, database.url, check=1
        )
    finally:
        mariadb.sql(f"SET GLOBAL max_allowed_packet = {before}")


def test_a_column_that_is_not_the_schemas_is_named_before_anything_is_written(master, tmp_path, database):
    execute_all(master, ("INSERT INTO users (user_name) VALUES ('ann')",))
    run_copy(tmp_path, master, database.url)
    database.sql("ALTER TABLE popd ADD COLUMN pop_note TEXT")
    said = run_copy(tmp_path, database.url, tmp_path / "back.db3", check=1)
    assert "popd.pop_note of " in said and "cannot be copied" in said and "cret" not in said
    assert not (tmp_path / "back.db3").exists()
    database.sql("ALTER TABLE popd DROP COLUMN pop_note, DROP COLUMN pop_lock")
    assert "has no column popd.pop_lock. Nothing was written." in run_copy(
        tmp_path, database.url, tmp_path / "back.db3", check=1
    )
    assert not (tmp_path / "back.db3").exists()


def test_columns_that_a_target_does_not_have_or_that_are_computed(master, tmp_path, database, mariadb):
    from mailapi_modules.mariadb import tables as serverschema

    with (
        contextlib.closing(mailapi.open_store(database.url).open()) as server,
        serverschema.model(SCHEMAS[9].read_text()) as model,
    ):
        serverschema.create(server, model)  # and without rows
    (tmp_path / "to.db3").write_bytes(master.read_bytes())
    execute_all(tmp_path / "to.db3", ("DELETE FROM meta",))
    execute_all(master, ("ALTER TABLE users ADD COLUMN user_note TEXT",))
    for target in (database.url, tmp_path / "to.db3"):
        assert "has no column users.user_note. Nothing was written." in run_copy(
            tmp_path, master, target, check=1
        )
    assert database.sql("SHOW TABLES LIKE 'mailapi_copy'") == []
    execute_all(master, ("ALTER TABLE popd ADD COLUMN pop_free BOOLEAN GENERATED ALWAYS AS (NOT pop_lock)",))
    assert "popd.pop_free of " in run_copy(tmp_path, master, database.url, check=1)
    run_copy(tmp_path, master, tmp_path / "new.db3")
    assert file_rows(tmp_path / "new.db3") == file_rows(master)


def test_triggers_that_stay_behind_are_named(master, tmp_path, database):
    execute_all(master, ("CREATE TRIGGER tidy AFTER DELETE ON users BEGIN DELETE FROM outbox; END",))
    assert "left out, as SQLite's own: the triggers tidy" in run_copy(tmp_path, master, database.url)


def test_a_target_that_changes_what_is_written_is_not_said_to_be_a_source_that_keeps_changing(
    master, tmp_path, database
):
    execute_all(master, *[("INSERT INTO users (user_name) VALUES (?)", name) for name in ("ann", "bob")])
    run_copy(tmp_path, master, database.url)
    for statement in (
        "DELETE FROM users",
        "DELETE FROM meta",
        "CREATE TRIGGER changes BEFORE INSERT ON users FOR EACH ROW"
        " SET NEW.user_database = CONCAT(NEW.user_name, '!')",
    ):
        database.sql(statement)
    said = run_copy(tmp_path, master, database.url, check=1)
    assert (
        "users, row 1: " in said
        and "does not keep it as it was written" in said
        and "keeps changing" not in said
    )


@pytest.mark.sqlite
def test_who_reads_a_copied_state_database_keeps_nobody_from_writing(site, tmp_path):
    """As in one that mailapi has made itself."""
    site("tokens/?add", token_name="backup")
    copied = tmp_path / "copied.state"
    run_copy(tmp_path, "--state", site.app.config.state, copied)
    with contextlib.closing(sqlite3.connect(copied, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT COUNT(*) FROM token").fetchone() == (1,)
        execute_all(copied, ("DELETE FROM token",))
