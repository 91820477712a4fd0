"""Checks for `mailapi check --service USER` which files USER, the system user of the API, can read and change.

A child process becomes USER and asks the kernel. The result therefore includes access control lists (ACL), closed
folders above a file, and read-only file systems.
"""

import json
import os
import pwd
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import mailapi

from .check_config import log_paths
from .check_report import Report, describe

READ, CHANGE, CHANGE_FOLDER, WRITE = os.R_OK, os.R_OK | os.W_OK, os.W_OK | os.X_OK, os.W_OK
ACCESS_NAMES = {READ: "read", CHANGE: "read and written", CHANGE_FOLDER: "written to", WRITE: "written to"}


def check_service_user(report: Report, config: str, app: mailapi.Application, user: str):
    """Check that a system user can change the databases, and can read config.py and the code. Print the results."""
    needs = [(config, READ), *((file, READ) for file in code_files())]
    for database in database_files(app):
        needs += database_needs(database)
    for path in log_paths(app.config):
        needs += [(path, CHANGE_FOLDER if os.path.isdir(path) else WRITE)] if os.path.exists(path) else []
    obstacles, config_error = run_as(user, lambda: find_obstacles(config, needs))
    reported: set[str | None] = set()
    for (path, need), obstacle in zip(needs, obstacles):
        if need == READ and obstacle in reported - {None}:
            continue  # one line for all modules in a closed folder
        reported.add(obstacle)
        if obstacle:
            through = "" if obstacle in (path, os.path.realpath(path)) else f"{obstacle} is closed: "
            report.bad(
                f"service {user}: {path} cannot be {ACCESS_NAMES[need]}: {through}{describe(Path(obstacle))}"
            )
        elif need != READ:
            report.good(f"service {user}: {path} can be {ACCESS_NAMES[need]}")
    if config_error:
        report.bad(f"service {user}: {config_error}")
    elif not any(obstacle for (_, need), obstacle in zip(needs, obstacles) if need == READ):
        report.good(f"service {user}: config and modules can be read")


def code_files() -> list[str]:
    """Return the paths of the Python files of mailapi that this process has loaded."""
    ours = ("mailapi.", "mailapi_modules.")
    loaded = [python for name, python in sys.modules.items() if f"{name}.".startswith(ours)]
    return sorted({file for python in loaded if (file := code_file(python))})


def code_file(python: ModuleType) -> str | None:
    """Return the path of the file from which a Python module was loaded; None if it is unknown.

    For a module in a ZIP archive, this is the archive, such as mailapi.pyz.
    """
    archive = getattr(getattr(python, "__loader__", None), "archive", None)
    return archive or getattr(python, "__file__", None)


def database_files(app: mailapi.Application) -> list[str]:
    """Return the paths of those of the master, state and accounts databases that are files, not on a server."""
    config, locations = app.config, [app.config.dbpath, app.config.state]
    if config.apiserver and "accounts" in app.modules:
        locations.append(
            config.apiserver if mailapi.is_url(config.apiserver) else str(config.base / config.apiserver)
        )
    return [location for location in locations if not mailapi.is_url(location)]


def database_needs(database: str) -> list[tuple[str, int]]:
    """Return the accesses that the API needs to a database file: a list of (path, mode), such as CHANGE.

    The file's folder, and side files such as journals, are included. A symbolic link is followed.
    """
    file = Path(os.path.realpath(database))
    main = [Path(database)] if file.exists() else []
    side_files = [
        side_file
        for ending in ("-journal", "-wal", "-shm")
        if (side_file := file.with_name(file.name + ending)).exists()
    ]
    return [(str(file.parent), CHANGE_FOLDER), *((str(path), CHANGE) for path in (*main, *side_files))]


def find_obstacles(config: str, needs: list[tuple[str, int]]) -> tuple[list[str | None], str | None]:
    """Try the accesses in `needs`, such as [("config.py", READ)], and to load config.py. Return what failed.

    The result is a pair such as ([None, "/data"], "modulelist is missing."). The list has, for each access, the path
    that denies it, or None. The text is the error of loading config.py, or None. It is not loaded if a file cannot be
    read.
    """
    obstacles, config_error = [obstacle_to(path, need) for path, need in needs], None
    if not any(obstacle for obstacle, (_, need) in zip(obstacles, needs) if need == READ):
        try:
            mailapi.create_app(config)
        except (mailapi.ConfigError, OSError) as error:
            config_error = str(error)
    return obstacles, config_error


def obstacle_to(path: str, need: int) -> str | None:
    """Return the path that denies this process an access to `path`: a closed folder above it, or the file itself.

    Return None if the access is allowed. `need` is the access, such as os.R_OK. The target of a symbolic link is
    checked, too.
    """
    for way in (os.path.abspath(path), os.path.realpath(path)):
        for folder in reversed(Path(way).parents):
            if not os.access(folder, os.X_OK):
                return str(folder)
        if not os.access(way, need):
            return way
    return None


def run_as(user: str, job: Callable) -> Any:
    """Run the function `job` in a child process as another system user, and return its result.

    The result must be JSON data. ConfigError if this process may not become the user, or if `job` fails.
    """
    entry = pwd.getpwnam(user)
    if os.geteuid() not in (0, entry.pw_uid):
        raise mailapi.ConfigError(f"--service {user}: run it as root or as {user}.")
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        run_in_child(entry, job, writer)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        result = pipe.read()
    os.waitpid(child, 0)
    if not result:
        raise mailapi.ConfigError(f"What {user} may do could not be found out.")
    return json.loads(result)


def run_in_child(entry: pwd.struct_passwd, job: Callable, writer: int):
    """Become another user, run the function `job`, write its result as JSON to the pipe `writer`, and exit.

    `entry` describes the user. Call it in a child process.
    """
    try:
        if os.geteuid() == 0:
            os.initgroups(entry.pw_name, entry.pw_gid)
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
        with open(writer, "w", encoding="utf-8") as pipe:
            json.dump(job(), pipe)
    except Exception as error:
        print(f"mailapi: {mailapi.printable(mailapi.cause(error))}", file=sys.stderr, flush=True)
    finally:
        os._exit(0)  # without clean-up: open files and buffers belong to the parent process
