"""Memory does not grow with the requests. bench/memory.py measures the same over more of them, and other servers."""

import gc
import os
import sys
import tracemalloc

import pytest
from conftest import ROOT
from instances import need

sys.path.append(str(ROOT / "bench"))

import memory


@pytest.mark.parametrize("server", ["serve", "uwsgi"])
def test_a_server_keeps_its_size(server, tmp_path):
    memory.install(tmp_path, users=20)
    need(memory.SERVERS[server][0])
    context, port = memory.start(server, tmp_path)
    with context as process:
        memory.work(port, 800)
        pids = memory.workers(process.pid)
        before, files = memory.pss(pids), open_files(pids)
        memory.work(port, 1200)
        assert memory.workers(process.pid) == pids
        assert memory.pss(pids) < before + 3  # MB; SQLite's caches are still filling
        assert open_files(pids) <= files + 4


def open_files(pids: list[int]) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)


def test_no_object_outlives_its_request(site):
    """Much finer: by how much Python's own heap grows."""
    def work(rounds: int):
        for number in range(rounds):
            site("users/?get")
            site.browser().get("/addresses/?get&callback=got")
            site("users/?add", user_name=f"new{number}", user_permissions=["special"])
            site("users/?delete", user_name=f"new{number}")
            site("users/?delete", user="bob", user_name="ann")
            site("nothing/?get", check=404)
        gc.collect()

    tracemalloc.start()
    work(60)  # sqlite3 looks only after 200 cursors which of them are gone
    before, _ = tracemalloc.get_traced_memory()
    work(60)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / (60 * 6) < 50  # bytes a request
