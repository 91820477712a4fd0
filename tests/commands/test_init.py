"""mailapi init: makes a database with an administrator, and a config.py."""

import json
import re
import shlex
import sqlite3
import subprocess

import pytest

import mailapi
from support.command_line import MAILAPI, Server, run_mailapi, run_on_terminal
from support.site import ROOT

pytestmark = pytest.mark.slow


def test_init_makes_a_database_and_never_touches_one(tmp_path):
    said = run_mailapi(tmp_path, "init", "--dbpath", "sub/mail.db3", "--admin", "chief")
    password = re.search("Password, shown only now: (\\S+)", said)[1]
    with sqlite3.connect(tmp_path / "sub/mail.db3") as connection:
        made = dict(connection.execute("SELECT name, sql FROM sqlite_master"))
        assert connection.execute("SELECT user_name FROM users").fetchall() == [("chief",)]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()
    wanted = sqlite3.connect(":memory:")
    wanted.executescript((ROOT / "tests/conformance/schema9.sql").read_text())
    assert made == dict(wanted.execute("SELECT name, sql FROM sqlite_master"))
    wanted.close()
    before = (tmp_path / "sub/mail.db3").read_bytes()
    assert "exists; it was not touched" in run_mailapi(tmp_path, "init", check=1)
    assert (tmp_path / "sub/mail.db3").read_bytes() == before
    with Server(tmp_path) as server:
        body = json.dumps({"auth": {"user_name": "chief", "password": password}}).encode()
        assert server.post("users/?get", body)["permissions"] == {"admin": True}


def test_init_shows_the_password_even_where_it_cannot_write_the_config(tmp_path):
    said = run_mailapi(tmp_path, "init", "--config", "nowhere/config.py", check=1)
    assert re.search(r"^Password, shown only now: \S+$", said, re.M) and "nowhere/config.py: No such" in said


def test_init_on_a_full_disk_is_a_sentence(tmp_path):
    command = f"ulimit -f 8; {shlex.join(MAILAPI)} init < /dev/null"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr == "mailapi: disk I/O error\n"
    assert not list((tmp_path / "data").iterdir())


def test_a_config_for_which_the_disk_has_no_room_is_not_left_empty(tmp_path):
    done = subprocess.run(
        f"ulimit -f 1; exec {shlex.join(MAILAPI)} serve --init --listen 127.0.0.1:0",
        shell=True,
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, "mailapi: config.py cannot be written: File too large.\n")
    assert not list(tmp_path.iterdir())


def test_init_without_an_answer_is_a_sentence(tmp_path):
    said = run_on_terminal(tmp_path, "init", answers=[(b"administrator: ", b"\x04")])  # Ctrl-D
    assert b"mailapi: the input ended before an answer." in said and b"Traceback" not in said


def test_init_asks_on_a_terminal(tmp_path):
    first, again = b"administrator: ", b"Once more: "
    said = run_on_terminal(
        tmp_path,
        "init",
        answers=[(first, b"one\n"), (again, b"two\n"), (first, b"se cret\n"), (again, b"se cret\n")],
    )
    assert b"not the same" in said and b"Created" in said and b"se cret" not in said
    app = mailapi.create_app({"dbpath": str(tmp_path / "data/master.db3"), "modulelist": {}})
    app.generation()
    assert mailapi.verify("se cret", app.db.one(mailapi.CREDENTIALS_OF, user="admin")["user_authdata"])
