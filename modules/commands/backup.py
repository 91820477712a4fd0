"""Copy the master database to a file, safely even while other programs write to the database."""

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path

import mailapi

from ..state.owners import chown_like
from .progress import TerminalLine

PAGES_AT_ONCE = 1000  # after each step the mail daemons may write; then SQLite starts the copy again
MOST_RESTARTS = 3  # after these the copy is made in one step, while writers wait


def options(parser):
    parser.add_argument("file", metavar="FILE", help="the copy to write; an existing file is not overwritten")


def run(args):
    dbpath, target = mailapi.read_config(args.config).dbpath, Path(args.file)
    if mailapi.is_url(dbpath):
        raise mailapi.ConfigError(
            "A database on a server is copied by `mailapi copy`, or by the server's own tools "
            "(mariadb-dump --single-transaction)."
        )
    source = Path(dbpath)
    if not source.exists():
        raise mailapi.ConfigError(f"There is no {source}.")
    if target.exists():
        raise mailapi.ConfigError(f"{target} exists; it was not touched.")
    part = target.with_name(target.name + ".part")
    handle = create_locked(part)
    try:
        chown_like(handle, target.parent)
        copy(source, part)
        os.link(part, target)  # fails where a file of that name was made meanwhile
    except (sqlite3.Error, OSError) as error:
        raise mailapi.ConfigError(f"Not copied: {error}.") from error
    finally:
        part.unlink()
        os.close(handle)  # not before: SQLite loses its locks on a file that its process closes
    print(f"Copied {source} to {target}.")


def create_locked(part: Path) -> int:
    """Create an empty file, lock it, and return its file descriptor. Delete one that a killed backup left.

    ConfigError if another backup has locked it.
    """
    with contextlib.suppress(FileNotFoundError):
        leftover = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(leftover, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
        except BlockingIOError:
            raise mailapi.ConfigError(f"{part}: another backup is writing it.") from None
        finally:
            os.close(leftover)
    handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def copy(source: Path, target: Path):
    """Copy a SQLite database to another file. Raise sqlite3.Error if the copy fails or is damaged."""
    # Not mode=ro: SQLite could not read a database whose writer was killed before it has undone the changes.
    uri = f"{source.absolute().as_uri()}?mode=rw"
    with (
        contextlib.closing(sqlite3.connect(uri, uri=True)) as old,
        contextlib.closing(sqlite3.connect(target)) as new,
    ):
        try:
            old.backup(new, pages=PAGES_AT_ONCE, progress=Progress(), sleep=0.01)
        except TooManyRestarts:
            old.backup(new)
        answer = new.execute("PRAGMA integrity_check").fetchone()[0]
        if answer != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {answer}")


class TooManyRestarts(Exception):
    """Raised when a backup had to begin anew too often, because other programs changed the database."""


class Progress:
    """Prints the progress of a SQLite backup. sqlite3 calls the object after each step.

    Raises TooManyRestarts to end the backup when it began anew more than MOST_RESTARTS times.
    """

    def __init__(self):
        self.fewest_left, self.restarts, self.line = None, 0, TerminalLine()

    def __call__(self, status, left: int, total: int):
        if self.fewest_left is not None and left > self.fewest_left:
            self.restarts += 1
        self.fewest_left = left
        if self.restarts > MOST_RESTARTS:
            raise TooManyRestarts
        self.line.count(total - left, total, after=" pages")
