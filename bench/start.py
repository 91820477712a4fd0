"""What a fresh process costs up to its first answer, as a CGI script is one: `python -m bench.start`.

CPU of the whole process, with the interpreter's own start, but without the finder of an editable installation. The
imports are in milliseconds, each the least of several runs, with all that they import themselves.
"""

import argparse
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

    def run(self, script: str, *options, body: str = "", **environ) -> tuple[bytes, bytes, float]:
        """What a Python process said on both outputs, and its milliseconds of CPU."""
        command = [sys.executable, "-S", *options, "-c", script]
        with (
            tempfile.TemporaryFile() as said,
            tempfile.TemporaryFile() as errors,
            tempfile.TemporaryFile() as given,
        ):
            given.write(body.encode())
            given.seek(0)
            process = subprocess.Popen(
                command, stdin=given, stdout=said, stderr=errors, env=self.environ | environ
            )
            usage = os.wait4(process.pid, 0)[2]
            said.seek(0), errors.seek(0)
            return said.read(), errors.read(), (usage.ru_utime + usage.ru_stime) * 1000

    def answer(self, *options) -> float:
        said, errors, spent = self.run(SCRIPT, *options)
        if b'"users":' not in said:
            raise AssertionError(said + errors)
        return spent

    def imports(self) -> dict[str, tuple[int, float]]:
        """How deep each import is, and its milliseconds."""
        said = self.run("import mailapi; mailapi.default_application()", "-X", "importtime")[1].decode()
        found = filter(None, map(LINE.match, said.splitlines()))
        return {each[4]: (len(each[3]) // 2, int(each[2]) / 1000) for each in found}


def report(copy: Copy, rounds: int, least: float):
    nothing = [copy.run("pass")[2] for _ in range(rounds)]
    uncached = [copy.answer("-B") for _ in range(rounds)]
    copy.answer()  # leaves the bytecode behind
    cached = [copy.answer() for _ in range(rounds)]
    print(f"CPU, ms: median (least) of {rounds}, load average {os.getloadavg()[0]:.1f}\n")
    for name, found in (
        ("python alone", nothing),
        ("first answer, bytecode kept", cached),
        ("first answer, mailapi compiled anew", uncached),
    ):
        print(f"- {name}: {statistics.median(found):.0f} ({min(found):.0f})")
    runs = [copy.imports() for _ in range(rounds)]
    print("\n| import | ms |\n|---|---|")
    for name, (depth, _) in reversed(runs[0].items()):
        spent = min(run[name][1] for run in runs if name in run)
        if spent >= least:
            print(f"| {'· ' * depth}{name} | {spent:.1f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--least", type=float, default=1, help="ms of an import worth a line (default: %(default)s)"
    )
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mailapi-")))
        report(Copy(folder), args.rounds, args.least)


if __name__ == "__main__":
    main()
