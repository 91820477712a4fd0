"""accounts/: what the first log-in makes, what later ones add, services that are down, and who may do what."""

import importlib
import json
import logging
import re
import socket
import socketserver
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor

import pytest

import mailapi
from support.counting import ended
from support.instances import free_port
from support.site import MODULES, OPTIONAL, ROOT, Site, authdata

pytestmark = [pytest.mark.every_engine, pytest.mark.slow]

ACCOUNT = {"Account": OPTIONAL["Account"]}
WRONG, NO, GONE = "Username or password is wrong.", "Not allowed.", "Account not found."
COLUMNS = [
    "idAccount",
    "idUsers",
    "Name",
    "IsPrimary",
    "Active",
    "idMailAccount",
    "idContactAccount",
    "idCalendarAccount",
]


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path, extra=ACCOUNT)


@pytest.fixture(params=["state database", "SQLite file", "MariaDB"])
def anywhere(request, tmp_path) -> Site:
    """With the accounts in each of the places that `apiserver` can name."""
    places = {
        "state database": lambda: "",
        "SQLite file": lambda: str(tmp_path / "api.db3"),
        "MariaDB": lambda: request.getfixturevalue("database").url,
    }
    return Site(tmp_path, extra=ACCOUNT, apiserver=places[request.param]())


def get_modules(site, user="bob", **fields) -> dict:
    return site("?get_modules", user=user, **fields)


def account(site, user="bob") -> dict:
    """A user's account, without a log-in that would make one of its own."""
    return next(iter(site.app.modules["accounts"].ledger.rows([user])), None)


def numbers(row: dict) -> list:
    return [row[column] for column in COLUMNS[-3:]]


def restarted(site, **config):
    """The same installation, configured anew."""
    site.app = mailapi.create_app(site.config | config)
    return site


########## The first log-in ########################################################################


def test_first_log_in_makes_the_account_and_its_service_accounts(anywhere):
    get_modules(anywhere)
    answer = anywhere("accounts/?get", user="bob")
    assert list(answer)[-1] == "accounts"
    services = [
        {"kind": kind, "id": number, "state": "ok", "url": None, "error": None}
        for kind, number in (("mail", 1), ("contacts", 2), ("calendar", 3))
    ]
    assert answer["accounts"] == [dict(zip(COLUMNS, (1, 1, "bob", 1, 1, 1, 2, 3))) | {"services": services}]
    assert list(answer["accounts"][0]) == [*COLUMNS, "services"]


def test_numbers_come_from_one_sequence_in_the_order_mail_contacts_calendar(anywhere):
    for user in ("bob", "ann", "dele"):
        get_modules(anywhere, user)
    assert numbers(account(anywhere, "dele")) == [7, 8, 9]
    assert [account(anywhere, user)["idAccount"] for user in ("bob", "ann", "dele")] == [1, 2, 3]


def test_later_log_ins_change_nothing(anywhere):
    get_modules(anywhere)
    before = account(anywhere)
    for _ in range(3):
        get_modules(anywhere)
    assert account(anywhere) == before


def test_a_wrong_password_or_a_session_makes_nothing(site):
    assert site("?get_modules", user="bob", password="wrong")["status"] == WRONG
    assert site("?get_modules", user="nobody")["status"] == WRONG
    assert [row["Name"] for row in site("accounts/?get")["accounts"]] == ["root"]


@pytest.mark.parametrize("mask", range(8))
def test_every_mask_makes_what_its_bits_say(tmp_path, mask):
    site = Site(tmp_path, extra=ACCOUNT, PROVISION=mask)
    get_modules(site)
    counter = iter(range(1, 4))
    wanted = [next(counter) if mask & bit else None for bit in (1, 4, 2)]
    assert numbers(account(site)) == wanted
    kinds = [kind for kind, bit in (("mail", 1), ("contacts", 4), ("calendar", 2)) if mask & bit]
    assert [service["kind"] for service in account(site)["services"]] == kinds


@pytest.mark.parametrize("before", range(8))
def test_a_grown_mask_adds_at_the_next_log_in_and_a_smaller_one_removes_nothing(tmp_path, before):
    site = Site(tmp_path, extra=ACCOUNT, PROVISION=before)
    for after in (*range(8), before):
        get_modules(restarted(site, PROVISION=before))
        first = numbers(account(site))
        get_modules(restarted(site, PROVISION=after))
        second = numbers(account(site))
        assert [new for old, new in zip(first, second) if old is not None] == [
            n for n in first if n is not None
        ]
        assert [number is not None for number in second] == [
            bool((before | after) & bit) for bit in (1, 4, 2)
        ]
        assert site("accounts/?delete", user_name="bob")["status"] == "ok"


