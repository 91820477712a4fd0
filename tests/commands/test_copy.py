"""`mailapi copy`: a master database from a file to MariaDB and back, and what cannot be copied."""

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from mailapi_modules.commands.main import find_commands

import mailapi
from support.site import MODULES, ROOT, SCHEMAS

MAILAPI = [sys.executable, str(ROOT / "mailapi.py")]
MAIL = b"Subject: \xff\xfe\r\n\r\nnot UTF-8 \x00 \\ ' % \xf0"


def copy(folder, *arguments, check=0, **environ) -> str:
    (folder / "config.py").write_text(f"dbpath = 'nowhere.db3'\nmodulelist = {MODULES!r}\n")
    done = subprocess.run(
        [*MAILAPI, "copy", "--config", "config.py", *map(str, arguments)],
        cwd=folder,
        text=True,
        capture_output=True,
        timeout=60,
        env=os.environ | environ,
    )
    assert done.returncode == check and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done.stdout + done.stderr


def rows(path) -> dict[str, list]:
    """All that a file says, bytes as bytes, with the numbers that are hidden."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        names = [
            name.decode()
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {name: connection.execute(f"SELECT rowid, * FROM {name}").fetchall() for name in names}


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def filled(request, tmp_path):
    """A file with a row or more in every table, of what is hard to copy."""
    path = tmp_path / "from.db3"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(SCHEMAS[request.param].read_text())
        put = connection.execute
        for name, alias in (
            ("ann", None),
            ("Ann", "ann"),
            ("ann ", None),
            ("Ünal", "Ann"),
            ("'; --\\", None),
            ("%_", None),
        ):
            put(
                "INSERT INTO users VALUES (?, ?, ?, ?)",
                (name, f"salt:{'0' * 64}" if name == "ann" else None, "", alias),
            )
        put("DELETE FROM users WHERE user_name = '%_'")
        column = "address_user" if request.param == 8 else "address_route"
        for order, expression in ((3, "%@corp.org"), (10**12, "\U0001f600 100\\%")):
            put(
                f"INSERT INTO addresses (address_expression, address_order, {column}) VALUES (?, ?, 'ann')",
                (expression, order),
            )
        put("INSERT INTO addresses (address_expression, " + column + ") VALUES ('gone', 'ann')")
        put("DELETE FROM addresses WHERE address_expression = 'gone'")  # its number is never given again
        for data in (MAIL, b"", None):
            put(
                "INSERT INTO mailbox (mail_user, mail_read, mail_envelopeto, mail_envelopefrom, mail_data)"
                " VALUES ('Ann', 1, '', '', CAST(? AS TEXT))",
                (data,),
            )
            put("INSERT INTO outbox (mail_envelopeto, mail_data) VALUES ('x@y', CAST(? AS TEXT))", (data,))
        put("INSERT INTO faillog (fail_mail, fail_message) VALUES (2, 'no')")
        put(
            f"INSERT INTO {'smtpd' if request.param == 9 else 'msa'} ({'smtpd' if request.param == 9 else 'msa'}_user) VALUES ('ann ')"
        )
        put("INSERT INTO popd VALUES ('ann', 1)")
        put("INSERT INTO api_access VALUES ('ann', 'admin')")
        put("INSERT INTO api_address_delegates VALUES ('Ann', '%@corp.org')")
        put("INSERT INTO api_user_delegates VALUES ('ann', 'Ann')")
    return path


def test_there_and_back_every_row_is_the_same(filled, tmp_path, database):
    assert "every row was compared" in copy(tmp_path, filled, database.url)
    if filled_generation(filled) == 9:
        copy(tmp_path, database.url, tmp_path / "back.db3")
        assert rows(tmp_path / "back.db3") == rows(filled)
    else:
        assert "only databases of generation 9" in copy(
            tmp_path, database.url, tmp_path / "back.db3", check=1
        )
    app = mailapi.create_app({"dbpath": database.url, "modulelist": MODULES})
    with contextlib.closing(mailapi.Store(str(filled))) as store, store.transaction("DEFERRED"):
        with app.db.transaction("DEFERRED"):
            for model in (mailapi.Users, app.generation().address, app.generation().access):
                assert app.db.rows(model.select()) == store.rows(model.select())
    app.db.close(), app.state.close()


def filled_generation(path) -> int:
    return int(rows(path)["meta"][0][-1])


def test_numbers_go_on_where_they_were(filled, tmp_path, database):
    copy(tmp_path, filled, database.url)
    column = "address_user" if filled_generation(filled) == 8 else "address_route"
    addition = f"INSERT INTO addresses (address_expression, {column}) VALUES ('next', 'ann')"
    with contextlib.closing(sqlite3.connect(filled)) as connection, connection:
        connection.execute(addition)
    database.sql(addition)
    assert (
        [
            row[0]
            for row in database.sql("SELECT address_order FROM addresses WHERE address_expression = 'next'")
        ]
        == [row[2] for row in rows(filled)["addresses"] if row[1] == b"next"]
        == [10**12 + 2]
    )


def test_a_target_that_is_not_empty_is_not_touched(filled, tmp_path, database):
    copy(tmp_path, filled, database.url)
    before = database.sql("SELECT * FROM users")
    database.sql("DELETE FROM popd")
    assert "is not empty: " in copy(tmp_path, filled, database.url, check=1)
    assert database.sql("SELECT * FROM users") == before and database.sql("SELECT * FROM popd") == []
    copied = rows(filled)
    assert (
        "From a server only" in (said := copy(tmp_path, database.url, filled, check=1))
        or "is not empty" in said
    )
    assert rows(filled) == copied


@pytest.mark.parametrize(
    "change, sentence",
    [
        (
            "UPDATE users SET user_name = CAST(x'ff' AS TEXT) WHERE user_name = 'ann '",
            "users, row 3: user_name is not UTF-8.",
        ),
        ("UPDATE popd SET pop_lock = 'yes'", "popd, row 1: pop_lock is no whole number."),
        (
            "UPDATE users SET user_name = hex(zeroblob(200)) WHERE user_name = 'ann '",
            "Data too long for column 'user_name'",
        ),
        ("DELETE FROM meta", "no master database that the API knows"),
    ],
)
def test_what_the_server_cannot_hold_is_named(filled, tmp_path, database, change, sentence):
    with contextlib.closing(sqlite3.connect(filled)) as connection, connection:
        connection.execute(change)
    assert sentence in copy(tmp_path, filled, database.url, check=1)
    app = mailapi.create_app({"dbpath": database.url, "modulelist": MODULES})
    with pytest.raises(mailapi.ApiError):  # nobody serves what is not complete
        app.generation()
    app.db.close()


def test_a_copy_that_was_killed_goes_on(tmp_path, database):
    path = tmp_path / "from.db3"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(SCHEMAS[9].read_text())
        connection.executemany(
            "INSERT INTO users (user_name) VALUES (?)", [(f"user{n}",) for n in range(30_000)]
        )
    copying = subprocess.Popen(
        [*MAILAPI, "copy", "--config", "config.py", path, database.url],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    (tmp_path / "config.py").write_text("dbpath = 'nowhere.db3'\nmodulelist = {}\n")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not copied_users(database):
        time.sleep(0.01)
    copying.send_signal(signal.SIGKILL)
    copying.wait(10)
    there = copied_users(database)
    assert 0 < there < 30_000 and not database.sql("SELECT * FROM meta")
    (tmp_path / "other.db3").write_bytes(path.read_bytes())
    assert "is a copy of" in copy(tmp_path, tmp_path / "other.db3", database.url, check=1)
    database.sql("UPDATE users SET user_name = 'damaged' WHERE user_name = 'user5'")
    said = copy(tmp_path, path, database.url)
    written = int(re.search(r"users: 30,000 rows compared, ([\d,]+) written", said)[1].replace(",", ""))
    assert written <= 30_000 - there + 2001  # not what was there already
    assert copied_users(database) == 30_000 and database.sql("SHOW TABLES LIKE 'mailapi_copy'") == []
    assert database.sql("SELECT 1 FROM users WHERE user_name = 'damaged'") == []


def copied_users(database) -> int:
    import pymysql

    with contextlib.suppress(pymysql.MySQLError):
        return database.sql("SELECT COUNT(*) FROM users")[0][0]
    return 0


def test_a_source_that_changes_meanwhile_is_copied_as_it_is_at_the_end(filled, tmp_path, database):
    """The first pass reads what the second one finds changed."""
    command = find_commands()["copy"]
    source, target = command.SqliteFile(str(filled), False), command.ServerDatabase(database.url, False, "")
    passes, update_table = [], command.update_table

    def changing(source, target, table):
        if table.name == "popd" and len(passes) < 2:
            passes.append(table)
            with contextlib.closing(sqlite3.connect(filled)) as connection, connection:
                connection.execute(f"INSERT INTO popd VALUES ('{['Ann', 'ann '][len(passes) - 1]}', 0)")
                connection.execute(
                    "UPDATE users SET user_database = ? WHERE user_name = 'ann'", (str(len(passes)),)
                )
        return update_table(source, target, table)

    command.update_table = changing
    try:
        with source.opened(), target.opened(make=True):
            tables = command.tables_of(source.schema())
            target.prepare(source.schema(), tables, "here")
            command.copy(source, target, tables)
    finally:
        command.update_table = update_table
    assert [row[0] for row in database.sql("SELECT pop_user FROM popd ORDER BY rowid")] == [
        "ann",
        "Ann",
        "ann ",
    ]
    assert database.sql("SELECT user_database FROM users WHERE user_name = 'ann'") == [("2",)]


def test_a_state_database_is_copied_with_its_tokens(site, tmp_path, database):
    token = site("tokens/?add", token_name="backup")["token"]
    copy(tmp_path, site.file, database.url)
    copy(tmp_path, "--state", site.app.config.state, database.url)
    moved = mailapi.create_app(site.config | {"dbpath": database.url})
    site.app = moved
    assert site.raw("users/?get", b"", HTTP_AUTHORIZATION=f"Bearer {token}")["login"] is True
    moved.db.close(), moved.state.close()


def test_a_source_that_is_none_is_refused_and_not_made(site, tmp_path, database):
    for source, sentence in (
        (tmp_path / "typo.db3", "cannot be opened"),
        (site.file, "is no state database"),
    ):
        for target in (database.url, tmp_path / "to.db3"):
            assert sentence in copy(tmp_path, "--state", source, target, check=1)
    assert "cannot be opened" in copy(tmp_path, tmp_path / "typo.db3", database.url, check=1)
    assert not (tmp_path / "typo.db3").exists() and not (tmp_path / "to.db3").exists()


def test_no_module_is_left_out_of_a_state_database(site, tmp_path, database):
    site("tokens/?add", token_name="backup")
    copy(tmp_path, site.file, database.url)
    copy(tmp_path, "--state", site.app.config.state, database.url)
    (tmp_path / "config.py").write_text("dbpath = 'nowhere.db3'\nmodulelist = {}\n")
    done = subprocess.run(
        [*MAILAPI, "copy", "--state", database.url, "to.state"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1 and "has the tables audit, audit_entry, deleted_name, token of" in done.stderr
    assert not (tmp_path / "to.state").exists()
    said = copy(tmp_path, database.url, tmp_path / "back.db3")
    assert "left alone, as no part of a master database: audit, audit_entry, deleted_name, failure" in said


def test_what_the_server_refuses_is_a_sentence(tmp_path, database):
    done = subprocess.run(
        [*MAILAPI, "init", "--dbpath", database.url, "--admin", "x" * 300],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1 and "Data too long for column 'user_name'" in done.stderr
    assert "Traceback" not in done.stderr and "cret" not in done.stderr


def test_the_password_may_come_by_the_environment_and_is_never_shown(filled, tmp_path, database):
    url = database.url.replace(":se%2Fcret%40", "")
    said = copy(tmp_path, filled, url, MYSQL_PWD="se/cret@")
    refused = copy(tmp_path, filled, database.url.replace("cret", "creT"), check=1)
    assert "cannot be reached" in refused
    for text in (said, refused, copy(tmp_path, filled, database.url, check=1)):
        assert "cret" not in text and "creT" not in text


########## At the ends of what a column can have ###################################################


def put(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement, *values in statements:
            connection.execute(statement, values)


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
    put(
        master,
        *[("INSERT INTO addresses (address_expression, address_order) VALUES ('x', ?)", end) for end in ends],
        *[("INSERT INTO users (rowid, user_name) VALUES (?, ?)", end, f"u{end}") for end in ends],
        *[("INSERT INTO outbox (mail_id, mail_envelopeto) VALUES (?, 'x')", end) for end in ends],
    )
    between = database.url if target == "server" else tmp_path / "between.db3"
    copy(tmp_path, master, between)
    if target == "server":
        assert database.sql("SELECT rowid, user_name FROM users ORDER BY 1") == [
            (end, f"u{end}") for end in ends
        ]
    copy(tmp_path, between, tmp_path / "back.db3")
    assert rows(tmp_path / "back.db3") == rows(master)


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
    put(
        master,
        *[("INSERT INTO users (user_name) VALUES (?)", f"u{number}") for number in range(50)],
        *[
            (f"INSERT INTO {name} VALUES (?, ?)", f"u{number}", str(number))
            for name in ("api_access", "api_address_delegates")
            for number in range(50)
        ],
        (f"UPDATE {table} SET {column} = ? WHERE rowid = 31", value),
    )
    said = copy(tmp_path, master, database.url, check=1)
    assert f"{table}, row 31: Data too long for column '{column}'." in said and "changing" not in said


def test_a_row_that_is_too_large_for_the_server_is_named(master, tmp_path, database, mariadb):
    [(before,)] = mariadb.sql("SELECT @@GLOBAL.max_allowed_packet")
    put(
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
        assert "mailbox, row 3: more than max_allowed_packet." in copy(
            tmp_path, master, database.url, check=1
        )
    finally:
        mariadb.sql(f"SET GLOBAL max_allowed_packet = {before}")


def test_a_column_that_is_not_the_schemas_is_named_before_anything_is_written(master, tmp_path, database):
    put(master, ("INSERT INTO users (user_name) VALUES ('ann')",))
    copy(tmp_path, master, database.url)
    database.sql("ALTER TABLE popd ADD COLUMN pop_note TEXT")
    said = copy(tmp_path, database.url, tmp_path / "back.db3", check=1)
    assert "popd.pop_note of " in said and "cannot be copied" in said and "cret" not in said
    assert not (tmp_path / "back.db3").exists()
    database.sql("ALTER TABLE popd DROP COLUMN pop_note, DROP COLUMN pop_lock")
    assert "has no column popd.pop_lock. Nothing was written." in copy(
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
    put(tmp_path / "to.db3", ("DELETE FROM meta",))
    put(master, ("ALTER TABLE users ADD COLUMN user_note TEXT",))
    for target in (database.url, tmp_path / "to.db3"):
        assert "has no column users.user_note. Nothing was written." in copy(
            tmp_path, master, target, check=1
        )
    assert database.sql("SHOW TABLES LIKE 'mailapi_copy'") == []
    put(master, ("ALTER TABLE popd ADD COLUMN pop_free BOOLEAN GENERATED ALWAYS AS (NOT pop_lock)",))
    assert "popd.pop_free of " in copy(tmp_path, master, database.url, check=1)
    copy(tmp_path, master, tmp_path / "new.db3")
    assert rows(tmp_path / "new.db3") == rows(master)


def test_triggers_that_stay_behind_are_named(master, tmp_path, database):
    put(master, ("CREATE TRIGGER tidy AFTER DELETE ON users BEGIN DELETE FROM outbox; END",))
    assert "left out, as SQLite's own: the triggers tidy" in copy(tmp_path, master, database.url)


def test_a_target_that_changes_what_is_written_is_not_said_to_be_a_source_that_keeps_changing(
    master, tmp_path, database
):
    put(master, *[("INSERT INTO users (user_name) VALUES (?)", name) for name in ("ann", "bob")])
    copy(tmp_path, master, database.url)
    for statement in (
        "DELETE FROM users",
        "DELETE FROM meta",
        "CREATE TRIGGER changes BEFORE INSERT ON users FOR EACH ROW"
        " SET NEW.user_database = CONCAT(NEW.user_name, '!')",
    ):
        database.sql(statement)
    said = copy(tmp_path, master, database.url, check=1)
    assert (
        "users, row 1: " in said
        and "does not keep it as it was written" in said
        and "keeps changing" not in said
    )
