"""The command line as subprocesses, on a terminal of its own, and `mailapi serve`."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import termios
import urllib.error
import urllib.request

import pytest

from support.site import MODULES, ROOT, Site

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
MAILAPI = [sys.executable, str(ROOT / "mailapi.py")]
CONFIG = (
    'dbpath = "master.db3"\nmodulelist = {"User": "modules/users.py", "Address": "modules/addresses.py"}\n'
)


def run_mailapi(folder, *arguments, check=0, stdin="", **environ):
    """Run a command of mailapi in a folder and return all that it prints; check its exit status."""
    done = subprocess.run(
        [*MAILAPI, *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        env=os.environ | environ,
        timeout=60,
    )
    assert done.returncode == check, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


class Server:
    """`mailapi serve` on a free port, stopped by its process id."""

    command = MAILAPI

    def __init__(self, folder, *arguments):
        self.errors = tempfile.TemporaryFile("w+")  # a pipe that nobody reads would stop it
        self.process = subprocess.Popen(
            [*self.command, "serve", "--workers", "1", "--listen", "127.0.0.1:0", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.said = ""
        while not (found := re.search(r"Serving .* on (\S+)", self.said)):
            line = self.process.stdout.readline()
            assert line, self.log()
            self.said += line
        self.url = found[1]
        self.host, self.port = re.match(r"http://([^:]+):(\d+)", self.url).groups()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def log(self) -> str:
        """Return what the server has written to its error output."""
        self.errors.seek(0)
        return self.errors.read()

    def post(self, path, body: bytes, check=200, **headers):
        """Post a body and return the decoded answer; check its HTTP status."""
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.url + path, body, headers), timeout=60
            ) as got:
                status, answer = got.status, json.load(got)
        except urllib.error.HTTPError as error:
            status, answer = error.code, json.load(error)
        assert status == check
        return answer

    def stop(self) -> tuple[int, str]:
        """End the server by SIGTERM; return its exit status and its log."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)
        return self.process.returncode, self.log()


def request_of_root(**fields) -> bytes:
    """Return a request's body with root's credentials."""
    return json.dumps(fields | {"auth": {"user_name": "root", "password": "pw"}}).encode()


def run_on_terminal(folder, *arguments, answers=()) -> bytes:
    """Run mailapi on a terminal of its own, typing an answer at each prompt; return what it shows."""
    return on_terminal(folder, [*MAILAPI, *arguments], answers)[1]


def on_terminal(folder, command: list, answers=(), size=None) -> tuple[int, bytes]:
    """Run a command on a terminal of its own, typing an answer at each prompt; return its exit status and what it shows.

    `size` is the terminal's lines and columns, such as (50, 132).
    """
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        if size:
            os.environ.pop("COLUMNS", None)  # the terminal's own width counts, not that of the tests
            termios.tcsetwinsize(0, size)
        os.execvpe(command[0], command, os.environ)  # without the COLUMNS that GNU readline sets beside it
    said = b""
    for prompt, typed in [*answers, (None, b"")]:
        unread = len(said)
        with contextlib.suppress(OSError):  # the other end was closed: it is over
            while prompt is None or prompt not in said[unread:]:
                said += os.read(terminal, 4096)
        os.write(terminal, typed)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(terminal)
    return code, said


def write_config(folder, modules=MODULES, **config):
    """Write a config.py that names the master database and these settings."""
    named = {"dbpath": "master.db3", "modulelist": modules} | config
    (folder / "config.py").write_text("".join(f"{key} = {value!r}\n" for key, value in named.items()))


@pytest.fixture
def configured_site(tmp_path):
    """A site beside its config.py."""
    write_config(tmp_path)
    return Site(tmp_path)
