"""Services that are down, hang, drip or lie: the answer comes in time, names them, and nobody else waits."""

import concurrent.futures
import contextlib
import json
import socket
import threading
import tracemalloc
from functools import partial

import pytest
from mailapi_modules.clients.base import ServiceDown, clients

import mailapi
from support import hostile
from support.command_line import Server
from support.daemons import file_is_free
from support.every_service import SERVICE_KINDS, SERVICE_MODULE
from support.instances import free_port
from support.over_http import post
from support.servers import MASTER_USER
from support.site import Site
from support.waiting import wait_until

pytestmark = pytest.mark.slow

SCHEMES = dict(zip(SERVICE_KINDS, ("smtp", "imap", "pop3", "http", "spamd", "clamd", "sieve")))


def setting(kind, port):
    url = f"{SCHEMES[kind]}://127.0.0.1:{port}"
    if kind == "dav":
        return {"url": url, "user_header": "X-Remote-User"}
    return {"url": url} | MASTER_USER if kind in ("imap", "managesieve") else url


@contextlib.contextmanager
def client(kind, behave):
    with hostile.misbehaving_server(behave) as port:
        yield clients(mailapi.Config("", {}, services={kind: setting(kind, port)}))[kind]


def asked(site) -> dict:
    """The rows of services/?get by kind."""
    return {row["kind"]: row for row in site("services/?get")["services"]}


def asked_until_down(site, kind: str) -> dict:
    """The row of a kind once the other services are up: on a busy machine they may be late."""
    rows = {}

    def only_one_is_down() -> bool:
        rows.update(asked(site))
        return {other for other, row in rows.items() if not row["up"]} == {kind}

    wait_until(only_one_is_down)
    return rows[kind]


@pytest.mark.parametrize("kind", SERVICE_KINDS)
def test_one_is_down(tmp_path, settings_of_every_service, kind):
    site = Site(
        tmp_path,
        extra=SERVICE_MODULE,
        services=settings_of_every_service | {kind: setting(kind, free_port())},
    )
    row = asked_until_down(site, kind)
    assert row["error"] == f"The {kind} service cannot be used: Connection refused."
    assert row["version"] is row["latency"] is None


@pytest.mark.parametrize("kind", SERVICE_KINDS)
def test_one_hangs(tmp_path, settings_of_every_service, kind):
    with hostile.misbehaving_server(hostile.silent) as port:
        site = Site(
            tmp_path,
            extra=SERVICE_MODULE,
            services=settings_of_every_service | {kind: setting(kind, port)},
        )
        row = asked_until_down(site, kind)
    assert row["error"] == f"The {kind} service cannot be used: it did not answer in time."


