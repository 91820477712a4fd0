"""Private instances of real servers: a free port of 127.0.0.1, a folder of their own, ended by their process id."""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

SBIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def require_program(program: str) -> str:
    """Return the path of a program; skip the test where there is none, or fail under CI=true."""
    found = shutil.which(program, path=SBIN)
    if not found:
        skip_without(program)
    return found


def skip_without(what: str):
    """Skip the test, which needs what is not here, or fail under CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"{what} is not installed")


# The processes that share the tests, as pytest-xdist tells them, and which of them this is.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
# Below those that the system gives to whoever connects or binds port 0: nobody takes one before its server does.
PORTS = random.sample(range(10_000 + WORKER, 32_000, WORKERS), 1000)


def free_port() -> int:
    """Return a port, each one only once; each worker has its own."""
    while True:
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port := PORTS.pop()))
            return port


@contextlib.contextmanager
def running_instance(command: list, folder: Path, ready, seconds: float = 60, **options):
    """Run a server in the foreground, its output in folder/log, until the block ends.

    `ready` is the port or the path of the socket that it opens when it can be asked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(
            list(map(str, command)), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder, **options
        )
    try:
        wait_for(process, ready, folder / "log", seconds)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def wait_for(process, ready, log: Path, seconds: float):
    """Wait until a server accepts a connection; fail with its log."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), connect(ready):
            return
        time.sleep(0.05)
    raise AssertionError(
        f"{process.args[0]} does not answer on {ready}:\n{log.read_text(errors='replace')[-3000:]}"
    )


def connect(ready) -> socket.socket:
    """Connect to a port or to the path of a socket."""
    if isinstance(ready, int):
        return socket.create_connection(("127.0.0.1", ready), 1)
    found = socket.socket(socket.AF_UNIX)
    try:
        found.connect(str(ready))
    except OSError:
        found.close()
        raise
    return found
