"""users/?import: all users of a file or none, and every line that cannot be used is named."""

import json
import os
import pty
import subprocess

import pytest

import mailapi
from support.browsers import log_in, session_of
from support.command_line import MAILAPI, run_mailapi
from support.counting import statements
from support.site import Site, authdata

pytestmark = pytest.mark.every_engine

CSV = (
    "user_name,password,user_alias,user_permissions\n"
    'zoe,secret,ann,\nyan,"a ""b"",c",zoe,"admin,special"\nxia,,yan,\n'
)
NAMES = ["ann", "bob", "dele", "nologin", "root"]


def names(site) -> list:
    return [row[0] for row in site.sql("SELECT user_name FROM users ORDER BY 1")]


def perform(site, content: str, tell=lambda sentence: None, user: str | None = None) -> dict:
    """As `mailapi call` does it, with something to do in between."""
    generation = site.app.generation()
    call = mailapi.Call(site.app, generation, {"file": content.encode()}, {}, report_progress=tell)
    call.user_name = user
    module = site.app.modules["users"]
    return site.app.perform(call, module, module.endpoints["import"])


def session_of_root(site) -> dict:
    """The headers of root's session."""
    return {"HTTP_COOKIE": f"PHPSESSID={session_of(log_in(site, 'root'))}"}


def large(site, **fields) -> bytes:
    """A request that needs more than max_body."""
    content = "user_name,password\n" + "".join(f"new{i},{'x' * 1000}\n" for i in range(1100))
    return json.dumps(fields | {"file": content}).encode()


def test_blanks_beside_permissions_in_csv_do_not_count(site):
    content = 'user_name,user_permissions\nzoe,"delegate, special "\n'
    assert site("users/?import", file=content)["imported"] == 1
    rows = site.sql("SELECT api_permission FROM api_access WHERE api_user = 'zoe' ORDER BY 1")
    assert rows == [("delegate",), ("special",)]


def test_csv_makes_users_with_passwords_aliases_and_permissions(either):
    assert either("users/?import", file=CSV) | {"debug": []} == either("users/?x") | {
        "imported": 3,
        "checked": 3,
    }
    assert either("?login", user="zoe", password="secret")["login"]
    word = "permissions" if either.generation == 9 else "rights"
    assert either("?login", user="yan", password='a "b",c')[word] == {"admin": True, "special": True}
    assert either("?login", user="xia", password="x")["login"] is False
    rows = either.sql(
        "SELECT user_name, user_alias, user_authdata IS NULL FROM users WHERE user_name >= 'x' ORDER BY 1"
    )
    assert rows == [("xia", "yan", 1), ("yan", "zoe", 0), ("zoe", "ann", 0)]


def test_json_lines_and_ready_hashes(site):
    lines = [
        {"user_name": "zoe", "user_authdata": authdata("secret"), "user_rights": ["admin"]},
        {"user_name": 7, "password": 1234},
        {"user_name": "ü x", "password": "p\u2028w", "user_permissions": ["a", "a"]},
    ]
    content = "\ufeff\n" + "\r\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    assert site("users/?import", file=content)["imported"] == 3
    assert site.sql("SELECT user_authdata FROM users WHERE user_name = 'zoe'") == [(authdata("secret"),)]
    assert site("?login", user="zoe", password="secret")["permissions"] == {"admin": True}
    assert site("?login", user="7", password="1234")["login"]
    assert site.sql("SELECT api_permission FROM api_access WHERE api_user = 'ü x'") == [("a",)]


BAD_JSON = [
    ('{"password": "x"}', "Username is not set."),
    ('{"user_name": "Main"}', "Username is not allowed."),
    ('{"user_name": " bob"}', "Username is not allowed."),
    ('{"user_name": "an\\u200bn"}', "Username is not allowed."),
    ('{"user_name": "ａnn"}', "Username ａnn looks the same as one that is taken."),
    ('{"user_name": "ｇood"}', "Username ｇood looks the same as the one on line 1."),
    ('{"user_name": "ann"}', "Username ann is taken."),
    ('{"user_name": "zoe", "user_alias": "zoe"}', "Cannot alias to the same user."),
    ('{"user_name": "zoe", "user_alias": "gone"}', "There is no user gone to be an alias of."),
    ('{"user_name": "zoe", "user_permissions": [""]}', "No permission is set."),
    ('{"user_name": "zoe", "user_permissions": {"a": 1}}', "Invalid value for user_permissions."),
    ('{"user_name": ["zoe"]}', "Invalid value for user_name."),
    ('{"user_name": "zo\\u0000e"}', "Invalid value for user_name."),
    ('{"user_name": "zoe", "password": {}}', "Invalid value for password."),
    ('{"user_name": "zoe", "passwd": "x"}', "Unknown field passwd."),
    (
        '{"user_name": "zoe", "password": "x", "user_authdata": "a:%s"}' % ("0" * 64),
        "Give user_authdata or password, not both.",
    ),
    ('["zoe"]', "This is not a JSON object."),
    ('{"user_name": "zoe", "password": NaN}', "This is not a JSON object."),
    ('{"user_name": "zoe", "password": %s}' % ("9" * 5000), "This is not a JSON object."),
    ('{"user_name": ', "This is not a JSON object."),
    ("[" * 100_000, "This is not a JSON object."),
] + [
    (
        json.dumps({"user_name": "zoe", "user_authdata": wrong}),
        "user_authdata is <salt>:<64 hex digits>; a password in plain text belongs in password.",
    )
    for wrong in (
        "secret",
        "a:" + "A" * 64,
        "a:" + "0" * 63,
        "a:" + "0" * 64 + "\n",
        "a:" + "0" * 64 + " ",
        "0" * 64,
    )
]


