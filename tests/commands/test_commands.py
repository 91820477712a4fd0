"""The command line, as subprocesses, and real HTTP over waitress."""

import json
import os
import re
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request

import pytest

import mailapi
from support.command_line import CONFIG, MAILAPI, Server, request_of_root, run_mailapi, run_on_terminal
from support.site import ROOT, Site

pytestmark = pytest.mark.slow


@pytest.fixture
def installed(tmp_path):
    """A site with a config.py."""
    site = Site(tmp_path)
    (tmp_path / "config.py").write_text(CONFIG)
    return site


def test_serve_answers_over_http_and_stops_on_sigterm(installed, tmp_path):
    with Server(tmp_path) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert server.post("users/?add", request_of_root(user_name="carol"))["user"] is True
        assert (
            server.post("nothing/?get", request_of_root(), check=404)["status"] == "Unknown module nothing."
        )
        assert server.post("users/?get", b"x" * 5_000_000, check=413)["status"] == "Request body too large."
        assert server.post("users/?get", b"x" * 30_000_000, check=413)["status"] == "Request body too large."
        assert server.post("users/?get", b"\xff", check=400)["status"] == "Invalid JSON in request body."
        assert len(server.post("users/?get", request_of_root())["users"]) == 6
        code, errors = server.stop()
    assert code == 0 and "Traceback" not in errors and "pw" not in errors


def test_serve_works_with_chunked_bodies(installed, tmp_path):
    with Server(tmp_path) as server:
        chunks = iter([request_of_root()[:10], request_of_root()[10:]])
        assert server.post("users/?get", chunks)["login"] is True


def test_serve_names_what_is_wrong_with_the_config(tmp_path):
    (tmp_path / "config.py").write_text('dbpath = "x"\nmodulelist = {}\nmodules = 5\n')
    assert "Unknown key modules" in run_mailapi(tmp_path, "serve", check=1)
    assert "There is no " in run_mailapi(tmp_path, "serve", "--config", "nowhere.py", check=1)


def test_serve_names_what_is_wrong_with_its_address(installed, tmp_path):
    for listen in ("garbage", ":8123", "127.0.0.1:99999", "127.0.0.1:80x"):
        assert "is not HOST:PORT" in run_mailapi(tmp_path, "serve", "--listen", listen, check=2)
    with Server(tmp_path) as server:
        taken = server.url.removeprefix("http://").rstrip("/")
        assert "already in use; choose another" in run_mailapi(tmp_path, "serve", "--listen", taken, check=1)
    assert "is no URL path" in run_mailapi(tmp_path, "serve", "--mount", "/a;b", check=2)


def test_serve_under_a_mount_behind_a_trusted_proxy(installed, tmp_path):
    (tmp_path / "config.py").write_text(CONFIG + 'trusted_proxies = ["127.0.0.1"]\n')
    with Server(tmp_path, "--mount", "cmail/api/") as server:
        assert server.url.endswith("/cmail/api/")
        sent = urllib.request.Request(
            server.url + "?login", request_of_root(), {"X-Forwarded-Proto": "https"}
        )
        with urllib.request.urlopen(sent) as got:
            cookie = got.headers["Set-Cookie"]
    assert "Path=/cmail/api/;" in cookie and "Secure" in cookie


def test_what_the_server_itself_refuses_is_json_too(installed, tmp_path):
    with Server(tmp_path) as server:
        for head in (
            b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: odd\r\n\r\n",
        ):
            with socket.create_connection((server.host, server.port)) as raw:
                raw.sendall(head)
                answer = raw.makefile("rb").read()
            assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["status"].endswith(".")


