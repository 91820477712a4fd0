"""Data that a database on a server would shorten, count otherwise or refuse in another order than SQLite."""

from concurrent.futures import ThreadPoolExecutor

import peewee
import pytest
from mailapi_modules.directory.address_tables import Addresses
from mailapi_modules.mariadb.shared_store import SharedStore

import mailapi
from support.shared import SiteOnServer, create_master_database

V, E = "v" * 255, "e" * 512
TOO_LONG = "{} is too long."


@pytest.fixture
def site(tmp_path, database):
    create_master_database(database.url)
    made = SiteOnServer(tmp_path / "site", database.url)
    yield made
    made.app.db.pool.close_idle(), made.app.state.pool.close_idle()


def dump(database) -> dict[str, list]:
    return {
        table: database.sql(f"SELECT * FROM {table} ORDER BY 1, 2")
        for table in ("users", "api_access", "api_address_delegates", "api_user_delegates", "popd", "smtpd")
    }


########## Longer than the column ##################################################################


@pytest.mark.parametrize("more", [" ", " " * 300, "\t", "\u3000", "x", " x"])
@pytest.mark.parametrize(
    "url, fields, column",
    [
        ("users/?add_permission", {"user_name": V + "{}", "user_permission": "admin"}, "api_user"),
        ("users/?add_permission", {"user_name": "ann", "user_permission": E + "{}"}, "api_permission"),
        (
            "users/?update_permissions",
            {"user_name": "ann", "user_permissions": ["a", E + "{}"]},
            "api_permission",
        ),
        ("users/?add", {"user_name": "w" * 255 + "{}"}, "user_name"),
        ("users/?add", {"user_name": "new", "user_alias": V + "{}"}, "user_alias"),
        ("users/?update_alias", {"user_name": "bob", "user_alias": V + "{}"}, "user_alias"),
        ("pop/?add", {"pop_user": V + "{}"}, "pop_user"),
        ("smtpd/?add", {"smtpd_user": V + "{}", "smtpd_router": "any"}, "smtpd_user"),
        ("delegates/?user_add", {"api_user": V + "{}", "api_delegate": "ann"}, "api_user"),
        ("delegates/?user_add", {"api_user": "ann", "api_delegate": V + "{}"}, "api_delegate"),
        ("delegates/?address_add", {"api_user": "ann", "api_expression": E + "{}"}, "api_expression"),
    ],
)
def test_what_is_longer_than_the_column_is_refused_whatever_it_ends_with(
    site, database, url, fields, column, more
):
    """Nobody gets the permissions of the name that would be left."""
    database.sql("INSERT INTO users (user_name) VALUES (%s)", V)
    before = dump(database)

    def ending_with(end: str) -> dict:
        return {
            key: value.format(end) if isinstance(value, str) else [each.format(end) for each in value]
            for key, value in fields.items()
        }

    answer = site.answer(url, "*", auth={"user_name": "root", "password": "pw"}, **ending_with(more))
    assert (answer.status_int, answer.json["status"]) in (
        (400, TOO_LONG.format(column)),
        (200, "Username is not allowed. "),
    )  # of users/?add, for its end
    assert dump(database) == before
    assert site(url, **ending_with(""))["status"] == "ok"  # without what was too much


def test_import_refuses_what_is_longer_than_the_column(site, database):
    before = dump(database)
    for row in (f"{V} ,,", f"short,,{E}x"):
        answer = site.answer(
            "users/?import",
            "*",
            auth={"user_name": "root", "password": "pw"},
            file=f'user_name,user_authdata,user_permissions\nfirst,,\n"{row}\n'.replace('"', ""),
        )
        assert answer.json["status"] != "ok" and answer.status_int < 500
        assert dump(database) == before