@pytest.mark.parametrize(("line", "sentence"), BAD_JSON)
def test_a_bad_line_is_named_and_nothing_is_changed(site, line, sentence):
    before = site.dump()
    answer = site("users/?import", file='{"user_name": "good"}\n\n' + line)
    assert answer["status"] == "1 of 2 users cannot be imported; nothing was changed."
    assert answer["problems"] == [{"line": 3, "status": sentence}]
    assert site.dump() == before


@pytest.mark.parametrize(
    ("lines", "line", "sentence"),
    [
        ('xia,"p\nw"\nann,pw', 4, "Username ann is taken."),
        ("zoe,pw\nyan,pw\nzoe,pw", 4, "Username zoe is on line 2, too."),
        ("zoe,pw,x", 2, "The line has 3 fields, but the first line names 2."),
        ("zoe", 2, "The line has 1 fields, but the first line names 2."),
        ('zoe,"pw', 2, "This is not CSV: unexpected end of data."),
    ],
)
def test_a_bad_line_of_csv_is_named(site, lines, line, sentence):
    answer = site("users/?import", file="user_name,password\n" + lines)
    assert answer["problems"] == [{"line": line, "status": sentence}]
    assert names(site) == NAMES


@pytest.mark.parametrize(
    "header",
    [
        "",
        "zoe",
        "user_name,passwd",
        "user_name,user_name",
        "password",
        "x;y",
        '"user_name',
        'user_name,"password"x',
        "x" * 200_000,
    ],
)
def test_csv_without_its_fields_is_refused(site, header):
    answer = site("users/?import", file=header + "\nzoe,pw")
    assert answer["status"].startswith(
        "The first line must name the fields: user_name,"
    ) and "zoe" not in names(site)


def test_csv_with_semicolons_is_refused_with_the_reason(site):
    answer = site("users/?import", file="user_name;password\nzoe;pw\n")
    assert answer["status"] == "Separate the fields by commas, not by semicolons."
    assert "zoe" not in names(site)


def test_a_file_without_users_is_refused(site):
    assert site("users/?import", file="user_name\n")["status"] == "There are no users in the file."
    assert site("users/?import")["status"] == "No file is set."


def test_more_than_can_be_written_at_once_is_refused(site):
    permissions = [f"p{i}" for i in range(1000)]
    granted = "".join(
        json.dumps({"user_name": f"x{i}", "user_permissions": permissions}) + "\n" for i in range(101)
    )
    for content in ("{}\n" * 100_001, granted):
        with pytest.raises(mailapi.ApiError, match="^The file has more than 100,000 users or permissions"):
            perform(site, content)
    assert names(site) == NAMES


def test_only_the_first_hundred_problems_are_listed(site):
    answer = site("users/?import", file="user_name\n" + "".join(f"user{i}\nmain\n" for i in range(300)))
    assert answer["status"].startswith("300 of 600 users") and len(answer["problems"]) == 100
    assert answer["problems"][99] == {"line": 201, "status": "Username is not allowed."}


def test_dry_run_changes_nothing_but_finds_the_same(site):
    before = site.dump()
    answer = site("users/?import", file=CSV, dry_run=True)
    assert (answer["imported"], answer["checked"]) == (0, 3)
    assert site("users/?import", file=CSV + "ann,,,\n", dry_run=1)["problems"][0]["line"] == 5
    assert site.dump() == before


def test_a_name_taken_meanwhile_undoes_everything(site):
    def another(sentence):
        if sentence.startswith("writing"):
            site.sql("INSERT INTO users (user_name) VALUES ('yan')")

    with pytest.raises(mailapi.peewee.IntegrityError, match="UNIQUE constraint failed: users.user_name"):
        perform(site, CSV, another)
    assert "zoe" not in names(site) and "yan" in names(site)


def test_an_administrator_who_is_one_no_longer_when_it_is_written_imports_nothing(site):
    def revoke(sentence):
        site.sql("DELETE FROM api_access WHERE api_user = 'root'")

    with pytest.raises(mailapi.ApiError, match="Not allowed."):
        perform(site, CSV, revoke, user="root")
    assert "zoe" not in names(site)


