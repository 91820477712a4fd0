"""The loop of `mailapi serve`: every request is answered once and in its order, whichever thread runs the loop."""

import contextlib
import errno
import http.client
import socket
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from mailapi_modules.http import accepting, channel, poller
from mailapi_modules.http import loop as serve_loop

from support.in_loop import Answers, connections, hello, reset, serving, with_body_limit
from support.slow_clients import request_head
from support.waiting import wait_until


@pytest.fixture
def restless(monkeypatch):
    """Every answer takes too long, threads change everywhere, and a wake-up that is lost is missed for a minute."""
    monkeypatch.setattr(serve_loop, "PATIENCE", 0)
    monkeypatch.setattr(poller, "LONGEST_WAIT", 600)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def requests(client: int) -> list[tuple[str, bytes]]:
    """Return the requests that a client sends: each one's method and bytes."""
    made = []
    for number in range(40):
        path = f"/{client}/{number}"
        if number % 4 == 1:
            made.append(("POST", request_head(f"POST {path}", "Content-Length: 70000") + b"x" * 70000))
        elif number % 4 == 2:
            made.append(("HEAD", request_head(f"HEAD {path}")))
        else:
            made.append(("GET", request_head(f"GET {path}")))
    return made


@pytest.mark.parametrize("has_epoll", [True, False])
def test_every_request_is_answered_once_and_in_its_order(monkeypatch, restless, has_epoll):
    """Clients send many at once, and more of them than there are threads."""
    monkeypatch.setattr(poller, "HAS_EPOLL", has_epoll)
    answered = Counter()

    @with_body_limit
    def app(environ, start_response):
        answered[environ["PATH_INFO"]] += 1
        assert len(environ["wsgi.input"].read()) == int(environ.get("CONTENT_LENGTH", "0"))
        return hello(environ, start_response)

    def ask(number):
        sent = requests(number)
        with connections(address) as [client]:
            sender = threading.Thread(target=client.sendall, args=[b"".join(said for _, said in sent)])
            sender.start()
            answers = Answers(client)
            for each, (method, _) in enumerate(sent):
                body = f"/{number}/{each}".encode() if method != "HEAD" else b""
                assert answers.next(method) == (200, body)
            sender.join()

    with serving(app, threads=2) as (_, address), ThreadPoolExecutor(12) as clients:
        list(clients.map(ask, range(12)))
    assert set(answered.values()) == {1} and len(answered) == 12 * 40


def test_a_request_whose_turn_comes_while_the_loop_is_taken_over_is_not_forgotten(monkeypatch):
    monkeypatch.setattr(poller, "LONGEST_WAIT", 600)
    begun, go_on = threading.Event(), threading.Event()

    @with_body_limit
    def app(environ, start_response):
        begun.set()
        assert go_on.wait(60)
        return hello(environ, start_response)

    with serving(app) as (loop, address), connections(address) as [client]:
        poll = loop.poller.poll

        def taken_over(wait):
            """The thread that takes over is about to wait, and the other one ends its answer only now."""
            if begun.is_set() and not go_on.is_set():
                go_on.set()
                wait_until(lambda: loop.tasks and not loop.answering)
            return poll(wait)

        monkeypatch.setattr(loop.poller, "poll", taken_over)
        wait_until(lambda: len(loop.spare) == len(loop.threads) - 1)  # all have started
        client.sendall(request_head("GET /first") + request_head("GET /second"))
        answers = Answers(client)
        assert [answers.next(), answers.next()] == [(200, b"/first"), (200, b"/second")]


@pytest.fixture
def closed_by_loop(monkeypatch):
    """Returns of each connection that was closed whether the loop's thread did it."""
    closed = []
    handle_close = channel.Channel.handle_close

    def noted(self):
        closed.append(threading.get_ident() == self.server.poller.thread)
        handle_close(self)

    monkeypatch.setattr(channel.Channel, "handle_close", noted)
    return closed


@pytest.mark.parametrize("answers_before", [1, 2])
def test_clients_that_break_off_leave_nothing_behind(restless, closed_by_loop, answers_before):
    """Only the loop's thread closes their connections, since others get the file descriptors at once."""
    go_on = threading.Event()

    @with_body_limit
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/wait":
            go_on.wait(60)
        return hello(environ, start_response)

    waiting = request_head("GET /wait") * answers_before
    with serving(app, threads=4) as (loop, address):
        before = len(loop.poller.map)
        for _ in range(10):
            with connections(address, 6) as clients:
                for client in clients:
                    client.sendall(
                        waiting + request_head("POST /body", "Expect: 100-continue", "Content-Length: 10")
                    )
                wait_until(lambda: loop.answering == 6)
                for client in clients:
                    reset(client)
            go_on.set()
            wait_until(lambda: len(loop.poller.map) == before and not loop.answering)
            go_on.clear()
        with connections(address) as [client]:
            client.sendall(request_head("GET /after"))
            assert Answers(client).next() == (200, b"/after")
    assert len(closed_by_loop) >= 60 and all(closed_by_loop)