def test_backup_copies_while_others_write(installed, tmp_path):
    writer = sqlite3.connect(installed.dbpath, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO users (user_name) VALUES ('uncommitted')")
    run_mailapi(tmp_path, "backup", "copy.db3")
    writer.execute("COMMIT")
    writer.close()
    copy = sqlite3.connect(tmp_path / "copy.db3")
    assert copy.execute("SELECT COUNT(*) FROM users").fetchone() == (5,)
    copy.close()
    assert (tmp_path / "copy.db3").stat().st_mode & 0o777 == 0o600
    assert "exists; it was not touched" in run_mailapi(tmp_path, "backup", "copy.db3", check=1)
    assert not list(tmp_path.glob("*.part"))


def test_letters_that_the_terminal_lacks_end_no_command(tmp_path):
    assert "Create a master database" in run_mailapi(tmp_path, "--help", PYTHONIOENCODING="ascii:strict")
    folder = os.path.join(os.fsencode(tmp_path), b"b\xfccher")  # not UTF-8
    said = run_mailapi(
        tmp_path, "init", "--dbpath", os.fsdecode(folder + b"/m.db3"), PYTHONIOENCODING="utf-8:strict"
    )
    assert "Created b\\udcfccher/m.db3" in said.replace(f"{tmp_path}/", "") and "Password, shown" in said


def test_an_empty_variable_for_the_config_is_none(tmp_path):
    run_mailapi(tmp_path, "init", MAILAPI_CONFIG="")
    assert (tmp_path / "config.py").exists()
    run_mailapi(tmp_path, "check", MAILAPI_CONFIG="")


def test_a_reader_that_has_seen_enough_is_no_failure(installed, tmp_path):
    done = subprocess.run(
        f"{shlex.join(MAILAPI)} call users get | head -1",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


def test_first_request_is_answered_within_half_a_second_of_cpu(installed, tmp_path):
    code = (
        "import mailapi, webtest, json; app = mailapi.create_app('config.py');"
        "import resource; print(app.db.path); import sys;"
        "from wsgiref.util import setup_testing_defaults as d; import io; e = {'QUERY_STRING': 'get_modules'}; d(e);"
        "print(b''.join(app(e, lambda *a: None)).decode()); r = resource.getrusage(resource.RUSAGE_SELF);"
        "print('CPU', r.ru_utime + r.ru_stime)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code.replace(", webtest", "")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Username is not set!" in said
    assert float(said.split("CPU ")[1]) < 0.5


def test_call_has_the_rights_of_whoever_can_read_the_file(installed, tmp_path):
    assert (
        json.loads(
            run_mailapi(
                tmp_path,
                "call",
                "users",
                "add",
                "user_name=carol",
                "user_authdata=-",
                "user_permissions=delegate,special",
                stdin="se=cret\n",
            )
        )["user"]
        is True
    )
    assert installed("users/?get", user="carol", password="se=cret")["permissions"] == {
        "delegate": True,
        "special": True,
    }
    users = json.loads(run_mailapi(tmp_path, "call", "users", "get"))["users"]
    assert "carol" in [user["user_name"] for user in users]
    switch = run_mailapi(
        tmp_path, "call", "addresses/", "switch", 'address1={"address_expression": "x"}', check=1
    )
    assert json.loads(switch) == {"status": "Address 2 is not defined"}


def test_call_refuses_with_a_sentence(installed, tmp_path):
    assert "Unknown action nothing. `mailapi call users` lists" in run_mailapi(
        tmp_path, "call", "users", "nothing", check=1
    )
    assert "Unknown module pop." in run_mailapi(tmp_path, "call", "pop", "get", check=1)
    assert "The fields are username, user_name" in run_mailapi(
        tmp_path, "call", "users", "get", "name=x", check=1
    )
    assert "The fields are" in run_mailapi(tmp_path, "call", "users", "get", "username", check=1)
    assert (
        json.loads(run_mailapi(tmp_path, "call", "users", "get", "--as", "bob", "username=bob"))["status"]
        == "ok"
    )
    assert "unrecognized arguments: --no" in run_mailapi(
        tmp_path, "call", "users", "get", "--no", "username=bob", check=2
    )
    said = json.loads(run_mailapi(tmp_path, "call", "users", "add", "user_name=ann", check=1))
    assert said == {"status": "UNIQUE constraint failed: users.user_name", "user": False}
    assert "Invalid value for address_order." in run_mailapi(
        tmp_path, "call", "addresses", "delete", "address_expression=x", "address_order=y", check=1
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("users", "add", "user_name=ann"),
            "There is one already. (UNIQUE constraint failed: users.user_name)",
        ),
        (
            ("users", "add_permission", "user_name=nobody", "user_permission=admin"),
            "What it names does not exist, or is still used by something else. (FOREIGN KEY constraint failed)",
        ),
    ],
)
def test_tables_explain_what_the_database_says(installed, tmp_path, words, sentence):
    said = run_mailapi(tmp_path, "call", "--table", *words, check=1)
    assert said.splitlines()[0] == sentence


def test_call_as_a_user_has_that_users_rights(installed, tmp_path):
    said = json.loads(
        run_mailapi(tmp_path, "call", "--as", "bob", "users", "delete", "user_name=ann", check=1)
    )
    assert said == {"status": "Not allowed."}
    assert "There is no user nobody." in run_mailapi(
        tmp_path, "call", "--as", "nobody", "users", "get", check=1
    )


def test_call_prints_a_table_on_a_terminal(installed, tmp_path):
    installed.sql("INSERT INTO users (user_name) VALUES (?)", "a\x1b[31m\nb")
    said = run_on_terminal(tmp_path, "call", "users", "get")
    lines = said.decode().split("\r\n")
    assert lines[0].split() == [
        "user_name",
        "has_login",
        "user_alias",
        "user_database",
        "link_count",
        "mails",
        "modules",
    ]
    assert any(line.startswith("root ") and line.endswith("User") for line in lines)
    assert b"\x1b" not in said


def test_check_says_what_is_well_and_what_is_not(installed, tmp_path):
    good = run_mailapi(tmp_path, "check")
    assert "FAIL" not in good and "generation 9" in good and "ok    schema: Address" in good
    installed.sql("INSERT INTO addresses (address_expression, address_router) VALUES ('a@x', 'store')")
    installed.sql("INSERT INTO addresses (address_expression, address_router) VALUES ('b@x', 'bogus')")
    installed.sql("INSERT INTO users (user_name, user_authdata) VALUES ('Temp', 'plain')")
    installed.sql(
        "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom) VALUES ('ann', 'a', 'b')"
    )
    (tmp_path / "config.py").write_text(CONFIG.replace("{", '{"Mailbox": "modules/mailbox.py", '))
    bad = run_mailapi(tmp_path, "check", check=1)
    assert "FAIL  Address: a@x stores to nobody" in bad
    assert "FAIL  Address: b@x has a router that the SMTP daemon does not know" in bad
    assert "FAIL  User: Temp has a password that is not stored as the daemons read it" in bad
    assert "FAIL  User: Temp is named like a SQLite database" in bad
    assert "FAIL  Mailbox: 1 has no mail_data" in bad


def test_check_tells_a_foreign_journal_mode_schema_and_file(installed, tmp_path):
    installed.sql("PRAGMA journal_mode = WAL")
    assert "FAIL  journal mode: wal" in run_mailapi(tmp_path, "check", check=1)
    installed.sql("PRAGMA journal_mode = DELETE")
    installed.sql("DROP TABLE addresses")
    assert "FAIL  schema: Address: no such table: addresses" in run_mailapi(tmp_path, "check", check=1)
    installed.sql("UPDATE meta SET value = NULL")
    assert "Api version and schema version is not the same." in run_mailapi(tmp_path, "check", check=1)
    installed.dbpath.unlink()
    assert "No such file" in run_mailapi(tmp_path, "check", check=1)


def test_check_looks_at_permissions_for_a_daemon_of_another_user(installed, tmp_path):
    tmp_path.chmod(0o755)
    installed.dbpath.chmod(0o644)
    bad = run_mailapi(tmp_path, "check", "--daemon", "nobody", check=1)
    assert "cannot be read and written by nobody" in bad and "for the journal by nobody" in bad
    tmp_path.chmod(0o777)
    installed.dbpath.chmod(0o666)
    run_mailapi(tmp_path, "check", "--daemon", "nobody")


def test_check_looks_at_the_state_database(installed, tmp_path):
    (tmp_path / "master.db3.state").write_text("garbage" * 1000)
    assert "The state database cannot be used" in run_mailapi(tmp_path, "check", check=1)


def test_make_run_serves_and_keeps_the_data(tmp_path):
    with Server(tmp_path, "--init") as server:
        password = re.search("shown only now: (\\S+)", server.said)[1]
        for command in re.findall("^  (curl .*)$", server.said, re.MULTILINE):
            done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
            assert json.loads(done.stdout)["status"] == "ok"
        assert server.stop()[0] == 0
    with Server(tmp_path, "--init") as server:
        assert password not in server.said
        body = json.dumps({"auth": {"user_name": "admin", "password": password}}).encode()
        assert [u["user_name"] for u in server.post("users/?get", body)["users"]] == ["admin", "ann"]


def test_the_password_of_a_new_administrator_is_shown_even_where_serving_fails(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = run_mailapi(
            tmp_path, "serve", "--init", "--listen", f"127.0.0.1:{taken.getsockname()[1]}", check=1
        )
    password = re.search("shown only now: (\\S+)", said)[1]
    app = mailapi.create_app(str(tmp_path / "config.py"))
    app.generation()
    assert mailapi.verify(password, app.db.one(mailapi.CREDENTIALS_OF, user="admin")["user_authdata"])


def test_the_wheel_of_the_sdist_runs_outside_the_checkout(tmp_path):
    shutil.copytree(
        ROOT, tmp_path / "source", ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info")
    )
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", tmp_path, tmp_path / "source"],
        check=True,
        capture_output=True,
    )
    (sdist,) = tmp_path.glob("mailapi_server-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {
        "mailapi.py",
        "modules/users.py",
        "docs/how-to/nginx.md",
        "tests/conftest.py",
        "Makefile",
    }
    new = [sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", tmp_path / "env"]
    subprocess.run(new, check=True)  # the pip of the tests will do
    (wheel,) = tmp_path.glob("*.whl")
    python = tmp_path / "env/bin/python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--ignore-installed", wheel],
        check=True,
        capture_output=True,
    )
    command = [tmp_path / "env/bin/mailapi"]
    subprocess.run(
        [*command, "init"], cwd=tmp_path, check=True, stdin=subprocess.DEVNULL, capture_output=True
    )
    said = subprocess.run(
        [*command, "call", "users", "get"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert json.loads(said.stdout)["users"][0]["user_name"] == "admin"
    where = subprocess.run(
        [python, "-c", "import mailapi; print(mailapi.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    ).stdout
    assert str(tmp_path) in where
    assert (tmp_path / "env/share/mailapi/mailapi.service").exists()
    assert (tmp_path / "env/share/doc/mailapi-server/docs/how-to/nginx.md").exists()