@pytest.mark.parametrize(
    "url, fields",
    [
        ("users/?delete", {"user_name": V + " "}),
        ("users/?delete_permission", {"user_name": V + " ", "user_permission": "admin"}),
        ("users/?set_password", {"user_name": V + " ", "user_authdata": "other"}),
        ("pop/?unlock", {"pop_user": V + " "}),
        ("users/?update_alias", {"user_name": V + "  ", "user_alias": "ann"}),
        ("pop/?delete", {"pop_user": V + "\0"}),
    ],
)
def test_a_longer_name_is_nobodys_where_it_is_looked_up(site, database, url, fields):
    site("users/?add", user_name=V, user_authdata="pw", user_permissions=["admin"])
    site("pop/?add", pop_user=V)
    database.sql("UPDATE popd SET pop_lock = 1")
    before = dump(database)
    site.answer(url, "*", auth={"user_name": "root", "password": "pw"}, **fields)
    assert dump(database) == before
    assert site("?login", user=V, check=200)["login"] is True
    assert site("?login", user=V + " ")["login"] is False


def test_nothing_that_was_shortened_is_committed_by_who_goes_on(site, database):
    """Also where the server's administrator has switched its notes off, and among many rows."""
    before, store = dump(database), site.app.db
    database.sql("SET GLOBAL sql_notes = 0"), database.sql("SET GLOBAL max_error_count = 0")
    store.pool.close_idle()
    insert = mailapi.PreparedQuery(mailapi.Users.insert(user_name=mailapi.param("name")))
    try:
        for attempt in (
            lambda: store.execute(insert, name=V + " "),
            lambda: store.execute_many(
                insert, [{"name": f"u{n}" + " " * 300 * (n == 90)} for n in range(99)]
            ),
        ):
            with pytest.raises(mailapi.TransactionRolledBack), store.transaction():
                with pytest.raises(mailapi.ApiError, match="user_name is too long"):
                    attempt()
        store.release()
    finally:
        database.sql("SET GLOBAL sql_notes = 1"), database.sql("SET GLOBAL max_error_count = 64")
    assert dump(database) == before


@pytest.mark.parametrize(
    "name, value",
    [
        ("foreign_key_checks", 0),
        ("sql_select_limit", 1),
        ("max_join_size", 1),
        ("sql_safe_updates", 1),
        ("completion_type", 1),
        ("completion_type", 2),
    ],
)
def test_what_the_server_has_set_for_all_connections_does_not_count(site, database, mariadb, name, value):
    usual = mariadb.sql(f"SELECT @@GLOBAL.{name} + 0")[0][0]
    mariadb.sql(f"SET GLOBAL {name} = {value}")
    try:
        refused = site("users/?add_permission", user_name="nobody", user_permission="admin")
        assert refused["status"] == "FOREIGN KEY constraint failed"
        assert len(site("users/?get")["users"]) == 5
        assert site("users/?delete", user_name="dele")["status"] == "ok"
        assert site.app.db.pool.idle and site.app.state.pool.idle
    finally:
        mariadb.sql(f"SET GLOBAL {name} = {usual:.0f}")
    assert database.sql("SELECT api_user FROM api_access") == [("root",)]
    assert database.sql("SELECT * FROM api_user_delegates") == []


def test_a_text_of_a_mailservers_or_an_apiservers_column_is_not_shortened_either(database):
    from mailapi_modules.provisioning.account_tables import MARIADB_SCHEMA, Accounts

    store = SharedStore(database.url, "apiserver", schema=MARIADB_SCHEMA)
    with pytest.raises(mailapi.ApiError, match="has no place for this"), store.transaction():
        store.execute(Accounts.insert(Name=V + " ", idUsers=1, IsPrimary=1, Active=1))
    assert database.sql("SELECT * FROM Accounts") == []
    store.close()