def test_the_environment_counts_before_the_config(tmp_path, monkeypatch):
    monkeypatch.setenv("PROVISION", "5")
    site = Site(tmp_path, extra=ACCOUNT, PROVISION=2)
    get_modules(site)
    assert numbers(account(site)) == [1, 2, None]


@pytest.mark.parametrize("value", ["8", "-1", "", "x", "7 ", "7\n", "07", "1.0", "٣"])
def test_a_mask_that_is_none_is_refused_at_start(tmp_path, monkeypatch, value):
    monkeypatch.setenv("PROVISION", value)
    with pytest.raises(mailapi.ConfigError, match="PROVISION must be a whole number from 0 to 7, not "):
        Site(tmp_path, extra=ACCOUNT)


@pytest.mark.parametrize("value", [8, -1, 1000, True, False, "7", 7.0, None])
def test_a_mask_in_the_config_that_is_none_is_refused_at_start(tmp_path, value):
    with pytest.raises(mailapi.ConfigError, match="PROVISION must be a whole number from 0"):
        Site(tmp_path, extra=ACCOUNT, PROVISION=value)


@pytest.mark.sqlite
def test_without_the_module_nothing_of_it_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("PROVISION", "nonsense")
    site = Site(tmp_path, mailserver="nonsense", apiserver="mysql://nonsense")
    assert get_modules(site)["login"] is True
    assert "Accounts" not in site.app.state.schema


def test_nothing_is_imported_without_the_module(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import mailapi; before = set(sys.modules);"
        "mailapi.create_app({'dbpath': 'x', 'modulelist': eval(sys.argv[2])});"
        "print(sorted(name for name in sys.modules if 'mysql' in name or 'playhouse' in name or name in"
        " ('mailapi_modules.provisioning.password_schemes', 'mailapi_modules.mariadb.url', 'mailapi_modules.provisioning.account_store')))"
    )
    for block in ("", "sys.modules['pymysql'] = None; "):  # whether or not the extra is installed
        code = code.replace("import mailapi;", block + "import mailapi;", 1)
        said = subprocess.run(
            [sys.executable, "-c", code, str(ROOT), repr(MODULES)], capture_output=True, text=True
        )
        imported = set(eval(said.stdout)) if not said.returncode else said.stderr
        assert {name for name in imported if "mysql" not in name} == set()
        # peewee itself looks for pymysql; we ask for nothing more.
        assert block == "" or {name for name in imported if name != "pymysql"} == set()


########## The log #################################################################################


def lines(caplog) -> list[str]:
    return [
        record.getMessage() for record in caplog.records if "checkUserProvisioning" in record.getMessage()
    ]


def test_a_line_as_the_originals_but_without_the_password(site, caplog):
    caplog.set_level(logging.INFO)
    get_modules(site)
    (line,) = lines(caplog)
    assert re.fullmatch(
        r'time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d" level=info msg="checkUserProvisioning: OK" AccountID=1 '
        r'ID=1 IdentityID=1 Name=bob "ServiceAccountID \(CALENDAR\)"=3 "ServiceAccountID \(CONTACTS\)"=2 '
        r'"ServiceAccountID \(MAIL\)"=1',
        line,
    )
    get_modules(site)
    assert len(lines(caplog)) == 1  # nothing to tell


@pytest.mark.parametrize("name", ['a "b" c', "x\nlevel=error", "back\\slash", "=", "ü@x.org", "a\x1b[31m"])
def test_no_name_can_break_the_line(site, caplog, name):
    caplog.set_level(logging.INFO)
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", name, authdata("se cret"))
    get_modules(site, name, password="se cret")
    line = lines(caplog)[-1]
    assert len(line.splitlines()) == 1 and line.isprintable() and "se cret" not in line
    assert "Name=" + json.dumps(name) in line


