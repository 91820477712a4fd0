"""mailapi and the app in bench/floor.py under real servers, and the CPU and memory that the servers' workers use."""

import contextlib
import importlib.util
import os
import re
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

import mailapi
from bench.databases import ROOT

sys.path.append(str(ROOT / "tests"))
from support.instances import SBIN, free_port, running_instance  # noqa: E402

PLUGINS = Path("/usr/lib/uwsgi/plugins")


class Unavailable(Exception):
    """The error for a server that is not installed, or is not for this version of Python."""


def uwsgi(module: str, port: int, config: Path, *options: str) -> list:
    minor = "".join(map(str, sys.version_info[:2]))
    if not (PLUGINS / f"python{minor}_plugin.so").exists():
        raise Unavailable(
            f"{PLUGINS} has no plugin for the Python of .venv: install uwsgi-plugin-python3, "
            "and make .venv with its Python (make PYTHON=/usr/bin/python3)."
        )
    flags = f"--plugin python{minor} --http-socket 127.0.0.1:{port} --master --processes 2 --disable-logging"
    paths = ["--pythonpath", ROOT, "--pythonpath", sysconfig.get_path("purelib")]
    application = ["--die-on-term", "--module", f"{module}:application", *paths]
    return ["uwsgi", *flags.split(), *application, "--add-header", "Connection: close", *options]


def gunicorn(module: str, port: int, config: Path, *options: str) -> list:
    bind = ["--workers", "2", "--bind", f"127.0.0.1:{port}"]
    return [sys.executable, "-m", "gunicorn", *bind, f"{module}:application", *options]


def granian(module: str, port: int, config: Path, *options: str) -> list:
    if not importlib.util.find_spec("granian"):
        raise Unavailable("granian is not installed.")
    flags = f"--interface wsgi --no-ws --workers 2 --port {port} --log-level warning"
    return [sys.executable, "-m", "granian", *flags.split(), *options, f"{module}:application"]


def waitress(module: str, port: int, config: Path, *options: str) -> list:
    flags = ["--threads", "8", "--listen", f"127.0.0.1:{port}"]
    return [sys.executable, "-m", "waitress", *flags, *options, f"{module}:application"]


def mailapi_serve(module: str, port: int, config: Path, *options: str) -> list:
    listen = ["--listen", f"127.0.0.1:{port}", *options]
    if module == "mailapi":
        return [sys.executable, ROOT / "mailapi.py", "serve", "--config", config, *listen]
    return [sys.executable, "-m", module, *listen]


SERVERS = {
    "serve": mailapi_serve,
    "uwsgi": uwsgi,
    "gunicorn": gunicorn,
    "granian": granian,
    "waitress": waitress,
}


def command(kind: str, module: str, port: int, config: Path) -> list:
    """Return the command line that starts a server.

    `kind` is a key of SERVERS, with options or without: 'gunicorn --threads 4'. `module` is the WSGI module.
    """
    name, *options = kind.split()
    return SERVERS[name](module, port, config, *options)


@dataclass
class Server:
    """A running server. Its workers are its child processes; without child processes it is the only worker."""

    port: int
    pid: int

    def workers(self) -> list[int]:
        """Return the process IDs of the workers."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(child) for child in children] or [self.pid]

    def cpu(self) -> float:
        """Return the seconds of CPU that all threads of the workers have used."""
        used = [
            task.read_text().split()[0]
            for worker in self.workers()
            for task in Path(f"/proc/{worker}/task").glob("*/schedstat")
        ]
        return sum(map(int, used)) / 1e9

    def wait_until_idle(self):
        """Wait until the workers use no CPU any more.

        They may still work on requests that clients have given up.
        """
        before = -1.0
        while (now := self.cpu()) != before:
            before = now
            time.sleep(0.05)

    def memory(self, field: str, file: str = "status") -> int:
        """Return a figure of the workers' memory in bytes, such as "VmRSS": that of the worker with the most.

        `file` is the file in /proc/PID that has the field: status or smaps_rollup.
        """
        return max(
            int(re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{worker}/{file}").read_text(), re.M)[1])
            * 1024
            for worker in self.workers()
        )

    def pss(self) -> int:
        """Return the PSS of the largest worker in bytes: its memory, with its share of common memory."""
        return self.memory("Pss", "smaps_rollup")

    def reset_peak(self):
        """Reset VmHWM, the largest memory that each worker has had, to its memory now."""
        for worker in self.workers():
            Path(f"/proc/{worker}/clear_refs").write_text("5")


@contextlib.contextmanager
def serve(kind: str, module: str, folder: Path, dbpath: Path | None = None):
    """Run a server during a `with` block, and yield it. Raise Unavailable if it is not installed.

    `kind` is a key of SERVERS, with options or without. `module` is mailapi or bench.floor. With `dbpath`, a
    config.py for that database is written to `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, port = folder / "config.py", free_port()
    if dbpath:
        write_config(config, dbpath, folder)
    environ = os.environ | {"MAILAPI_CONFIG": str(config), "PYTHONPATH": str(ROOT), "PATH": SBIN}
    try:
        with running_instance(command(kind, module, port, config), folder, port, env=environ) as process:
            yield Server(port, process.pid)
    except FileNotFoundError as error:
        raise Unavailable(f"{error.filename} is not installed.") from None


def write_config(config: Path, dbpath: Path, folder: Path):
    """Write a config.py with the values of config.sample.py, for the database `dbpath`.

    The state database is in `folder`. The number of failed log-ins is practically unlimited.
    """
    keys = mailapi.run_config(ROOT / "config.sample.py") | {
        "dbpath": str(dbpath),
        "state": str(folder / "state"),
        "free_attempts": 10**9,
    }
    config.write_text("".join(f"{key} = {value!r}\n" for key, value in keys.items()))
