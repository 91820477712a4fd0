"""accounts/: services that are down or slow at the first log-in, and many first log-ins at the same moment."""

import json
import socket
import socketserver
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from mailapi_modules.clients import base

import mailapi
from support.accounts import account_of, get_modules, provisioning_lines, reconfigure, service_numbers
from support.counting import ended
from support.instances import free_port
from support.site import ROOT, Site
from support.waiting import wait_until

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]


########## Services that are down ##################################################################


class Shelf(socketserver.ThreadingTCPServer):
    """A service: it keeps what it is told to, one line a request, and can be stopped and started again."""

    allow_reuse_address, daemon_threads, block_on_close = True, True, False

    def __init__(self, port: int, kept: list, answer: bytes | None = b"OK\n"):
        self.kept, self.answer, self.over = kept, answer, threading.Event()
        super().__init__(("127.0.0.1", port), Request)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(self, *_):
        self.over.set()
        self.shutdown()
        self.server_close()


class Request(socketserver.StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline().decode().split()
        if self.server.answer is None:
            self.server.over.wait(60)
            return
        self.server.kept.append(tuple(line))
        self.wfile.write(self.server.answer)


class Client:
    """A way to a Shelf, as modules/clients has them to real services."""

    def __init__(self, port: int):
        self.port, self.url = port, f"http://master:secret@127.0.0.1:{port}/"

    def ask(self, *words):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 60) as connection:
                connection.sendall(" ".join(map(str, words)).encode() + b"\n")
                said = connection.makefile().readline()
        except OSError as error:
            raise mailapi.ApiError(f"The service at {self.port} is down: {type(error).__name__}.") from None
        if said != "OK\n":
            raise mailapi.ApiError(f"The service at {self.port} said {said}")

    def provision(self, what, user_name, password):
        self.ask("make", what, user_name, password)

    def purge(self, what, user_name):
        self.ask("purge", what, user_name)


@pytest.fixture
def ports(monkeypatch) -> dict[str, int]:
    """Where the services would be: imap for mail, dav for the others."""
    found = {"imap": free_port(), "dav": free_port()}
    monkeypatch.setattr(
        base, "clients", lambda config: {kind: Client(found[kind]) for kind in config.services}
    )
    return found


@pytest.fixture
def served(site_with_accounts, ports) -> Site:
    return reconfigure(site_with_accounts, services={"imap": "imap://x", "dav": "http://x"})


def states(site, user="bob") -> dict:
    return {service["kind"]: service["state"] for service in account_of(site, user)["services"]}


def errors(site, user="bob") -> list:
    return [service["error"] for service in account_of(site, user)["services"]]


def settled(site) -> dict:
    """The states of bob's services once none is being made: on a busy machine that outlasts the log-in's patience."""
    wait_until(lambda: "It is being made." not in errors(site))
    return states(site)


ALL_OK = dict.fromkeys(("mail", "contacts", "calendar"), "ok")
ALL_PENDING = dict.fromkeys(ALL_OK, "pending")


def test_services_are_told_the_user_and_the_password(served, ports):
    kept = []
    with Shelf(ports["imap"], kept), Shelf(ports["dav"], kept):
        get_modules(served)
        assert settled(served) == ALL_OK
    assert sorted(kept) == [("make", kind, "bob", "pw") for kind in ("calendar", "contacts", "mail")]
    urls = {service["kind"]: service["url"] for service in account_of(served)["services"]}
    assert urls == {
        "mail": f"http://127.0.0.1:{ports['imap']}/",
        "contacts": f"http://127.0.0.1:{ports['dav']}/",
        "calendar": f"http://127.0.0.1:{ports['dav']}/",
    }


def test_a_service_that_is_down_is_pending_and_tried_again_at_the_next_log_in(served, ports, caplog):
    kept = []
    with Shelf(ports["imap"], kept):
        assert get_modules(served)["login"] is True
        assert settled(served) == ALL_PENDING | {"mail": "ok"}
        down = f"The service at {ports['dav']} is down: ConnectionRefusedError."
        assert errors(served) == [None, down, down]
        assert (
            'msg="checkUserProvisioning: PENDING"' in provisioning_lines(caplog)[0]
            and "pw" not in provisioning_lines(caplog)[0]
        )
        before = service_numbers(account_of(served))
        with Shelf(ports["dav"], kept):
            get_modules(served)
            assert settled(served) == ALL_OK and service_numbers(account_of(served)) == before
            assert errors(served) == [None] * 3
    assert len(kept) == 3  # what was there was not made again


def test_a_service_that_is_down_is_tried_again_by_provision(served, ports):
    get_modules(served)
    assert states(served) == ALL_PENDING
    kept = []
    with Shelf(ports["imap"], kept), Shelf(ports["dav"], kept):
        answer = served("accounts/?provision", user_name="bob")
    assert answer["status"] == "ok" and {s["state"] for s in answer["accounts"][0]["services"]} == {"ok"}
    assert ("make", "mail", "bob", "None") in kept  # whose password is not known here