def test_no_secret_is_kept_or_logged(anywhere, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    anywhere("users/?add", user_name="carol", user_authdata="correct horse")
    get_modules(anywhere, "carol", password="correct horse")
    assert account(anywhere, "carol") and "correct horse" not in caplog.text
    for file in tmp_path.iterdir():
        assert b"correct horse" not in file.read_bytes()


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
    """A way to a Shelf, as modules/protocols.py has them to real services."""

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
    protocols = types.ModuleType("mailapi_modules.clients.base")
    protocols.clients = lambda config: {kind: Client(found[kind]) for kind in config.services}
    monkeypatch.setitem(sys.modules, "mailapi_modules.clients.base", protocols)
    monkeypatch.setattr(importlib.import_module("mailapi_modules.clients"), "base", protocols, raising=False)
    return found


@pytest.fixture
def served(anywhere, ports) -> Site:
    return restarted(anywhere, services={"imap": "imap://x", "dav": "http://x"})


def states(site, user="bob") -> dict:
    return {service["kind"]: service["state"] for service in account(site, user)["services"]}


def errors(site, user="bob") -> list:
    return [service["error"] for service in account(site, user)["services"]]


def settled(site) -> dict:
    """The states of bob's services once none is being made: on a busy machine that outlasts the log-in's patience."""
    until = time.monotonic() + 60
    while "It is being made." in errors(site) and time.monotonic() < until:
        time.sleep(0.05)
    return states(site)


ALL_OK = dict.fromkeys(("mail", "contacts", "calendar"), "ok")
ALL_PENDING = dict.fromkeys(ALL_OK, "pending")


def test_services_are_told_the_user_and_the_password(served, ports):
    kept = []
    with Shelf(ports["imap"], kept), Shelf(ports["dav"], kept):
        get_modules(served)
        assert settled(served) == ALL_OK
    assert sorted(kept) == [("make", kind, "bob", "pw") for kind in ("calendar", "contacts", "mail")]
    urls = {service["kind"]: service["url"] for service in account(served)["services"]}
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
        assert 'msg="checkUserProvisioning: PENDING"' in lines(caplog)[0] and "pw" not in lines(caplog)[0]
        before = numbers(account(served))
        with Shelf(ports["dav"], kept):
            get_modules(served)
            assert settled(served) == ALL_OK and numbers(account(served)) == before
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
    assert errors(served)[1:] == [f"The service at {ports['dav']} said "] * 2


def test_a_service_that_says_no_is_pending_with_what_it_said(served, ports):
    with Shelf(ports["imap"], [], answer=b"NO quota\n"):
        get_modules(served)
        settled(served)
    assert errors(served)[0] == f"The service at {ports['imap']} said NO quota\n"


def test_a_service_that_is_configured_later_gets_what_it_missed(anywhere, ports):
    get_modules(anywhere)
    kept = []
    with Shelf(ports["dav"], kept):
        get_modules(restarted(anywhere, services={"dav": "http://x"}))
        assert settled(anywhere) == ALL_OK
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
    given = sorted(number for row in rows for number in numbers(row))
    assert len(rows) == users and len({row["Name"] for row in rows}) == users
    assert given == list(range(1, 3 * users + 1))
    assert all(numbers(row) == list(range(numbers(row)[0], numbers(row)[0] + 3)) for row in rows)
    assert sorted(service["id"] for row in rows for service in row["services"]) == given


def test_twenty_first_log_ins_of_one_user_at_once_make_one_account(served, ports):
    kept = []
    with Shelf(ports["imap"], kept), Shelf(ports["dav"], kept):
        at_once(served, ["bob"] * 20)
        get_modules(served, "root")
        assert settled(served) == ALL_OK
    check_numbers(served, users=2)
    assert len(kept) == 6  # nor is anything made twice at a service


def test_twenty_users_at_once_have_twenty_accounts(anywhere):
    for number in range(20):
        anywhere.sql(
            "INSERT INTO users SELECT ?, user_authdata, NULL, NULL FROM users WHERE user_name = 'bob'",
            f"user{number}",
        )
    at_once(anywhere, [f"user{number}" for number in range(20)])
    get_modules(anywhere, "root")
    check_numbers(anywhere, users=21)


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


def test_first_log_ins_in_four_processes_at_once_make_one_account(anywhere):
    command = [sys.executable, "-c", PROCESS, str(ROOT), json.dumps(anywhere.config)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert said == [[True] * 5] * 4
    get_modules(anywhere, "root")
    check_numbers(anywhere, users=2)


########## The actions #############################################################################


def test_everybody_sees_whom_they_may_act_for(anywhere):
    for user in ("root", "dele", "ann", "bob"):
        get_modules(anywhere, user)

    def seen(user, **fields):
        return [row["Name"] for row in anywhere("accounts/?get", user=user, **fields)["accounts"]]

    assert seen("root") == ["ann", "bob", "dele", "root"]
    assert seen("dele") == ["ann", "dele"] and seen("ann") == ["ann"]
    assert seen("dele", user_name="ann") == ["ann"] and seen("root", user_name="nobody") == []
    refused = anywhere("accounts/?get", user="ann", user_name="dele")
    assert refused["status"] == NO and "accounts" not in refused


@pytest.mark.parametrize("name", ["bob' OR '1'='1", "%", "b_b", "BOB", "bob ", "bob\t", 'bob" --', "böb"])
def test_a_name_is_that_name_only(anywhere, name):
    get_modules(anywhere)
    assert anywhere("accounts/?get", user_name=name)["accounts"] == []
    assert anywhere("accounts/?update", user_name=name, Active=0)["status"] == GONE
    assert anywhere("accounts/?delete", user_name=name)["status"] == GONE
    anywhere.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", name, authdata("pw"))
    assert get_modules(anywhere, name)["auth_user"] == name
    assert account(anywhere, name)["Name"] == name
    assert account(anywhere)["idAccount"] != account(anywhere, name)["idAccount"]


@pytest.mark.sqlite
def test_a_name_too_long_for_an_account_logs_in_without(anywhere):
    name = "x" * 256
    anywhere("users/?add", user_name=name, user_authdata="pw")
    assert get_modules(anywhere, name)["login"] is True
    refused = anywhere("accounts/?provision", user_name=name)
    assert refused["status"] == "A user name of more than 255 characters has no account."
    assert account(anywhere, name) is None


def test_provision_makes_accounts_now(anywhere):
    answer = anywhere("accounts/?provision", user_name="bob", provision=5)
    assert numbers(answer["accounts"][0]) == [4, 5, None]  # root, who asks, was first
    answer = anywhere("accounts/?provision", user_name="bob", provision="2")
    assert numbers(answer["accounts"][0]) == numbers(account(anywhere)) == [4, 5, 6]
    assert anywhere("accounts/?provision", user_name="nobody")["status"] == "There is no such user."
    assert account(anywhere, "nobody") is None


@pytest.mark.parametrize("mask", [8, -1, "x", [], True, 1.5])
def test_provision_refuses_what_is_no_mask(site, mask):
    answer = site("accounts/?provision", user_name="bob", provision=mask, check=400)
    assert answer["status"] == "Invalid value for provision." and account(site) is None


def test_inactive_ends_log_ins_sessions_and_tokens_and_active_restores(anywhere):
    browser = anywhere.browser()
    browser.post_json("/", {"auth": {"user_name": "bob", "password": "pw"}})
    token = anywhere("tokens/?add", user="bob", token_name="t")["token"]
    bearer = anywhere.browser(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert browser.post("/").json["login"] and bearer.post("/").json["login"]
    assert anywhere("accounts/?update", user_name="bob", Active=0)["status"] == "ok"
    assert account(anywhere)["Active"] == 0
    assert browser.post("/").json["login"] is False
    assert bearer.post("/").json["status"] == "Token is not valid."
    assert get_modules(anywhere)["status"] == WRONG and get_modules(anywhere, "ann")["login"] is True
    assert anywhere("accounts/?update", user_name="bob", Active=1)["status"] == "ok"
    assert browser.post("/").json["login"] is False  # that session is over
    assert get_modules(anywhere)["login"] is True and bearer.post("/").json["login"] is True


def test_inactive_counts_in_the_middle_of_a_session_whoever_set_it(site):
    browser = site.browser()
    browser.post_json("/", {"auth": {"user_name": "bob", "password": "pw"}})
    with site.app.state.transaction():
        site.app.state.run("UPDATE Accounts SET Active = 0 WHERE Name = 'bob'")
    assert browser.post("/pop/?add", json.dumps({"pop_user": "bob"})).json["login"] is False
    assert site.sql("SELECT * FROM popd") == []


@pytest.mark.parametrize(
    ("value", "status", "http"),
    [
        (None, "Active is not set.", 200),
        ("", "Invalid value for Active.", 400),
        (2, "Invalid value for Active.", 400),
        ("no", "Invalid value for Active.", 400),
        ([], "Invalid value for Active.", 400),
    ],
)
def test_active_is_0_or_1(site, value, status, http):
    get_modules(site)
    assert site("accounts/?update", user_name="bob", Active=value, check=http)["status"] == status
    assert account(site)["Active"] == 1


@pytest.mark.parametrize("value", [0, "0", False])
def test_active_may_be_written_as_it_comes(site, value):
    get_modules(site)
    assert site("accounts/?update", user_name="bob", Active=value)["status"] == "ok"
    assert account(site)["Active"] == 0


def test_delete_forgets_the_rows_and_the_next_log_in_makes_new_ones(anywhere):
    get_modules(anywhere)
    assert anywhere("accounts/?delete", user_name="bob")["status"] == "ok"
    assert account(anywhere) is None
    assert anywhere("accounts/?delete", user_name="bob")["status"] == GONE
    get_modules(anywhere)
    # Root, who deleted, has 4, 5 and 6: no number is given twice.
    assert (account(anywhere)["idAccount"], numbers(account(anywhere))) == (3, [7, 8, 9])


def test_purge_deletes_at_the_services_first(served, ports):
    kept = []
    with Shelf(ports["imap"], kept):
        with Shelf(ports["dav"], kept):
            get_modules(served)
        answer = served("accounts/?delete", user_name="bob", purge=True)
        assert answer["status"].count(f"The service at {ports['dav']} is down") == 2 and account(served)
        with Shelf(ports["dav"], kept):
            assert served("accounts/?delete", user_name="bob", purge=True)["status"] == "ok"
    assert account(served) is None
    assert {line for line in kept if line[0] == "purge"} == {("purge", kind, "bob") for kind in ALL_OK}


def test_a_deleted_users_account_does_not_fall_to_the_next_of_that_name(anywhere):
    get_modules(anywhere)
    anywhere("accounts/?update", user_name="bob", Active=0)
    assert anywhere("users/?delete", user_name="bob")["status"] == "ok"
    assert account(anywhere) is None
    anywhere("users/?add", user_name="bob", user_authdata="pw")
    assert get_modules(anywhere)["login"] is True and account(anywhere)["Active"] == 1


def test_an_account_that_another_program_made_is_taken_over(anywhere):
    """As `apiserver` of the original has them: rows without ours for the services."""
    ledger = anywhere.app.modules["accounts"].ledger
    with ledger.store.transaction():
        ledger.store.run(
            "INSERT INTO Accounts (idAccount, idUsers, Name, IsPrimary, Active, idMailAccount)"
            " VALUES (3, 4, 'bob', 1, 1, 8)"
        )
        ledger.store.run("UPDATE Sequences SET last = 8 WHERE name = 'idServiceAccount'")
    get_modules(anywhere)
    found = account(anywhere)
    assert (found["idAccount"], found["idUsers"], numbers(found)) == (3, 4, [8, 9, 10])
    assert [service["id"] for service in found["services"]] == [8, 9, 10]


def test_sequences_go_on_after_what_a_table_of_the_original_has(tmp_path, database):
    database.sql(
        "CREATE TABLE Accounts (idAccount INTEGER AUTO_INCREMENT PRIMARY KEY, idUsers INTEGER,"
        " Name VARCHAR(100), IsPrimary TINYINT, Active TINYINT, idMailAccount INTEGER,"
        " idContactAccount INTEGER, idCalendarAccount INTEGER)"
    )
    database.sql("INSERT INTO Accounts VALUES (2, 3, 'other@x.org', 1, 1, 5, 6, 7)")
    site = Site(tmp_path, extra=ACCOUNT, apiserver=database.url)
    get_modules(site)
    assert database.sql("SELECT * FROM Accounts WHERE Name = 'bob'") == [(3, 4, "bob", 1, 1, 8, 9, 10)]


########## The database of the accounts ############################################################


def test_apiserver_that_is_away_lets_nobody_in_and_says_so(tmp_path, caplog):
    site = Site(tmp_path, extra=ACCOUNT, apiserver=f"mysql://mail:se%2Fcret@127.0.0.1:{free_port()}/api")
    answer = site("?get_modules", check=503)
    assert (
        answer["status"] == "The database of the apiserver cannot be reached. Try again."
        and "login" not in answer
    )
    assert "se/cret" not in caplog.text and "se%2Fcret" not in caplog.text


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://", "apiserver must be mysql://USER:PASSWORD@HOST/DATABASE."),
        ("mysql://u:secret@h", "apiserver must be mysql://USER:PASSWORD@HOST/DATABASE."),
        ("mysql://u:secret@h:port/x", "apiserver must be mysql://"),
        ("mysql://u:secret@h/x?colour=red", "apiserver has unknown options: colour."),
    ],
)
def test_an_apiserver_that_is_none_is_refused_at_start(tmp_path, url, sentence):
    with pytest.raises(mailapi.ConfigError) as refused:
        Site(tmp_path, extra=ACCOUNT, apiserver=url)
    assert sentence in str(refused.value) and "secret" not in str(refused.value)


@pytest.mark.sqlite
def test_a_file_of_its_own_is_readable_by_its_owner_only(tmp_path):
    site = Site(tmp_path, extra=ACCOUNT, apiserver=str(tmp_path / "api.db3"))
    get_modules(site)
    assert (tmp_path / "api.db3").stat().st_mode & 0o777 == 0o600
    assert b"Accounts" not in (tmp_path / "master.db3.state").read_bytes()
