"""Access to the files as the user has it that the API runs as, for `mailapi check --service USER`.

A child process becomes that user and asks the kernel: lists of access (ACL), closed folders above and read-only file
systems count as they do for the service.
"""

import json
import os
import pwd
import sys
from collections.abc import Callable
from pathlib import Path

import mailapi

READ, CHANGE, CHANGE_FOLDER = os.R_OK, os.R_OK | os.W_OK, os.W_OK | os.X_OK
WORDS = {READ: "read", CHANGE: "read and written", CHANGE_FOLDER: "written to"}


def check_service(report, config: str, app: mailapi.Application, user: str, described: Callable[[Path], str]):
    """Report which databases and folders that user can use, and what of config and modules they cannot read."""
    wanted = [(config, READ), *((file, READ) for file in code_files())]
    for database in database_files(app):
        wanted += database_needs(database)
    closed, trouble = as_user(user, lambda: look(config, wanted))
    told = set()
    for (path, need), obstacle in zip(wanted, closed):
        if need == READ and obstacle in told - {None}:
            continue  # one line for all modules in a closed folder
        told.add(obstacle)
        if obstacle:
            through = "" if obstacle in (path, os.path.realpath(path)) else f"{obstacle} is closed: "
            report.bad(
                f"service {user}: {path} cannot be {WORDS[need]}: {through}{described(Path(obstacle))}"
            )
        elif need != READ:
            report.good(f"service {user}: {path} can be {WORDS[need]}")
    if trouble:
        report.bad(f"service {user}: {trouble}")
    elif not any(obstacle for (_, need), obstacle in zip(wanted, closed) if need == READ):
        report.good(f"service {user}: config and modules can be read")


def code_files() -> list[str]:
    """Return the files of the core and the modules, with what they share."""
    ours = ("mailapi.", "mailapi_modules.")
    loaded = [python for name, python in sys.modules.items() if f"{name}.".startswith(ours)]
    return sorted({file for python in loaded if (file := getattr(python, "__file__", None))})


def database_files(app: mailapi.Application) -> list[str]:
    """Return the databases that are files: the master, the state, and that of accounts where it is one of its own."""
    config, places = app.config, [app.config.dbpath, app.config.state]
    if config.apiserver and "accounts" in app.modules:
        places.append(
            config.apiserver if mailapi.is_url(config.apiserver) else str(config.base / config.apiserver)
        )
    return [place for place in places if not mailapi.is_url(place)]


def database_needs(database: str) -> list[tuple[str, int]]:
    """Return the folder of a database, the file and its side files, as far as they are there, with the access needed.

    SQLite keeps side files beside the file that a link leads to.
    """
    file = Path(os.path.realpath(database))
    there = [Path(database)] if file.exists() else []
    sides = [
        side
        for ending in ("-journal", "-wal", "-shm")
        if (side := file.with_name(file.name + ending)).exists()
    ]
    return [(str(file.parent), CHANGE_FOLDER), *((str(path), CHANGE) for path in (*there, *sides))]


def look(config: str, wanted: list[tuple[str, int]]) -> tuple[list[str | None], str | None]:
    """Return the obstacle to each file, or None, and what is wrong with the config as this process reads it."""
    closed, trouble = [obstacle_to(path, need) for path, need in wanted], None
    if not any(obstacle for obstacle, (_, need) in zip(closed, wanted) if need == READ):
        try:
            mailapi.create_app(config)
        except (mailapi.ConfigError, OSError) as error:
            trouble = str(error)
    return closed, trouble


def obstacle_to(path: str, need: int) -> str | None:
    """Return the first closed folder on the way to a file, or to where it links, or the file itself; None if open."""
    for way in (os.path.abspath(path), os.path.realpath(path)):
        for folder in reversed(Path(way).parents):
            if not os.access(folder, os.X_OK):
                return str(folder)
        if not os.access(way, need):
            return way
    return None


def as_user(user: str, job: Callable):
    """Run job in a process of that user's; its result, as JSON brings it."""
    entry = pwd.getpwnam(user)
    if os.geteuid() not in (0, entry.pw_uid):
        raise mailapi.ConfigError(f"--service {user}: run it as root or as {user}.")
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            if os.geteuid() == 0:
                os.initgroups(user, entry.pw_gid)
                os.setgid(entry.pw_gid)
                os.setuid(entry.pw_uid)
            with open(writer, "w", encoding="utf-8") as pipe:
                json.dump(job(), pipe)
        except Exception as error:
            print(f"mailapi: {mailapi.printable(mailapi.cause(error))}", file=sys.stderr, flush=True)
        finally:
            os._exit(0)  # nothing of the parent's is to be closed or written twice
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if not said:
        raise mailapi.ConfigError(f"What {user} may do could not be found out.")
    return json.loads(said)