def test_rows_too_large_for_the_server_are_refused_among_many(site, mariadb):
    [(before,)] = mariadb.sql("SELECT @@GLOBAL.max_allowed_packet")
    mariadb.sql("SET GLOBAL max_allowed_packet = 1048576")
    store = site.app.db
    store.pool.close_idle()
    try:
        insert = mailapi.PreparedQuery(
            mailapi.Users.insert(user_name=mailapi.param("name"), user_database=mailapi.param("size"))
        )
        with (
            pytest.raises(mailapi.ApiError, match="Too large for the database, which takes 1,048,576"),
            store.transaction(),
        ):
            store.execute_many(insert, [{"name": "a", "size": "x"}, {"name": "b", "size": "x" * 1_050_000}])
        store.release()
    finally:
        mariadb.sql(f"SET GLOBAL max_allowed_packet = {before}")


########## Numbers #################################################################################


def orders(database) -> list[int]:
    return [order for (order,) in database.sql("SELECT address_order FROM addresses ORDER BY 1")]


def test_an_address_order_is_never_given_twice(site, database, mariadb):
    """Nor asked of information_schema, which MySQL answers from a cache that is a day old."""
    statements = []
    site.app.db.trace(statements.append)

    def add(**fields):
        return site("addresses/?add", address_expression="x@y", address_router="drop", **fields)

    given = []
    for _ in range(3):
        add()
        given += [orders(database)[-1]]
        site("addresses/?delete", address_expression="x@y", address_order=given[-1])
    add(address_order=100)
    database.sql("UPDATE addresses SET address_order = 200")  # InnoDB's counter does not know
    add()
    assert given == [1, 2, 3] and orders(database) == [200, 201]
    assert statements and not [sql for sql in statements if "information_schema" in sql]


def test_the_next_order_is_one_that_javascript_can_tell_from_others(site, database):
    """Rows above 2^53 - 1, which an older version took, do not lead the next ones there."""
    database.sql(
        "INSERT INTO addresses VALUES ('x@y', 7, 'drop', NULL), ('x@y', %s, 'drop', NULL)", 10**18 - 1
    )
    store = site.app.db
    with store.transaction("DEFERRED"):
        assert store.next(Addresses.address_order) == 8
    database.sql("DELETE FROM addresses WHERE address_order < %s", 10**18 - 1)
    database.sql(
        "INSERT INTO addresses VALUES ('x@y', %s, 'drop', NULL), ('x@y', %s, 'drop', NULL)",
        2**53 - 2,
        -(2**63),
    )
    with store.transaction("DEFERRED"):
        assert store.next(Addresses.address_order) == 2**53 - 1
    store.release()


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        (
            'CREATE TABLE "t" (\n  "a" bigint NOT NULL AUTO_INCREMENT,\n) ENGINE=InnoDB AUTO_INCREMENT=12 DEFAULT CHARSET=utf8mb4',
            12,
        ),
        (
            'CREATE TABLE "t" (\n  "a" bigint NOT NULL AUTO_INCREMENT COMMENT \') AUTO_INCREMENT=7\',\n) ENGINE=InnoDB',
            1,
        ),
        (
            'CREATE TABLE "t" (\n  "a" bigint NOT NULL AUTO_INCREMENT\n) ENGINE=InnoDB AUTO_INCREMENT=9223372036854775808 ROW_FORMAT=X'
            "\n PARTITION BY KEY (a)",
            2**63,
        ),
    ],
)
def test_the_counter_of_a_table_is_read_from_what_makes_it(statement, number):
    from mailapi_modules.mariadb.tables import counter

    assert counter(statement) == number


########## The order of refusals ###################################################################


def test_a_duplicate_is_named_before_a_parent_that_is_missing(site, database):
    """As SQLite does; a server may look for the parent first, here because its key is the older one."""
    database.sql("ALTER TABLE users ADD UNIQUE KEY user_database (user_database(191))")
    store = site.app.db
    insert = mailapi.PreparedQuery(
        mailapi.Users.insert(
            user_name=mailapi.param("name"),
            user_alias=mailapi.param("alias"),
            user_database=mailapi.param("database"),
        )
    )
    with store.transaction():
        store.execute(insert, name="first", alias=None, database="x")
    before = dump(database)
    for values, said in (
        (
            {"name": "new", "alias": "nobody", "database": "x"},
            "UNIQUE constraint failed: users.user_database",
        ),
        ({"name": "new", "alias": "nobody", "database": "y"}, "FOREIGN KEY constraint failed"),
    ):
        with pytest.raises(peewee.IntegrityError, match=said), store.transaction():
            store.execute(insert, **values)
    assert dump(database) == before
    with (
        pytest.raises(peewee.IntegrityError, match="FOREIGN KEY"),
        store.transaction(),
    ):  # they are still checked
        store.execute(mailapi.Users.update(user_alias="nobody").where(mailapi.Users.user_name == "ann"))
    store.release()


