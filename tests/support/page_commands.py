"""The commands that pages of docs/ show, and an installation as those pages have it, to run them on."""

import contextlib
import io
import json
import os
import pwd
import re
import shlex
import subprocess
import sys
import threading
import unittest.mock
from dataclasses import dataclass
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import mailapi
from support.command_line import MAILAPI, Server
from support.deployment import AS_USER, PATHS, USER
from support.mails import deliver
from support.pages import read_page, saved_files
from support.site import MODULES, OPTIONAL, ROOT, Site, authdata

FENCED = re.compile(r"^( *)```(sh|bash|console|text|json)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
ANY_FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?: {4,}\S.*\n)+")
CELL = re.compile(r"(?<=\| )`(?:mailapi \w+ |mailapi check\b|curl |git |apt )[^|]*(?= \|)")
COMMAND = re.compile(
    r"(?:/opt/mailapi/bin/)?(?:mailapi|curl|python3?|make|pip|git|echo|journalctl|systemctl) "
)
NEAR = 400  # characters between commands and what they answer
PASSWORD = "PASSWORD"  # as the pages write it
# The service's user in commands with --service. Nobody else may enter a checkout in /root.
SERVICE = USER if all(each.stat().st_mode & 0o001 for each in ROOT.parents) else pwd.getpwuid(os.geteuid())
USERS = ["admin", "ann", "bob", "bob@atmail.com", "dele"]
ADDRESS = re.compile(r"http://127\.0\.0\.1:8080|https://your\.host/cmail/api")
PHP = '<?php $dbpath = "/var/lib/cmail/master.db3"; $modulelist = array("User" => "users.php");\n'
SUITE = "PROVISION=7\nIMAP_HOST=127.0.0.1\nAPISERVER_DB_HOST=127.0.0.1\nAPISERVER_DB_NAME=apiserver\n"


@dataclass
class Block:
    """Commands that belong together, and the answer that the page shows below them ("": none)."""

    page: str
    commands: str
    answer: str = ""

    def __str__(self):
        return f"{self.page}: {self.commands.splitlines()[0]}"


def blocks(page: str) -> list[Block]:
    """Return the commands of a page: its blocks of shell, the indented ones, and those in the cells of tables."""
    text = read_page(page)
    made: list[Block] = []
    end = 0
    for start, is_answer, shown in sorted(shown_in(text)):
        shown = "\n".join(line.strip() for line in shown.splitlines()) if shown[0] == " " else shown.strip()
        between = text[end:start]
        if not is_answer:
            made.append(Block(page, *shown.split("\n{", 1)))
            made[-1].answer = made[-1].answer and "{" + made[-1].answer  # in the same block
            end = start + len(shown)
        elif made and not made[-1].answer and "\n#" not in between and len(between) < NEAR:
            made[-1].answer = shown
    return made


def shown_in(text: str):
    """Yield what a page shows in code: its place, whether it is an answer, and the text."""
    for each in FENCED.finditer(text):
        yield each.start(), each[2] in ("text", "json"), each[3]
    without = ANY_FENCED.sub(lambda fenced: re.sub(r"\S", "\0", fenced[0]), text)  # places stay
    for each in INDENTED.finditer(without):
        if "\0" not in each[0]:
            yield each.start(), not COMMAND.match(each[0].lstrip()), each[0]
    for each in CELL.finditer(without):
        yield each.start(), False, "\n".join(re.findall(r"`((?:mailapi|curl|git|apt) [^`]*)`", each[0]))


