"""The names that users may be given: none that is read as another's, and none of which an earlier user has left rows."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailapi
from support import engines
from support.site import MODULES, OPTIONAL, Site, authdata

pytestmark = pytest.mark.every_engine

NOT_ALLOWED, UNIQUE = "Username is not allowed. ", "UNIQUE constraint failed: users.user_name"
ODD = [
    " bob",
    "bob ",
    "\tbob",
    "bob\n",
    "\xa0bob",
    "bob\u3000",
    "bo\xa0b",
    "bo\xadb",
    "b\u200bob",
    "bob\u200d",
    "\ufeffbob",
    "bob\u202e",
    "bob\u2060",
    "b\u115fob",
    "bob\u3164",
    "bob\ufe0f",
    "bob\U000e0101",
    "bob\u2800",
    "b\x7fob",
    "bob\ue000",
    "bob\u2028",
    "bob\x85",
    "bob\U000e0041",
    "bob\u0378",
    "main",
    "Temp",
]
FINE = [
    "a b",
    "Jörg-Ole",
    "李雷",
    "Ünal",
    "o'brien",
    "x_y",
    "q%z",
    "UPPER",
    "BOB",
    "\U0001f600",
    "a@corp.org",
]
ALIKE = [
    ("ｂob", "bob"),
    ("bob", "ｂob"),
    ("Jo\u0308rg", "Jörg"),
    ("Jörg", "Jo\u0308rg"),
    ("ﬁn", "fin"),
    ("bob", " bob"),
    ("bob", "bob\u200b"),
    ("bob", "\tbob"),
    ("bob", "b\xadob"),
    ("a b", "a\xa0b"),
    ("a  b", "a b"),
    ("①", "1"),
    ("x" * 300, "x" * 299 + "ｘ"),
    ("李\u0301雷", "李\u200b\u0301雷"),
    ("Å", "\u212b"),
]


def change(site, statement: str, *values):
    """Change the master database with foreign keys off, as they are in a shell."""
    if engines.ENGINE == "sqlite":
        return site.sql(statement, *values)
    site.sql("SET foreign_key_checks = 0")
    try:
        return site.sql(statement, *values)
    finally:
        site.sql("SET foreign_key_checks = 1")


def add_user(site, name: str):
    site.sql("INSERT INTO users (user_name) VALUES (?)", name)


########## Names that are read as another's ########################################################


@pytest.mark.parametrize("name", ODD)
def test_f47_nobody_gets_a_name_with_outer_blanks_or_invisible_characters(tmp_path, name):
    site = Site(tmp_path, delegates_add_users=True)
    before = site.dump()
    for user in ("root", "dele"):
        assert site("users/?add", user=user, user_name=name)["status"] == NOT_ALLOWED
    answer = site("users/?import", file=json.dumps({"user_name": name}))
    assert answer["problems"] == [{"line": 1, "status": NOT_ALLOWED.strip()}]
    assert site.dump() == before


@pytest.mark.parametrize("name", FINE)
def test_other_names_are_added_as_they_are(either, name):
    assert either("users/?add", user_name=name)["user"] is True
    assert either.sql("SELECT user_name FROM users WHERE user_name = ?", name) == [(name,)]
    again = either("users/?add", user_name=name)
    assert (again["status"], again["user"]) == (UNIQUE, False)


@pytest.mark.parametrize(("name", "existing"), ALIKE)
def test_a_name_that_looks_like_an_existing_one_is_refused(tmp_path, name, existing):
    site = Site(tmp_path, delegates_add_users=True)
    site.sql("DELETE FROM users WHERE user_name = 'bob'")
    try:
        add_user(site, existing)
    except Exception as error:
        assert engines.ENGINE == "mariadb" and len(existing) > 255, error
        pytest.skip("longer than the column")
    before = site.dump()
    for user in ("root", "dele"):
        answer = site("users/?add", user=user, user_name=name)
        assert (answer["status"], answer["user"]) == (NOT_ALLOWED, False)
    (problem,) = site("users/?import", file=json.dumps({"user_name": name}))["problems"]
    assert problem["status"] == f"Username {name:.100} looks the same as one that is taken."
    assert site.dump() == before


@pytest.mark.parametrize(
    ("name", "existing"),
    [("ab", "a b"), ("bobb", "bob"), ("bo", "bob"), ("Bob", "bob"), ("bob1", "bob"), ("bob@corp.org", "bob")],
)
def test_a_name_that_only_resembles_another_is_added(site, name, existing):
    site.sql("DELETE FROM users WHERE user_name = 'bob'")
    add_user(site, existing)
    assert site("users/?add", user_name=name)["user"] is True


NAMES = st.text(st.sampled_from("ab \t\xa0\u200b\u0308ｂäö\xad①1"), max_size=6)


@given(name=NAMES, other=NAMES, case=st.sampled_from(["", "a" * 199, "a" * 201]))
def test_the_index_finds_every_name_that_looks_the_same(name, other, case):
    from mailapi_modules.directory.user_names import ranges_of_similar, visible

    seen = visible(case + name)
    assert visible(seen) == seen and unicodedata.is_normalized("NFKC", seen)
    if visible(case + other) == seen and other:
        assert any(low <= case + other < high for low, high in ranges_of_similar(seen))


def test_looking_for_names_that_look_the_same_reads_few_rows(site):
    """A hundred thousand users must not cost a new one more than a few look-ups."""
    from mailapi_modules.directory.user_names import IN_RANGES, MOST_RANGES, ranges_of_similar

    assert len(ranges_of_similar("somebody@corp.org")) <= MOST_RANGES
    for ranges, query in IN_RANGES.items() if engines.ENGINE == "sqlite" else ():
        sql, _ = site.app.db.compile(query)
        plan = site.sql("EXPLAIN QUERY PLAN " + sql, *[""] * (2 * ranges))
        steps = [step for *_, step in plan if "users" in step]
        assert len(steps) == ranges
        assert all("SEARCH users USING" in step and "user_name>? AND user_name<?" in step for step in steps)


@pytest.mark.sqlite
@pytest.mark.parametrize("name", [*ODD[:4], "ma\u200bin"])
def test_the_administrator_gets_no_such_name(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    assert mailapi.main(["init", "--dbpath", "new.db3", "--admin", name]) == 1
    assert "cannot be a user's name" in capsys.readouterr().err and not (tmp_path / "new.db3").exists()


@pytest.mark.sqlite
def test_check_names_the_users_that_nobody_can_tell_apart(site, tmp_path, capsys):
    config = tmp_path / "config.py"
    config.write_text(f"dbpath = {site.place!r}\nmodulelist = {MODULES!r}\n")
    mailapi.main(["check", "--config", str(config)])
    assert "look the same" not in capsys.readouterr().out
    for name in (" bob", "ｂob", "Jörg"):
        add_user(site, name)
    assert mailapi.main(["check", "--config", str(config)]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL  User")]
    assert failed == [
        "FAIL  User: user ' bob' has outer blanks or invisible characters: no service takes the name",
        "FAIL  User: users ' bob', 'bob', '\\uff42ob' look the same",
    ]


########## Delegates that add users ################################################################


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def delegating(request, tmp_path) -> Site:
    return Site(tmp_path, request.param, delegates_add_users=True)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("new@corp.org", "ok"),
        ("New@CORP.org", "ok"),
        ("a_b@corp.org", "ok"),
        ("new", "ok"),
        ("new_", "ok"),
        ("postmaster@one.org", "Not allowed"),
        ("@corp.org", "Not allowed"),
        ("%@corp.org", "Not allowed"),
        ("new%@corp.org", "Not allowed"),
        ("postmaster@one.org@corp.org", "Not allowed"),
        ("a b@corp.org", "Not allowed"),
        ("postmaster＠one.org", "Not allowed"),
        ("new@corp.org.one.org", "Not allowed"),
        ("new@", "Not allowed"),
    ],
)
def test_a_delegate_adds_only_addresses_that_they_manage(delegating, name, status):
    answer = delegating("users/?add", user="dele", user_name=name)
    assert answer["status"] == status
    assert len(delegating.sql("SELECT user_name FROM users WHERE user_name = ?", name)) == (status == "ok")


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("new", "Not allowed"),
        ("new@one.org", "Not allowed"),
        ("postmaster@one.org", "Not allowed"),
        ("new@corp.org", "ok"),
    ],
)
def test_with_a_mail_server_a_delegate_adds_nothing_else(tmp_path, name, status):
    """Also where the module Account, which asks the mail server, is not in modulelist."""
    site = Site(tmp_path, delegates_add_users=True, mailserver="mysql://nobody:x@127.0.0.1:1/mail")
    assert site("users/?add", user="dele", user_name=name)["status"] == status


########## Names of which rows are left ############################################################


def leave(site, table: str, name: str = "ghost"):
    """Leave a row of a user who is not there."""
    change(
        site,
        {
            "api_access": "INSERT INTO api_access VALUES (?, 'admin')",
            "api_user_delegates": "INSERT INTO api_user_delegates VALUES (?, 'ann')",
            "api_user_delegates other": "INSERT INTO api_user_delegates VALUES ('bob', ?)",
            "api_address_delegates": "INSERT INTO api_address_delegates VALUES (?, '%')",
            "popd": "INSERT INTO popd VALUES (?, 1)",
            "smtpd": "INSERT INTO smtpd VALUES (?, 'any', NULL)",
            "msa": "INSERT INTO msa VALUES (?, 'drop', NULL, 'any', NULL)",
            "users": "UPDATE users SET user_alias = ? WHERE user_name = 'bob'",
            "mailbox": "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom) VALUES (?, 't', 'f')",
        }[table],
        name,
    )


LEFT = [
    "api_access",
    "api_user_delegates",
    "api_user_delegates other",
    "api_address_delegates",
    "popd",
    "users",
    "mailbox",
]


@pytest.mark.parametrize("table", [*LEFT, "routers"])
def test_a_name_of_which_rows_are_left_is_not_given_again(delegating, table):
    table = {9: "smtpd", 8: "msa"}[delegating.generation] if table == "routers" else table
    leave(delegating, table)
    before = delegating.dump()
    answer = delegating("users/?add", user="dele", user_name="ghost", user_authdata="pw")
    assert (answer["status"], answer["user"]) == ("Not allowed", False)
    answer = delegating("users/?add", user_name="ghost", user_authdata="pw")
    sentence = f"Rows of this user name are left in {table.split()[0]}: delete the user first."
    assert (answer["status"], answer["user"]) == (sentence, False)
    (problem,) = delegating("users/?import", file="user_name\nghost")["problems"]
    assert problem["status"] == "Rows of the user name ghost are left: delete the user first."
    assert delegating.dump() == before
    assert delegating("users/?delete", user_name="ghost")["delete"] == "ok"
    assert "ghost" not in str(delegating.dump())
    assert delegating("users/?add", user="dele", user_name="ghost")["status"] == "Not allowed"
    assert delegating("users/?add", user_name="ghost", user_authdata="pw")["user"] is True
    assert delegating("?login", user="ghost")["login"] is True


def test_an_existing_name_is_taken_and_not_left_over(delegating):
    for user in ("root", "dele"):
        assert delegating("users/?add", user=user, user_name="dele")["status"] == UNIQUE
    assert delegating("users/?import", file="user_name\ndele")["problems"] == [
        {"line": 2, "status": "Username dele is taken."}
    ]


def test_addresses_may_wait_for_an_admins_new_user(site):
    site("addresses/?add", address_expression="new@corp.org", address_router="store", address_route="new")
    assert site("users/?add", user_name="new")["user"] is True


def test_a_delegate_gets_no_name_of_which_mail_is_still_queued(delegating):
    delegating.sql("INSERT INTO outbox (mail_envelopeto, mail_submitter) VALUES ('x@y', 'relay')")
    assert delegating("users/?add", user="dele", user_name="relay")["status"] == "Not allowed"
    assert delegating("users/?add", user_name="relay")["user"] is True


@pytest.fixture
def with_accounts(tmp_path) -> Site:
    return Site(tmp_path, extra=OPTIONAL, delegates_add_users=True, PROVISION=7)


def test_a_delegate_gets_no_name_that_the_state_database_still_has(with_accounts):
    """Tokens and accounts of a user whom somebody deleted in a shell."""
    site, refused = with_accounts, []
    site("?login", user="dele")
    for table, column, row in (
        (
            "token",
            "token_user",
            "(token_hash, token_user, token_name, token_created, token_reads_only, authdata_hash)"
            " VALUES ('h', 'ghost', 'n', 1, 0, 'x')",
        ),
        ("Accounts", "Name", "(idUsers, Name) VALUES (1, 'ghost')"),
    ):
        site.state(f"INSERT INTO {table} {row}")
        refused.append(site("users/?add", user="dele", user_name="ghost")["status"])
        site.state(f"DELETE FROM {table} WHERE {column} = 'ghost'")
    assert refused == ["Not allowed"] * 2
    assert site("users/?add", user="dele", user_name="ghost")["user"] is True


def test_an_admin_adds_a_user_again_whom_a_delegate_deleted(with_accounts):
    site = with_accounts
    assert site("users/?add", user="dele", user_name="new", user_authdata="pw")["user"] is True
    browser = site.browser()
    browser.post_json("/tokens/?add", {"auth": {"user_name": "new", "password": "pw"}, "token_name": "t"})
    assert site("users/?delete", user="dele", user_name="new")["delete"] == "ok"
    assert site("users/?add", user="dele", user_name="new", user_authdata="pw")["user"] is False
    assert site("users/?add", user_name="new", user_authdata="pw")["user"] is True


########## Passwords stored as a BLOB (docs/wire.md F35) ###################################################


@pytest.mark.sqlite
def test_f35_a_password_stored_as_a_blob_is_a_password(either, tmp_path, capsys):
    either.sql("UPDATE users SET user_authdata = ? WHERE user_name = 'bob'", authdata("pw").encode())
    assert either("?login", user="bob")["login"] is True
    assert either("?login", user="bob", password="no")["login"] is False
    browser = either.browser()
    browser.post_json("/?login", {"auth": {"user_name": "bob", "password": "pw"}})
    assert browser.get("/users/?get").json["users"][0]["user_login"] == 1
    secret = browser.post_json("/tokens/?add", {"token_name": "script"}).json["token"]
    assert (
        either.browser().get("/users/?get", headers={"Authorization": f"Bearer {secret}"}).json["login"]
        is True
    )
    either.sql(
        "UPDATE users SET user_authdata = ? WHERE user_name = 'bob'", authdata("pw")
    )  # the same, as TEXT
    assert browser.get("/users/?get").json["login"] is True
    either.sql("UPDATE users SET user_authdata = ? WHERE user_name = 'bob'", authdata("other").encode())
    assert browser.get("/users/?get").json["login"] is False


def test_check_knows_how_the_daemons_read_passwords(site):
    for number, stored in enumerate(
        [
            authdata("pw").encode(),
            authdata("pw"),
            ":" + "0" * 64,
            "ü" + authdata("pw"),
            authdata("pw").upper(),
            authdata("pw") + " ",
            authdata("pw").upper().encode(),
            "more:" + authdata("pw"),
            b"",
            "0" * 64,
        ]
    ):
        site.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", f"u{number}", stored)
    (query,) = [
        query
        for sentence, query in site.app.modules["users"].dangerous_rows.items()
        if "as the daemons read" in sentence
    ]
    site.app.db.connect()
    assert sorted(site.app.db.column(query)) == ["u4", "u5", "u6", "u7", "u8", "u9"]
    assert [
        mailapi.verify("pw", stored)
        for (stored,) in site.sql(
            "SELECT user_authdata FROM users WHERE user_name IN ('u0', 'u1', 'u6', 'u7') ORDER BY 1"
        )
    ].count(True) == 2