CHATTER = {  # what each protocol allows to go on for ever
    "smtp": hostile.repeating(b"", b"220-hello\r\n"),
    "imap": hostile.repeating(b"* OK hello\r\n", b"* NOOP\r\n"),
    "pop": hostile.repeating(b"+OK\r\n+OK\r\n", b"USER\r\n"),
    "dav": hostile.repeating(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "antispam": hostile.repeating(b"SPAMD/1.5 0 EX_OK\r\n", b"X: y\r\n"),
    "antivirus": hostile.repeating(b"ClamAV 1", b"."),
    "managesieve": hostile.repeating(b'"IMPLEMENTATION" "x"\r\n', b'"X" "y"\r\n'),
}


@pytest.mark.parametrize("how", ["silent", "dripping", "chatter"])
def test_all_hang(tmp_path, how):
    """The master database is free meanwhile."""
    with contextlib.ExitStack() as stack:
        behave = CHATTER if how == "chatter" else dict.fromkeys(SERVICE_KINDS, getattr(hostile, how))
        free, one_at_a_time = {}, threading.Lock()

        def watching(kind, connection):
            with one_at_a_time:
                free[kind] = file_is_free(tmp_path / "master.db3")
            yield from behave[kind](connection)

        ports = {
            kind: stack.enter_context(hostile.misbehaving_server(partial(watching, kind)))
            for kind in SERVICE_KINDS
        }
        site = Site(
            tmp_path,
            extra=SERVICE_MODULE,
            services={kind: setting(kind, ports[kind]) for kind in SERVICE_KINDS},
        )
        rows = asked(site)
    assert free == dict.fromkeys(SERVICE_KINDS, True)
    assert {row["error"] for row in rows.values()} == {
        f"The {kind} service cannot be used: it did not answer in time." for kind in SERVICE_KINDS
    }


@pytest.mark.parametrize("behave", [hostile.endless_line, hostile.endless_lines])
def test_endless_answers_do_not_fill_the_memory(tmp_path, behave):
    with hostile.misbehaving_server(behave) as port:
        site = Site(
            tmp_path, extra=SERVICE_MODULE, services={kind: setting(kind, port) for kind in SERVICE_KINDS}
        )
        asked(site)  # loads what it needs
        tracemalloc.start()
        rows = asked(site)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert not any(row["up"] for row in rows.values())
    assert peak < 25 * 1024 * 1024
    assert all(len(row["error"]) < 300 and row["error"].isprintable() for row in rows.values())


NONSENSE = [
    b"",
    b"\r\n",
    b"\0\xff\xfe" * 10,
    b"220\r\n",
    b"* BYE\r\n",
    b"+OK\r\n",
    b"HTTP/1.1 999999 x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nDAV:\r\n\r\n",
    b"SPAMD/ \r\n",
    b"PONG\0",
    b"{99999999999}\r\n",
    b'"\r\n',
    b"OK\r\n" * 5,
    b"* OK\r\n* CAPABILITY\r\n",
    b"\x1b[2J\x1b]0;title\x07\r\n",
    b"NO {999999999}\r\nx",
    b"* OK {9999999999}\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
]


def test_nonsense_is_no_service(tmp_path):
    """Whatever a server says before it closes: a sentence, never a traceback, and no character moves a cursor."""
    say = []

    def behave(connection):
        yield say[-1], 0
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                pass

    with hostile.misbehaving_server(behave) as port:
        site = Site(
            tmp_path, extra=SERVICE_MODULE, services={kind: setting(kind, port) for kind in SERVICE_KINDS}
        )
        for said in NONSENSE:
            say.append(said)
            for kind, row in asked(site).items():
                assert row["up"] or row["error"].startswith(f"The {kind} service cannot be used: "), (
                    said,
                    row,
                )
                assert (row["error"] or row["version"]).isprintable(), (said, row)


@pytest.mark.parametrize(
    ("kind", "behave"),
    [
        ("imap", hostile.repeating(b"* OK hello\r\n* OK {9999999999}\r\n")),
        ("imap", hostile.repeating(b'* OK hello\r\n* LIST () "/" {9999999999}\r\n', b"x" * 65536, every=0)),
        ("imap", hostile.repeating(b"* OK hello\r\n", b"* X " + b"y" * 10_000_000 + b"\r\n")),
        ("managesieve", hostile.repeating(b"{999999999}\r\n")),
        ("managesieve", hostile.repeating(b"{99999999999999}\r\n")),
        ("managesieve", hostile.repeating(b'"X" "' + b"y" * 10_000_000 + b'"\r\nOK\r\n')),
        ("smtp", hostile.repeating(b"220 " + b"y" * 10_000_000 + b"\r\n")),
        ("pop", hostile.repeating(b"+OK " + b"y" * 10_000_000 + b"\r\n")),
        ("dav", hostile.repeating(b"HTTP/1.1 200 OK\r\nDAV: " + b"y" * 10_000_000 + b"\r\n\r\n")),
        ("antivirus", hostile.repeating(b"ClamAV " + b"y" * 10_000_000 + b"\0")),
    ],
)
def test_lengths_are_not_believed(kind, behave):
    with client(kind, behave) as found, pytest.raises(ServiceDown):
        tracemalloc.start()
        try:
            found.ping()
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 25 * 1024 * 1024


LOGGED_IN = b"* OK [CAPABILITY IMAP4rev1 QUOTA] hello\r\n"


def answers_of(*lines: bytes):
    """An IMAP server that lets anybody in and then answers with these lines."""

    def behave(connection):
        yield LOGGED_IN, 0
        while said := connection.recv(65536):
            tag = said.split(b" ")[0]
            if b"AUTHENTICATE" in said:
                yield b"+ \r\n", 0
                connection.recv(65536)
            more = b"" if b"AUTHENTICATE" in said else b"".join(lines)
            yield more + tag + b" OK done\r\n", 0

    return behave


@pytest.mark.parametrize(
    "line",
    [
        b'* QUOTA "" (STORAGE x y)\r\n',
        b'* QUOTA "" (STORAGE 1)\r\n',
        b"* QUOTA\r\n",
        b"* QUOTA {3}\r\nabc (STORAGE 1 2)\r\n",
        b"* CAPABILITY\r\n",
        b'* QUOTA "" (STORAGE 99999999999999999999999999 1)\r\n',
        b'* QUOTA "" \xff(\xff)\r\n',
    ],
)
def test_malformed_answers_of_imap(line):
    with client("imap", answers_of(b"* CAPABILITY IMAP4rev1 QUOTA\r\n", line)) as imap:
        try:
            assert isinstance(imap.quota("ann", None), list)
        except mailapi.ApiError as refused:
            assert refused.status.startswith("The imap service ")


@pytest.mark.parametrize(
    "xml",
    [
        b"",
        b"<",
        b"<a/>",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b"\xff\xfe",
        b"<d:multistatus xmlns:d='DAV:'/>",
        b"<d:multistatus xmlns:d='DAV:'><d:response><d:href>//evil.example/</d:href><d:propstat><d:prop>"
        b"<d:current-user-principal><d:href>http://evil.example:1/\r\nX: y</d:href></d:current-user-principal></d:prop>"
        b"</d:propstat></d:response></d:multistatus>",
        b"<a>" * 100_000,
    ],
)
def test_malformed_answers_of_dav(xml):
    answer = b"HTTP/1.1 207 Multi-Status\r\nContent-Length: %d\r\n\r\n" % len(xml) + xml
    with (
        client("dav", hostile.answering(answer)) as dav,
        pytest.raises(ServiceDown, match="The dav service cannot "),
    ):
        dav.provision("calendar", "ann", None)


def test_provisioning_gives_up_in_time():
    """Every service and every way to hang, each beside the others: they do nothing but wait."""

    def given_up(kind: str, what: str, behave):
        with (
            client(kind, behave) as found,
            pytest.raises(
                ServiceDown, match=f"The {kind} service cannot be used: it did not answer in time."
            ),
        ):
            found.provision(what, "ann", None)

    tasks = [
        (kind, what, behave)
        for behave in (hostile.silent, hostile.dripping)
        for kind, what in (("imap", "mail"), ("dav", "calendar"), ("dav", "contacts"))
    ]
    with concurrent.futures.ThreadPoolExecutor(len(tasks)) as threads:
        list(threads.map(given_up, *zip(*tasks)))


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("quota", "imap"),
        ("sieve_list", "managesieve"),
        ("scan", "antispam"),
        ("scan", "antivirus"),
        ("send", "smtp"),
    ],
)
def test_a_request_for_one_that_is_down_is_answered_at_once(tmp_path, action, kind):
    site = Site(tmp_path, extra=SERVICE_MODULE, services={kind: setting(kind, free_port())})
    site.sql("INSERT INTO smtpd VALUES ('ann', 'any', NULL)")
    answer = site(
        f"services/?{action}", user="ann", message="x", sender="ann@one.org", recipients=["a@b.org"]
    )
    assert (
        answer["status"] == f"The {kind} service cannot be used: Connection refused."
        and answer["login"] is True
    )


