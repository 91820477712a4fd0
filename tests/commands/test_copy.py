"""`mailapi copy`: a master database from a file to MariaDB and back, and what cannot be copied."""

import contextlib
import re
import signal
import sqlite3
import subprocess

import pytest
from mailapi_modules.commands.main import find_commands
from mailapi_modules.directory.address_tables import ADDRESS_TABLES

import mailapi
from support.command_line import MAILAPI
from support.copying import file_rows, run_copy
from support.site import MODULES, SCHEMAS
from support.waiting import wait_until

MAIL = b"Subject: \xff\xfe\r\n\r\nnot UTF-8 \x00 \\ ' % \xf0"


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
    assert "every row was compared" in run_copy(tmp_path, filled, database.url)
    if filled_generation(filled) == 9:
        run_copy(tmp_path, database.url, tmp_path / "back.db3")
        assert file_rows(tmp_path / "back.db3") == file_rows(filled)
    else:
        assert "only databases of generation 9" in run_copy(
            tmp_path, database.url, tmp_path / "back.db3", check=1
        )
    app = mailapi.create_app({"dbpath": database.url, "modulelist": MODULES})
    with contextlib.closing(mailapi.Store(str(filled))) as store, store.transaction("DEFERRED"):
        with app.db.transaction("DEFERRED"):
            generation = app.generation()
            for model in (mailapi.Users, ADDRESS_TABLES[generation.number], generation.access):
                assert app.db.rows(model.select()) == store.rows(model.select())
    app.db.close(), app.state.close()


def filled_generation(path) -> int:
    return int(file_rows(path)["meta"][0][-1])


def test_numbers_go_on_where_they_were(filled, tmp_path, database):
    run_copy(tmp_path, filled, database.url)
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
        == [row[2] for row in file_rows(filled)["addresses"] if row[1] == b"next"]
        == [10**12 + 2]
    )


def test_a_target_that_is_not_empty_is_not_touched(filled, tmp_path, database):
    run_copy(tmp_path, filled, database.url)
    before = database.sql("SELECT * FROM users")
    database.sql("DELETE FROM popd")
    assert "is not empty: " in run_copy(tmp_path, filled, database.url, check=1)
    assert database.sql("SELECT * FROM users") == before and database.sql("SELECT * FROM popd") == []
    copied = file_rows(filled)
    assert (
        "From a server only" in (said := run_copy(tmp_path, database.url, filled, check=1))
        or "is not empty" in said
    )
    assert file_rows(filled) == copied


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
    assert sentence in run_copy(tmp_path, filled, database.url, check=1)
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
    wait_until(lambda: copied_users(database))
    copying.send_signal(signal.SIGKILL)
    copying.wait(10)
    there = copied_users(database)
    assert 0 < there < 30_000 and not database.sql("SELECT * FROM meta")
    (tmp_path / "other.db3").write_bytes(path.read_bytes())
    assert "is a copy of" in run_copy(tmp_path, tmp_path / "other.db3", database.url, check=1)
    database.sql("UPDATE users SET user_name = 'damaged' WHERE user_name = 'user5'")
    said = run_copy(tmp_path, path, database.url)
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
    run_copy(tmp_path, site.file, database.url)
    run_copy(tmp_path, "--state", site.app.config.state, database.url)
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
            assert sentence in run_copy(tmp_path, "--state", source, target, check=1)
    assert "cannot be opened" in run_copy(tmp_path, tmp_path / "typo.db3", database.url, check=1)
    assert not (tmp_path / "typo.db3").exists() and not (tmp_path / "to.db3").exists()


def test_no_module_is_left_out_of_a_state_database(site, tmp_path, database):
    site("tokens/?add", token_name="backup")
    run_copy(tmp_path, site.file, database.url)
    run_copy(tmp_path, "--state", site.app.config.state, database.url)
    (tmp_path / "config.py").write_text("dbpath = 'nowhere.db3'\nmodulelist = {}\n")
    done = subprocess.run(
        [*MAILAPI, "copy", "--state", database.url, "to.state"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (
        done.returncode == 1
        and "has the tables audit, audit_entry, audit_former_user, audit_subject, deleted_name, suspension, token"
        in done.stderr
    )
    assert not (tmp_path / "to.state").exists()
    said = run_copy(tmp_path, database.url, tmp_path / "back.db3")
    assert (
        "left alone, as no part of a master database: audit, audit_entry, audit_former_user, audit_subject, "
        in said
    )


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
    said = run_copy(tmp_path, filled, url, MYSQL_PWD="se/cret@")
    refused = run_copy(tmp_path, filled, database.url.replace("cret", "creT"), check=1)
    assert "cannot be reached" in refused
    for text in (said, refused, run_copy(tmp_path, filled, database.url, check=1)):
        assert "cret" not in text and "creT" not in text