def test_an_answer_never_reaches_the_next_connection_of_the_same_number():
    begun, go_on = threading.Event(), threading.Event()

    @with_body_limit
    def app(environ, start_response):
        if environ["PATH_INFO"] != "/pieces":
            return hello(environ, start_response)
        start_response("200 OK", [])
        return pieces()

    def pieces():
        yield b"first"
        begun.set()
        go_on.wait(60)
        for _ in range(10):
            yield b"wrong" * 20_000

    with serving(app) as (loop, address), connections(address) as [slow], socket.socket() as client:
        slow.sendall(request_head("GET /pieces"))
        assert begun.wait(60)
        [answering] = [each for each in loop.poller.map.values() if getattr(each, "requests", None)]
        number = answering._fileno
        answering.close_soon()
        wait_until(lambda: answering.closed)
        client.connect(address)
        client.sendall(request_head("GET /right"))
        answers = Answers(client)
        assert answers.next() == (200, b"/right")
        assert loop.poller.map[number].connected
        go_on.set()
        wait_until(lambda: not loop.answering)
        client.sendall(request_head("GET /again"))
        assert answers.next() == (200, b"/again")


def test_a_connection_that_the_system_does_not_register_is_closed(monkeypatch):
    with serving(hello) as (loop, address):
        set_events = loop.poller.set_events
        refused = []

        def refuse_one(fd, events, flags):
            if not flags and fd in loop.poller.map and not refused:
                refused.append(fd)
                raise OSError(28, "No space left on device")
            set_events(fd, events, flags)

        monkeypatch.setattr(loop.poller, "set_events", refuse_one)
        with connections(address, 2) as clients:
            assert clients[0].recv(1) == b""
            clients[1].sendall(request_head("GET /x"))
            assert Answers(clients[1]).next() == (200, b"/x") and len(refused) == 1


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n"], ids=["unused", "unfinished"])
def test_connections_are_closed_after_a_while_though_the_clock_was_set_back(monkeypatch, sent):
    now = time.time
    with (
        serving(hello, channel_timeout=1, cleanup_interval=1) as (_, address),
        connections(address) as [connection],
    ):
        connection.sendall(b"GET /once HTTP/1.1\r\nHost: x\r\n\r\n")
        assert Answers(connection).next() == (200, b"/once")
        monkeypatch.setattr(time, "time", lambda: now() - 86400)
        connection.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""  # within a minute


def test_a_server_that_is_stopped_breaks_no_answer_off(restless):
    complete = []

    def ask(number):
        with connections(address) as [client], contextlib.suppress(ConnectionError):
            answers = Answers(client)
            while True:
                client.sendall(request_head("GET /whole"))
                try:
                    assert answers.next() == (200, b"/whole")
                except http.client.RemoteDisconnected:  # before the first byte
                    return
                complete.append(number)

    with ThreadPoolExecutor(8) as clients:
        with serving(hello) as (_, address):
            jobs = [clients.submit(ask, number) for number in range(8)]
            wait_until(lambda: len(set(complete)) == 8)
        for job in jobs:
            job.result()


def test_without_free_files_the_server_does_not_try_to_accept_at_each_event(monkeypatch, caplog):
    """The system reports a connection that waits as often as it is asked."""
    refused = []

    def accept(listening):
        refused.append(listening)
        raise OSError(errno.EMFILE, "Too many open files")

    with serving(hello) as (_, address), connections(address) as [client]:
        answers = Answers(client)
        client.sendall(request_head("GET /first"))
        assert answers.next() == (200, b"/first")
        monkeypatch.setattr(accepting, "PAUSE", 600)
        with monkeypatch.context() as patch, connections(address) as [waiting]:
            patch.setattr(socket.socket, "accept", accept)
            for _ in range(20):
                client.sendall(request_head("GET /next"))
                assert answers.next() == (200, b"/next")
            assert waiting and len(refused) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "no connection can be accepted (Too many open files): tried every second"
    ]


def test_a_connection_is_accepted_after_a_pause_without_free_files(monkeypatch):
    accept, asked = socket.socket.accept, []

    def refuse_first(listening):
        asked.append(listening)
        if len(asked) == 1:
            raise OSError(errno.ENFILE, "Too many open files in system")
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", refuse_first)
    with serving(hello) as (_, address), connections(address) as [client]:
        client.sendall(request_head("GET /late"))
        assert Answers(client).next() == (200, b"/late")
    assert len(asked) == 2
