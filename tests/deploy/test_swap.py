"""docs/how-to/swap-php.md: its commands, run as they stand, from one API to the other and back."""

import contextlib
import http.server
import json
import re
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest

from support.deployment import AS_USER, ENVIRON, USER, recipe
from support.instances import free_port, require_program
from support.panel_over_http import Visit
from support.session import ADDRESS, Client
from support.site import MODULES, Site
from support.waiting import wait_until

pytestmark = pytest.mark.slow

SYSTEMD = ["systemctl enable --now mailapi", "systemctl disable --now mailapi"]

PHP = """<?php
$dbpath = '/var/lib/cmail/master.db3';
$modulelist = array("Address" => "addresses/address.php", "User" => "users/user.php", "POP" => "pop/pop.php",
    "SMTPD" => "smtpd/smtpd.php", "Mailbox" => "mailbox/mailbox.php", "Delegate" => "delegates/delegates.php");
$debugFlag = false;
"""


class Swap:
    """A machine whose nginx passes /cmail/api/ on to an API in place of PHP's, over the same database."""

    def __init__(self, machine, generation: int):
        self.machine, self.copy, self.old = machine, free_port(), free_port()
        php = PHP
        if generation == 8:
            machine.site.dbpath.unlink()
            machine.site = Site(machine.site.dbpath.parent, generation)
            php = PHP.replace("SMTPD", "MSA").replace("smtpd", "msa")
        machine.site.sql("UPDATE users SET user_database = '/var/lib/cmail/ann.db3' WHERE user_name = 'ann'")
        machine.write("/var/www/cmail-api/config.php", php)
        machine.write(
            "/etc/php/config.py", f'dbpath = "/var/lib/cmail/master.db3"\nmodulelist = {MODULES!r}\n'
        )
        machine.write(
            "/etc/nginx/snippets/cmail-php.conf",
            f"location /cmail/api/ {{ proxy_pass http://127.0.0.1:{self.old}; }}\n",
        )
        machine.write("/etc/nginx/snippets/cmail-mailapi.conf", recipe("nginx and mailapi serve")["nginx"])
        (machine.folder / "etc/nginx/snippets/cmail-api.conf").symlink_to("cmail-php.conf")
        (machine.folder / "login.json").write_text('{"auth": {"user_name": "root", "password": "pw"}}')
        # The machine's nginx is one with another configuration file.
        nginx = f'#!/bin/sh\nexec {require_program("nginx")} -e stderr -c /etc/nginx/nginx.conf "$@"\n'
        script = machine.write("/opt/bin/nginx", nginx)
        self.environ = ENVIRON | {"PATH": f"{script.parent}:{ENVIRON['PATH']}"}

    def commands(self, title: str, language="sh") -> list[str]:
        """The lines of a block with this machine's ports and users, without what only systemd can do."""
        text = self.machine.here(recipe(title, "swap-php.md")[language])
        for named, here in (
            ("127.0.0.1:8081", f"127.0.0.1:{self.copy}"),
            ("//127.0.0.1/", f"//127.0.0.1:{self.machine.front}/"),
            ("--daemon cmail", f"--daemon {USER.pw_name}"),
        ):
            text = text.replace(named, here)
        return [line for line in text.splitlines() if line not in SYSTEMD]

    def run(self, lines: list[str]) -> str:
        """Run commands as one would paste them; what they print. The last one must succeed."""
        done = subprocess.run(
            [require_program("bash"), "-c", "\n".join(lines)],
            cwd=self.machine.folder,
            env=self.environ,
            text=True,
            capture_output=True,
            **AS_USER,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def reload(self, lines: list[str]):
        """Run commands, and wait until nginx's workers of before have finished."""
        before = self.workers()
        self.run(lines)
        wait_until(lambda: not before & self.workers(), "nginx was not reloaded")

    def workers(self) -> set[str]:
        nginx = int((self.machine.folder / "run/nginx.pid").read_text())
        return set(Path(f"/proc/{nginx}/task/{nginx}/children").read_text().split())

    def serving(self, command: str, port: int):
        return self.machine.running([require_program("bash"), "-c", self.machine.here(command)], port)

    def ask(self, user: str, url: str = "users/?get", **fields) -> dict:
        """An answer of whatever the web server passes on to now."""
        with Client(self.machine.url) as client:
            return client(url, auth={"user_name": user, "password": "pw"}, **fields)

    def served_by_mailapi(self) -> bool:
        """Whether a log-out is one in the guide's state database."""
        state = self.machine.folder / "var/lib/mailapi/state.db3"
        before = log_outs(state)
        with Client(self.machine.url) as client:
            assert client("users/?get", auth={"user_name": "bob", "password": "pw"})["login"] is True
            client("?logout")
        return log_outs(state) > before


def log_outs(state: Path) -> int:
    """How many sessions a state database has that were ended."""
    if not state.exists():
        return 0
    with contextlib.closing(sqlite3.connect(state)) as connection:
        return connection.execute("SELECT COUNT(*) FROM session_change").fetchone()[0] or 0


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def swap(request, machine):
    swap = Swap(machine, request.param)
    old = "/opt/mailapi/bin/mailapi serve --config /etc/php/config.py --mount /cmail/api --listen 127.0.0.1:"
    with swap.serving(f"{old}{swap.old}", swap.old), machine.nginx("include snippets/cmail-api.conf;\n"):
        yield swap


def test_trying_changes_nothing(swap):
    before = swap.machine.site.dump()
    assert "FAIL" not in swap.run(swap.commands("Take over the config"))
    *prepare, serve = swap.commands("Try it beside PHP, on a copy")
    swap.run(prepare)
    compare = swap.commands("Try it beside PHP, on a copy", "bash")
    with swap.serving(serve, swap.copy):
        assert swap.run(compare).split() == [
            "users/?get:",
            "the",
            "same",
            "addresses/?get:",
            "the",
            "same",
            "pop/?get:",
            "the",
            "same",
            "delegates/?get:",
            "the",
            "same",
        ]
        swap.run(swap.commands("Let clients change the copy"))
        with Client(f"http://127.0.0.1:{swap.copy}/") as client:
            client.log_in("root")
            assert client("users/?add", user_name="only in the copy")["user"] is True
        said = swap.run(compare)
        assert '"user_name": "only in the copy"' in said and "pop/?get: the same" in said
    copy = swap.machine.folder / "var/lib/mailapi/copy.db3"
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT COUNT(user_database) FROM users").fetchone() == (0,)
    swap.run(swap.commands("Let clients change the copy", "bash"))
    assert not list(copy.parent.glob("copy*")) and not (swap.machine.folder / "login.json").exists()
    assert swap.machine.site.dump() == before


USERS = [{"user_name": "ann", "modules": {"POP": True, "User": True}}, {"user_name": "bob", "modules": []}]
ADDRESSES = [
    {"address_expression": "a@one.org", "address_order": 2},
    {"address_expression": "%", "address_order": 1},
]
DELEGATIONS = [{"api_user": "dele", "api_expression": "a"}, {"api_user": "dele", "api_expression": "b"}]
ANSWERS = {
    "users/?get": {"users": USERS, "permissions": {"admin": True, "delegate": True}},
    "addresses/?get": {"addresses": ADDRESSES},
    "pop/?get": {"pop": [{"pop_user": "ann"}, {"pop_user": "bob"}]},
    "delegates/?get": {"delegates": {"users": [], "addresses": DELEGATIONS}},
}


@contextlib.contextmanager
def answering(answers: dict):
    """An API with these answers; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.dumps(answers[re.search(r"\w+/\?get", self.path)[0]]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def backwards(value):
    """The same with all lists and maps in another order."""
    if isinstance(value, dict):
        return {key: backwards(value[key]) for key in reversed(value)}
    return [backwards(entry) for entry in reversed(value)] if isinstance(value, list) else value


def compared(folder: Path, php: dict, mailapi: dict) -> str:
    """What the guide's comparison prints for the answers of the two."""
    text = recipe("Try it beside PHP, on a copy", "swap-php.md")["bash"]
    (folder / "login.json").write_text("{}")
    with answering(php) as before, answering(mailapi) as after:
        text = text.replace("//127.0.0.1/", f"//127.0.0.1:{before}/").replace(
            "127.0.0.1:8081", f"127.0.0.1:{after}"
        )
        done = subprocess.run(
            [require_program("bash"), "-c", text], cwd=folder, env=ENVIRON, text=True, capture_output=True
        )
    assert not done.stderr
    return done.stdout


def test_the_order_of_lists_is_no_difference_but_for_that_of_addresses(tmp_path):
    """PHP promises no order of users, POP users and delegations; addresses are matched in theirs."""
    other = backwards(ANSWERS) | {"addresses/?get": ANSWERS["addresses/?get"]}
    same = [f"{what}: the same" for what in ANSWERS]
    assert compared(tmp_path, other, ANSWERS).splitlines() == same
    said = compared(tmp_path, backwards(ANSWERS), ANSWERS)
    assert "addresses/?get: the same" not in said and said.count(": the same") == 3
    fewer = ANSWERS | {"users/?get": ANSWERS["users/?get"] | {"users": USERS[:1]}}
    said = compared(tmp_path, ANSWERS, fewer)
    assert "users/?get: the same" not in said and '"user_name": "bob"' in said


def test_there_and_back(swap):
    schema = swap.machine.site.sql("SELECT sql FROM sqlite_master")
    swap.run(swap.commands("Take over the config"))
    with Client(swap.machine.url) as stays, swap.machine.backend(recipe("nginx and mailapi serve")):
        stays.log_in("ann")
        with requests_without_end(swap) as lost:
            swap.reload(swap.commands("Swap"))
        assert swap.served_by_mailapi()
        visit = Visit(swap.machine.url)
        assert visit.get().url == visit.url + "log-in"  # of the panel, as docs/how-to/nginx.md says
        stays.connection.close()
        assert stays("users/?get")["status"] == "Username is not set!"  # sessions are not carried over
        assert swap.ask("root", "users/?add", user_name="meanwhile", user_authdata="pw")["user"] is True
        assert {row["audit_address"] for row in swap.ask("root", "audit/?get")["audit"]} == {ADDRESS}
        with requests_without_end(swap) as lost_again:
            swap.reload(swap.commands("Go back"))
        assert not swap.served_by_mailapi()
        stays.connection.close()
        assert [user["user_name"] for user in stays("users/?get")["users"]] == ["ann"]
        assert lost == lost_again == []
    assert swap.ask("meanwhile")["login"] is True
    assert swap.machine.site.sql("SELECT sql FROM sqlite_master") == schema
    assert swap.machine.site.sql("PRAGMA journal_mode") == [("delete",)]


@contextlib.contextmanager
def requests_without_end(swap):
    """A client that asks all the while; the list of what went wrong."""
    lost, asked, over = [], [], threading.Event()

    def ask():
        while not over.is_set():
            try:
                asked.append(swap.ask("dele")["auth_user"])
            except Exception as error:
                lost.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield lost
        until = time.monotonic() + 60
        while len(asked) <= 3 and not lost and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        over.set()
        thread.join()
    assert len(asked) > 3 and set(asked) == {"dele"}