class Installation:
    """An installation in a folder that takes the place of the machine, and of the folder that commands are run in."""

    def __init__(self, folder: Path, generation: int = 9, greeting: bool = False):
        self.folder = folder
        for name in ("var/lib/cmail", "var/lib/mailapi", "var/backups", "var/www/cmail-admin", "bin"):
            (folder / name).mkdir(parents=True)
        modules = MODULES | OPTIONAL | ({"MSA": "modules/msa.py"} if generation == 8 else {})
        if greeting:
            file = self.write(
                "etc/mailapi/greeting.py", dict(saved_files(read_page("how-to/module.md")))["greeting.py"]
            )
            modules |= {"Greeting": str(file)}
        self.site = Site(
            folder / "var/lib/cmail", generation, modules, state=str(folder / "var/lib/mailapi/state.db3")
        )
        self.fill()
        self.write("etc/mailapi/config.py", "".join(f"{k} = {v!r}\n" for k, v in self.site.config.items()))
        self.write("config.py", (folder / "etc/mailapi/config.py").read_text())
        self.write("var/www/cmail-api/config.php", PHP)
        self.write("etc/atmail/api/api.conf", SUITE)
        self.write("bin/mailapi", f'#!/bin/sh\nexec {shlex.join(MAILAPI)} "$@"\n').chmod(0o755)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Unload the Python modules of the folder: `mailapi check` would look for their files in later tests."""
        for name, python in [*sys.modules.items()]:
            if str(self.folder) in (getattr(python, "__file__", None) or ""):
                del sys.modules[name]

    def write(self, name: str, text: str) -> Path:
        """Write a file, named below the folder."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def fill(self):
        """Store the users, delegations and mails that the pages name."""
        for statement in ("api_user_delegates", "api_address_delegates", "api_access", "users"):
            self.site.sql(f"DELETE FROM {statement}")
        for name in USERS:
            values = name, authdata(PASSWORD)
            self.site.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", *values)
        self.site.sql("INSERT INTO api_access VALUES ('admin', 'admin')")
        self.site.sql("INSERT INTO popd (pop_user) VALUES ('ann')")
        deliver(self.site, "ann", mail_id=1)
        if self.site.generation == 9:
            self.site.sql("INSERT INTO smtpd VALUES ('ann', 'any', NULL)")
            values = "ann@one.org", 1, "store", "ann"
            self.site.sql("INSERT INTO addresses VALUES (?, ?, ?, ?)", *values)

    def here(self, text: str) -> str:
        """Return commands with the paths, users, tokens and addresses of this installation."""
        text = PATHS.sub(
            lambda path: path[0] if path[0].endswith("/bin/mailapi") else f"{self.folder}{path[0]}", text
        )
        text = re.sub(r"\S*/bin/mailapi\b", "mailapi", text)
        text = re.sub(r"--daemon \w+", f"--daemon {USER.pw_name}", text)
        text = re.sub(r"--service \w+", f"--service {SERVICE.pw_name}", text)
        if "mailapi_…" in text:
            token = self.site("tokens/?add", "ann", password=PASSWORD, token_name="page")["token"]
            text = text.replace("mailapi_…", token)
        return text

    def prepare(self, commands: str, foreign: bool):
        """Make what the commands expect: nobody of a name that they add, no database where they make one."""
        for name in re.findall(r"users add user_name=(\S+)|\\n(\w+),secret,", commands):
            self.site("users/?delete", "admin", password=PASSWORD, user_name="".join(name))
        for name in re.findall(r"accounts delete user_name=(\S+)", commands):
            self.site("accounts/?provision", "admin", password=PASSWORD, user_name=name)
        if "mailapi init" in commands:
            self.site.file.unlink()
        if AS_USER and not foreign:
            subprocess.run(
                ["chown", "-R", f"{USER.pw_uid}:{USER.pw_gid}", self.folder / "var/lib"], check=True
            )

    def run(self, block: Block) -> tuple[int, str]:
        """Run a block's commands; return the exit status, and what they print, with the page's paths."""
        self.prepare(block.commands, foreign="FAIL" in block.answer)
        if "mailapi serve" in block.commands:
            code, said = 0, self.serve(self.here(block.commands))
        elif "curl " in block.commands:
            with self.serving() as port:
                at_port = ADDRESS.sub(f"http://127.0.0.1:{port}", block.commands)
                code, said = self.shell(self.here(at_port))
        elif re.search(r"[|<>$]|--service", block.commands):  # --service reports every file that is loaded
            code, said = self.shell(self.here(block.commands))
        else:
            code, said = self.in_process(self.here(block.commands))
        return code, said.replace(str(self.folder), "")

    def shell(self, commands: str) -> tuple[int, str]:
        """Run commands in bash, until one fails."""
        path = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-ec", commands],
            cwd=self.folder,
            env=os.environ | path,
            input=f"{PASSWORD}\n",
            text=True,
            capture_output=True,
            timeout=60,
        )
        return done.returncode, done.stdout or done.stderr  # curl shows its progress in the latter

    def in_process(self, commands: str) -> tuple[int, str]:
        """Run commands of mailapi in this process, which takes a fifth of the time; until one fails."""
        said, code = io.StringIO(), 0
        with (
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            for line in commands.splitlines():
                program, *arguments = shlex.split(line)
                assert program == "mailapi", line
                with unittest.mock.patch.object(sys, "stdin", io.StringIO(f"{PASSWORD}\n")):
                    code = code or mailapi.main(arguments)
        return code, said.getvalue()

    def serve(self, command: str) -> str:
        """Start `mailapi serve` as a command says; return what it prints, with the page's port."""
        _program, _serve, *arguments = shlex.split(command.replace("\\\n", ""))
        at = arguments.index("--listen")
        del arguments[at : at + 2]
        with Server(self.folder, *arguments) as server:
            return server.said.replace(f":{server.port}", ":8080")

    @contextlib.contextmanager
    def serving(self):
        """Serve the API in a thread; yield the port."""
        with make_server("127.0.0.1", 0, self.site.app, handler_class=Silent) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield server.server_port
            finally:
                server.shutdown()
                thread.join()


class Silent(WSGIRequestHandler):
    """A handler that logs nothing."""

    def log_message(self, *_):
        pass


def json_values(said: str) -> list:
    """Return the values of JSON that follow each other in a text."""
    values, decoder, said = [], json.JSONDecoder(), said.strip()
    while said:
        value, end = decoder.raw_decode(said)
        values.append(value)
        said = said[end:].strip()
    return values