def test_one_scanner_down_and_the_other_answers(tmp_path, clamd):
    site = Site(
        tmp_path,
        extra=SERVICE_MODULE,
        services=clamd.setting | {"antispam": setting("antispam", free_port())},
    )
    answer = site("services/?scan", message="x")
    assert answer["status"] == "The antispam service cannot be used: Connection refused."
    assert answer["antivirus"] == {"clean": True, "signature": None} and "antispam" not in answer


def test_a_host_is_reached_although_its_first_address_does_not_answer(monkeypatch):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as stack:
        for _ in range(3):  # the system drops further attempts
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        imap = stack.enter_context(client("imap", answers_of()))
        working = socket.getaddrinfo("127.0.0.1", imap.port, type=socket.SOCK_STREAM)
        hanging = [(*working[0][:4], full.getsockname())]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: hanging + working)
        assert imap.ping() == "hello"


def test_a_name_server_that_hangs_keeps_no_request(monkeypatch):
    """Each request of a user kept one of ten threads for 10 seconds and more, and one of six slots."""
    asked, answered = [], threading.Event()

    def getaddrinfo(*args, **options):
        asked.append(args)
        answered.wait(60)
        return original(*args, **options)

    original = socket.getaddrinfo
    with client("imap", answers_of()) as imap:
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        for _ in range(8):
            with pytest.raises(ServiceDown, match="it did not answer in time"), imap.conversation(0.01):
                pass
        assert len(asked) == 1, "one thread goes on for all of them"
        answered.set()
        assert imap.ping() == "hello"
        wait_until(lambda: imap.resolver.lookup is None)
        assert imap.ping() == "hello" and len(asked) > 1