def test_passwords_reach_neither_the_audit_nor_the_log_nor_a_problem(site, caplog):
    caplog.set_level("INFO")
    bad = 'user_name,password\nann,topsecret\nx,topsecret,topsecret\n,topsecret\n"x"topsecret,x\n'
    answers = [
        site("users/?import", file=content)
        for content in (CSV.replace("secret", "topsecret"), bad, '{"user_name": "n", "password": topsecret}')
    ]
    audit = site("audit/?get", audit_action="import")["audit"]
    assert len(audit) == 3 and "topsecret" not in json.dumps([answers, audit]) + caplog.text


def test_a_large_file_is_taken_from_an_administrator_only(site):
    body, auth = large(site), {"user_name": "root", "password": "pw"}
    assert len(body) > site.app.config.max_body
    assert site.raw("users/?import", body)["status"] == "Username is not set!"
    cookie = session_of_root(site)
    assert site.raw("pop/?add", body, check=413, **cookie)["status"] == "Request body too large."
    site.sql("DELETE FROM api_access WHERE api_user = 'root'")
    assert site.raw("users/?import", body, **cookie)["status"] == "Not allowed."
    site.sql("INSERT INTO api_access VALUES ('root', 'admin')")
    assert site.raw("users/?import", body, **cookie)["imported"] == 1100
    site.sql("DELETE FROM users WHERE substr(user_name, 1, 3) = 'new'")
    assert site.raw("users/?import", large(site, auth=auth))["imported"] == 1100


def test_a_large_file_is_taken_from_a_token_but_never_more_than_the_action_says(site):
    token = site("tokens/?add", token_name="import")["token"]
    headers = {"HTTP_AUTHORIZATION": f"Bearer {token}"}
    too_large = b'{"file": "' + b"x" * (32 * 1024 * 1024) + b'"}'
    assert site.raw("users/?import", too_large, check=413, **headers)["status"] == "Request body too large."
    assert site.raw("users/?import", large(site), **headers)["imported"] == 1100


def test_many_users_are_written_with_a_few_statements(site):
    """While they run, the mail daemons cannot write; `python -m bench imports` measures for how long."""
    content = "user_name,password\n" + "".join(
        f"user{i * 7919 % 20_000},password{i}\n" for i in range(20_000)
    )
    asked = statements(site, lambda: perform(site, content))
    assert len(names(site)) == 20_005
    assert len(asked) < 20


def test_mail_daemons_can_write_while_the_file_is_read_and_hashed(site):
    waits = []

    def daemon(sentence):
        site.sql("INSERT INTO outbox (mail_envelopeto) VALUES ('x')")  # fails after waiting for five seconds
        waits.append(sentence)

    perform(site, "user_name,password\n" + "".join(f"user{i},x\n" for i in range(10_000)), daemon)
    assert len(waits) >= 4 and site.sql("SELECT count(*) FROM outbox") == [(len(waits),)]


def test_command_imports_a_file_and_standard_input(tmp_path):
    site = Site(tmp_path)
    (tmp_path / "config.py").write_text(
        f'dbpath = {site.place!r}\nmodulelist = {{"User": "modules/users.py"}}\n'
    )
    (tmp_path / "users.csv").write_bytes(b"\xef\xbb\xbf" + CSV.encode())
    assert json.loads(run_mailapi(tmp_path, "call", "users", "import", "file=users.csv"))["imported"] == 3
    assert (
        json.loads(run_mailapi(tmp_path, "call", "users", "import", "file=-", stdin='{"user_name": "ida"}'))[
            "imported"
        ]
        == 1
    )
    assert {"xia", "yan", "zoe", "ida"} < set(names(site))
    assert "gone.csv" in run_mailapi(tmp_path, "call", "users", "import", "file=gone.csv", check=1)
    (tmp_path / "latin.csv").write_bytes("user_name\nü".encode("latin-1"))
    assert "latin.csv is not text in UTF-8." in run_mailapi(
        tmp_path, "call", "users", "import", "file=latin.csv", check=1
    )


def test_command_says_on_a_terminal_how_far_it_is(tmp_path):
    site = Site(tmp_path)
    (tmp_path / "config.py").write_text(
        f'dbpath = {site.place!r}\nmodulelist = {{"User": "modules/users.py"}}\n'
    )
    (tmp_path / "users.csv").write_text(
        "user_name,password\n" + "".join(f"user{i},x\n" for i in range(12_000))
    )
    ours, theirs = pty.openpty()
    command = [*MAILAPI, "call", "users", "import", "file=users.csv"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    answer = json.loads(process.communicate(timeout=60)[0])
    said = os.read(ours, 10_000).decode()
    os.close(ours)
    assert answer["imported"] == 12_000
    assert "10,000 users read" in said and "5,000 of 12,000 passwords hashed" in said
    assert "writing 12,000 users" in said and said.endswith("\r\033[K")
