"""SQLite's SQL, translated for a server, gives the same rows."""

import contextlib
import itertools
import sqlite3

import pytest
from mailapi_modules.mail.queue_access import has_id_among
from mailapi_modules.mariadb import tables as serverschema
from mailapi_modules.mariadb.dialect import translated
from mailapi_modules.mariadb.store import ServerStore
from mailapi_modules.pop import Popd
from peewee import OP, SQL, Cast, Expression, Query, fn

import mailapi
from mailapi import Users
from support.site import SCHEMAS

LETTERS = ["\\", "%", "_", "a", "A", "ä", "Ä", " "]
TEXTS = ["".join(word) for length in range(4) for word in itertools.product(LETTERS, repeat=length)]


@pytest.fixture
def both(database):
    """SQLite and a server, with every word of up to three odd letters as the name of a user."""
    sqlite = sqlite3.connect(":memory:")
    sqlite.executescript(SCHEMAS[9].read_text())
    sqlite.executemany("INSERT INTO users (user_name) VALUES (?)", [(text,) for text in TEXTS])
    store = ServerStore(database.url)
    with contextlib.closing(sqlite), contextlib.closing(store.open()) as server:
        serverschema.create(server, sqlite)
        serverschema.insert_rows(server, sqlite)

        def ask(query: str | Query, *values, **named) -> tuple[list, list]:
            store.connect()
            if isinstance(query, str):
                cursors = sqlite.execute(query, values), store.run(query, list(values))
            else:
                sql, bind = mailapi.Store("never opened").compile(query)
                cursors = sqlite.execute(sql, bind(named) if bind else ()), store.execute(query, **named)
            return tuple(sorted(cursor.fetchall(), key=repr) for cursor in cursors)

        yield ask
        store.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a.user_name, b.user_name FROM users AS a JOIN users AS b ON a.user_name LIKE b.user_name",
        "SELECT user_name, LOWER(user_name), LENGTH(user_name) FROM users",
        "SELECT a.user_name FROM users AS a JOIN users AS b ON LOWER(a.user_name) = b.user_name",
        "SELECT user_name, INSTR(user_name, 'a'), user_name || '|' FROM users",
    ],
)
def test_text_is_compared_byte_for_byte_and_like_folds_ascii_only(both, sql):
    in_sqlite, on_server = both(sql)
    assert on_server == in_sqlite and len(in_sqlite) > 400


@pytest.mark.parametrize("pattern", ["a\\", "\\%", "\\_a", "%\\%", "_ä", "", " ", "A%"])
def test_a_pattern_or_a_text_that_was_given_is_taken_as_it_is(both, pattern):
    for sql in (
        "SELECT user_name FROM users WHERE user_name LIKE ?",
        "SELECT user_name FROM users WHERE ? LIKE user_name",
        "SELECT user_name FROM users WHERE user_name = ?",
        "SELECT user_name FROM users WHERE user_name > ?",
    ):
        in_sqlite, on_server = both(sql, pattern)
        assert on_server == in_sqlite


@pytest.mark.parametrize(
    "condition", ["a LIKE LOWER(c)", "a || b LIKE c", "a LIKE b || c", "(a) LIKE b", "a LIKE 'x'"]
)
def test_a_like_that_is_not_understood_is_refused(condition):
    with pytest.raises(ValueError, match="would not be SQLite's"):
        translated(f"SELECT 1 FROM users WHERE {condition}")


def test_queries_of_peewee_select_the_same_rows(both):
    """Compiled for each engine: LIKE, LOWER and LENGTH of every word, JSON lists, CASE and bytes."""
    user, other = Users.user_name, Users.alias("other")
    pair = Users.select(user, other.user_name)
    for query in (
        pair.join(other, on=Expression(user, OP.ILIKE, other.user_name)),
        pair.join(other, on=(fn.LOWER(user) == fn.LOWER(other.user_name))),
        Users.select(user, fn.LENGTH(user), fn.length(fn.LOWER(user.concat("B"))), fn.IIF(user > "a", 1, 2)),
        Users.select(user).where(user.concat("|") == user.concat("|"), has_id_among(fn.LENGTH(user))),
        Users.select(Cast(user, "BLOB")).where(user.contains("A")),
    ):
        in_sqlite, on_server = both(query, ids="[1, 2]")
        assert on_server == in_sqlite and len(in_sqlite) > 50


def test_a_row_is_replaced_or_ignored_as_in_sqlite(both):
    for query in (
        Popd.insert(pop_user="a", pop_lock=True),
        Popd.insert(pop_user="a", pop_lock=False).on_conflict_ignore(),
        Popd.replace(pop_user="A", pop_lock=True),
        Popd.replace(pop_user="A", pop_lock=False),
    ):
        both(query)
    in_sqlite, on_server = both(Popd.select())
    assert on_server == in_sqlite == [("A", 0), ("a", 1)]


@pytest.mark.parametrize(
    "condition",
    [Expression(Users.user_name, OP.LIKE, "a*"), SQL("? LIKE user_name", ["a"]), Users.user_name % 2],
)
def test_a_query_that_would_mean_something_else_is_refused(condition):
    with pytest.raises(ValueError, match="lacks|in their order"):
        ServerStore.database.get_sql_context().sql(Users.select().where(condition))


def test_backslashes_in_expressions_decide_as_in_sqlite(site, tmp_path, database):
    """Whose mail it is, and whose delegation it was, is not a matter of the engine."""
    for order, expression, user in ((1, "b%@x.org", "ann"), (2, "b\\_b@x.org", "bob")):
        site.sql("INSERT INTO addresses VALUES (?, ?, 'store', ?)", expression, order, user)
    site.sql("INSERT INTO api_address_delegates VALUES ('dele', 'b\\_b@x.org')")
    with contextlib.closing(sqlite3.connect(site.file)) as source:
        store = ServerStore(database.url)
        with contextlib.closing(store.open()) as server:
            serverschema.create(server, source)
            serverschema.insert_rows(server, source)
    there = mailapi.create_app(site.config | {"dbpath": database.url})
    here, asked = (
        site.app,
        [
            ("addresses/?test", {"address_expression": f"b{c}b@x.org", "address_routing": "inrouter"})
            for c in ("_", "\\o", "\\_", "x")
        ],
    )
    asked += [(f"addresses/?get&test=b{c}b@x.org", {}) for c in ("_", "%5Co", "x")]
    for user, (url, fields) in itertools.product(("root", "dele", "bob"), asked):
        answers = []
        for site.app in (here, there):
            answers.append(site(url, user=user, **fields))
        assert answers[0] == answers[1], (user, url, fields)
    there.db.close(), there.state.close()


def test_defaults_of_columns_are_sqlites(database):
    schema = """CREATE TABLE a (number INTEGER PRIMARY KEY, product INTEGER DEFAULT ((1 + 2) * (3)),
        text TEXT DEFAULT ('(x)'), plain INTEGER NOT NULL DEFAULT 7)"""
    with serverschema.model(schema) as sqlite, contextlib.closing(ServerStore(database.url).open()) as server:
        serverschema.create(server, sqlite)
        cursor = server.cursor()
        cursor.execute("INSERT INTO a (number) VALUES (1)")
        cursor.execute("SELECT * FROM a")
        sqlite.execute("INSERT INTO a (number) VALUES (1)")
        assert list(cursor.fetchall()) == sqlite.execute("SELECT * FROM a").fetchall() == [(1, 9, "(x)", 7)]
