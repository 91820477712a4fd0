"""Answers of `mailapi serve`: to old clients, to bodies in pieces, to apps that fail, and what connections cost."""

import contextlib
import sys
import threading

import pytest
from mailapi_modules.http import channel, waitress_server

from support.in_loop import Answers, connections, hello, serving, with_body_limit
from support.slow_clients import request_head
from support.waiting import wait_until


def test_idle_connections_cost_other_requests_nothing(monkeypatch):
    asked = []
    monkeypatch.setattr(
        channel.Channel, "writable", lambda self: asked.append(self) or bool(self.total_outbufs_len)
    )
    with serving(hello) as (loop, address), connections(address, 101) as [client, *_]:
        wait_until(lambda: len(loop.poller.registered) == 102)  # and the listening socket
        before = len(asked)
        answers = Answers(client)
        for _ in range(10):
            client.sendall(request_head("GET /"))
            assert answers.next() == (200, b"/")
        assert 10 <= len(asked) - before <= 40


def test_head_and_body_of_a_short_answer_are_sent_together(monkeypatch):
    sent = []
    send = channel.Channel.send

    def noted(self, data, do_close=True):
        sent.append(bytes(data))
        return send(self, data, do_close)

    monkeypatch.setattr(channel.Channel, "send", noted)
    with serving(hello) as (_, address), connections(address) as [client]:
        answers = Answers(client)
        for path, status, body in (("/hello", 200, b"/hello"), ("/nothing", 204, b"")):
            client.sendall(request_head(f"GET {path}"))
            assert answers.next() == (status, body)
            assert len(sent) == 1 and sent.pop().startswith(b"HTTP/1.1 20")


def test_a_client_of_http_1_0_may_keep_its_connection():
    with serving(hello) as (_, address), connections(address) as [client]:
        answers = Answers(client)
        for _ in range(3):
            client.sendall(b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert answers.next() == (200, b"/old")
        client.sendall(b"GET /last HTTP/1.0\r\n\r\n")
        assert answers.next() == (200, b"/last") and client.recv(1) == b""


def test_a_body_that_comes_in_pieces_and_waits_for_100_continue():
    begun, go_on = threading.Event(), threading.Event()

    @with_body_limit
    def app(environ, start_response):
        begun.set()
        assert environ["PATH_INFO"] != "/first" or go_on.wait(60)
        assert environ["PATH_INFO"] != "/second" or environ["wsgi.input"].read() == b"0123456789"
        return hello(environ, start_response)

    with serving(app) as (_, address), connections(address) as [client]:
        head = request_head("POST /second", "Content-Length: 10", "Expect: 100-continue")
        client.sendall(request_head("GET /first") + head)
        assert begun.wait(60)
        go_on.set()
        answers = Answers(client)
        assert answers.next() == (200, b"/first")
        assert answers.file.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"  # after the answer before it
        for digit in b"0123456789":
            client.sendall(bytes([digit]))
        assert answers.next() == (200, b"/second")


def test_a_path_is_one_line_of_the_log(caplog):
    @with_body_limit
    def app(environ, start_response):
        raise OSError

    with serving(app) as (_, address), connections(address) as [client]:
        client.sendall(request_head("GET /%0Atime=now%20msg=audit%1B[2J%c2%9b" + "x" * 1000))
        assert Answers(client).next()[0] == 500
    [line] = [record.getMessage() for record in caplog.records if record.name == "waitress"]
    assert "time=now" in line and line.isprintable() and len(line) <= 300


def test_an_app_that_fails_breaks_no_other_answer():
    @with_body_limit
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/before":
            raise ValueError("before the head")
        if environ["PATH_INFO"] == "/exit":
            sys.exit(1)
        if environ["PATH_INFO"] == "/header":
            start_response("200 OK", [("Connection", "x")])
        start_response("200 OK", [])
        return within() if environ["PATH_INFO"] == "/within" else [b"hello"]

    def within():
        yield b"the beginning"
        raise ValueError("within the body")

    expected = {
        "/before": b" 500 ",
        "/header": b" 500 ",
        "/within": b"the beginning",
        "/exit": b"",
        "/": b"hello",
    }
    with serving(app) as (_, address):
        for path, part in expected.items():
            with connections(address) as [client], contextlib.suppress(ConnectionResetError):
                client.sendall(request_head(f"GET {path}", "Connection: close"))
                assert part in b"".join(iter(lambda client=client: client.recv(1000), b"")), path


def test_a_loop_that_fails_ends_the_server(monkeypatch):
    [listening] = waitress_server.listen("127.0.0.1:0")
    with contextlib.closing(listening):
        loop = waitress_server.create_server(hello, [listening], 10**6, 10**6, 2)
        monkeypatch.setattr(loop.poller, "register_changed", lambda: 1 / 0)
        with pytest.raises(RuntimeError, match="The server's loop failed."):
            loop.run()
