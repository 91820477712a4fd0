"""The parts of `mailapi serve` that set limits: to a body, to connections, and to what is kept in files."""

import pytest
from mailapi_modules.commands.main import find_commands
from mailapi_modules.http import spool, waitress_server

import mailapi
from support.command_line import run_mailapi, write_config
from support.site import Site
from support.slow_clients import MB


def test_the_limit_of_a_body_depends_on_path_and_query(tmp_path):
    app = Site(tmp_path, extra={"Service": "modules/services.py"}, max_body=2000, max_message=30_000).app
    limits = {
        "users/?get": 2000,
        "nothing/?get": 2000,
        "mailbox/?send": 30_000,
        "mailbox/index.php?send=1": 30_000,
        "users?import": 32 * MB,
        "": 2000,
        "*": 2000,
        "?login": 2000,
        "dav/ann/x": 32 * MB,
        "davx/": 2000,
        "users/?" + "&" * 200 + "import": 2000,
        "services/?send": 30_000,
    }
    for url, limit in limits.items():
        path, _, query = url.partition("?")
        assert app.body_limit("/" + path, query) == limit, url


def test_a_waitress_that_lacks_what_we_use_is_refused_with_a_sentence(monkeypatch):
    monkeypatch.delattr(waitress_server.ChunkedReceiver, "trailer")
    with pytest.raises(
        mailapi.ConfigError, match=r"waitress 3\S+ has no ChunkedReceiver.trailer: install waitress"
    ):
        waitress_server.create_server(None, [], 1, 1, 1)


def test_the_limit_of_connections_follows_the_limit_of_open_files(monkeypatch):
    serve = find_commands()["serve"]
    monkeypatch.setattr(serve.resource, "setrlimit", lambda *_: None)
    for hard, connections in ((1_000_000, 8000), (serve.resource.RLIM_INFINITY, 8000), (4096, 1948)):
        monkeypatch.setattr(serve.resource, "getrlimit", lambda _, hard=hard: (1024, hard))
        assert serve.allow_connections(8000) == connections


def test_max_spooled_below_the_size_of_a_mail_is_refused(site_with_large_mail, tmp_path):
    write_config(tmp_path, max_spooled=MB)
    assert "max_spooled must be at least max_message." in run_mailapi(tmp_path, "serve", check=1)


class Connection:
    """A connection as the spool sees it: `pace` is how many bytes a second its client reads or sends."""

    def __init__(self, pace):
        self.pace, self.closed = pace, False

    def close_soon(self):
        self.closed = True


def test_the_slowest_connections_are_closed_first(monkeypatch):
    spooled = spool.Spooled(100)
    slow, slower, fast, other = (Connection(pace) for pace in (100, 10, 1_000_000, 1_000_000))
    for each in (slow, slower, fast):
        spooled.reserve(each, 30)
    spooled.reserve(other, 20)
    assert (slow.closed, slower.closed, spooled.used) == (False, True, 80)
    spooled.release(slower, 30)  # it was counted out before
    assert spooled.used == 80 and spooled.new_interval() == (0, 1)
    with pytest.raises(spool.NoRoom):
        spooled.reserve(other, 60)  # not even without the slow one: nobody is closed for nothing
    assert not slow.closed and spooled.new_interval() == (1, 0)
    spooled.reserve(other, 50)
    assert slow.closed and not fast.closed and spooled.used == 100
    with pytest.raises(spool.NoRoom):
        spooled.reserve(slow, 1)
    spooled.release(fast, 30)
    spooled.release(other, 70)
    assert spooled.used == 0 and not spooled.sizes


def test_a_connection_with_much_spooled_has_to_be_fast(monkeypatch):
    spooled = spool.Spooled(100 * MB)
    large, small = Connection(10_000), Connection(10_000)
    spooled.reserve(large, 90 * MB)
    spooled.reserve(small, MB)
    spooled.reserve(Connection(1_000_000), 20 * MB)
    assert (large.closed, small.closed) == (True, False)


def test_a_spool_returns_the_bytes_appended_to_it(tmp_path):
    spooled, connection = spool.Spooled(10 * MB), Connection(0)
    for sizes in ([10, 20], [spool.IN_MEMORY, 1, 70_000], [0, 500_000], [20_000] * 5):
        buffer, put, got = spool.Spool(spooled, connection), b"", b""
        for number, size in enumerate(sizes):
            data = bytes([number]) * size
            buffer.append(memoryview(data))
            put += data
            got += (piece := buffer.get(7000))
            buffer.skip(len(piece), True)
        assert spooled.used == (0 if len(put) <= spool.IN_MEMORY else len(put)) and len(buffer) == len(
            put
        ) - len(got)
        while piece := buffer.get(7000):
            got += piece
            buffer.skip(len(piece), True)
        assert got == put and spooled.used == 0
        buffer.append(put)
        assert buffer.getfile().read() == put
        buffer.close()
        assert spooled.used == 0
        with pytest.raises(spool.NoRoom):
            buffer.append(b"x")


def test_a_full_disk_counts_as_a_full_spool(monkeypatch):
    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool.tempfile, "TemporaryFile", full)
    spooled = spool.Spooled(10 * MB)
    buffer = spool.Spool(spooled, Connection(0))
    with pytest.raises(spool.NoRoom):
        buffer.append(b"x" * MB)
    buffer.close()
    assert spooled.used == 0
