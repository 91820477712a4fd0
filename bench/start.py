"""Measure the CPU that a fresh process takes up to its first answer, as a CGI script, and for its imports.

The figures include the start of Python itself, but not the finder of an editable installation. An import's
milliseconds are the least of several runs, and include the imports inside it.
"""

import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from bench.databases import ADMIN, PASSWORD, ROOT, database
from bench.servers import write_config

SCRIPT = "from wsgiref.handlers import CGIHandler; import mailapi; CGIHandler().run(mailapi.application)"
REQUEST = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/users/",
    "QUERY_STRING": "get",
    "SCRIPT_NAME": "",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.0",
    "REMOTE_ADDR": "127.0.0.1",
}
LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| (\s*)(\S+)")


class Copy:
    """mailapi's files in a folder of their own, with a database of five users and an administrator's session."""

    def __init__(self, folder: Path):
        self.folder = folder
        shutil.copy(ROOT / "mailapi.py", folder)
        shutil.copytree(ROOT / "modules", folder / "modules", ignore=shutil.ignore_patterns("__pycache__"))
        write_config(folder / "config.py", Path(shutil.copy(database(5), folder / "master.db3")), folder)
        self.environ = (
            {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
            | {
                "PYTHONPATH": f"{folder}:{sysconfig.get_path('purelib')}",
                "MAILAPI_CONFIG": str(folder / "config.py"),
            }
            | REQUEST
        )
        body = json.dumps({"auth": {"user_name": ADMIN, "password": PASSWORD}})
        answer = self.run(SCRIPT, "-B", body=body, CONTENT_LENGTH=str(len(body)))[0]
        self.environ["HTTP_COOKIE"] = re.search(rb"PHPSESSID=[^;]+", answer)[0].decode()

    def make_archives(self) -> dict[str, Path]:
        """Return the paths of a new mailapi.pyz, and of a copy that has bytecode, by their names in the report."""
        built, compiled = self.folder / "mailapi.pyz", self.folder / "compiled.pyz"
        for command in ([ROOT / "build_pyz.py", built], [built, "compile", compiled]):
            subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        return {"mailapi.pyz": built, "mailapi.pyz, compiled": compiled}

    def run(self, script: str, *options, body: str = "", **environ) -> tuple[bytes, bytes, float]:
        """Run Python with a script (`-c`). Return its standard output, its standard error and its ms of CPU.

        `options` are for Python, `body` is the standard input, `environ` are further environment variables.
        """
        return self.start([*options, "-c", script], body, environ)

    def start(self, arguments: list, body: str, environ: dict) -> tuple[bytes, bytes, float]:
        command = [sys.executable, "-S", *arguments]
        with (
            tempfile.TemporaryFile() as output,
            tempfile.TemporaryFile() as errors,
            tempfile.TemporaryFile() as stdin,
        ):
            stdin.write(body.encode())
            stdin.seek(0)
            process = subprocess.Popen(
                command, stdin=stdin, stdout=output, stderr=errors, env=self.environ | environ
            )
            usage = os.wait4(process.pid, 0)[2]
            output.seek(0), errors.seek(0)
            return output.read(), errors.read(), (usage.ru_utime + usage.ru_stime) * 1000

    def answer(self, *options) -> float:
        """Return the ms of CPU of a process that answers one request. `options` are for Python."""
        return checked(*self.run(SCRIPT, *options))

    def answer_of(self, archive: Path) -> float:
        """Return the ms of CPU of a mailapi.pyz that answers one request as a CGI script.

        It can import only what is in `archive` and in Python's standard library.
        """
        return checked(*self.start([archive], "", {"PYTHONPATH": "", "GATEWAY_INTERFACE": "CGI/1.1"}))

    def imports(self) -> dict[str, tuple[int, float]]:
        """Import mailapi in a fresh process. Return the depth and the ms of each import, by the module's name."""
        output = self.run("import mailapi; mailapi.default_application()", "-X", "importtime")[1].decode()
        lines = filter(None, map(LINE.match, output.splitlines()))
        return {line[4]: (len(line[3]) // 2, int(line[2]) / 1000) for line in lines}


def checked(output: bytes, errors: bytes, spent: float) -> float:
    """Return `spent`, the ms of CPU of a process. Raise AssertionError unless its output is a list of users."""
    if b'"users":' not in output:
        raise AssertionError(output + errors)
    return spent


def report(copy: Copy, rounds: int, least: float):
    """Print the CPU of first answers and of imports. Each figure comes from `rounds` processes.

    Imports of less than `least` ms are left out.
    """
    python_alone = [copy.run("pass")[2] for _ in range(rounds)]
    uncached = [copy.answer("-B") for _ in range(rounds)]
    copy.answer()  # writes the bytecode
    cached = [copy.answer() for _ in range(rounds)]
    archives = copy.make_archives()
    archived = {name: [copy.answer_of(file) for _ in range(rounds)] for name, file in archives.items()}
    print(f"CPU, ms: median (least) of {rounds}, load average {os.getloadavg()[0]:.1f}\n")
    for name, times in (
        ("python alone", python_alone),
        ("first answer, bytecode kept", cached),
        ("first answer, mailapi compiled anew", uncached),
        *((f"first answer, {name}", times) for name, times in archived.items()),
    ):
        print(f"- {name}: {statistics.median(times):.0f} ({min(times):.0f})")
    runs = [copy.imports() for _ in range(rounds)]
    print("\n| import | ms |\n|---|---|")
    for name, (depth, _) in reversed(runs[0].items()):
        spent = min(run[name][1] for run in runs if name in run)
        if spent >= least:
            print(f"| {'· ' * depth}{name} | {spent:.1f} |")


def options(parser):
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--least", type=float, default=1, help="ms of an import worth a line (default: %(default)s)"
    )


def run(args):
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mailapi-")))
        report(Copy(folder), args.rounds, args.least)
