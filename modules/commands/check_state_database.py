"""Checks the state database (sessions, audit, …) for `mailapi check`: its tables, file, folder and owner."""

import contextlib
import os
import sqlite3
from pathlib import Path

import mailapi

from ..mariadb.url import without_password
from ..state import session_rows, throttle
from .check_report import Report, describe


def check_state_database(report: Report, app: mailapi.Application):
    """Check that the state database can be written to, or that it can be created. Print the result."""
    is_url, path = mailapi.is_url(app.config.state), Path(app.config.state)
    if not is_url and not check_state_folder(report, path):
        return
    if not is_url and not path.exists():
        report.good(f"state: {path} will be made by the first log-in")
        return
    location = without_password(app.config.state) if is_url else f"{path} ({describe(path)})"
    try:
        with app.state.transaction():
            pass
        report.good(f"state: {location}")
        if not is_url:
            check_state_owner(report, path)
    except mailapi.ApiError as error:
        report.bad(f"state: {location}: {error.status}")


def check_state_schemas(report: Report, app: mailapi.Application):
    """Print an error for each module whose attribute `state_schema` contains wrong SQL.

    The SQL creates the module's tables in the state database. It must also succeed when it is run again.
    """
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(session_rows.STATE_SCHEMA + throttle.STATE_SCHEMA)
        for name, module in app.listed().items():
            try:
                for _ in range(2):
                    connection.executescript(module.state_schema)
                if module.state_schema.strip() and not sqlite3.complete_statement(module.state_schema):
                    raise sqlite3.OperationalError("it does not end with a semicolon")
            except (sqlite3.Error, sqlite3.Warning) as error:
                report.bad(f"state: the state_schema of {name} is refused, and nobody can log in: {error}")


def check_state_folder(report: Report, path: Path) -> bool:
    """Return whether files can be created in the folder of the state database `path`. If not, print an error."""
    folder = Path(os.path.realpath(path)).parent
    try:
        probe = folder / f".mailapi-check-{os.getpid()}"
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        probe.unlink()
        return True
    except OSError as error:
        report.bad(f"state: {folder} cannot be written to: {error.strerror}")
        return False


def check_state_owner(report: Report, path: Path):
    """Print an error if the state database `path`, or one of its side files, has a wrong owner.

    It is wrong if root owns the database in another user's folder, or if a side file has another owner than the
    database.
    """
    path = Path(os.path.realpath(path))
    status, folder = path.stat(), path.parent.stat()
    if status.st_uid == 0 != folder.st_uid:
        report.bad(
            f"state: {path} belongs to root, its folder to somebody else, who cannot use it "
            f"({describe(path.parent)}): chown it"
        )
    for side_file in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        if side_file.exists() and side_file.stat().st_uid != status.st_uid:
            report.bad(
                f"state: {side_file} belongs to somebody else ({describe(side_file)}) and may lock others out"
            )