def test_what_asked_for_a_duplicate_leaves_no_connection_without_foreign_keys(site, database, monkeypatch):
    """The question may fail at any of its statements."""
    import pymysql

    query, store = pymysql.connections.Connection.query, site.app.db
    for position in range(5):
        asked = []

        def failing(connection, sql, unbuffered=False, position=position, asked=asked):
            if asked or "mailapi_parents" in str(sql):
                asked.append(sql)
            if len(asked) == position + 1:
                raise pymysql.OperationalError(1317, "for a test")
            return query(connection, sql, unbuffered)

        with monkeypatch.context() as patched:
            patched.setattr(pymysql.connections.Connection, "query", failing)
            assert (
                "FOREIGN KEY" in site("users/?update_alias", user_name="bob", user_alias="nobody")["status"]
            )
        assert len(asked) > position
        for connection in store.pool.idle:
            cursor = connection.cursor()
            cursor.execute("SELECT @@foreign_key_checks")
            assert cursor.fetchall() == ((1,),)
    assert database.sql("SELECT user_alias FROM users WHERE user_name = 'bob'") == [(None,)]


########## Connections #############################################################################


def test_a_connection_to_another_host_than_the_first_is_given_up_in_time(
    tmp_path, database, mariadb, monkeypatch
):
    """The first host may serve again: all instances meet there."""
    from mailapi_modules.mariadb import link as serverlink

    from support.instances import free_port

    create_master_database(database.url)
    away = database.url.replace("@127", f"@127.0.0.1:{free_port()},127")
    for url, longest, same in ((away, 60, True), (away, 0, False), (database.url, 0, True)):
        monkeypatch.setattr(serverlink, "LONGEST_AWAY", longest)
        store = mailapi.open_store(url)
        first = store.connect().thread_id()
        store.release()
        assert (store.connect().thread_id() == first) is same
        store.release(), store.pool.close_idle()


def test_a_deadlock_of_the_mail_servers_database_may_be_repeated(database):
    store = SharedStore(database.url, "mailserver")
    for number, conflict in ((1213, True), (1020, True), (1205, False)):
        with pytest.raises(mailapi.ApiError, match="busy") as refused, store.transaction():
            store.run(f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}")
        assert isinstance(refused.value, mailapi.TransactionRolledBack) is conflict
    store.close()


def test_a_commit_that_a_read_only_server_refuses_is_no_doubt(tmp_path, database, mariadb):
    """The server says that it did not commit, and it is true."""
    create_master_database(database.url)
    mariadb.sql("CREATE USER guest@'127.0.0.1' IDENTIFIED BY 'pw-of-guest'")
    mariadb.sql(f"GRANT ALL ON {database.name}.* TO guest@'127.0.0.1'")
    store = mailapi.open_store(f"mysql://guest:pw-of-guest@127.0.0.1:{mariadb.port}/{database.name}")
    try:
        with (
            pytest.raises(peewee.OperationalError, match="readonly"),
            store.transaction(),
            ThreadPoolExecutor(1) as threads,
        ):
            store.execute(mailapi.Users.insert(user_name="new"))
            threads.submit(mariadb.sql, "SET GLOBAL read_only = 1").result(10)
        store.release()
        assert database.sql("SELECT 1 FROM users WHERE user_name = 'new'") == []
    finally:
        mariadb.sql("SET GLOBAL read_only = 0")
        mariadb.sql("DROP USER guest@'127.0.0.1'")
