"""`mailapi copy`, and the rows of a file."""

import contextlib
import os
import sqlite3
import subprocess

from support.command_line import MAILAPI
from support.site import MODULES


def run_copy(folder, *arguments, check=0, **environ) -> str:
    """Run `mailapi copy` in a folder and return all that it prints; check its exit status."""
    (folder / "config.py").write_text(f"dbpath = 'nowhere.db3'\nmodulelist = {MODULES!r}\n")
    done = subprocess.run(
        [*MAILAPI, "copy", "--config", "config.py", *map(str, arguments)],
        cwd=folder,
        text=True,
        capture_output=True,
        timeout=60,
        env=os.environ | environ,
    )
    assert done.returncode == check and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done.stdout + done.stderr


def file_rows(path) -> dict[str, list]:
    """Return every row of every table of a file, bytes as bytes, with its rowid."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        names = [
            name.decode()
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {name: connection.execute(f"SELECT rowid, * FROM {name}").fetchall() for name in names}


def execute_all(path, *statements):
    """Execute statements with their values on a file."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement, *values in statements:
            connection.execute(statement, values)