def test_a_service_that_hangs_does_not_hold_up_the_log_in(served, ports, monkeypatch):
    """It answers nothing until both log-ins are answered; somebody is still at it, so the second does not wait at all."""
    get_modules(served, "root")
    kept, accounts = [], sys.modules[type(served.app.modules["accounts"]).__module__]
    with Shelf(ports["imap"], kept), Shelf(ports["dav"], kept, answer=None):
        assert get_modules(served)["login"] is True
        assert errors(served)[1:] == ["It is being made."] * 2
        monkeypatch.setattr(accounts, "SECONDS_AT_LOGIN", 3600)
        assert ended(get_modules, served)["login"] is True
        assert errors(served)[1:] == ["It is being made."] * 2
    assert settled(served) == ALL_PENDING | {"mail": "ok"}
    # Its connections end in one of two ways.
    ends = [f"The service at {ports['dav']} {how}" for how in ("said ", "is down: ConnectionResetError.")]
    assert set(errors(served)[1:]) <= set(ends)


def test_a_service_that_says_no_is_pending_with_what_it_said(served, ports):
    with Shelf(ports["imap"], [], answer=b"NO quota\n"):
        get_modules(served)
        settled(served)
    assert errors(served)[0] == f"The service at {ports['imap']} said NO quota\n"


def test_a_service_that_is_configured_later_gets_what_it_missed(site_with_accounts, ports):
    get_modules(site_with_accounts)
    kept = []
    with Shelf(ports["dav"], kept):
        get_modules(reconfigure(site_with_accounts, services={"dav": "http://x"}))
        assert settled(site_with_accounts) == ALL_OK
    assert {line[1] for line in kept} == {"contacts", "calendar"}


def test_a_log_in_that_died_at_it_does_not_leave_it_pending_for_ever(served, ports):
    ledger = served.app.modules["accounts"].ledger
    found, ours = ledger.enter("bob", 7, None)  # and nothing more
    assert ours == ["mail", "contacts", "calendar"]
    kept = []
    with Shelf(ports["imap"], kept), Shelf(ports["dav"], kept):
        get_modules(served)
        assert kept == [] and states(served) == ALL_PENDING  # it may still be at it
        with ledger.store.transaction():
            ledger.store.run("UPDATE ServiceAccounts SET claimed = claimed - 11")
        get_modules(served)
        assert settled(served) == ALL_OK and len(kept) == 3


########## At the same moment ######################################################################


def at_once(site, users: list[str]):
    """Log in as many at the same moment, in as many threads."""
    barrier = threading.Barrier(len(users))

    def one(user):
        barrier.wait()
        return get_modules(site, user)["login"]

    with ThreadPoolExecutor(len(users)) as pool:
        assert all(pool.map(one, users))


def check_numbers(site, users: int):
    rows = site("accounts/?get")["accounts"]
    given = sorted(number for row in rows for number in service_numbers(row))
    assert len(rows) == users and len({row["Name"] for row in rows}) == users
    assert given == list(range(1, 3 * users + 1))
    assert all(
        service_numbers(row) == list(range(service_numbers(row)[0], service_numbers(row)[0] + 3))
        for row in rows
    )
    assert sorted(service["id"] for row in rows for service in row["services"]) == given


def test_twenty_first_log_ins_of_one_user_at_once_make_one_account(served, ports):
    kept = []
    with Shelf(ports["imap"], kept), Shelf(ports["dav"], kept):
        at_once(served, ["bob"] * 20)
        get_modules(served, "root")
        assert settled(served) == ALL_OK
    check_numbers(served, users=2)
    assert len(kept) == 6  # nor is anything made twice at a service


def test_twenty_users_at_once_have_twenty_accounts(site_with_accounts):
    for number in range(20):
        site_with_accounts.sql(
            "INSERT INTO users SELECT ?, user_authdata, NULL, NULL FROM users WHERE user_name = 'bob'",
            f"user{number}",
        )
    at_once(site_with_accounts, [f"user{number}" for number in range(20)])
    get_modules(site_with_accounts, "root")
    check_numbers(site_with_accounts, users=21)


PROCESS = """
import json, os, sys, threading, time
sys.path.insert(0, sys.argv[1])
import mailapi
app = mailapi.create_app(json.loads(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
said = []
def one():
    body = json.dumps({"auth": {"user_name": "bob", "password": "pw"}}).encode()
    import io
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "QUERY_STRING": "get_modules", "SCRIPT_NAME": "",
               "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body), "wsgi.url_scheme": "http",
               "SERVER_NAME": "x", "SERVER_PORT": "80", "wsgi.errors": sys.stderr}
    said.append(json.loads(b"".join(app(environ, lambda *_: None)))["login"])
threads = [threading.Thread(target=one) for _ in range(5)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(said))
"""


def test_first_log_ins_in_four_processes_at_once_make_one_account(site_with_accounts):
    command = [sys.executable, "-c", PROCESS, str(ROOT), json.dumps(site_with_accounts.config)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert said == [[True] * 5] * 4
    get_modules(site_with_accounts, "root")
    check_numbers(site_with_accounts, users=2)


def test_purge_deletes_at_the_services_first(served, ports):
    kept = []
    with Shelf(ports["imap"], kept):
        with Shelf(ports["dav"], kept):
            get_modules(served)
        answer = served("accounts/?delete", user_name="bob", purge=True)
        assert answer["status"].count(f"The service at {ports['dav']} is down") == 2 and account_of(served)
        with Shelf(ports["dav"], kept):
            assert served("accounts/?delete", user_name="bob", purge=True)["status"] == "ok"
    assert account_of(served) is None
    assert {line for line in kept if line[0] == "purge"} == {("purge", kind, "bob") for kind in ALL_OK}