def test_a_host_that_has_no_address(monkeypatch):
    def getaddrinfo(*args, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with client("imap", answers_of()) as imap:
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        for _ in range(2):
            with pytest.raises(ServiceDown, match=r"cannot be used: Name or service not known\.$"):
                imap.ping()


def test_who_waits_for_a_service_that_hangs_keeps_nobody_else_waiting(tmp_path):
    with hostile.misbehaving_server(hostile.silent) as port:
        site = Site(tmp_path, extra=SERVICE_MODULE)
        (tmp_path / "config.py").write_text(
            f'dbpath = "master.db3"\nmodulelist = {SERVICE_MODULE!r}\n'
            f"services = {{'imap': {setting('imap', port)!r}}}\n"
        )
        assert site.sql("SELECT count(*) FROM users")[0][0] == 5
        late = "The imap service cannot be used: it did not answer in time."
        said = set()

        def is_answered_before_them() -> bool:
            waiting = [threads.submit(post, server.url + "services/?quota") for _ in range(20)]
            wait_until(lambda: sum(job.done() for job in waiting) >= 14)  # all but those that have a slot
            answer, _ = post(server.url + "?get_modules")
            assert answer["modules"] == ["Service"]
            before = {job.result()[0]["status"] for job in waiting if job.done()}
            said.update(job.result()[0]["status"] for job in waiting)
            return late not in before

        with Server(tmp_path) as server, concurrent.futures.ThreadPoolExecutor(20) as threads:
            wait_until(is_answered_before_them)
    assert said == {late, "Your other requests are still running. Try again."}


def test_the_answer_shows_no_more_than_a_sentence_of_what_a_server_said(tmp_path):
    with hostile.misbehaving_server(hostile.repeating(b"\x1b[2J <script>" + b"A" * 500 + b"\r\n")) as port:
        site = Site(tmp_path, extra=SERVICE_MODULE, services={"antivirus": setting("antivirus", port)})
        [row] = site("services/?get")["services"]
    assert "\x1b" not in json.dumps(row) and len(row["error"]) < 200
